# A month of 200 simulated vehicles, a hundred million rows of signals (ROWS is how many), goes in by the real protocols; the
# tables are put in order; ten questions are asked of the center and of DuckDB over the same files, which must answer the same.
set -euo pipefail
make --silent .venv/installed >/dev/null
cargo build --release --package domicile
target/release/domicile bench query --rows "${ROWS:-100000000}" --rounds 5 --under "${UNDER:-.}" --peer ".venv/bin/python bench/duckdb_peer.py"
