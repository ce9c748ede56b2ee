"""Asks a center's PostgreSQL port as psycopg, DBeaver, Metabase and Grafana do. Prints a line a check and fails at the first that does not hold."""

import argparse
import datetime
import threading
import time

import psycopg

TABLES = [
    "battery", "charges", "daily", "events", "frames", "gaps", "owners", "positions", "sales", "services", "signals", "states", "trips",
    "vehicles",
]

# What DBeaver and the JDBC driver ask when they open a database, and Grafana's and Metabase's editors.
CATALOG = [
    "SELECT current_database(), current_schema(), version()",
    "SELECT db.oid, db.datname FROM pg_catalog.pg_database db WHERE datallowconn ORDER BY db.datname",
    "SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n ORDER BY nspname",
    "SELECT t.oid, t.typname, t.typtype FROM pg_catalog.pg_type t WHERE t.typname IN ('int8', 'text', 'timestamptz')",
    "SELECT c.oid, c.relname, c.relkind FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = 'public' AND c.relkind IN ('r', 'v', 'm', 'f', 'p') ORDER BY c.relname",
    "SELECT a.attname, a.attnum, a.atttypid FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid "
    "WHERE c.relname = 'signals' AND a.attnum > 0 ORDER BY a.attnum",
    "SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name",
    "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'signals'",
    "SHOW TRANSACTION ISOLATION LEVEL",
    "SHOW server_version",
]


def connect(arguments, password=None):
    return psycopg.connect(
        host=arguments.host, port=arguments.port, user="anybody", dbname="domicile", password=password or arguments.token,
        sslmode="verify-full", sslrootcert=arguments.ca, connect_timeout=10,
    )


def check(what, holds):
    if not holds:
        raise SystemExit(f"does not hold: {what}")
    print(what, flush=True)


def refused(connection, sql, word):
    try:
        connection.execute(sql).fetchall()
    except psycopg.Error as error:
        connection.rollback()
        check(f"refused: {sql[:60]}", word in str(error))
        return
    raise SystemExit(f"was answered: {sql}")


def main():
    parser = argparse.ArgumentParser()
    for name in ["host", "port", "ca", "token"]:
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rows", type=int, required=True, help="rows of Vehicle.Speed that are there")
    arguments = parser.parse_args()

    with connect(arguments) as connection:
        rows = "select count(*) from signals where signal = %s"
        check("a parameter", connection.execute(rows, ("Vehicle.Speed",)).fetchone() == (arguments.rows,))
        for _ in range(8):
            # From the fifth time on psycopg prepares the statement.
            count = connection.execute(rows, ("Vehicle.Speed",)).fetchone()
        check("a prepared statement", count == (arguments.rows,))
        cursor = connection.cursor(binary=True)
        row = cursor.execute(
            "select vehicle, time, value, quality from signals where signal = 'Vehicle.Speed' and value > %s order by time limit 1", (0.5,)
        ).fetchone()
        check("binary rows", isinstance(row[0], str) and isinstance(row[1], datetime.datetime) and isinstance(row[2], float))
        for sql in CATALOG:
            check(f"answered: {sql[:60]}", len(connection.execute(sql).fetchall()) > 0)
        listed = connection.execute(CATALOG[4]).fetchall()
        print("lists", [name for _, name, _ in listed], flush=True)
        check("no table is listed that is closed to an analyst", {name for _, name, _ in listed} <= set(TABLES) - {"frames", "owners", "sales", "services"})
        refused(connection, "select count(*) from frames", "not open to you")
        for sql in ["create table x (a int)", "insert into signals values (1)", "delete from signals", "copy signals to '/tmp/x'",
                    "drop table signals", "update signals set value = 0"]:
            refused(connection, sql, "only SELECT")
        for sql in ["create external table t stored as csv location '/etc/passwd'", "select * from '/etc/passwd'", 'select * from "/etc/passwd"']:
            refused(connection, sql, "the query")
        refused(connection, "select pg_read_file('/etc/passwd')", "")

    with connect(arguments) as connection:
        slow = "select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b where a.value % 7 = b.value % 5"
        threading.Timer(1.0, connection.cancel).start()
        begun = time.monotonic()
        try:
            connection.execute(slow).fetchone()
            raise SystemExit("the endless query was answered")
        except psycopg.errors.QueryCanceled:
            check("a query is cancelled", time.monotonic() - begun < 10)
        connection.rollback()
        check("and the next one answered", connection.execute("select 1").fetchone() == (1,))

    for password in ["", "domicile_AAAAAAAAAAAA_BBBB"]:
        try:
            connect(arguments, password or "x")
            raise SystemExit("a wrong token is let in")
        except psycopg.OperationalError as error:
            check("a wrong token is turned away", "unknown, expired or revoked" in str(error))
    try:
        psycopg.connect(host=arguments.host, port=arguments.port, user="a", dbname="domicile", password=arguments.token, sslmode="disable")
        raise SystemExit("a connection in the clear is let in")
    except psycopg.OperationalError as error:
        check("no token in the clear", "never sent in the clear" in str(error))


if __name__ == "__main__":
    main()
