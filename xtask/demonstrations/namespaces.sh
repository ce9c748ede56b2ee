#!/usr/bin/env bash
# Three centers, each in a network namespace with an address of its own, under load and acknowledging from two: the third joins, one is killed with
# kill -9 and comes back, the link between two is cut with nftables for CUT_FOR (2m), one is drained and its vehicles move, one is lost for good with
# its disk. At each that is left every acknowledged frame is in SQL exactly once, logs and copies verify, the placement report says what the disks
# say, and a capture on every link shows no packet to any other address.
#
# Needs root; nftables, tcpdump and iproute2 are installed where they are missing. Every address lies inside the namespaces. The kernel of many
# machines has no netem, so delay and loss (DELAY, 15ms each way, one piece in a hundred sent again) come from proxies between the centers.
set -euo pipefail
cd "$(dirname "$0")/../.."
fail() { echo "FAILED: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "network namespaces need root: sudo -E bash $0"
missing=()
for pair in nft:nftables tcpdump:tcpdump ip:iproute2; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
cargo build --workspace --bins

# The road: where vehicles drive and the links between the centers' machines end.
road=dm-road-$$ machines=(dm-a-$$ dm-b-$$ dm-c-$$) folder=$(mktemp -d) captures=()
end() {
  set +e
  for pid in "${captures[@]}"; do kill "$pid" 2>/dev/null; done
  wait 2>/dev/null
  for name in "${machines[@]}" "$road"; do ip netns del "$name" 2>/dev/null; done
  rm -rf "$folder"
}
trap end EXIT
trap 'exit 130' INT TERM
on_road() { ip netns exec "$road" "$@"; }

ip netns add "$road" || fail "no network namespaces here"
ip -n "$road" link set lo up
places=()
for number in 1 2 3; do
  machine=${machines[$((number - 1))]}
  ip netns add "$machine"
  ip link add eth0 netns "$machine" type veth peer name "link$number" netns "$road"
  # The kernel's own talk about neighbours and routers is IPv6's alone here: without it the capture has the program's packets and ARP.
  ip netns exec "$machine" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
  on_road sysctl -qw net.ipv6.conf.all.disable_ipv6=1
  ip -n "$machine" addr add "10.77.$number.2/24" dev eth0
  ip -n "$road" addr add "10.77.$number.1/24" dev "link$number"
  ip -n "$machine" link set lo up
  ip -n "$machine" link set eth0 up
  ip -n "$road" link set "link$number" up
  ip -n "$machine" route add default via "10.77.$number.1"
  ip netns exec "$road" tcpdump -i "link$number" -s 96 -U -w "$folder/link$number.pcap" 2>"$folder/link$number.tcpdump" &
  captures+=("$!")
  places+=(--place "$machine=10.77.$number.2=10.77.$number.1")
done
for number in 1 2 3; do
  for _ in $(seq 100); do grep -q 'listening on' "$folder/link$number.tcpdump" && break; sleep 0.05; done
  grep -q 'listening on' "$folder/link$number.tcpdump" || fail "tcpdump does not start: $(cat "$folder/link$number.tcpdump")"
done

# The second center reaches the third at its way, 10.77.3.1, and the third the second at 10.77.2.1: what is dropped between them.
cut='nft add table inet cut && nft "add chain inet cut in { type filter hook input priority 0; }" &&
  nft add rule inet cut in ip saddr 10.77.2.2 ip daddr 10.77.3.1 counter drop && nft add rule inet cut in ip saddr 10.77.3.2 ip daddr 10.77.2.1 counter drop'
heal='nft list table inet cut | grep -E "packets [1-9]" >/dev/null && nft delete table inet cut'
on_road target/debug/domicile bench namespaces "${places[@]}" --cut "$cut" --heal "$heal" --cut-for "${CUT_FOR:-2m}" \
  --delay "${DELAY:-15ms}" --under "$folder"

sleep 1
kill -INT "${captures[@]}"
wait "${captures[@]}" 2>/dev/null || true
captures=()
all=0
for number in 1 2 3; do
  grep -Eq '^0 packets dropped by kernel' "$folder/link$number.tcpdump" || fail "the capture lost packets: $(cat "$folder/link$number.tcpdump")"
  packets=$(tcpdump -n -r "$folder/link$number.pcap" 2>/dev/null | wc -l)
  elsewhere=$(tcpdump -n -r "$folder/link$number.pcap" 'not arp and not (src net 10.77.0.0/16 and dst net 10.77.0.0/16)' 2>/dev/null | wc -l)
  [ "$packets" -gt 1000 ] || fail "the capture of link $number has $packets packets: it did not see the traffic"
  [ "$elsewhere" = 0 ] || { tcpdump -n -r "$folder/link$number.pcap" 'not arp and not (src net 10.77.0.0/16 and dst net 10.77.0.0/16)' 2>/dev/null | head; fail "packets of other addresses on link $number"; }
  all=$((all + packets))
done
echo "The captures have $all packets, none of them from or to an address outside of the three machines and the road between them."
