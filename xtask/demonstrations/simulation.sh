#!/usr/bin/env bash
# What was promised holds in 10,000 simulated countries (SEEDS=FROM..TO for others), a seed is the same run each time, and each defect
# that is put in on purpose is found.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo xtask sim --seeds "${SEEDS:-0..10000}"
cargo test --quiet --package domicile --bin domicile -- --nocapture --exact \
  peer::simulation::a_seed_is_the_same_run_each_time peer::simulation::each_defect_that_is_put_in_is_found
