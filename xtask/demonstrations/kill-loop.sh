# Kills the center three hundred times under load from both protocols. After each kill the ledger must verify; in the end SQL and the
# ledger are held against what was acknowledged. ROUNDS (300) shortens it.
set -euo pipefail
cargo build --workspace --bins
target/debug/domicile bench kill-loop --rounds "${ROUNDS:-300}" --under target
