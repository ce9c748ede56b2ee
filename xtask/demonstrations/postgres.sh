# Clients of others ask over the PostgreSQL protocol: psql, and psycopg with parameters, prepared statements and binary rows, what DBeaver, the
# JDBC driver, Grafana and Metabase ask of the catalog, what must be refused, and a query that is cancelled.
set -euo pipefail
cargo test --workspace --test serve -- --nocapture postgres
