# In a network namespace with the rules that `domicile egress nft` prints, and a packet capture at its only way out, a demo's traffic
# sends nothing to an undeclared address. A build that was patched to try is blocked by the rules, and seen.
#
# Usage: egress.sh [DOMICILE [PATCHED]]      default: what cargo builds, and what patched.sh makes of it
# SECONDS_TO_RUN (600) is how long the demo runs, PATCHED_SECONDS_TO_RUN (a tenth of it, 30 at least) the patched one.
# Needs root; nftables, tcpdump and iproute2 are installed where they are missing. Every address lies inside the two namespaces.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"
run_for=${SECONDS_TO_RUN:-600}
patched_for=${PATCHED_SECONDS_TO_RUN:-$((run_for / 10 > 30 ? run_for / 10 : 30))}
fail() { echo "FAILED: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "network namespaces need root: sudo -E bash $0"
[[ $(uname -s) = Linux ]] || fail "network namespaces are Linux's"
missing=()
for pair in nft:nftables tcpdump:tcpdump ip:iproute2 python3:python3; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
domicile=${1:-} patched=${2:-}
[ -n "$domicile" ] || { cargo build --workspace --bins; domicile=target/debug/domicile; }
[ -n "$patched" ] || { patched=target/patched/domicile; bash "$here/patched.sh" "$patched"; }
domicile=$(realpath "$domicile") patched=$(realpath "$patched")

# "inside" is the center's machine. "outside" is everything else: a declared address, undeclared ones, and a listener at each.
inside=dm-in-$$ outside=dm-out-$$ way_in=dmi$$ way_out=dmo$$
declared=192.0.2.10 declared_port=8443 undeclared=203.0.113.9 undeclared_port=443 undeclared6=2001:db8:9::9
folder=$(mktemp -d) started=() log_all=/proc/sys/net/netfilter/nf_log_all_netns logged=0
end() {
  set +e
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null; done
  wait 2>/dev/null
  ip netns del "$inside" 2>/dev/null
  ip netns del "$outside" 2>/dev/null
  [ "$logged" = 0 ] || echo 0 >"$log_all"
  rm -rf "$folder"
}
trap end EXIT
trap 'exit 130' INT TERM
within() { ip netns exec "$inside" "$@"; }

make_namespaces() {
  ip netns add "$inside" && ip netns add "$outside" || fail "no network namespaces here"
  ip link add "$way_in" netns "$inside" type veth peer name "$way_out" netns "$outside"
  # The kernel's own talk about neighbours and routers is kept down, so that what is counted is the program's.
  within sysctl -qw "net.ipv6.conf.$way_in.accept_ra=0" "net.ipv6.conf.$way_in.accept_dad=0" "net.ipv6.conf.$way_in.router_solicitations=0"
  ip netns exec "$outside" sysctl -qw "net.ipv6.conf.$way_out.accept_ra=0" "net.ipv6.conf.$way_out.accept_dad=0"
  ip -n "$inside" addr add 192.0.2.1/24 dev "$way_in"
  ip -n "$inside" addr add 2001:db8:2::1/64 dev "$way_in"
  for address in 192.0.2.2/24 "$declared/24" 198.51.100.7/32 "$undeclared/32" 2001:db8:2::2/64 "$undeclared6/128"; do
    ip -n "$outside" addr add "$address" dev "$way_out"
  done
  ip -n "$inside" link set lo up
  ip -n "$outside" link set lo up
  ip -n "$inside" link set "$way_in" up
  ip -n "$outside" link set "$way_out" up
  ip -n "$inside" route add default via 192.0.2.2
  ip -n "$inside" -6 route add default via 2001:db8:2::2
  ip netns exec "$outside" python3 - "$declared_port" "$undeclared_port" <<'PYTHON' &
import selectors, socket, sys
waiting = selectors.DefaultSelector()
for port in map(int, sys.argv[1:]):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    waiting.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in waiting.select():
        key.fileobj.accept()[0].close()
PYTHON
  started+=($!)
  [ ! -w "$log_all" ] || [ "$(cat "$log_all")" != 0 ] || { echo 1 >"$log_all" && logged=1; }
}

reaches() { # address, port: whether a connection from inside comes about
  within python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2).close()' "$1" "$2" 2>/dev/null
}
# What the rules have counted as undeclared so far.
dropped() {
  within nft list table inet domicile_egress | awk '/comment "undeclared"/ { for (i = 1; i < NF; i++) if ($i == "packets") n += $(i + 1) } END { print n + 0 }'
}
listen() { # name: starts to write down what leaves
  ip netns exec "$outside" tcpdump -i "$way_out" -s 128 -U -w "$folder/$1.pcap" 2>"$folder/$1.tcpdump" &
  capture=$!
  started+=("$capture")
  for _ in $(seq 100); do grep -q 'listening on' "$folder/$1.tcpdump" && return; sleep 0.05; done
  fail "tcpdump does not start: $(cat "$folder/$1.tcpdump")"
}
listened() { # ends the capture
  sleep 1
  kill -INT "$capture"
  wait "$capture" 2>/dev/null || true
  grep -Eq '^0 packets dropped by kernel' "$folder/$capturing.tcpdump" || fail "the capture lost packets: $(cat "$folder/$capturing.tcpdump")"
}
# Packets from inside, but for what machines on one wire say to find each other (ARP, ICMPv6), and what goes to the declared address.
left() { # name, further filter
  tcpdump -n -r "$folder/$1.pcap" "ether src $inside_mac and not arp and not icmp6 ${2:-}" 2>/dev/null
}
to_undeclared() { left "$1" "and not (dst host $declared and tcp dst port $declared_port)"; }

