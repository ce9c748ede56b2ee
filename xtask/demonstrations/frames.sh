# Frames found in public, frames built by the Python package rtm-con, and a Tesla client written in Python.
set -euo pipefail
make .venv/installed
cargo test --workspace --test gbt32960_frames --test gbt32960_rtm_con --test tesla_python --test websocket_python -- --nocapture
cargo test --workspace --test serve -- --nocapture python
