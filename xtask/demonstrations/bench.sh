# What a message, a connection and a handshake cost. The machine should have nothing else to do.
set -euo pipefail
cargo build --release --workspace --bins
domicile=target/release/domicile
mkdir -p target/bench
for lake in off on; do
  for shape in "50 16" "800 1"; do
    set -- $shape
    "$domicile" bench ingest --connections "$1" --window "$2" --messages 200000 --lake "$lake" --under target/bench
  done
done
for shape in "50 16" "800 1"; do
  set -- $shape
  "$domicile" bench ingest --protocol gbt32960 --connections "$1" --window "$2" --messages 200000 --under target/bench
done
"$domicile" bench connections --count 3000 --under target/bench
"$domicile" bench mirror --messages 200000 --under target/bench
