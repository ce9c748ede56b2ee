# `make demo` and `make test` are enough; both do their own set-up on a Debian machine with Rust.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
FOR ?=

.PHONY: demo build test lint setup psql

# The whole workspace is built in one profile, so that the demo, the tests and the checks share one cold build.
BUILD = cargo build --workspace --bins

demo: build ## A whole data center on loopback with a simulated fleet of 200; Ctrl-C ends it
	target/debug/domicile demo $(if $(FOR),--for $(FOR))

build: setup ## The program alone
	@[ -x target/debug/domicile ] || echo "Building Domicile. The first time takes 7 to 15 minutes on 2 cores" \
	  "(DataFusion is most of it), later seconds; cargo names each crate as it goes."
	$(BUILD)

test: build .venv/installed target/tools/installed psql ## Formatter, lints, structure, every test; the last line counts the tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	target/debug/xtask tidy
	set +e; cargo test --workspace --no-fail-fast 2>&1 | tee target/test.log; failed=$${PIPESTATUS[0]}; \
	  target/debug/xtask count target/test.log && exit "$$failed"

lint: setup ## Formatter, lints and structure
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	cargo xtask tidy

# What the build needs beside Rust: a C compiler (zstd, SQLite, the cryptographic library).
setup:
	@command -v cargo >/dev/null || { echo "Rust is missing: install it with rustup, the toolchain is pinned in rust-toolchain.toml"; exit 1; }
	@command -v cc >/dev/null || { echo "Installing a C compiler"; $(ROOT) apt-get update -qq && $(ROOT) apt-get install -y -qq gcc libc6-dev; }

# The oracles of the tests: other implementations of the same formats, in Python.
.venv/installed: tests/python/requirements.txt
	@command -v $(PYTHON) >/dev/null || { $(ROOT) apt-get update -qq && $(ROOT) apt-get install -y -qq python3 python3-venv; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(ROOT) apt-get update -qq && $(ROOT) apt-get install -y -qq python3-venv; }
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --requirement tests/python/requirements.txt
	touch $@

# Verifiers of others that the tests run on our ledger. They are built with Go; where it is missing, what needs them is not tested, and
# the tests say so.
target/tools/installed: tests/tools/install.sh
	@mkdir -p $(@D); tests/tools/install.sh >/dev/null && touch $@ || [ $$? = 3 ]

# The client that everybody has. Where it can't be had, what needs it is not tested, and the tests say so.
psql:
	@command -v psql >/dev/null || { $(ROOT) apt-get update -qq && $(ROOT) apt-get install -y -qq postgresql-client; } || \
	  echo "psql is missing (Debian's postgresql-client)"

ROOT = $(if $(filter 0,$(shell id -u)),,sudo)
