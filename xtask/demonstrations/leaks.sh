# The self-test passes; and a build that was patched to log a vehicle's VIN fails it, by naming the log.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cargo build --workspace --bins
target/debug/domicile selftest leaks --under target
patched=target/patched/domicile
bash "$here/patched.sh" "$patched"
# One of the VINs that the self-test plants: the patched build logs it.
export TRIAL_VIN=LDMS1M0050T000000
if "$patched" selftest leaks --under target | tee target/patched/leaks; then
  echo "the patched build passed"
  exit 1
fi
grep -q '^FAIL  logs, at the level of debugging .*a VIN' target/patched/leaks
