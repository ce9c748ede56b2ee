# An analyst tries to get a VIN, or a place finer than the country pack's cell, by HTTPS, psql and psycopg; an officer tries the same and
# gets it, so that the tricks are some.
set -euo pipefail
make .venv/installed psql
cargo test --workspace --test serve -- --nocapture tricks
