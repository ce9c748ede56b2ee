# `make test` passes, and its last line counts the tests.
set -euo pipefail
make test
