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
export DOMICILE_TESLA_LISTEN=127.0.0.1:24443 DOMICILE_HTTP_LISTEN=127.0.0.1:28700 DOMICILE_POSTGRES_LISTEN=127.0.0.1:0 DOMICILE_GBT32960_TLS_LISTEN=127.0.0.1:0
export DOMICILE_GBT32960_LISTEN=127.0.0.1:23296
domicile vehicle add DMCTRL0000000AAA1 --dir "$center"
domicile vehicle add DMFRGN0000000AAA2 --country DE --dir "$center"
domicile vehicle cert DMCTRL0000000AAA1 --out "$folder" --dir "$center"
# The center gives neither of the two a certificate. So that TLS lets them pass and admission must decide, they get one that its
# authority signed all the same.
for vin in DMFRGN0000000AAA2 DMSTRG0000000AAA3; do
  openssl ecparam -name prime256v1 -genkey -noout -out "$folder/$vin.key"
  openssl req -new -key "$folder/$vin.key" -subj "/CN=$vin" -out "$folder/$vin.csr"
  openssl x509 -req -in "$folder/$vin.csr" -CA "$center/pki/vehicle-ca.pem" -CAkey "$center/pki/vehicle-ca.key" \
    -set_serial 77 -days 30 -extfile <(echo extendedKeyUsage=clientAuth) -out "$folder/$vin.pem" 2>/dev/null
done
target/debug/domicile serve --dir "$center" &
server=$!
for _ in $(seq 100); do [ -S "$center/run/domicile.sock" ] && break; sleep 0.2; done
drive() { # VIN, needle
  .venv/bin/python tests/python/tesla_client.py 127.0.0.1:24443 "$1" --cert "$folder/$1.pem" --key "$folder/$1.key" \
    --ca "$folder/server-ca.pem" --server-name localhost --name "$2" --count 5
}
# A GB/T 32960 terminal that sends its login and data with the needle (in an item of its maker's own) in one write, so that the
# data has arrived before the login is refused. Prints the response flags.
terminal() { # VIN, needle
  python3 - "$@" <<'PYTHON'
import functools, operator, socket, sys
vin, needle = sys.argv[1].encode(), sys.argv[2].encode()
now = bytes([26, 11, 20, 8, 30, 0])
def frame(command, data):
    body = bytes([command, 0xFE]) + vin + b"\x01" + len(data).to_bytes(2, "big") + data
    return b"##" + body + bytes([functools.reduce(operator.xor, body)])
login = frame(1, now + b"\0\1" + b"8986" + b"0" * 16 + b"\1\0")
data = frame(2, now + b"\x80" + len(needle).to_bytes(2, "big") + needle)
with socket.create_connection(("127.0.0.1", 23296), timeout=10) as line:
    line.sendall(login + 5 * data)
    line.shutdown(socket.SHUT_WR)
    answers = b"".join(iter(lambda: line.recv(4096), b""))
flags = [part[1] for part in answers.split(b"##")[1:]]
print(vin.decode(), "response flags", flags)
sys.exit(0 if flags == [1] * 6 else 1)
PYTHON
}
drive DMCTRL0000000AAA1 NEEDLE-OF-A-CITIZEN
terminal DMCTRL0000000AAA1 NEEDLE-IN-AN-ITEM
if terminal DMFRGN0000000AAA2 NEEDLE-FROM-ABROAD; then echo "the foreign terminal was let in"; exit 1; fi
if terminal DMSTRG0000000AAA3 NEEDLE-OF-A-STRANGER; then echo "the unknown terminal was let in"; exit 1; fi
if drive DMFRGN0000000AAA2 NEEDLE-FROM-ABROAD; then echo "the foreign vehicle got an ack"; exit 1; fi
if drive DMSTRG0000000AAA3 NEEDLE-OF-A-STRANGER; then echo "the stranger got an ack"; exit 1; fi
echo "while it runs, before the frames are sealed:"
scan NEEDLE-OF-A-CITIZEN
scan NEEDLE-IN-AN-ITEM
if scan NEEDLE-FROM-ABROAD; then exit 1; fi
if scan NEEDLE-OF-A-STRANGER; then exit 1; fi
domicile vehicle show DMFRGN0000000AAA2 --dir "$center"
domicile vehicle show DMSTRG0000000AAA3 --dir "$center" || true
kill "$server"; wait "$server" || true
echo "after sealing, in batches and tables:"
scan NEEDLE-OF-A-CITIZEN
scan NEEDLE-IN-AN-ITEM
if scan NEEDLE-FROM-ABROAD; then exit 1; fi
if scan NEEDLE-OF-A-STRANGER; then exit 1; fi
