"""Reads the lake's tables with programs that are not ours and holds them against what was written.

Usage: read_delta.py FOLDER FRAMES, where FOLDER holds signals, positions and events, written by the test
`deltalake_and_polars_read_the_same_rows` of crates/lake from FRAMES frames.
"""

import datetime
import sys

import polars as pl
from deltalake import DeltaTable

folder, frames = sys.argv[1], int(sys.argv[2])
expected = {"signals": 4 * frames, "positions": frames, "events": frames // 2}

for name, rows in expected.items():
    table = DeltaTable(f"{folder}/{name}")
    protocol = table.protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2), protocol
    assert table.transaction_version("shanghai-1/gw") == frames, table.transaction_version("shanghai-1/gw")
    assert table.metadata().name == name
    fields = {field.name: field for field in table.schema().fields}
    assert "comment" in fields["vehicle"].metadata, fields["vehicle"].metadata
    assert fields["time"].type.type == "timestamp", fields["time"].type

    frame = pl.read_delta(f"{folder}/{name}")
    assert frame.height == rows, (name, frame.height, rows)
    assert frame["time"].dtype == pl.Datetime("us", "UTC"), frame["time"].dtype
    assert frame["vehicle"].dtype == pl.String

    # What the log says of the files is what the files hold.
    adds = pl.DataFrame(table.get_add_actions(flatten=True))
    assert adds["num_records"].sum() == rows
    for column in ("vehicle", "time", "received_at"):
        assert adds[f"min.{column}"].min() <= frame[column].min() <= frame[column].max() <= adds[f"max.{column}"].max()

    # Choosing files by the log's statistics finds the same rows as reading all.
    middle = frame["time"].sort()[rows // 2]
    lazy = pl.scan_delta(f"{folder}/{name}").filter(pl.col("time") >= middle).collect()
    assert lazy.height == frame.filter(pl.col("time") >= middle).height

    # The log of a table that only we write is one that others can go on with.
    table.create_checkpoint()
    table.cleanup_metadata()
    assert DeltaTable(f"{folder}/{name}").version() == table.version()
    print(f"{name}: version {table.version()}, {rows} rows read by deltalake and polars")

signals = pl.read_delta(f"{folder}/signals")
one = signals.filter(pl.col("signal").str.ends_with("Part01")).sort("time")
assert one["value"].to_list() == [float(number) for number in range(1, frames + 1)]
start = datetime.datetime(2026, 11, 23, 10, tzinfo=datetime.timezone.utc)
assert one["time"][0] == start + datetime.timedelta(milliseconds=100)
assert signals.filter(pl.col("text").is_not_null())["text"].unique().to_list() == ["Charging"]
assert signals["value"].null_count() == frames
assert set(signals["quality"].unique()) == {"valid", "invalid"}
