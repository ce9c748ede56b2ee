# A vehicle sold abroad and a vehicle that nobody registered are refused, and nothing of their payload is anywhere in the center's
# folder: not in a Parquet page, a database, the journal, nor, opened with the keys, in a frame. A registered vehicle's is found.
set -euo pipefail
make .venv/installed
cargo build --workspace --bins
folder=$(mktemp -d)
center=$folder/center
domicile() { target/debug/domicile "$@"; }
scan() { target/debug/xtask scan "$1" --dir "$center"; }
trap 'kill "${server:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
domicile init --country CN --center shanghai-1 --dir "$center"
export DOMICILE_TESLA_LISTEN=127.0.0.1:24443 DOMICILE_HTTP_LISTEN=127.0.0.1:28700 DOMICILE_GBT32960_TLS_LISTEN=127.0.0.1:0
domicile vehicle add DMCTRL0000000AAA1 --dir "$center"
domicile vehicle add DMFRGN0000000AAA2 --country DE --dir "$center"
domicile vehicle cert DMCTRL0000000AAA1 --out "$folder" --dir "$center"
domicile vehicle cert DMFRGN0000000AAA2 --out "$folder" --dir "$center"
# A stranger with a certificate that the center's own authority signed: known to TLS, not to the registry.
openssl ecparam -name prime256v1 -genkey -noout -out "$folder/DMSTRG0000000AAA3.key"
openssl req -new -key "$folder/DMSTRG0000000AAA3.key" -subj /CN=DMSTRG0000000AAA3 -out "$folder/stranger.csr"
openssl x509 -req -in "$folder/stranger.csr" -CA "$center/pki/vehicle-ca.pem" -CAkey "$center/pki/vehicle-ca.key" \
  -set_serial 77 -days 30 -extfile <(echo extendedKeyUsage=clientAuth) -out "$folder/DMSTRG0000000AAA3.pem"
target/debug/domicile serve --dir "$center" &
server=$!
for _ in $(seq 100); do [ -S "$center/run/domicile.sock" ] && break; sleep 0.2; done
drive() { # VIN, needle
  .venv/bin/python tests/python/tesla_client.py 127.0.0.1:24443 "$1" --cert "$folder/$1.pem" --key "$folder/$1.key" \
    --ca "$folder/server-ca.pem" --server-name localhost --name "$2" --count 5
}
drive DMCTRL0000000AAA1 NEEDLE-OF-A-CITIZEN
if drive DMFRGN0000000AAA2 NEEDLE-FROM-ABROAD; then echo "the foreign vehicle got an ack"; exit 1; fi
if drive DMSTRG0000000AAA3 NEEDLE-OF-A-STRANGER; then echo "the stranger got an ack"; exit 1; fi
echo "while it runs, before the frames are sealed:"
scan NEEDLE-OF-A-CITIZEN
if scan NEEDLE-FROM-ABROAD; then exit 1; fi
if scan NEEDLE-OF-A-STRANGER; then exit 1; fi
domicile vehicle show DMFRGN0000000AAA2 --dir "$center"
domicile vehicle show DMSTRG0000000AAA3 --dir "$center" || true
kill "$server"; wait "$server" || true
echo "after sealing, in batches and tables:"
scan NEEDLE-OF-A-CITIZEN
if scan NEEDLE-FROM-ABROAD; then exit 1; fi
if scan NEEDLE-OF-A-STRANGER; then exit 1; fi
