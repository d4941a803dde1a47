"""The raster of a product, made from GeoTIFFs as they are delivered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from products.classes import CLASSES, NODATA, Classes
from products.errors import NothingInside
from products.progress import Report, between
from products.raster.cog import Bounds, Pixels, reproject
from products.raster.mosaic import Mosaic, open_mosaic
from products.raster.pyramid import Pyramid, halve
from products.raster.tiff import TILE
from products.whole import whole_file

_READ = 0.9
_CRS84 = 4326


@dataclass(frozen=True, slots=True)
class Built:
    """What was made: its bounds in degrees, and how many pixels have a value that is no class, by value."""

    bounds: Bounds
    unknown: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class _Rows:
    """The tiles of a pyramid, added row by row; holds the unfinished row of each overview."""

    pyramid: Pyramid
    counts: np.ndarray[tuple[int], np.dtype[np.int64]]
    _waiting: dict[int, dict[int, Pixels]] = field(default_factory=dict)

    def add(self, level: int, column: int, row: int, pixels: Pixels) -> None:
        if not (pixels != NODATA).any():
            return
        self.pyramid.add(level, column, row, pixels)
        if level < self.pyramid.top:
            tiles = self._waiting.setdefault(level + 1, {})
            above = tiles.setdefault(column // 2, np.full((TILE, TILE), NODATA, np.uint8))
            half = TILE // 2
            y, x = row % 2 * half, column % 2 * half
            above[y : y + half, x : x + half] = halve(pixels)

    def finish(self, level: int, row: int) -> None:
        """Add the row of the overview above, once no tile of this level can change it."""
        is_last = (row + 1) * TILE << level >= self.pyramid.height
        if level < self.pyramid.top and (row % 2 or is_last):
            for column, pixels in sorted(self._waiting.pop(level + 1, {}).items()):
                self.add(level + 1, column, row // 2, pixels)
            self.finish(level + 1, row // 2)


def build_raster(sources: Sequence[Path], target: Path, *, classes: Classes = CLASSES, report: Report) -> Built:
    """Make the Cloud-Optimized GeoTIFF of rasters of one grid, whole or not at all: overviews by mode, 255 no data.

    Holds one row of tiles of each overview. Raises BrokenSource, NothingInside where there is no data at all.
    """
    with open_mosaic(sources) as mosaic, whole_file(target) as part, TemporaryFile(dir=target.parent) as scratch:
        pyramid = Pyramid(scratch, mosaic.width, mosaic.height, _levels(mosaic), classes)
        rows = _Rows(pyramid, np.zeros(256, np.int64))
        _read(mosaic, rows, between(report, 0, _READ))
        if not rows.counts[:NODATA].any():
            raise NothingInside("The raster has no data: every pixel is 255.")
        pyramid.write(part, mosaic.transform, mosaic.epsg, report=between(report, _READ, 1))
        report(1, "The raster is written")
        west, north = mosaic.transform.c, mosaic.transform.f
        side = mosaic.transform.a
        bounds = (west, north - mosaic.height * side, west + mosaic.width * side, north)
        known = {each.value for each in classes} | {NODATA}
        unknown = {value: int(count) for value, count in enumerate(rows.counts) if count and value not in known}
        return Built(reproject(bounds, mosaic.epsg, _CRS84), unknown)


def _read(mosaic: Mosaic, rows: _Rows, report: Report) -> None:
    down = -(-mosaic.height // TILE)
    for row in range(down):
        for column in range(-(-mosaic.width // TILE)):
            pixels = mosaic.read(column, row)
            rows.counts[:] += np.bincount(pixels.ravel(), minlength=256)
            rows.add(0, column, row, pixels)
        rows.finish(0, row)
        report((row + 1) / down, "Reading the raster")


def _levels(mosaic: Mosaic) -> int:
    level = 0
    while max(mosaic.width, mosaic.height) > TILE << level:
        level += 1
    return level