start_demo() { # program, seconds, folder
  local rc=0
  within timeout --kill-after=10 $(($2 + 180)) "$1" demo --for "$2s" --dir "$3" >"$folder/demo.log" 2>&1 || rc=$?
  grep -E '^(Done|[0-9].*acked|.*turned away)' "$folder/demo.log" | tail -n 2 || true
  [ "$rc" = 0 ] || { tail -n 20 "$folder/demo.log"; fail "the demo ended with $rc"; }
}

make_namespaces
inside_mac=$(ip -n "$inside" -o link show "$way_in" | grep -o 'link/ether [0-9a-f:]*' | cut -d' ' -f2)
echo "== A center that declares one address: $declared:$declared_port"
center=$folder/center
"$domicile" init --country CN --center demo-1 --dir "$center" >/dev/null
sed -i "/^\[egress\]/,/^allow/ s|^allow = .*|allow = [{ to = \"$declared:$declared_port\", purpose = \"feed\", country = \"CN\" }]|" "$center/domicile.toml"
grep -q "^allow = .*$declared" "$center/domicile.toml" || fail "domicile.toml has no [egress] allow to set"

echo "== Without rules everything outside is reachable, and the capture sees it"
capturing=before; listen before
for _ in $(seq 50); do if reaches "$declared" "$declared_port"; then break; fi; sleep 0.1; done
reaches "$declared" "$declared_port" || fail "the namespaces are not connected"
for address in "$undeclared" "$undeclared6"; do reaches "$address" "$undeclared_port" || fail "$address is not reachable even without rules"; done
listened
[ "$(to_undeclared before | wc -l)" -gt 0 ] || fail "the capture does not see what leaves"

echo "== The rules of \`domicile egress nft\`"
within "$domicile" egress nft --dir "$center" >"$folder/rules.nft"
cat "$folder/rules.nft"
within nft -f "$folder/rules.nft"
sleep 3 # until the kernel has said what it says of its new addresses
reaches "$declared" "$declared_port" || fail "the rules keep the declared address out"
was=$(dropped)
for address in "$undeclared" "$undeclared6"; do ! reaches "$address" "$undeclared_port" || fail "the rules let $address through"; done
[ "$(dropped)" -gt "$was" ] || fail "the rules do not count what they block"
echo "$declared is let through, $undeclared and $undeclared6 are blocked and counted"

echo "== $run_for s of the demo"
was=$(dropped)
capturing=demo; listen demo
start_demo "$domicile" "$run_for" "$center"
listened
to_undeclared demo >"$folder/strays" || true
[ ! -s "$folder/strays" ] || { head -n 20 "$folder/strays"; fail "packets left to addresses that nobody declared"; }
tried=$(($(dropped) - was))
[ "$tried" = 0 ] || fail "nothing left, but the program tried: the rules blocked $tried packets"
echo "left: $(left demo | wc -l) packets, to undeclared addresses 0; blocked by the rules: 0"

echo "== $patched_for s of a build that was patched to connect to $undeclared:$undeclared_port each second"
# Its own confinement is turned off, where it has one, so that the rules are all that holds it.
was=$(dropped)
capturing=patched; listen patched
DOMICILE_EGRESS_CONFINE=false start_demo "$patched" "$patched_for" "$center"
listened
to_undeclared patched >"$folder/strays" || true
[ ! -s "$folder/strays" ] || { head -n 20 "$folder/strays"; fail "the patched build's packets left"; }
tried=$(($(dropped) - was)) attempts=$(grep -c "trial: $undeclared:$undeclared_port: " "$center/serve.log" || true)
[ "$attempts" -gt 0 ] || fail "the patched build does not try: nothing of a trial stands in serve.log"
! grep -q "trial: .*: connected" "$center/serve.log" || fail "the patched build got through"
[ "$tried" -ge $((patched_for / 3)) ] || fail "the rules counted $tried packets only"
echo "tried $attempts times, left: 0; blocked and counted by the rules: $tried packets"
grep -m 1 "trial: $undeclared" "$center/serve.log" | cut -c1-160
dmesg 2>/dev/null | grep 'domicile-egress: ' | grep "DST=$undeclared" | tail -n 1 | cut -c1-160 || true

if within "$domicile" doctor --dir "$center" --egress 2>/dev/null | grep -qi 'landlock'; then
  echo "== 15 s of the same build with the program's own confinement"
  was=$(dropped)
  : >"$center/serve.log"
  start_demo "$patched" 15 "$center"
  ! grep -q "trial: .*: connected" "$center/serve.log" || fail "the confined build got through"
  grep -m 1 "trial: $undeclared" "$center/serve.log" | cut -c1-160 || true
  echo "reached the rules: $(($(dropped) - was)) packets (0 where this kernel's Landlock knows ports)"
fi
