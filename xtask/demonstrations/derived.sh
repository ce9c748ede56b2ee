# A car drives and charges beside the demo's fleet and keeps seven minutes of its drive back: two trips and a gap. Sent late, they make it one
# trip without a gap. Owners, a time of private use and a rebuild are followed too.
set -euo pipefail
cargo build --workspace --bins
folder=$(mktemp -d)
center=$folder/center
domicile() { target/debug/domicile "$@"; }
trap 'kill "${demo:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
target/debug/domicile demo --dir "$center" --for 500s >"$folder/log" 2>&1 &
demo=$!
until grep -q 'vehicles connect' "$folder/log"; do kill -0 "$demo" || { tail "$folder/log"; exit 1; }; sleep 0.5; done
# The port of GB/T 32960 over plain TCP.
port=$(sed -n 's/.*and \([0-9]*\) (TCP).*/\1/p' "$folder/log")
vin=LDMSDERIVED000001
domicile vehicle add "$vin" --country CN --dir "$center"
id=$(domicile vehicle show "$vin" --dir "$center" --format json | python3 -c "import json, sys; print(json.load(sys.stdin)['vehicle']['id'])")
# It sends again, each ten seconds of some minutes since a time: it drives until minute 20, stands until 25 and charges until 60.
cat >"$folder/car.py" <<'PYTHON'
import datetime, socket, sys
port, vin, began, first, last = int(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
def clock(moment):
    there = (datetime.datetime.fromtimestamp(moment, datetime.timezone.utc) + datetime.timedelta(hours=8)).timetuple()
    return bytes([there.tm_year - 2000, there.tm_mon, there.tm_mday, there.tm_hour, there.tm_min, there.tm_sec])
def frame(command, data):
    body = bytes([command, 0xFE]) + vin + bytes([1]) + len(data).to_bytes(2, "big") + data
    check = 0
    for byte in body:
        check ^= byte
    return b"##" + body + bytes([check])
def vehicle(step):
    drives, charges = step < 120, step >= 150
    odometer = 500000 + min(step, 120) * 2  # 0.1 km each
    soc = 60 - min(step, 120) // 20 + max(step - 150, 0) // 6
    speed, current = (720, 10600) if drives else (0, 8800 if charges else 10000)
    words = [speed.to_bytes(2, "big"), odometer.to_bytes(4, "big"), (3500).to_bytes(2, "big"), current.to_bytes(2, "big")]
    return bytes([1, 1, 1 if charges else 3, 1]) + b"".join(words) + bytes([soc, 1, 15]) + (3000).to_bytes(2, "big") + bytes([0, 0])
with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
    def ask(message):
        link.sendall(message)
        return link.recv(64)[3]
    flags = [ask(frame(1, clock(began) + (first + 1).to_bytes(2, "big") + b"8986DERIVED000000001" + bytes([1, 0])))]
    for step in range(first * 6, last * 6):
        flags.append(ask(frame(3, clock(began + step * 10) + vehicle(step))))
    print("  answers", sorted(set(flags)), "of", len(flags), flush=True)
PYTHON
began=$(($(date +%s) / 60 * 60 - 7200))
ask() { domicile query --dir "$center" "$1"; }
number() { domicile query --dir "$center" --format csv "$1" | tail -1; }
# Waits until a query of one number gives it.
until_it_is() { for _ in $(seq 100); do [ "$(number "$2")" = "$1" ] && return; sleep 2; done; echo "not within 200 s: $2 gives $1"; exit 1; }
# What the derived tables say of the car.
said() {
  for table in trips charges states battery gaps; do
    echo "-- $table"
    domicile query --dir "$center" --format csv "select * exclude (vehicle) from $table where vehicle = '$id' order by 1"
  done
}
echo "== It drives, stands and charges, two hours ago; minutes 7 to 14 are kept back"
python3 "$folder/car.py" "$port" "$vin" "$began" 0 7
python3 "$folder/car.py" "$port" "$vin" "$began" 14 60
until_it_is 2 "select count(*) from trips where vehicle = '$id'"
until_it_is 1 "select count(*) from charges where vehicle = '$id' and soc_end >= 85"
said
[ "$(number "select max(gaps) from gaps where vehicle = '$id'")" = 1 ]
echo "== Minutes 7 to 14 come late"
python3 "$folder/car.py" "$port" "$vin" "$began" 7 14
until_it_is 1 "select count(*) from trips where vehicle = '$id'"
said | tee "$folder/before"
[ "$(number "select max(gaps) from gaps where vehicle = '$id'")" = 0 ]
echo "== Thrown away and made anew"
domicile lake rebuild --dir "$center"
until_it_is 1 "select count(*) from trips where vehicle = '$id'"
said >"$folder/after"
diff "$folder/before" "$folder/after"
echo "  the same"
echo "== The drive was private"
domicile vehicle private "$vin" --from "$(date -u -d "@$began" +%FT%TZ)" --until "$(date -u -d "@$((began + 60))" +%FT%TZ)" --dir "$center"
until_it_is 1 "select count(*) from trips where vehicle = '$id' and private"
echo "  its trip says so"
echo "== All vehicles of seven owners"
{
  echo vin,valid_from,owner_id
  domicile vehicle list --dir "$center" --format json |
    python3 -c "import json, sys; [print(f\"{vehicle['vin']},2024-01-01,o-{place % 7}\") for place, vehicle in enumerate(json.load(sys.stdin))]"
} >"$folder/owners.csv"
domicile records import --kind owner "$folder/owners.csv" --dir "$center"
until_it_is 7 "select min(owners) from daily where vehicles > 50"
ask "select * from daily order by day, source"
domicile lake status --dir "$center"
