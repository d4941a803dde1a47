"""The values of an area in a raster of values: mean, least, greatest and standard deviation of each band."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.transform import array_bounds
from rasterio.windows import Window

from products.area import Area
from products.errors import RequestTooLarge
from products.limits import MAX_COUNTED_PIXELS
from products.outline import Polygonal
from products.progress import Report, unheard
from products.raster.cog import Grid, grid_of, has_mask, open_cog, window_in
from products.raster.cut import on_raster
from products.raster.fill import Part
from products.raster.values import check_values

_SIDE = 1_024
"""Pixels along each side that are read at once."""


@dataclass(frozen=True, slots=True)
class BandValues:
    """The values of a band in an area, each pixel with the same weight; None without a pixel that has data."""

    pixels: int = 0
    mean: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    deviation: float | None = None

    def joined(self, values: NDArray[Any]) -> "BandValues":
        """Return the statistics of these values too, by Chan's formula for two parts."""
        if not values.size:
            return self
        numbers = values.astype(np.float64)
        mean, squares = float(numbers.mean()), float(numbers.var()) * values.size
        minimum, maximum = values.min().item(), values.max().item()
        if self.mean is None or self.minimum is None or self.maximum is None or self.deviation is None:
            return BandValues(values.size, mean, minimum, maximum, math.sqrt(squares / values.size))
        count, apart = self.pixels + values.size, mean - self.mean
        squares += self.deviation**2 * self.pixels + apart**2 * self.pixels * values.size / count
        return BandValues(
            count,
            self.mean + apart * values.size / count,
            min(self.minimum, minimum),
            max(self.maximum, maximum),
            math.sqrt(squares / count),
        )


@dataclass(frozen=True, slots=True)
class AreaValues:
    """The values of an area: its bands, and how many pixels of the raster have their centre in it.

    They are read in an `overview` by its factor; 1 is full resolution.
    """

    bands: tuple[BandValues, ...]
    pixels: int
    overview: int

    @property
    def exact(self) -> bool:
        """Whether every pixel of the area was read."""
        return self.overview == 1


def measure_values(
    source: Path, area: Area, *, bands: int, most: int = MAX_COUNTED_PIXELS, report: Report = unheard
) -> AreaValues:
    """Measure the first bands in the pixels with their centre in the area, with one square of them in memory.

    They are read at full resolution if the area's box has at most `most` pixels, else in the finest overview where it
    has. Raises BrokenSource, InvalidArea, and RequestTooLarge if there is none.
    """
    report(0, "Reading the raster")
    with open_cog(source, check=check_values) as dataset:
        grid = grid_of(dataset)
    outline = on_raster(area.project(grid.epsg), grid)
    window = None if outline.is_empty else window_in(grid, outline.bounds)
    if window is None:
        return AreaValues((BandValues(),) * bands, 0, 1)
    level = _level(grid, window, most)
    found, pixels = [BandValues()] * bands, 0
    with open_cog(source, level, check=check_values) as dataset:
        for square, inside, done in _squares(dataset, outline):
            values, valid = _read(dataset, square, bands)
            chosen = valid & inside
            found = [band.joined(each[one]) for band, each, one in zip(found, values, chosen, strict=True)]
            pixels += int(np.count_nonzero(inside))
            report(done, "Measuring the pixels")
    report(1, "The pixels are measured")
    return AreaValues(tuple(found), pixels, 1 if level is None else grid.overviews[level])


def has_values(source: Path, area: Area) -> bool:
    """Return whether the area has a pixel of the raster, with or without data. Raises BrokenSource, InvalidArea."""
    with open_cog(source, check=check_values) as dataset:
        grid = grid_of(dataset)
    outline = on_raster(area.project(grid.epsg), grid)
    return not outline.is_empty and window_in(grid, outline.bounds) is not None


def _level(grid: Grid, window: Window, most: int) -> int | None:
    """Return the index of the finest overview that is small enough, None for the raster itself."""
    pixels = window.width * window.height
    if pixels <= most:
        return None
    for index, factor in enumerate(grid.overviews):
        if pixels / factor**2 <= most:
            return index
    raise RequestTooLarge(
        f"More than {most:,} pixels would have to be read: the raster has no overview that is coarse enough. "
        "Ask for a smaller area."
    )


def _squares(dataset: DatasetReader, outline: Polygonal) -> Iterator[tuple[Window, NDArray[np.bool_], float]]:
    """Yield the squares that meet the outline, their pixels with the centre in it, and the share of the rows before."""
    window = window_in(grid_of(dataset), outline.bounds)
    if window is None:
        return
    part = Part.of(outline)
    right, bottom = window.col_off + window.width, window.row_off + window.height
    for top in range(int(window.row_off), int(bottom), _SIDE):
        for left in range(int(window.col_off), int(right), _SIDE):
            square = Window(left, top, min(_SIDE, right - left), min(_SIDE, bottom - top))
            shape = int(square.height), int(square.width)
            place = dataset.transform @ Affine.translation(left, top)
            near = part.within(array_bounds(*shape, place))
            if near is not None:
                inside = np.ones(shape, np.bool_) if near.whole else near.mask(place, shape)
                yield square, inside, (top - window.row_off) / window.height


def _read(dataset: DatasetReader, window: Window, bands: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the values of a window, and which of them have data, both of shape (bands, rows, columns)."""
    numbers = list(range(1, bands + 1))
    values = dataset.read(numbers, window=window)
    valid = np.isfinite(values)
    if dataset.nodata is not None:
        valid &= values != dataset.nodata
    if has_mask(dataset):
        valid &= dataset.read_masks(numbers, window=window) != 0
    return values, valid
