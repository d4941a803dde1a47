"""Vector tiles of 900,000 polygons in PostGIS: from the rows, and from the tile tables that `landcast load` makes.

BENCH_POSTGRES is the address of a database with PostGIS that has, or is to have, the table `cover`.
"""

import os
import time
from contextlib import closing
from statistics import median

import numpy as np
import psycopg2
from psycopg2.extensions import parse_dsn
from pyproj import Transformer

from bench.postgis import COLUMNS, ROWS, SOUTH, STEP, WEST, fill
from plugins.crs import crs_of
from plugins.features import TileQuery
from plugins.postgis import PostgisProvider
from products.tiling import tile_matrix_sets
from server.tile_tables import TilePlan, drop_tile_tables, make_tile_tables

_TILES = {"14": 40, "13": 40, "12": 20, "10": 5, "9": 8, "8": 4, "5": 1}
_DETAILED = 10


def measure() -> None:
    """Print the time of a tile of each zoom, with and without tile tables, and that of making them."""
    if (url := os.environ.get("BENCH_POSTGRES")) is None:
        print("skipped: BENCH_POSTGRES names no database")
        return
    fill(url)
    provider = {"type": "feature", "name": "p", "table": "cover", "data": parse_dsn(url)}
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("select 'cover'::regclass::oid::bigint, current_schema()")
        [(oid, schema)] = cursor.fetchall()
        drop_tile_tables(cursor, schema, oid)
        before = _times(PostgisProvider(provider))
        began = time.monotonic()
        line = make_tile_tables(cursor, "cover", TilePlan(provider, "cover"), lambda _share, _text: None)
        print(f"{line}: {time.monotonic() - began:.0f} s", flush=True)
        after = _times(PostgisProvider(provider))
    print("zoom  from the rows ms  from tile tables ms  ratio")
    for zoom, took in before.items():
        print(f"{zoom:4} {took:17.1f} {after[zoom]:20.2f} {took / after[zoom]:6.1f}")


def _times(provider: PostgisProvider) -> dict[str, float]:
    return {zoom: median(_took(provider, each) for each in _tiles(zoom, count)) for zoom, count in _TILES.items()}


def _took(provider: PostgisProvider, asked: TileQuery) -> float:
    began = time.perf_counter()
    if not asked.dissolved or provider.stored_tile(asked) is None:
        provider.tile(asked)
    return 1e3 * (time.perf_counter() - began)


def _tiles(zoom: str, count: int) -> list[TileQuery]:
    """Return tiles in the data, always the same."""
    chance, matrix = np.random.default_rng(2), tile_matrix_sets()["WebMercatorQuad"].matrices[zoom]
    shares = chance.uniform(0.1, 0.9, (count, 2)) * (COLUMNS * STEP, ROWS * STEP) + (WEST, SOUTH)
    points = np.column_stack(Transformer.from_crs(3035, 3857, always_xy=True).transform(*shares.T))
    places = [matrix.limits((x, y, x, y)) for x, y in points.tolist()]
    dissolved = int(zoom) < _DETAILED
    least = 1 / 512 if dissolved else 1 / 4_096
    bounds = [matrix.bounds(each.top, each.left) for each in places if each is not None]
    return [TileQuery(each, crs_of(3857), "cover", 20_000, least, dissolved=dissolved) for each in bounds]
