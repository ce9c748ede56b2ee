# %% [markdown]
# # A fleet in a notebook
# Over the PostgreSQL port with an analyst's token: `domicile token create --role analyst --name notebook`. Run it as a program, or cell by cell in an editor
# that knows `# %%`. It needs `pip install "psycopg[binary]" polars matplotlib`.

# %%
import os
import sys

import matplotlib
import polars as pl
import psycopg

matplotlib.use("Agg")
import matplotlib.pyplot as plt

link = psycopg.connect(
    host=os.environ.get("DOMICILE_HOST", "localhost"), port=os.environ.get("DOMICILE_PORT", "5433"), dbname="domicile", user="notebook",
    password=os.environ["DOMICILE_TOKEN"], sslmode="verify-full", sslrootcert=os.environ["DOMICILE_CA"], autocommit=True,
)


def frame(sql, *parameters):
    """The rows of a question as a table of polars."""
    cursor = link.execute(sql, parameters or None)
    names = [column.name for column in cursor.description]
    return pl.DataFrame(cursor.fetchall(), schema=names, orient="row", infer_schema_length=None)


# %% [markdown]
# ## What did the fleet do?

# %%
trips = frame("select vehicle, started_at, ended_at, distance, energy, speed_max from trips order by started_at")
print(trips.describe())
print(frame("select state, count(distinct vehicle) as vehicles from states group by state order by state"))

# %% [markdown]
# ## How much energy does a kilometre take?

# %%
consumption = trips.drop_nulls("energy").with_columns((pl.col("energy") / pl.col("distance") * 100).alias("kwh_per_100_km"))
print(consumption.select("vehicle", "distance", "kwh_per_100_km").head(10))

# %% [markdown]
# ## Was anything lost? Most find out by accident.

# %%
print(frame("select vehicle, day, gaps, missing, longest, late_rows, lost_signals from gaps order by missing desc limit 10"))

# %%
speeds = frame("select value as speed from signals where signal = %s and value is not null limit 100000", "Vehicle.Speed")
figure, axes = plt.subplots(figsize=(8, 4))
axes.hist(speeds["speed"].to_list(), bins=40)
axes.set(xlabel="speed, km/h", ylabel="samples", title=f"{len(speeds)} samples of {trips['vehicle'].n_unique()} vehicles that drove")
target = sys.argv[1] if len(sys.argv) > 1 else "fleet.png"
figure.savefig(target)
print("written to", target)
