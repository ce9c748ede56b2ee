# Mainland China's pack keeps places for 14 days and technical signals for years. A center serves on day 1, on day 14 and on day 16 (its
# clock is moved by libfaketime): on day 14 the positions of day 1 are all there; on day 16 they are gone by SQL, by time travel and on the disk,
# raw frames included, and the technical signals are as many as before. Nobody asks for it: housekeeping does it by itself.
set -euo pipefail
make --silent .venv/installed >/dev/null
cargo build --workspace --bins
faketime=$(.venv/bin/python -c "import libfaketime, pathlib; print(next(pathlib.Path(libfaketime.__file__).parent.rglob('libfaketime.so.1')))")
folder=$(mktemp -d)
center=$folder/center
trap 'kill "${server:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
export DOMICILE_TESLA_LISTEN=127.0.0.1:0 DOMICILE_HTTP_LISTEN=127.0.0.1:0 DOMICILE_POSTGRES_LISTEN=127.0.0.1:0 DOMICILE_GBT32960_TLS_LISTEN=127.0.0.1:0
export DOMICILE_GBT32960_LISTEN=127.0.0.1:23297 DOMICILE_LAKE_MAINTAIN_INTERVAL_S=2
ago=15
domicile() {
  env LD_PRELOAD="$faketime" FAKETIME="-${ago}d" FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1 target/debug/domicile "$@"
}
serve() {
  : >"$folder/log"
  env LD_PRELOAD="$faketime" FAKETIME="-${ago}d" FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1 \
    target/debug/domicile serve --dir "$center" >>"$folder/log" 2>&1 &
  server=$!
  for _ in $(seq 600); do grep -q '^ready' "$folder/log" && return; sleep 0.2; done
  echo "the center does not start"; tail "$folder/log"; exit 1
}
stop() { kill "$server"; wait "$server" || true; }
rows() { domicile query --dir "$center" --format csv "select count(*) from $1" | tail -1; }
until_so() { for _ in $(seq 450); do if eval "$1"; then return; fi; sleep 0.2; done; echo "never so: $1"; tail "$folder/log"; exit 1; }
vin=LDMSPLANTED000001
cat >"$folder/car.py" <<'PYTHON'
# Says a place so many times, as of a clock that is so many days behind.
import datetime, socket, sys, time
vin, frames, ago, longitude, latitude = sys.argv[1].encode(), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
def clock():
    there = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=8, days=-ago)).timetuple()
    return bytes([there.tm_year - 2000, there.tm_mon, there.tm_mday, there.tm_hour, there.tm_min, there.tm_sec])
def frame(command, data):
    body = bytes([command, 0xFE]) + vin + bytes([1]) + len(data).to_bytes(2, "big") + data
    check = 0
    for byte in body:
        check ^= byte
    return b"##" + body + bytes([check])
place = bytes([5, 0]) + longitude.to_bytes(4, "big") + latitude.to_bytes(4, "big")
with socket.create_connection(("127.0.0.1", 23297), timeout=10) as link:
    def ask(message):
        link.sendall(message)
        return link.recv(64)[3]
    flags = [ask(frame(1, clock() + (1).to_bytes(2, "big") + b"89860012345678901234" + bytes([1, 0])))]
    for number in range(frames):
        vehicle = bytes([1, 1, 3, 1]) + (605).to_bytes(2, "big") + (987654 + number).to_bytes(4, "big") + (3500).to_bytes(2, "big") + (10200).to_bytes(2, "big") + bytes([77, 1, 15]) + (3000).to_bytes(2, "big") + bytes([0, 0])
        flags.append(ask(frame(2, clock() + vehicle + place)))
        time.sleep(1)
    print("  answers", sorted(set(flags)), "of", len(flags), flush=True)
PYTHON
car() { python3 "$folder/car.py" "$vin" "$1" "$ago" "$2" "$3"; }
# The place in a raw frame, and the latitude as a table has it.
in_frames=hex:$(python3 -c "print((121456789).to_bytes(4, 'big').hex() + (31234567).to_bytes(4, 'big').hex())")
in_table=hex:$(python3 -c "import struct; print(struct.pack('<d', 31.234567).hex())")
scan() { target/debug/xtask scan "$1" --dir "$center" 2>/dev/null; }
# A scan that went to its end and found nothing.
nowhere() { if scan "$1" >"$folder/found"; then return 1; fi; grep -q 'frames decrypted' "$folder/found"; }

domicile init --country CN --center shanghai-1 --dir "$center" >/dev/null
domicile vehicle add "$vin" --country CN --dir "$center"
serve
echo "== Day 1, $(env LD_PRELOAD="$faketime" FAKETIME="-${ago}d" date -u +%F)"
car 12 121456789 31234567
until_so '[ "$(rows positions)" = 12 ]'
sleep 12
positions=$(rows positions)
signals=$(rows "signals where signal like '%TraveledDistance'")
end=$(python3 -c "import datetime; print((datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=$ago - 1)).isoformat())")
echo "  positions $positions, odometers $signals"
for needle in "$in_frames" "$in_table"; do scan "$needle" >"$folder/found" || { echo "$needle was not there before"; exit 1; }; sed "s|$folder/||; s|^|  |" "$folder/found"; done
stop

ago=2
serve
echo "== Day 14, $(env LD_PRELOAD="$faketime" FAKETIME="-${ago}d" date -u +%F)"
car 2 121000001 31000001
until_so 'domicile lake status --dir "$center" | grep -q "last run since the start: 2"'
sleep 12
[ "$(rows positions)" = $((positions + 2)) ]
scan "$in_frames" >/dev/null && scan "$in_table" >/dev/null
echo "  positions $(rows positions): those of day 1 are all there"
stop

ago=0
serve
echo "== Day 16, $(date -u +%F)"
[ "$(rows "positions where received_at < timestamp '$end'")" = 0 ]
echo "  at once no query shows them"
car 2 121000002 31000002
for needle in "$in_frames" "$in_table"; do until_so 'nowhere "$needle"'; echo "  nowhere: $needle ($(tail -1 "$folder/found"))"; done
echo "== SQL"
[ "$(rows "positions where received_at < timestamp '$end'")" = 0 ]
[ "$(rows "frames where received_at < timestamp '$end'")" = 0 ]
[ "$(rows "signals where signal like '%TraveledDistance' and received_at < timestamp '$end'")" = "$signals" ]
echo "  of day 1: positions 0, frames 0, odometers $signals"
echo "== Time travel"
.venv/bin/python tests/python/time_travel.py "$center/store/shanghai-1/lake/positions" "$end"
echo "== The ledger"
stop
target/debug/domicile ledger verify --dir "$center"
