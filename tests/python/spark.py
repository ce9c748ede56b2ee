"""As engines.py, with Spark: pyspark with delta-spark, whose jars PYSPARK_SUBMIT_ARGS or SPARK_JARS (paths with commas) name."""

import json
import math
import os
import sys
from pathlib import Path

from pyspark.sql import SparkSession

lake, copies, expected = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text())
builder = SparkSession.builder.master("local[1]").appName("engines").config("spark.ui.enabled", "false")
builder = builder.config("spark.sql.session.timeZone", "UTC").config("spark.jars", os.environ["SPARK_JARS"])
builder = builder.config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
builder = builder.config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
spark = builder.getOrCreate()
spark.sparkContext.setLogLevel("ERROR")


def check(what, frame, wanted):
    frame.createOrReplaceTempView("t")
    sums = "".join(f", {name}" for name in wanted if name.startswith("sum("))
    got = tuple(spark.sql(f"select count(*), count(distinct vehicle){sums} from t").first())
    for (name, number), other in zip(wanted.items(), got, strict=True):
        assert (number is None) == (other is None), (what, name, other, number)
        assert number is None or math.isclose(other, number, rel_tol=1e-9), (what, name, other, number)
    print(what, *(f"{name}={number}" for name, number in wanted.items()), flush=True)


for table, wanted in expected["lake"].items():
    check(f"Spark {spark.version} with Delta, {table}:", spark.read.format("delta").load(str(lake / table)), wanted)
for role, tables in expected["copies"].items():
    for table, wanted in tables.items():
        check(f"Spark over {role}'s copy, {table}:", spark.read.parquet(str(copies / role / table / "*.parquet")), wanted)
print("Spark reads the same")
