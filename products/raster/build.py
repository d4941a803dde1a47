"""The raster of a product, made from delivered GeoTIFFs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from products.classes import CLASSES, NODATA, Classes
from products.errors import NothingInside
from products.operation import Bounds, reproject
from products.progress import Report, between
from products.raster.cog import Pixels
from products.raster.mosaic import Mosaic, open_mosaic
from products.raster.pyramid import Pyramid, halve
from products.raster.tiff import TILE
from products.whole import whole_file

_READ = 0.9
_CRS84 = 4326
_HALF = 180
_LOOK = 500
"""Tiles that are still read after the raster was found to be invalid."""


@dataclass(frozen=True, slots=True)
class Built:
    """The made raster: its bounds in degrees, the number of pixels by value that is not a class, and remarks."""

    bounds: Bounds
    unknown: Mapping[int, int]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Rows:
    """The tiles of a pyramid, added row by row; it stores the unfinished row of each overview."""

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
        """Add the row of the next overview, once no tile of this level can change it."""
        is_last = (row + 1) * TILE << level >= self.pyramid.height
        if level < self.pyramid.top and (row % 2 or is_last):
            for column, pixels in sorted(self._waiting.pop(level + 1, {}).items()):
                self.add(level + 1, column, row // 2, pixels)
            self.finish(level + 1, row // 2)


def build_raster(
    sources: Sequence[Path],
    target: Path,
    *,
    classes: Classes = CLASSES,
    nodata: Sequence[float] | None = None,
    report: Report,
) -> Built:
    """Make the Cloud-Optimized GeoTIFF of rasters of one grid, atomically: overviews by mode, 255 no data.

    Integers from 0 to 254 of any type are accepted; `nodata` are the values that mean no data, instead of those of the
    files. It stores one row of tiles of each overview. Raises BrokenSource, and NothingInside if there is no data.
    """
    with (
        open_mosaic(sources, classes, nodata) as mosaic,
        whole_file(target) as part,
        TemporaryFile(dir=target.parent) as scratch,
    ):
        bounds = _degrees(mosaic)
        pyramid = Pyramid(scratch, mosaic.width, mosaic.height, _levels(mosaic), classes)
        rows = _Rows(pyramid, np.zeros(256, np.int64))
        _read(mosaic, rows, between(report, 0, _READ))
        mosaic.refuse_unfit()
        if not rows.counts[:NODATA].any():
            raise NothingInside("The raster has no data: every pixel is no data.")
        pyramid.write(part, mosaic.transform, mosaic.epsg, report=between(report, _READ, 1))
        report(1, "The raster is written")
        known = {each.value for each in classes} | {NODATA}
        unknown = {value: int(count) for value, count in enumerate(rows.counts) if count and value not in known}
        return Built(bounds, unknown, tuple(mosaic.remarks()))


def _degrees(mosaic: Mosaic) -> Bounds:
    """Return the bounds in degrees; across the antimeridian, east is less than west. Raises InvalidArea."""
    west, north = mosaic.transform @ (0, 0)
    east, south = mosaic.transform @ (mosaic.width, mosaic.height)
    west, south, east, north = reproject((west, south, east, north), mosaic.epsg, _CRS84)
    if east - west >= 2 * _HALF:
        return -_HALF, south, _HALF, north
    shift = (west + _HALF) // (2 * _HALF) * 2 * _HALF
    west, east = west - shift, east - shift
    return west, south, east - 2 * _HALF if east > _HALF else east, north


def _read(mosaic: Mosaic, rows: _Rows, report: Report) -> None:
    """Read all tiles; after one with a value that is not a class, only some more are searched for others."""
    down, looked_at = -(-mosaic.height // TILE), 0
    for row in range(down):
        for column in range(-(-mosaic.width // TILE)):
            pixels = mosaic.read(column, row)
            looked_at += bool(mosaic.unfit)
            if looked_at > _LOOK:
                return
            rows.counts[:] += np.bincount(pixels.ravel(), minlength=256)
            rows.add(0, column, row, pixels)
        rows.finish(0, row)
        report((row + 1) / down, "Reading the raster")


def _levels(mosaic: Mosaic) -> int:
    level = 0
    while max(mosaic.width, mosaic.height) > TILE << level:
        level += 1
    return level
