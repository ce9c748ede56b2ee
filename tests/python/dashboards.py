"""Asks every query of every dashboard as Grafana sends it, with the time filter written out. Prints a line a panel and fails at the first error."""

import argparse
import datetime
import json
import re
from pathlib import Path

import psycopg


def expanded(sql, begin, end, vehicle):
    """What Grafana makes of its macros (PostgreSQL data source)."""
    sql = re.sub(r"\$__timeFilter\(([a-z_]+)\)", rf"\1 BETWEEN '{begin}' AND '{end}'", sql)
    sql = sql.replace("${vehicle}", vehicle)
    if "$" in sql:
        raise SystemExit(f"a macro that is not known: {sql}")
    return sql


def main():
    parser = argparse.ArgumentParser()
    for name in ("--port", "--token", "--ca", "--metrics", "--filled"):
        parser.add_argument(name, required=True)
    asked = parser.parse_args()
    link = psycopg.connect(host="localhost", port=asked.port, user="grafana", dbname="domicile", password=asked.token,
                           sslmode="verify-full", sslrootcert=asked.ca, connect_timeout=10, autocommit=True)
    now = datetime.datetime.now(datetime.timezone.utc)
    stamp = lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    begin, end = stamp(now - datetime.timedelta(days=2)), stamp(now + datetime.timedelta(days=1))
    metrics, filled, panels = Path(asked.metrics).read_text(), 0, 0
    vehicle = link.execute("select vehicle from vehicles order by 1").fetchone()[0]
    for path in sorted(Path(__file__).resolve().parents[2].joinpath("dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                panels += 1
                if "expr" in target:
                    for name in re.findall(r"domicile_[a-z_]+", target["expr"]):
                        if not re.search(rf"^# TYPE {re.sub('_total$', '', name)} ", metrics, re.M):
                            raise SystemExit(f"{path.name}, {panel['title']}: there is no metric {name}")
                    continue
                try:
                    cursor = link.execute(expanded(target["rawSql"], begin, end, vehicle))
                    rows = cursor.fetchall()
                except psycopg.Error as error:
                    raise SystemExit(f"{path.name}, {panel['title']}: {error}")
                names = [column.name for column in cursor.description]
                if target["format"] == "time_series" and names[0] != "time":
                    raise SystemExit(f"{path.name}, {panel['title']}: a series without time: {names}")
                filled += any(value is not None for row in rows for value in row)
                print(f"{path.name}, {panel['title']}: {len(rows)} rows of {', '.join(names)}", flush=True)
    if filled < int(asked.filled):
        raise SystemExit(f"only {filled} of {panels} panels have something to show")
    print(f"all {panels} panels are answered, {filled} have something to show")


if __name__ == "__main__":
    main()
