"""Reads every version of a Delta table that its log still gives, and fails where one shows rows of before an instant.

Usage: time_travel.py TABLE UNTIL, with UNTIL as RFC 3339. Prints a line a version.
"""

import sys
from datetime import datetime

import polars as pl
from deltalake import DeltaTable

table, until = sys.argv[1], datetime.fromisoformat(sys.argv[2])
newest = DeltaTable(table).version()
seen = 0
for version in range(newest + 1):
    try:
        files = DeltaTable(table, version=version)
        rows = pl.scan_delta(files).filter(pl.col("received_at") < until).select(pl.len()).collect().item()
    except Exception as gone:  # Each library that is asked has errors of its own; what counts is that no rows come.
        print(f"  version {version}: not there ({type(gone).__name__})")
        continue
    print(f"  version {version}: {rows} rows of before")
    seen += rows
sys.exit(f"{seen} rows are still shown" if seen else 0)
