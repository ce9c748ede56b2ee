# DuckDB, Polars and delta-rs read the Delta tables and a role's copies of them, and find the rows and sums that our SQL finds. With
# DOMICILE_SPARK_PYTHON naming a Python that has pyspark and delta-spark, Spark does too.
set -euo pipefail
make .venv/installed
cargo test --workspace --test serve -- --nocapture engines
