# In a fresh clone `make demo` runs, and the numbers of the query that it prints grow.
set -euo pipefail
repository=$PWD
clone=$(mktemp -d)
trap 'kill "${demo:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$clone"' EXIT
git clone --quiet "$repository" "$clone/domicile"
cd "$clone/domicile"
started=$(date +%s)
make demo FOR=60s &
demo=$!
until [ -S domicile-demo/run/domicile.sock ]; do
  kill -0 "$demo" || { echo "the demo ended before it served"; exit 1; }
  [ $(($(date +%s) - started)) -lt 2700 ] || { echo "no center after 45 minutes"; exit 1; }
  sleep 1
done
echo "cold build and start: $(($(date +%s) - started)) s"
count() {
  target/debug/domicile query --dir domicile-demo --format csv \
    "select source, count(*), count(distinct vehicle) from signals group by 1 order by 1"
}
sleep 10; first=$(count); echo "$first"
sleep 15; second=$(count); echo "$second"
rows() { echo "$1" | awk -F, 'NR > 1 { n += $2 } END { print n + 0 }'; }
[ "$(rows "$second")" -gt "$(rows "$first")" ] || { echo "the table does not grow"; exit 1; }
wait "$demo"
echo "the demo ended by itself; once more from the same folder"
make demo FOR=5s
