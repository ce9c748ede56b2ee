#!/usr/bin/env bash
# Starts and stops litewitness, a C2SP witness that is not ours, on this machine for one log.
#
# Usage: litewitness.sh start FOLDER VKEY_FILE [PORT] [NAME]
#          FOLDER   takes its database, key, logs and process ids; what it saw is kept there from one start to the next
#          PORT     on 127.0.0.1; default: a free one
#          NAME     of the witness; default regulator.example/w1
#          Prints `url=…`, `vkey=…`, `pid=…` (the file). The log that it cosigns for has the name and key of VKEY_FILE.
#        litewitness.sh stop FOLDER
# Exits 0 when done, 1 when not, 2 for wrong use, 3 when litewitness is not installed (install.sh).
set -euo pipefail
usage() { sed -n '4,9p' "${BASH_SOURCE[0]}" >&2; exit 2; }
[ $# -ge 2 ] || usage
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
witness=${LITEWITNESS:-$root/target/tools/litewitness}
what=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)

stop() { # kills what the pid files name, if it is what we started, and waits for its end
  local name pid
  for name in litewitness ssh-agent; do
    [ -f "$folder/$name.pid" ] || continue
    pid=$(cat "$folder/$name.pid")
    if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$name" ]; then
      kill "$pid" 2>/dev/null || true
      for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
      kill -9 "$pid" 2>/dev/null || true
    fi
    rm -f "$folder/$name.pid"
  done
  [ ! -f "$folder/sockets" ] || { rm -rf "$(cat "$folder/sockets")"; rm -f "$folder/sockets"; }
}

start() { # vkey file, port, name
  [ -x "$witness" ] || { echo "litewitness is not installed: tests/tools/install.sh does it" >&2; exit 3; }
  local vkey origin port=${2:-0} name=${3:-regulator.example/w1} sockets fingerprint
  vkey=$(tr -d '[:space:]' <"$1")
  origin=${vkey%%+*}
  stop
  trap 'stop' ERR
  # A socket's path has at most 107 bytes; the folder's may be longer.
  sockets=$(mktemp -d)
  echo "$sockets" >"$folder/sockets"
  [ -f "$folder/key" ] || ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$folder/key"
  ssh-agent -D -a "$sockets/agent" >"$folder/agent.log" 2>&1 </dev/null &
  echo $! >"$folder/ssh-agent.pid"
  for _ in $(seq 100); do [ -S "$sockets/agent" ] && break; sleep 0.05; done
  SSH_AUTH_SOCK=$sockets/agent ssh-add -q "$folder/key"
  fingerprint=$(ssh-keygen -lf "$folder/key.pub" | awk '{print $2}')
  [ "$port" != 0 ] || port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  python3 - "$folder/witness.db" "$origin" "$vkey" <<'PYTHON'
# What `witnessctl add-log` and `add-key` would do; the tables are those of litewitness v0.9.0. A log that it knows is left as it is.
import base64, hashlib, sqlite3, sys
path, origin, vkey = sys.argv[1:]
with sqlite3.connect(path) as base:
    base.execute("CREATE TABLE IF NOT EXISTS log (origin TEXT PRIMARY KEY, tree_size INTEGER NOT NULL, tree_hash TEXT NOT NULL)")
    base.execute("CREATE TABLE IF NOT EXISTS key (origin TEXT NOT NULL, key TEXT NOT NULL, FOREIGN KEY(origin) REFERENCES log(origin))")
    empty = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    base.execute("INSERT OR IGNORE INTO log VALUES (?, 0, ?)", (origin, empty))
    if not base.execute("SELECT 1 FROM key WHERE origin = ? AND key = ?", (origin, vkey)).fetchone():
        base.execute("INSERT INTO key VALUES (?, ?)", (origin, vkey))
PYTHON
  "$witness" -db "$folder/witness.db" -name "$name" -ssh-agent "$sockets/agent" -key "$fingerprint" -listen "127.0.0.1:$port" \
    >"$folder/litewitness.log" 2>&1 </dev/null &
  echo $! >"$folder/litewitness.pid"
  for _ in $(seq 200); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && vkey=$(grep -o -m 1 'vkey="\?[^" ]*' "$folder/litewitness.log"); then
      printf 'url=http://127.0.0.1:%s\nvkey=%s\npid=%s\n' "$port" "$(sed 's/^vkey="\?//' <<<"$vkey")" "$folder/litewitness.pid"
      trap - ERR
      return
    fi
    kill -0 "$(cat "$folder/litewitness.pid")" 2>/dev/null || break
    sleep 0.05
  done
  echo "litewitness did not start:" >&2
  tail -n 5 "$folder/litewitness.log" | cut -c1-240 >&2
  stop
  exit 1
}

case $what in
  start) [ $# -ge 3 ] || usage; start "${@:3}" ;;
  stop) stop ;;
  *) usage ;;
esac
