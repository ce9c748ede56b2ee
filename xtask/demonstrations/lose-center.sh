# Three centers that acknowledge from two, under load: killed with kill -9, cut off from each other, and one lost for good with its disk. At each that
# is left every acknowledged frame is in SQL exactly once, its log and its copies of the others verify, and the report says that all is safe.
# LOSSES: how often, each time with another seed.
set -euo pipefail
cargo build --workspace --bins
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for seed in $(seq "${LOSSES:-3}"); do
  echo "seed $seed"
  target/debug/domicile bench lose-center --seed "$seed" --under "$folder"
done
