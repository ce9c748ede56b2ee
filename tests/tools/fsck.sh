#!/usr/bin/env bash
# Lets Tessera's fsck check a log: its signature, its entries against its tiles, its tiles against its root.
#
# Usage: fsck.sh LOG VKEY_FILE [TOKEN_FILE]    LOG is a folder or an http(s) URL that holds `checkpoint` and `tile/`
# Prints one line. Ends it after FSCK_SECONDS (60). Exits 0 when fsck accepts the log, 1 when it does not, 2 for wrong use, 3 when fsck is not installed (install.sh).
#
# fsck v1.0.4 has two traps, and this script is the way around them: it exits 0 although the check failed, so the line of success is
# required; and it waits forever once as many faults as it has workers were found, so it gets 64 workers and an end. What it says of a
# fault holds whole tiles, so lines are cut.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '4,5p' "${BASH_SOURCE[0]}" >&2; exit 2; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
fsck=${FSCK:-$root/target/tools/fsck}
[ -x "$fsck" ] || { echo "fsck is not installed: tests/tools/install.sh does it" >&2; exit 3; }
case $1 in
  http://* | https://*) url=${1%/}/ ;;
  *) url=file://$(cd "$1" && pwd) || { echo "fsck: no folder $1"; exit 1; } ;;
esac
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tr -d '[:space:]' <"$2" >"$folder/vkey"
token=()
[ $# -lt 3 ] || token=("-bearer_token=$(tr -d '[:space:]' <"$3")")
code=0
timeout --kill-after=5 "${FSCK_SECONDS:-60}" "$fsck" -storage_url="$url" -public_key="$folder/vkey" -ui=false -N=64 -logtostderr "${token[@]}" \
  >"$folder/said" 2>&1 || code=$?
if [ "$code" = 0 ] && success=$(grep -o "Successfully fsck'd log with size [0-9]* and root [A-Za-z0-9+/=]*" "$folder/said") \
  && ! grep -q "fsck failed" "$folder/said"; then
  echo "fsck: $success"
else
  [ "$code" != 124 ] || echo "fsck: did not end within ${FSCK_SECONDS:-60} s"
  grep -m 3 '^[EF]' "$folder/said" | cut -c1-240 | sed 's/^[^]]*] /fsck: /' || tail -n 2 "$folder/said" | cut -c1-240
  exit 1
fi
