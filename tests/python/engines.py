"""Reads the lake's tables, and copies of them, with DuckDB, Polars and delta-rs, and holds rows and sums against what our SQL said.

Usage: engines.py LAKE COPIES EXPECTED [ENGINE...], where LAKE holds the Delta tables, COPIES has a folder a role and in it one a table as
`domicile lake export-files` writes them, and EXPECTED is a JSON file {"lake": {table: numbers}, "copies": {role: {table: numbers}}} with
numbers such as {"rows": 20, "vehicles": 1, "sum(value)": 3.5}. Prints a line an engine and table, and fails at the first that differs.
"""

import hashlib
import json
import math
import os
import stat
import sys
from pathlib import Path

import duckdb
import polars as pl
from deltalake import DeltaTable

lake, copies, expected = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text())


def same(what, got, wanted):
    assert got.keys() == wanted.keys(), (what, got, wanted)
    for name, number in wanted.items():
        other = got[name]
        assert (number is None) == (other is None), (what, name, other, number)
        assert number is None or math.isclose(other, number, rel_tol=1e-9, abs_tol=1e-9), (what, name, other, number)
    print(what, *(f"{name}={number}" for name, number in wanted.items()), flush=True)


def columns(wanted):
    return [name[4:-1] for name in wanted if name.startswith("sum(")]


def by_duckdb(files, wanted):
    sums = "".join(f", sum({column})" for column in columns(wanted))
    sql = f"select count(*), count(distinct vehicle){sums} from read_parquet(?)"
    return dict(zip(wanted, duckdb.execute(sql, [files]).fetchone(), strict=True))


def by_polars(frame, wanted):
    sums = [pl.col(column).sum() if frame.collect_schema()[column] != pl.Null else pl.lit(None) for column in columns(wanted)]
    counted = frame.select(pl.len().alias("rows"), pl.col("vehicle").n_unique().alias("vehicles"), *sums).collect().row(0)
    numbers = dict(zip(wanted, counted, strict=True))
    # A sum of nothing is 0 to Polars and null to SQL.
    for column in columns(wanted):
        if frame.select(pl.col(column).count()).collect().item() == 0:
            numbers[f"sum({column})"] = None
    return numbers


for table, wanted in expected["lake"].items():
    delta = DeltaTable(str(lake / table))
    # The snapshot's files, and not the folder's: a folder may hold files that no commit names.
    same(f"DuckDB {duckdb.__version__} over the snapshot's files, {table}:", by_duckdb(delta.file_uris(), wanted), wanted)
    same(f"Polars {pl.__version__} scan_delta, {table}:", by_polars(pl.scan_delta(str(lake / table)), wanted), wanted)
    adds = pl.DataFrame(delta.get_add_actions(flatten=True))
    assert adds["num_records"].sum() == wanted["rows"], (table, adds["num_records"].sum())
    print(f"delta-rs: version {delta.version()}, {len(delta.file_uris())} files, {table}", flush=True)

TYPES = {
    "string": "VARCHAR", "timestamp": "TIMESTAMP WITH TIME ZONE", "double": "DOUBLE", "boolean": "BOOLEAN", "long": "BIGINT", "integer": "INTEGER",
}
for role, tables in expected["copies"].items():
    for table, wanted in tables.items():
        folder = copies / role / table
        manifest = json.loads((folder / "manifest.json").read_text())
        assert (manifest["format"], manifest["table"], manifest["role"]) == (1, table, role), manifest
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        files = []
        for file in manifest["files"]:
            path = folder / file["path"]
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600, path
            assert path.stat().st_size == file["bytes"]
            assert hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"], path
            assert pl.scan_parquet(path).select(pl.len()).collect().item() == file["rows"]
            files.append(str(path))
        assert {entry.name for entry in folder.iterdir()} == {"manifest.json"} | {file["path"] for file in manifest["files"]}
        assert manifest["rows"] == wanted["rows"]
        shown = duckdb.execute("describe select * from read_parquet(?)", [files]).fetchall()
        assert [(row[0], row[1]) for row in shown] == [(column["name"], TYPES[column["type"]]) for column in manifest["columns"]], shown
        same(f"DuckDB over {role}'s copy, {table}:", by_duckdb(files, wanted), wanted)
        same(f"Polars over {role}'s copy, {table}:", by_polars(pl.scan_parquet(files), wanted), wanted)
        if role == "analyst" and table == "positions":
            assert manifest["places"] == "0.02", manifest
            cells = pl.scan_parquet(files).select((pl.col("latitude") * 100).round(6) % 2, (pl.col("longitude") * 100).round(6) % 2).collect()
            assert set(cells.rows()) == {(1.0, 1.0)}, "every place is the centre of a cell"
print("every engine reads the same")
