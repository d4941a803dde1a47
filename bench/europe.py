"""A raster of all Europe, 650,000 x 460,000 px: opening it, tiles, its coverage, a map, and an order of Poland.

The server has one process, which is asked over HTTP on a kept connection, each tile for the first time.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import httpx2
import numpy as np
from pyproj import Transformer

from bench.clip import forked
from bench.coverages import peak, serving_raster
from bench.dense import EUROPE, europe
from products.area import Area
from products.nations import find_nation
from products.nations.outline import outline_of
from products.progress import unheard
from products.raster.cog import read_grid
from products.raster.extract import extract_raster
from products.tiling import tile_matrix_sets

_ZOOMS = range(2, 15)
_TILES = 20
_SET = "WebMercatorQuad"

_FIRST = {
    "the collection": "?f=json",
    "the first tile": f"/map/tiles/{_SET}/4/5/8?f=png",
    "the coverage without parameters": "/coverage?f=tiff",
    "a map of all": "/map?f=png&width=1024",
}
"""Addresses below that of the collection, by what they are."""


def measure() -> None:
    """Print seconds to the first answers, milliseconds a tile by zoom, and the memory of the server and the order."""
    source = europe().absolute()
    print(f"{EUROPE[0]:,} x {EUROPE[1]:,} px, {source.stat().st_size / 1e6:,.0f} MB")
    print(f"opened in {_seconds(lambda: read_grid(source)):.3f} s")
    with (
        tempfile.TemporaryDirectory() as folder,
        serving_raster(Path(folder), source) as (process, url),
        httpx2.Client(timeout=120, trust_env=False) as client,
    ):
        for name, path in _FIRST.items():
            print(f"{name}: {_answer(client, url + path):.3f} s, server at most {peak(process):.0f} MB")
        for zoom in _ZOOMS:
            each = [1000 * _answer(client, address) for address in _tiles(url, zoom)]
            print(f"z{zoom}: {len(each)} tiles, median {median(each):.1f} ms, most {max(each):.1f} ms")
        print(f"server at most {peak(process):.0f} MB")
    _order(source)


def _tiles(url: str, zoom: int) -> list[str]:
    """Return addresses of different tiles in the raster."""
    matrix = tile_matrix_sets()[_SET].matrices[str(zoom)]
    grid = read_grid(europe())
    west, south, east, north = grid.bounds
    random = np.random.default_rng(zoom)
    x, y = random.uniform(west, east, 400), random.uniform(south, north, 400)
    x, y = Transformer.from_crs(grid.epsg, 3857, always_xy=True).transform(x, y)
    columns, rows = (x - matrix.begin[0]) // matrix.span[0], (matrix.begin[1] - y) // matrix.span[1]
    found = dict.fromkeys(zip(rows.astype(int).tolist(), columns.astype(int).tolist(), strict=True))
    return [f"{url}/map/tiles/{_SET}/{zoom}/{row}/{column}?f=png" for row, column in list(found)[:_TILES]]


def _order(source: Path) -> None:
    poland = find_nation("Poland")
    if poland is None:
        raise LookupError("no such nation")
    area = outline_of(poland)
    with tempfile.TemporaryDirectory(dir="var") as folder:
        took = forked(lambda: _extract(source, area, Path(folder)))
        size = sum(each.stat().st_size for each in Path(folder).iterdir()) / 1e6
    print(f"order of Poland: {took.seconds:.1f} s, CPU {took.cpu:.1f} s, peak {took.megabytes:.0f} MB, {size:.0f} MB")


def _extract(source: Path, area: Area, folder: Path) -> None:
    extract_raster(source, area, folder, name="poland", report=unheard)


def _answer(client: httpx2.Client, url: str) -> float:
    return _seconds(lambda: client.get(url).raise_for_status())


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
