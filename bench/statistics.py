"""Area by class of Poland, of 10,000 km2 and of 100 parks: ours beside others, in turn, in processes of their own.

Rasterio and numpy mask the whole window at once where that fits into memory, else block by block. The 100 parks lie in
the raster of `bench.dense`; beside them is exactextract, by the Python of `BENCH_EXACTEXTRACT`, left out without it.
It weighs pixels on an outline by their covered part, ours counts those with their centre inside.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
import rasterio.mask
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.features import geometry_mask

from bench.dense import dense
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
_PARKS, _SPREAD = 100, 85_000
"""How many there are, and the metres of the middle of each from that of the raster, at most."""
_EXACTEXTRACT = """
import json, sys, time
from exactextract import exact_extract
raster, parks = sys.argv[1], json.load(open(sys.argv[2]))
best = None
for strategy in ("feature-sequential", "raster-sequential"):
    began, cpu = time.perf_counter(), time.process_time()
    found = exact_extract(raster, parks, ["unique", "frac", "count"], strategy=strategy)
    took = time.perf_counter() - began, time.process_time() - cpu
    best = min(best or took, took)
shares = [each["properties"] for each in found]
counts = [{int(c): f * s["count"] for c, f in zip(s["unique"], s["frac"])} for s in shares]
print(json.dumps([*best, counts]))
"""
"""Both of its strategies; the faster one counts."""
_OVERVIEW = 4_000_000
"""Pixels above which an overview is counted in the last measurement; so few that the sample has more."""


class _Timed(NamedTuple):
    """Seconds and those of the processor, and the pixels of each value in each park."""

    took: tuple[float, float]
    counts: Sequence[Mapping[str, float]]


def measure() -> None:
    """Print seconds and peak memory of each, and the ratio pair by pair."""
    for place in _PLACES:
        pairs = [(_run("ours", place), _run("theirs", place)) for _ in range(_ROUNDS)]
        _print(f"{place}, full resolution", [ours for ours, _ in pairs])
        _print("  rasterio and numpy", [theirs for _, theirs in pairs])
        ratios = [ours.seconds / theirs.seconds for ours, theirs in pairs]
        print(f"  ours/theirs: median {statistics.median(ratios):.3f}")
    _print("Poland, an overview", [_run("overview", "Poland") for _ in range(_ROUNDS)])
    if python := os.environ.get("BENCH_EXACTEXTRACT"):
        _measure_parks(python)


def _measure_parks(python: str) -> None:
    source = dense()
    with tempfile.TemporaryDirectory() as folder, rasterio.open(source) as dataset:
        middle = dataset.xy(dataset.height // 2, dataset.width // 2)
        parks = Path(folder) / "parks.json"
        outlines = [_park(middle, number) for number in range(_PARKS)]
        features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(p)} for p in outlines]
        parks.write_text(json.dumps(features))
        pairs = []
        for _ in range(_ROUNDS):
            ours = _timed([sys.executable, "-m", "bench.statistics", "parks", str(parks)])
            pairs.append((ours, _timed([python, "-c", _EXACTEXTRACT, str(source.resolve()), str(parks)])))
    for name, runs in zip(("ours", "exactextract"), zip(*pairs, strict=True), strict=True):
        wall, cpu = (statistics.median(took) for took in zip(*[each.took for each in runs], strict=True))
        print(f"{_PARKS} parks, {name}: median {wall:.2f} s, {cpu:.2f} s of CPU")
    for part, what in enumerate(("seconds", "CPU")):
        print(f"  theirs/ours, {what}: {statistics.median(b.took[part] / a.took[part] for a, b in pairs):.1f}")
    counted, weighed = (each.counts for each in pairs[0])
    off = [abs(a.get(v, 0) - b.get(v, 0)) / sum(a.values()) for a, b in zip(counted, weighed, strict=True) for v in b]
    print(f"  most that a class's share of a park differs: {max(off):.1e}")


def _park(middle: tuple[float, float], seed: int) -> shapely.Polygon:
    """Return an outline of 400 vertices and some 60 to 900 km2 in EPSG:3035."""
    random = np.random.default_rng(seed)
    turns = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    wave = sum(random.uniform(0, 0.5 / n) * np.sin(n * turns + random.uniform(0, 6)) for n in range(2, 40))
    radius = random.uniform(5_000, 15_000) * np.maximum(1 + wave, 0.2)
    east, north = np.array(middle) + random.uniform(-_SPREAD, _SPREAD, 2)
    return shapely.Polygon(np.column_stack([east + radius * np.cos(turns), north + radius * np.sin(turns)]))


def _timed(command: list[str]) -> _Timed:
    seconds, cpu, counts = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return _Timed((seconds, cpu), counts)


def _count_parks(parks: Path) -> None:
    """Print seconds, those of the processor, and the pixels of each value in each park."""
    source = dense()
    to_degrees = Transformer.from_crs(3035, 4326, always_xy=True)
    outlines = [shapely.geometry.shape(each["geometry"]) for each in json.loads(parks.read_text())]
    areas = [Area(shapely.transform(outline, to_degrees.transform, interleaved=False)) for outline in outlines]
    began, cpu = time.perf_counter(), time.process_time()
    counts = [count_classes(source, area).pixels for area in areas]
    took = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps([*took, [{int(v): found[v] for v in np.flatnonzero(found)} for found in counts]]))


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
    if sys.argv[1] == "parks":
        _count_parks(Path(sys.argv[2]))
    else:
        _count(*sys.argv[1:])
