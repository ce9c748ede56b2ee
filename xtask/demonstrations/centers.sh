# A second center joins a running one, each holds what the other has, through kills and an erasure, and SQL at either answers for both; the first
# is killed for good and the second verifies and places all of it. What is of another country, cluster or network does not join. And the copying by
# itself: cut after each answer of its source, with each object tampered with or missing, from a log that was rolled back or forked.
set -euo pipefail
cargo test -p ledger --test book copying -- --test-threads 1
cargo test -p domicile --test serve centers -- --test-threads 1
