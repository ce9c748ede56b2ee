"""Asks DuckDB the questions of `domicile bench query` over the same files, and holds its answers against ours.

Reads one JSON object from standard input:
{"lake": folder of the Delta tables, "derived": folder of the derived tables, "copies": folder with a folder of Parquet files a table,
 "threads": n, "rounds": n, "questions": [{"name": ..., "sql": ..., "rows": [[cell, ...], ...]}, ...]}
and prints one: {"version": ..., "questions": [{"name": ..., "seconds": the least of the rounds, "differs": null or what differs}, ...]}.
Needs the packages duckdb and deltalake.
"""

import json
import math
import sys
import time
from pathlib import Path

import duckdb
from deltalake import DeltaTable

task = json.load(sys.stdin)
con = duckdb.connect()
con.execute(f"SET threads = {task['threads']}")
con.execute("SET TimeZone = 'UTC'")


def view(name, files):
    names = ", ".join("'" + str(file).removeprefix("file://").replace("'", "''") + "'" for file in files)
    con.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{names}])")


for table in ("signals", "positions", "events"):
    files = DeltaTable(str(Path(task["lake"]) / table)).file_uris()
    if files:
        view(table, files)
for folder in (Path(task["derived"]), Path(task["copies"])):
    for table in sorted(folder.glob("[a-z]*")):
        view(table.name, sorted(table.glob("*.parquet")))


def differs(ours, theirs):
    if len(ours) != len(theirs):
        return f"{len(ours)} rows and {len(theirs)} rows"
    for number, (one, other) in enumerate(zip(ours, theirs)):
        for a, b in zip(one, other, strict=True):
            if isinstance(a, (int, float)) and isinstance(b, (int, float)):
                same = math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
            else:
                same = a == b
            if not same:
                return f"row {number}: {one} and {list(other)}"
    return None


answers = []
for question in task["questions"]:
    best, rows = math.inf, []
    for _ in range(task["rounds"]):
        began = time.monotonic()
        rows = con.execute(question["sql"]).fetchall()
        best = min(best, time.monotonic() - began)
    answers.append({"name": question["name"], "seconds": best, "differs": differs(question["rows"], rows)})
json.dump({"version": duckdb.__version__, "questions": answers}, sys.stdout)
