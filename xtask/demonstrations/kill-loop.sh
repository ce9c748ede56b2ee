# Kills the center a hundred times under load from both protocols, then holds SQL against what was acknowledged.
set -euo pipefail
cargo build --workspace --bins
target/debug/domicile bench kill-loop --rounds "${ROUNDS:-100}" --under target
