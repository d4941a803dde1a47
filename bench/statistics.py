"""Area by class of Poland and of 10,000 km2: ours beside rasterio and numpy, in turn, in processes of their own.

Theirs masks the whole window at once where that fits into memory, else block by block.
"""

import json
import statistics
import sys
from pathlib import Path

import numpy as np
import rasterio
import rasterio.mask
import shapely
from numpy.typing import NDArray
from rasterio.features import geometry_mask

from bench.run import Run, run
from products.area import Area, read_area
from products.catalogue import catalogue_of, read_configuration
from products.limits import MAX_COUNTED_PIXELS
from products.nations import find_nation
from products.nations.outline import outline_of
from products.outline import Polygonal
from products.raster.cog import read_grid
from products.raster.statistics import count_classes

_PLACES = ("100 km by 100 km", "Poland")
_ROUNDS = 3
_SQUARE = {"bbox": [19.4, 49.3, 20.8, 50.2]}
_OVERVIEW = 4_000_000
"""Pixels above which an overview is counted in the last measurement; so few that the sample has more."""


def measure() -> None:
    """Print seconds and peak memory of each, and the ratio pair by pair."""
    for place in _PLACES:
        pairs = [(_run("ours", place), _run("theirs", place)) for _ in range(_ROUNDS)]
        _print(f"{place}, full resolution", [ours for ours, _ in pairs])
        _print("  rasterio and numpy", [theirs for _, theirs in pairs])
        ratios = [ours.seconds / theirs.seconds for ours, theirs in pairs]
        print(f"  ours/theirs: median {statistics.median(ratios):.3f}")
    _print("Poland, an overview", [_run("overview", "Poland") for _ in range(_ROUNDS)])


def _run(how: str, place: str) -> Run:
    return run([sys.executable, "-m", "bench.statistics", how, place])


def _print(name: str, runs: list[Run]) -> None:
    seconds = statistics.median(each.seconds for each in runs)
    megabytes = max(each.megabytes for each in runs)
    print(f"{name}: median {seconds:.2f} s, peak {megabytes:.0f} MB")


def _count(how: str, place: str) -> None:
    source = catalogue_of(read_configuration(Path("pygeoapi-config.yml"))).default.raster
    area = read_area(_SQUARE) if place != "Poland" else outline_of(find_nation(place) or sys.exit("no such nation"))
    if how == "theirs":
        counts = _theirs(source, area, at_once=place != "Poland").tolist()
    else:
        most = _OVERVIEW if how == "overview" else MAX_COUNTED_PIXELS
        counts = count_classes(source, area, most=most).pixels.tolist()
    print(json.dumps(counts[:255]))


def _theirs(source: Path, area: Area, *, at_once: bool) -> NDArray[np.int64]:
    outline = area.project(read_grid(source).epsg)
    with rasterio.open(source) as dataset:
        if not at_once:
            return _by_block(dataset, outline)
        pixels, _ = rasterio.mask.mask(dataset, [shapely.geometry.mapping(outline)], crop=True)
        return np.bincount(pixels.ravel(), minlength=256)


def _by_block(dataset: rasterio.DatasetReader, outline: Polygonal) -> NDArray[np.int64]:
    counts = np.zeros(256, np.int64)
    for _, window in dataset.block_windows(1):
        part = shapely.clip_by_rect(outline, *dataset.window_bounds(window))
        if not part.is_empty:
            pixels = dataset.read(1, window=window)
            outside = geometry_mask([part], pixels.shape, dataset.window_transform(window))
            counts += np.bincount(pixels[~outside], minlength=256)
    return counts


if __name__ == "__main__":
    _count(*sys.argv[1:])
