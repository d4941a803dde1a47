"""A clip of 10,000 km2 with an outline of 4,000 vertices, of a raster full of data: ours beside those of others.

Ours is what an order does, in a child that was forked with all modules imported, as orders are. Beside it, in turn:
rasterio's mask and GDAL's COG, in such a child too; and `gdalwarp -multi` to a GeoTIFF, then `gdal_translate -of COG`,
with threads. The pixels are compared.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
import rasterio.mask
import rasterio.shutil  # type: ignore[import-not-found]  # compiled, without types
import shapely
from pyproj import Transformer

from bench.dense import dense
from bench.run import Run, run
from products.area import Area
from products.classes import NODATA
from products.progress import unheard
from products.raster.extract import extract_raster

_ROUNDS = 3
_VERTICES = 4_000
_RADIUS = 56_000
_COG = {"COMPRESS": "DEFLATE", "OVERVIEW_RESAMPLING": "MODE", "NUM_THREADS": "ALL_CPUS", "SPARSE_OK": "TRUE"}
_CREATION = [word for name, value in _COG.items() for word in ("-co", f"{name}={value}")]


def measure() -> None:
    """Print seconds, those of the processor, memory and size of each, and the ratios pair by pair."""
    source, area = dense(), outline()
    makers: dict[str, Callable[[Path], Run]] = {
        "ours": lambda target: forked(lambda: _ours(source, area, target)),
        "rasterio.mask + COG": lambda target: forked(lambda: _rasterio(source, area, target)),
        "gdalwarp -multi + gdal_translate": lambda target: _gdal(source, area, target),
    }
    compare(makers, f"{area.km2:,.0f} km2, {_VERTICES:,} vertices", equal=True)


def compare(makers: dict[str, Callable[[Path], Run]], what: str, *, equal: bool) -> None:
    """Print what each maker of a raster takes, and the ratios to the first. Raises ValueError where pixels differ."""
    runs: dict[str, list[Run]] = {name: [] for name in makers}
    sizes: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir="var") as folder:
        targets = {name: Path(folder, f"{number}.tif") for number, name in enumerate(makers)}
        for _ in range(_ROUNDS):
            for name, make in makers.items():
                targets[name].unlink(missing_ok=True)
                runs[name].append(make(targets[name]))
                sizes[name] = targets[name].stat().st_size / 1e6
        first, *others = targets.values()
        differing = [_differing(first, other) for other in others]
        if equal and any(differing):
            raise ValueError(f"pixels differ: {differing}")
    print(what)
    ours = next(iter(makers))
    for name, each in runs.items():
        ratio = {
            what: statistics.median(getattr(a, what) / getattr(b, what) for a, b in zip(each, runs[ours], strict=True))
            for what in ("seconds", "cpu")
        }
        seconds, cpu = (statistics.median(getattr(one, what) for one in each) for what in ratio)
        print(
            f"  {name}: median {seconds:.2f} s, CPU {cpu:.2f} s, peak {max(one.megabytes for one in each):.0f} MB,"
            f" {sizes[name]:.2f} MB; over ours: seconds {ratio['seconds']:.1f}, CPU {ratio['cpu']:.1f},"
            f" size {sizes[name] / sizes[ours]:.3f}"
        )
    print(f"  pixels that differ from ours: {differing}")


def outline() -> Area:
    """Return an area of about 10,000 km2 in the dense raster with many vertices, its coast like a real one's."""
    angle = np.linspace(0, 2 * np.pi, _VERTICES, endpoint=False)
    chance = np.random.default_rng(3)
    radius = np.full(_VERTICES, float(_RADIUS))
    for waves in (2, 3, 5, 9, 17, 40, 90, 200, 450):
        radius += 3_000 / waves**0.7 * np.sin(waves * angle + chance.uniform(0, 6))
    with rasterio.open(dense()) as dataset:
        x, y = dataset.transform @ (dataset.width / 2, dataset.height / 2)
    points = Transformer.from_crs(3035, 4326, always_xy=True).transform(
        x + radius * np.cos(angle), y + radius * np.sin(angle)
    )
    return Area(shapely.Polygon(np.column_stack(points)))


def forked(work: Callable[[], None]) -> Run:
    """Return what a work takes in a child of this process. Raises RuntimeError if it fails."""
    began = time.perf_counter()
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise RuntimeError("the child has failed")
    cpu = usage.ru_utime + usage.ru_stime
    return Run(time.perf_counter() - began, usage.ru_maxrss / 1024, usage.ru_utime, cpu)


def _ours(source: Path, area: Area, target: Path) -> None:
    extract_raster(source, area, target.parent, name=target.stem, report=unheard)


def _rasterio(source: Path, area: Area, target: Path) -> None:
    with rasterio.open(source) as dataset, rasterio.MemoryFile() as memory:
        pixels, transform = rasterio.mask.mask(dataset, [area.project(3035)], crop=True)
        _, height, width = pixels.shape
        profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "nodata": NODATA, "crs": dataset.crs}
        with memory.open(**profile, height=height, width=width, transform=transform) as masked:
            masked.write(pixels)
            masked.write_colormap(1, dataset.colormap(1))
        rasterio.shutil.copy(memory.name, target, driver="COG", **_COG)


def _gdal(source: Path, area: Area, target: Path) -> Run:
    cutline, plain = target.with_suffix(".geojson"), target.with_suffix(".plain.tif")
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3035"}}
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(area.project(3035))}
    cutline.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}))
    plain.unlink(missing_ok=True)
    threads = ["-multi", "-wo", "NUM_THREADS=ALL_CPUS", "-wm", "500", "--config", "GDAL_CACHEMAX", "512"]
    cut = ["-cutline", str(cutline), "-crop_to_cutline", "-tap", "-tr", "10", "10"]
    tiled = ["-co", "TILED=YES", "-co", "COMPRESS=DEFLATE", "-co", "ZLEVEL=1", "-co", "NUM_THREADS=ALL_CPUS"]
    one = run(["gdalwarp", "-q", *threads, *cut, *tiled, str(source), str(plain)])
    two = run(["gdal_translate", "-q", "-of", "COG", *_CREATION, str(plain), str(target)])
    return Run(one.seconds + two.seconds, max(one.megabytes, two.megabytes), one.user + two.user, one.cpu + two.cpu)


def _differing(one: Path, other: Path) -> int:
    """Return how many pixels two rasters do not share, of one grid."""
    with rasterio.open(one) as first, rasterio.open(other) as second:
        bounds = first.bounds
        west, south = max(bounds.left, second.bounds.left), max(bounds.bottom, second.bounds.bottom)
        east, north = min(bounds.right, second.bounds.right), min(bounds.top, second.bounds.top)
        pixels = [each.read(1, window=each.window(west, south, east, north).round()) for each in (first, second)]
        inside = [np.count_nonzero(each.read(1) != NODATA) for each in (first, second)]
        there = [np.count_nonzero(each != NODATA) for each in pixels]
        return int(np.count_nonzero(pixels[0] != pixels[1]) + sum(inside) - sum(there))
