# 100,000 sales are imported all or nothing, in less than 10 s; a query joins them with signals; the ledger has the import; and the
# registry's SQLite file can be deleted: the next start says the same. ROWS (100000) is how many.
set -euo pipefail
cargo build --workspace --bins
rows=${ROWS:-100000}
folder=$(mktemp -d)
center=$folder/center
domicile() { target/debug/domicile "$@"; }
serve() {
  target/debug/domicile serve --dir "$center" >>"$folder/log" 2>&1 &
  server=$!
  for _ in $(seq 600); do grep -q '^ready' "$folder/log" && return; sleep 0.2; done
  echo "the center does not start"; tail "$folder/log"; exit 1
}
stop() { kill "$server"; wait "$server" || true; : >"$folder/log"; }
trap 'kill "${server:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
export DOMICILE_TESLA_LISTEN=127.0.0.1:0 DOMICILE_HTTP_LISTEN=127.0.0.1:0 DOMICILE_POSTGRES_LISTEN=127.0.0.1:0 DOMICILE_GBT32960_TLS_LISTEN=127.0.0.1:0
export DOMICILE_GBT32960_LISTEN=127.0.0.1:23297
domicile init --country CN --center shanghai-1 --dir "$center" >/dev/null
python3 - "$folder" "$rows" <<'PYTHON'
import sys
folder, rows = sys.argv[1], int(sys.argv[2])
vins = [f"LDMS{number:013d}" for number in range(rows)]
with open(f"{folder}/vehicles.csv", "w") as file:
    file.write("vin,country\n" + "".join(f"{vin},CN\n" for vin in vins))
sales = [f"{vin},2026-0{1 + i % 9}-{1 + i % 28:02d},Dealer {i % 400},{150000 + i % 90000},CNY,City {i % 300},C-{i},person\n" for i, vin in enumerate(vins)]
header = "vin,sold_at,dealer,price,currency,city,contract_no,buyer_type\n"
with open(f"{folder}/sales.csv", "w") as file:
    file.write(header + "".join(sales))
with open(f"{folder}/wrong.csv", "w") as file:
    file.write(header + "".join(sales[:5]) + sales[0] + "LDMSNOTREGISTERED,2026-01-01,D,1,CNY,X,C,person\n" + vins[7] + ",yesterday,D,cheap,CNY,X,C,person\n")
PYTHON
serve
seconds() { local begin=$EPOCHREALTIME; "$@"; python3 -c "print(f'  {$EPOCHREALTIME - $begin:.2f} s')"; }
echo "== $rows vehicles"
seconds domicile vehicle import "$folder/vehicles.csv" --dir "$center"
echo "== A file with three wrong rows: each is named, nothing is imported"
if domicile records import --kind sale "$folder/wrong.csv" --dir "$center"; then echo "it was taken"; exit 1; fi
domicile query --dir "$center" --format csv "select count(*) from sales" | tail -1 | grep -qx 0
echo "== $rows sales"
begin=$EPOCHREALTIME
domicile records import --kind sale "$folder/sales.csv" --dir "$center"
python3 -c "import sys; took = $EPOCHREALTIME - $begin; print(f'  {took:.2f} s'); sys.exit(took >= 10 and $rows >= 100000)"
echo "== Signals of a sold vehicle, joined with its sale"
vin=$(printf 'LDMS%013d' 42)
python3 - "$vin" <<'PYTHON'
import datetime, socket, sys
vin = sys.argv[1].encode()
now = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=8)).timetuple()
clock = bytes([now.tm_year - 2000, now.tm_mon, now.tm_mday, now.tm_hour, now.tm_min, now.tm_sec])
def frame(command, data):
    body = bytes([command, 0xFE]) + vin + bytes([1]) + len(data).to_bytes(2, "big") + data
    check = 0
    for byte in body:
        check ^= byte
    return b"##" + body + bytes([check])
vehicle = bytes([1, 1, 3, 1]) + (605).to_bytes(2, "big") + (123456).to_bytes(4, "big") + (3500).to_bytes(2, "big") + (10200).to_bytes(2, "big") + bytes([77, 1, 15]) + (3000).to_bytes(2, "big") + bytes([0, 0])
with socket.create_connection(("127.0.0.1", 23297), timeout=10) as link:
    for message in (frame(1, clock + (1).to_bytes(2, "big") + b"89860012345678901234" + bytes([1, 0])), frame(2, clock + vehicle)):
        link.sendall(message)
        print("  response flag", link.recv(64)[3])
PYTHON
sleep 3
join="select s.dealer, s.price, g.signal, g.value from sales s join signals g using (vehicle) order by g.signal limit 5"
seconds domicile query --dir "$center" "$join"
[ "$(domicile query --dir "$center" --format csv "$join" | wc -l)" -ge 3 ]
domicile vehicle list --dir "$center" >"$folder/before"
sleep 12
domicile ledger verify --dir "$center"
echo "== Without its SQLite file the registry is the same"
stop
rm "$center"/registry/registry.sqlite*
serve
domicile vehicle list --dir "$center" >"$folder/after"
cmp "$folder/before" "$folder/after"
[ "$(domicile query --dir "$center" --format csv "select count(*) from sales" | tail -1)" = "$rows" ]
echo "  $(wc -l <"$folder/after") vehicles and $rows sales, as before"
