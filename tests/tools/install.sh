#!/usr/bin/env bash
# Installs the verifiers of others that the tests run: Tessera's fsck and the witness litewitness, by name and version, with Go.
#
# Usage: install.sh [FOLDER]      default: target/tools of this checkout
# Prints the folder. Where Go is missing it says so on standard error and exits 3, so that a test can say "not run".
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=${1:-$root/target/tools}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
install() { # program, package with its version
  [ -x "$folder/$1" ] && [ "$(cat "$folder/$1.version" 2>/dev/null)" = "$2" ] && return
  if ! command -v go >/dev/null; then
    echo "Go is missing, so $1 is not installed and what needs it is not tested: install Go 1.26 (https://go.dev/dl)" >&2
    exit 3
  fi
  echo "Installing $2" >&2
  GOBIN=$folder GOFLAGS=-trimpath timeout 900 go install "$2" 2>"$folder/$1.log" || { tail -n 5 "$folder/$1.log" | cut -c1-300 >&2; exit 1; }
  echo "$2" >"$folder/$1.version"
}
install fsck github.com/transparency-dev/tessera/cmd/fsck@v1.0.4
install litewitness filippo.io/torchwood/cmd/litewitness@v0.9.0
echo "$folder"
