# An auditor who trusts nobody here checks a center's log with tools that are not ours, over HTTPS and from a copied folder: Tessera's
# fsck, a script of Python's standard library and openssl, and `domicile ledger verify` for what lies in the store. Single objects
# carry their proofs away. Each of the three finds one flipped bit.
#
# Usage: auditor.sh [DOMICILE]      default: what cargo builds
set -euo pipefail
domicile=${1:-}
[ -n "$domicile" ] || { cargo build --workspace --bins; domicile=target/debug/domicile; }
make target/tools/installed
folder=$(mktemp -d)
center=$folder/center
domicile() { "$domicile" "$@"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
trap 'kill "${server:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
fsck() { # log, more
  [ -x target/tools/fsck ] || { echo "fsck is not installed (Go is missing): not run"; return "${without_fsck:-0}"; }
  tests/tools/fsck.sh "$1" "$center/keys/log.vkey" "${@:2}"
}
auditor() { python3 auditor/verify_log.py --vkey "$center/keys/log.vkey" "$@"; }

echo "== A center, and 15 s of 20 vehicles"
domicile init --country CN --center shanghai-1 --site "Hall 3" --dir "$center" >/dev/null
port=$(python3 -c 'import socket; s = [socket.socket() for _ in range(3)]; [x.bind(("127.0.0.1", 0)) for x in s]; print(*[x.getsockname()[1] for x in s])')
read -r tesla gbt http <<<"$port"
export DOMICILE_TESLA_LISTEN=127.0.0.1:$tesla DOMICILE_GBT32960_TLS_LISTEN=127.0.0.1:$gbt DOMICILE_HTTP_LISTEN=127.0.0.1:$http DOMICILE_POSTGRES_LISTEN=127.0.0.1:0
export DOMICILE_GBT32960_LISTEN=127.0.0.1:0 DOMICILE_STORE_BATCH_AGE_MS_MAX=2000
"$domicile" serve --dir "$center" >"$folder/serve.log" 2>&1 &
server=$!
for _ in $(seq 100); do [ -S "$center/run/domicile.sock" ] && break; sleep 0.2; done
domicile sim --vehicles 20 --csv "$folder/fleet.csv" >/dev/null
domicile vehicle import "$folder/fleet.csv" --dir "$center"
domicile sim --vehicles 20 --to "127.0.0.1:$tesla" --gbt-port "$gbt" --for 15s --rate 4 --dir "$center" | tail -n 1
for number in $(seq 260); do domicile token create --role analyst --name "analyst-$number" --dir "$center" >/dev/null; done
domicile token create --role auditor --name regulator --dir "$center" | tail -n 1 >"$folder/token"
sleep 4

echo "== Over HTTPS from the running center, with an auditor's token"
export SSL_CERT_FILE=$center/pki/server-ca.pem
fsck "https://localhost:$http/ledger" "$folder/token"
auditor --log "https://localhost:$http/ledger" --bearer "$folder/token" --genesis "$center/genesis.json" "$center/genesis.sig" --keep "$folder/kept"
unset SSL_CERT_FILE
echo "== From a copy, without keys"
cp -a "$center/store" "$folder/copy"
log=$folder/copy/shanghai-1/ledger
fsck "$log"
auditor --log "$log" --seen "$folder/kept"
domicile ledger verify --offline "$folder/copy" --seen "$folder/kept"

echo "== Proofs of single objects"
for object in $(cd "$folder/copy" && for below in batch control lake/signals; do find "shanghai-1/$below" -type f -name '*[0-9].*' | sort | head -n 1; done); do
  domicile proof show "$object" --dir "$center" --out "$folder/object.tlog-proof" >/dev/null
  domicile proof verify "$folder/object.tlog-proof" --vkey "$center/keys/log.vkey" --content "$folder/copy/$object" | sed -n '1p;$p'
  auditor --proof "$folder/object.tlog-proof" --content "$folder/copy/$object" | tail -n 2
  (cat "$folder/copy/$object"; echo) >"$folder/changed"
  ! domicile proof verify "$folder/object.tlog-proof" --vkey "$center/keys/log.vkey" --content "$folder/changed" >/dev/null 2>&1 || fail "a changed object is proved"
  ! auditor --proof "$folder/object.tlog-proof" --content "$folder/changed" >/dev/null 2>&1 || fail "a changed object is proved"
done

echo "== One flipped bit"
for place in tile/entries/000 tile/0/000 checkpoint; do
  cp "$log/$place" "$folder/whole"
  python3 - "$log/$place" <<'PYTHON'
import pathlib, sys
path = pathlib.Path(sys.argv[1])
data = bytearray(path.read_bytes())
data[len(data) // 2] ^= 1
path.write_bytes(data)
PYTHON
  echo "-- in $place"
  ! without_fsck=1 fsck "$log" || fail "fsck accepts it"
  ! auditor --log "$log" >"$folder/said" 2>&1 || fail "the script accepts it"
  tail -n 1 "$folder/said"
  ! domicile ledger verify --offline "$folder/copy" >"$folder/said" 2>&1 || fail "ledger verify accepts it"
  grep -m 1 WRONG "$folder/said" | cut -c1-180
  cp "$folder/whole" "$log/$place"
done
domicile ledger verify --offline "$folder/copy" | tail -n 1
