# A vehicle is erased while 200 others send: what was planted in its frames, rows and records is found before and nowhere after, no
# reader sees it, the ledger verifies, and the certificate verifies with the auditor's script. Then it sends again what was before.
set -euo pipefail
cargo build --workspace --bins
folder=$(mktemp -d)
center=$folder/center
domicile() { target/debug/domicile "$@"; }
trap 'kill "${demo:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
target/debug/domicile demo --dir "$center" --for 150s >"$folder/log" 2>&1 &
demo=$!
until grep -q 'vehicles connect' "$folder/log"; do kill -0 "$demo" || { tail "$folder/log"; exit 1; }; sleep 0.5; done
# The port of GB/T 32960 over plain TCP.
port=$(sed -n 's/.*and \([0-9]*\) (TCP).*/\1/p' "$folder/log")
vin=LDMSPLANTED000001
domicile vehicle add "$vin" --country CN --dir "$center"
printf 'vin,valid_from,owner_id,name,phone\n%s,2024-01-01,o-1,Planted Owner,+86 555 0100\n' "$vin" >"$folder/owners.csv"
domicile records import --kind owner "$folder/owners.csv" --dir "$center"
# It logs in with a planted card number and says a planted odometer; with an argument it says it as of that time, marked as sent again.
cat >"$folder/car.py" <<'PYTHON'
import datetime, socket, sys, time
port, vin, frames, at = int(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3]), float(sys.argv[4]) if len(sys.argv) > 4 else None
def clock(moment):
    there = (datetime.datetime.fromtimestamp(moment, datetime.timezone.utc) + datetime.timedelta(hours=8)).timetuple()
    return bytes([there.tm_year - 2000, there.tm_mon, there.tm_mday, there.tm_hour, there.tm_min, there.tm_sec])
def frame(command, data):
    body = bytes([command, 0xFE]) + vin + bytes([1]) + len(data).to_bytes(2, "big") + data
    check = 0
    for byte in body:
        check ^= byte
    return b"##" + body + bytes([check])
vehicle = bytes([1, 1, 3, 1]) + (605).to_bytes(2, "big") + (987654).to_bytes(4, "big") + (3500).to_bytes(2, "big") + (10200).to_bytes(2, "big") + bytes([77, 1, 15]) + (3000).to_bytes(2, "big") + bytes([0, 0])
with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
    def ask(message):
        link.sendall(message)
        return link.recv(64)[3]
    flags = [ask(frame(1, clock(time.time()) + (1).to_bytes(2, "big") + b"8986PLANTED000000001" + bytes([1, 0])))]
    for _ in range(frames):
        flags.append(ask(frame(3 if at else 2, clock(at or time.time()) + vehicle)))
        time.sleep(0.2)
    print("  answers", sorted(set(flags)), "of", len(flags), flush=True)
PYTHON
began=$(date +%s)
python3 "$folder/car.py" "$port" "$vin" 60
sleep 13
domicile lake compact --dir "$center"
id=$(domicile vehicle show "$vin" --dir "$center" --format json | python3 -c "import json, sys; print(json.load(sys.stdin)['vehicle']['id'])")
rows() { domicile query --dir "$center" --format csv "select count(*) from $1" | tail -1; }
# The odometer in km, as the table has it.
value=$(domicile query --dir "$center" --format csv "select max(value) from signals where vehicle = '$id' and signal like '%TraveledDistance'" | tail -1)
odometer=hex:$(python3 -c "import struct, sys; print(struct.pack('<d', float(sys.argv[1])).hex())" "$value")
places() { target/debug/xtask scan "$1" --dir "$center" 2>/dev/null | sed "s|$folder/||"; }
echo "== Before: an odometer of $value; rows of the vehicle: $(rows "signals where vehicle = '$id'"), frames: $(rows "frames where vehicle = '$id'")"
for needle in 8986PLANTED000000001 "Planted Owner" "$odometer"; do
  echo "-- $needle"
  target/debug/xtask scan "$needle" --dir "$center" 2>/dev/null | sed "s|$folder/||" | tail -4
  target/debug/xtask scan "$needle" --dir "$center" >/dev/null 2>&1
done
others="signals where vehicle <> '$id'"
first=$(rows "$others")
echo "== The erasure, beside 200 vehicles"
begin=$EPOCHREALTIME
domicile subject erase --vin "$vin" --why "asked for by letter" --dir "$center" --out "$folder/certificate"
python3 -c "print(f'  {$EPOCHREALTIME - $begin:.1f} s')"
for table in signals positions events frames vehicles owners sales; do
  [ "$(rows "$table where vehicle = '$id'")" = 0 ] || { echo "table $table still shows it"; exit 1; }
done
[ "$(rows "$others")" -gt "$first" ]
echo "== After: no table shows it; the others went on: $first -> $(rows "$others")"
for needle in 8986PLANTED000000001 "Planted Owner" "$odometer"; do
  if places "$needle" >"$folder/places"; then echo "found:"; cat "$folder/places"; exit 1; fi
  echo "  nowhere: $needle ($(tail -1 "$folder/places"))"
done
echo "== What it sends again of before is acknowledged and kept out"
python3 "$folder/car.py" "$port" "$vin" 5 "$began"
sleep 2
[ "$(rows "signals where value = $value")" = 0 ]
domicile subject list --dir "$center"
certificate=$(ls "$folder"/certificate/*.note)
salt=$(cat "$folder"/certificate/*.salt)
python3 auditor/verify_log.py --certificate "$certificate" --vkey "$center/keys/log.vkey" --subject "$vin" "$salt"
if python3 auditor/verify_log.py --certificate "$certificate" --vkey "$center/keys/log.vkey" --subject LDMSPLANTED000002 "$salt"; then exit 1; fi
domicile ledger verify --dir "$center"
