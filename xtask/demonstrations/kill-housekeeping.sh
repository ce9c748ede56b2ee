# A hundred times kill -9 (ROUNDS shortens) while vehicles send and a chore of housekeeping is under way: putting files together, taking out
# what is over its term, erasing a vehicle. libfaketime lets days pass from round to round, so that terms end. After each kill the ledger must
# verify; in the end every acknowledged frame is in SQL exactly once, every erasure is done, and nothing of an erased vehicle is seen.
set -euo pipefail
make --silent .venv/installed >/dev/null
cargo build --workspace --bins
faketime=$(.venv/bin/python -c "import libfaketime, pathlib; print(next(pathlib.Path(libfaketime.__file__).parent.rglob('libfaketime.so.1')))")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo "-300d" >"$folder/clock"
env LD_PRELOAD="$faketime" FAKETIME_TIMESTAMP_FILE="$folder/clock" FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1 \
  DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1 \
  target/debug/domicile bench kill-loop --rounds "${ROUNDS:-100}" --housekeeping "$folder/clock" --under "$folder"
