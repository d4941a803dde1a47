"""Write `fiona.gpkg` and `geopandas.gpkg`, stored compressed beside this file: neither library is a dependency.

`uv run --no-project --with fiona --with geopandas tests/odd/write_others.py FOLDER`, then `gzip -9n` each.
"""

import datetime as dt
import sys
from pathlib import Path

import fiona
import geopandas
import pandas as pd
import shapely

WARSAW, KRAKOW = shapely.Point(21.0, 52.2), shapely.Point(19.9, 50.1)
LAEA = "+proj=laea +lat_0=52 +lon_0=20 +x_0=0 +y_0=0 +ellps=GRS80 +units=m +no_defs"


def by_fiona(path: Path) -> None:
    """Types of its schema, geometries of all types with heights, a CRS without a code; a second layer."""
    properties = {
        "name": "str:20", "short": "int32", "long": "float:19.0", "much": "float:24.15", "truth": "bool", "day": "date",
        "moment": "datetime", "bytes": "bytes", "ąę ć": "str",
    }  # fmt: skip
    rows = [
        (shapely.Point(21.0, 52.2, 100.5), (
            "Warsaw", -1, 2.0**53, 0.1, True, "2023-05-01", "2023-05-01T10:00:00.250+02:00", b"\0\xff", "ż",
        )),
        (shapely.MultiPolygon([shapely.box(19, 50, 20, 51)]), ("Kraków", *[None] * 8)),
        (None, ("nowhere", 2**31 - 1, -(2.0**62), float("inf"), False, "0001-01-01", "9999-12-31T23:59:59", b"", "")),
    ]  # fmt: skip
    schema = {"geometry": "Unknown", "properties": properties}
    with fiona.open(path, "w", driver="GPKG", layer="of fiona", schema=schema, crs="EPSG:4326") as layer:
        for outline, values in rows:
            geometry = None if outline is None else shapely.geometry.mapping(outline)
            layer.write({"geometry": geometry, "properties": dict(zip(properties, values, strict=True))})
    schema = {"geometry": "3D LineString", "properties": {}}
    with fiona.open(path, "w", driver="GPKG", layer="lines", schema=schema, crs=LAEA) as layer:
        layer.write({"geometry": {"type": "LineString", "coordinates": [(0, 0, 1), (1000, 0, 2)]}, "properties": {}})


def by_geopandas(path: Path) -> None:
    """Types of pandas, a written index, an empty geometry; a layer without a CRS, and one with northings first."""
    frame = geopandas.GeoDataFrame(
        {
            "name": pd.Categorical(["Warsaw", "Kraków", None]),
            "whole": pd.array([1, None, 2**53 + 1], dtype="Int64"),
            "small": pd.array([1, 2, 3], dtype="uint8"),
            "much": [0.1, float("nan"), float("-inf")],
            "truth": pd.array([True, None, False], dtype="boolean"),
            "moment": pd.to_datetime(["2023-05-01T10:00:00.250", None, "1900-01-01"], format="ISO8601").tz_localize(
                "Europe/Warsaw"
            ),
            "day": [dt.date(2023, 5, 1), None, dt.date(1, 1, 1)],
            "fid_": [7, 7, 7],
            "limit": ["a", "b", "c"],
        },
        index=pd.Index(["x/y", "x/y", "z"], name="key"),
        geometry=[WARSAW, shapely.MultiPoint([KRAKOW, WARSAW]), shapely.Point()],
        crs="EPSG:4326",
    )
    frame.to_file(path, layer="of geopandas", driver="GPKG", index=True)
    frame[["limit", "geometry"]].set_crs(None, allow_override=True).to_file(path, layer="no system", driver="GPKG")
    frame[["limit", "geometry"]].to_crs("EPSG:2180").to_file(path, layer="northing first", driver="GPKG")


by_fiona(Path(sys.argv[1], "fiona.gpkg"))
by_geopandas(Path(sys.argv[1], "geopandas.gpkg"))
