# A running center takes a CSV file of 100,000 sales in under 10 s, a query joins them with `signals`, and after the registry's SQLite
# file was deleted the list of vehicles is the same.
set -euo pipefail
[ -n "${DOMICILE:-}" ] || { cargo build --workspace --bins; DOMICILE=target/debug/domicile; }
folder=$(mktemp -d)
trap 'kill "${center:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
export DOMICILE_TESLA_LISTEN=127.0.0.1:0 DOMICILE_GBT32960_LISTEN=127.0.0.1:0
export DOMICILE_GBT32960_TLS_LISTEN=127.0.0.1:0 DOMICILE_HTTP_LISTEN=127.0.0.1:0
serve() {
  : >"$folder/out"
  "$DOMICILE" serve --dir "$folder/center" >"$folder/out" 2>"$folder/log" &
  center=$!
  until grep -qx ready "$folder/out"; do
    kill -0 "$center" 2>/dev/null || { cat "$folder/log"; exit 1; }
    sleep 0.1
  done
}
"$DOMICILE" init --country CN --center shanghai-1 --dir "$folder/center" >/dev/null
awk 'BEGIN { print "vin,country"; for (i = 0; i < 100000; i++) printf "LRW3E7FA8MC%06d,CN\n", i }' >"$folder/fleet.csv"
awk 'BEGIN { print "vin,sold_at,dealer,price"
  for (i = 0; i < 100000; i++) printf "LRW3E7FA8MC%06d,2026-01-%02d,shop %d,%d\n", i, i % 28 + 1, i % 500, 150000 + i }' >"$folder/sales.csv"
serve
"$DOMICILE" vehicle import "$folder/fleet.csv" --dir "$folder/center"
started=$(date +%s%N)
"$DOMICILE" records import --kind sale "$folder/sales.csv" --dir "$folder/center"
took=$((($(date +%s%N) - started) / 1000000))
echo "100000 sales imported in $took ms"
[ "$took" -lt 10000 ] || { echo "that is more than 10 s"; exit 1; }
"$DOMICILE" query --dir "$folder/center" "select dealer, count(distinct sales.vehicle) as sold, count(signal) as signals
  from sales left join signals on sales.vehicle = signals.vehicle group by dealer order by dealer limit 3"
"$DOMICILE" vehicle list --dir "$folder/center" >"$folder/before"
kill "$center"
wait "$center" || true
rm -f "$folder"/center/registry/registry.sqlite*
started=$(date +%s%N)
serve
echo "start without the SQLite file: $((($(date +%s%N) - started) / 1000000)) ms"
"$DOMICILE" vehicle list --dir "$folder/center" >"$folder/after"
cmp "$folder/before" "$folder/after"
echo "the same list of $(wc -l <"$folder/after") vehicles"
