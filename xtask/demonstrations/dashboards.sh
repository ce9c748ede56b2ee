# Every query of every Grafana dashboard is answered on the PostgreSQL port with an analyst's token, for a vehicle that has just driven; and so is
# the example in Python, with its plot.
set -euo pipefail
make .venv/installed
cargo test --workspace --test serve -- --nocapture dashboards
