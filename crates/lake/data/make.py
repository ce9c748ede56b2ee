"""Makes provinces.tsv and cities.tsv from two files of Natural Earth (public domain), as GeoJSON.

Usage: make.py NE_50M_ADMIN_1_STATES_PROVINCES NE_10M_POPULATED_PLACES
Needs the package opencc-python-reimplemented: some names are in traditional characters.
"""

import json
import sys
from pathlib import Path

from opencc import OpenCC

SIMPLIFIED = OpenCC("t2s")
HERE = Path(__file__).parent
# Cities are thousandths of a degree, some 100 m. Borders are hundredths: they are drawn at 1 : 50,000,000 and no more exact than a few kilometres.
SCALE = 1000
BORDER_SCALE = 100
# A Chinese name that names a part of the place, or a town in it, is left out.
PARTS = ("区", "镇", "县", "乡", "街道")


def clean(text):
    return " ".join((text or "").split())


def rings(geometry):
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    for polygon in polygons:
        for ring in polygon:
            points = []
            for longitude, latitude in ring:
                point = (round(longitude * BORDER_SCALE), round(latitude * BORDER_SCALE))
                if not points or points[-1] != point:
                    points.append(point)
            if len(points) > 3:
                yield points


def is_inside(rings, x, y):
    inside = False
    for ring in rings:
        for (x1, y1), (x2, y2) in zip(ring, ring[1:]):
            if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
                inside = not inside
    return inside


def drawn_as(ring):
    """The first point, and each further one as its difference from the one before."""
    steps = [ring[0]] + [(x - x0, y - y0) for (x0, y0), (x, y) in zip(ring, ring[1:])]
    return " ".join(f"{x},{y}" for x, y in steps)


provinces = []
for feature in json.loads(Path(sys.argv[1]).read_text())["features"]:
    facts = {key.lower(): value for key, value in feature["properties"].items()}
    provinces.append((facts["iso_3166_2"], clean(facts["name"]), clean(facts.get("name_zh")), list(rings(feature["geometry"]))))
provinces.sort(key=lambda province: province[0])
with (HERE / "provinces.tsv").open("w") as file:
    for code, name, chinese, shape in provinces:
        drawn = ";".join(drawn_as(ring) for ring in shape)
        file.write(f"{code}\t{name}\t{chinese or name}\t{drawn}\n")

drawn = {code[:2] for code, *_ in provinces}
cities = []
for feature in json.loads(Path(sys.argv[2]).read_text())["features"]:
    facts = {key.lower(): value for key, value in feature["properties"].items()}
    country, x, y = facts["iso_a2"], round(facts["longitude"] * SCALE), round(facts["latitude"] * SCALE)
    # Where provinces are drawn, the place belongs to the one that it lies in; elsewhere to what Natural Earth says.
    within = next((code for code, _, _, shape in provinces if code[:2] == country and is_inside(shape, x * BORDER_SCALE / SCALE, y * BORDER_SCALE / SCALE)), "")
    province = within if country in drawn else clean(facts["adm1name"])
    if not country or country.startswith("-") or not province:
        continue
    name, chinese = clean(facts["name"]), SIMPLIFIED.convert(clean(facts.get("name_zh")))
    cities.append((y, x, country, province, name, name if not chinese or chinese.endswith(PARTS) else chinese))
cities.sort()
with (HERE / "cities.tsv").open("w") as file:
    for y, x, country, province, name, chinese in cities:
        file.write(f"{y}\t{x}\t{country}\t{province}\t{name}\t{chinese}\n")
print(len(provinces), "provinces", len(cities), "cities")
