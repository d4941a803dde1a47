"""Pages of items of a GeoPackage, of 10,000 and of 900,000 polygons: milliseconds of CPU in process."""

import io
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import shapely

from plugins.crs import Box, crs_of
from plugins.features import ItemQuery
from plugins.geopackage import GeoPackageProvider
from products.vector.cql import Filter, read_text
from products.vector.geopackage import write_geopackage
from products.vector.layer import Column, Layer
from products.vector.query import Position, Selection

_SMALL, _LARGE = 10_000, 900_000
_CORNERS = 24
_METRES = 167.0
_BOX = Box((4_020_000, 3_020_000, 4_120_000, 3_120_000), crs_of(3035))
"""A box of 100 km, with 360,000 of the large layer's polygons."""
_TIMES = 7


def measure() -> None:
    """Print the first time, which counts the layer, and the median of the others."""
    with tempfile.TemporaryDirectory() as folder:
        for rows in (_SMALL, _LARGE):
            path = Path(folder, f"{rows}.gpkg")
            write_layer(path, rows)
            for title, query in _queries(rows).items():
                provider = GeoPackageProvider({"name": "items", "type": "feature", "data": str(path)}).now()
                first, *others = (_milliseconds(provider, query) for _ in range(_TIMES))
                print(f"{rows:9,} rows, {title:32} first {first:8.1f} median {statistics.median(others):8.1f} ms")


def write_layer(path: Path, rows: int) -> None:
    """Write a layer of polygons of 25 points in EPSG:3035, in rows from south to north."""
    columns = (Column("class_code", "INTEGER"), Column("class_name", "TEXT"), Column("area_m2", "REAL"))
    rng, side = np.random.default_rng(1), int(rows**0.5) + 1
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    with write_geopackage(path, Layer("cover", 3035, columns)) as writer:
        for start in range(0, rows, 5_000):
            keys = np.arange(start, min(rows, start + 5_000))
            middles = np.column_stack((4e6 + keys % side * _METRES, 3e6 + keys // side * _METRES))
            radii = 60 + 20 * rng.random((len(keys), _CORNERS, 1))
            points = middles[:, None] + radii * np.column_stack((np.cos(angles), np.sin(angles)))
            polygons = shapely.multipolygons([[polygon] for polygon in shapely.polygons(points.round(1))])
            codes = rng.integers(1, 12, len(keys)).tolist()
            areas = shapely.area(polygons).tolist()
            values = [(code, f"class {code}", area) for code, area in zip(codes, areas, strict=True)]
            writer.add((keys + 1).tolist(), polygons, values)


def _queries(rows: int) -> dict[str, ItemQuery]:
    filters = (Filter(read_text("class_code = 3 AND area_m2 > 12000")),)
    return {
        "10 items": ItemQuery(),
        "1,000 items": ItemQuery(limit=1_000),
        "10 items after the place": ItemQuery(after=Position((rows * 9 // 10,))),
        "10 items at the offset": ItemQuery(offset=rows * 9 // 10),
        "100 items of 100 km": ItemQuery(limit=100, boxes=(_BOX,)),
        "10 items by CQL2": ItemQuery(selection=Selection(filters=filters)),
    }


def _milliseconds(provider: GeoPackageProvider, query: ItemQuery) -> float:
    began = time.process_time()
    provider.write(query, io.BytesIO())
    return (time.process_time() - began) * 1_000
