"""The classes of an area, and their changes between two years."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from products.area import Area
from products.limits import MAX_COUNTED_PIXELS
from products.progress import Report, unheard
from products.raster.cog import Grid, read_grid
from products.raster.fill import centres_inside
from products.raster.ground import Ground
from products.raster.reading import Codes, Reading, open_reading

CHECKED = 64
"""Maximum blocks in which an overview is compared with full resolution."""

_OFTEN = 24
"""Values that are counted one by one first: for one raster, those of the classes."""
_OFF_GRID = 1e-3
"""Maximum offset between the pixels of two years, in pixels."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """The pixels of an area by value: arrays of 256; 255 is no data, also outside of the raster.

    `pixels` are of full resolution, even if counted in an `overview` (its factor; 1 is full resolution).
    `square_metres` are on the ellipsoid. `margin` is the possible difference from full resolution in square metres:
    0 if `exact`, else at most that in 95 of 100 cases, measured in `checked` blocks that were read both ways.
    """

    pixels: Numbers
    square_metres: Numbers
    margin: Numbers
    overview: int
    checked: int

    @property
    def exact(self) -> bool:
        """Whether every pixel of the area was counted."""
        return self.overview == 1


@dataclass(frozen=True, slots=True)
class ClassChanges(ClassCounts):
    """Like ClassCounts, with arrays of 256 x 256: the earlier raster's value, then the later one's."""


def count_classes(
    source: Path,
    area: Area,
    *,
    most: int = MAX_COUNTED_PIXELS,
    checked: int = CHECKED,
    report: Report = unheard,
) -> ClassCounts:
    """Count the pixels with their centre in the area, with one tile in memory; empty blocks are never read.

    They are counted at full resolution if this reads at most `most` pixels, else in the finest overview that does.
    Raises BrokenSource, InvalidArea, and RequestTooLarge if no overview does.
    """
    return ClassCounts(*_count((source,), area, (most, checked), report))


def count_changes(
    sources: tuple[Path, Path],
    area: Area,
    *,
    most: int = MAX_COUNTED_PIXELS,
    checked: int = CHECKED,
    report: Report = unheard,
) -> ClassChanges:
    """Count pairs of pixels of the earlier and the later raster, on one grid; otherwise like `count_classes`."""
    pixels, square_metres, margin, overview, seen = _count(sources, area, (most, checked), report)
    shape = 256, 256
    return ClassChanges(pixels.reshape(shape), square_metres.reshape(shape), margin.reshape(shape), overview, seen)


def same_grid(one: Path, other: Path) -> bool:
    """Return whether the pixels of two rasters coincide. Raises BrokenSource."""
    first, second = read_grid(one), read_grid(other)
    size = first.width, first.height
    if (first.epsg, size) != (second.epsg, (second.width, second.height)):
        return False
    corners = [(~first.transform @ (second.transform @ corner), corner) for corner in ((0, 0), size)]
    return all(abs(a - b) < _OFF_GRID for there, here in corners for a, b in zip(there, here, strict=True))


@dataclass(slots=True)
class _Count:
    """The counts so far, by value, in pixels of the overview and in square metres."""

    ground: Ground
    size: int
    pixels: Numbers = field(init=False)
    square_metres: Numbers = field(init=False)

    def __post_init__(self) -> None:
        self.pixels, self.square_metres = np.zeros(self.size), np.zeros(self.size)

    def add(self, codes: Codes, covered: Numbers) -> None:
        counted = codes.counts(self.size, np.argsort(-self.pixels[:_OFTEN], stable=True).tolist())
        self.pixels += counted
        if covered.size == 1:
            self.square_metres += counted * covered[0]
        else:
            height, width = codes.inside.shape
            weights = covered[:height, :width][codes.inside]
            self.square_metres += np.bincount(codes.values, weights, minlength=self.size)


def _count(
    sources: Sequence[Path], area: Area, bounds: tuple[int, int], report: Report
) -> tuple[Numbers, Numbers, Numbers, int, int]:
    most, checked = bounds
    report(0, "Reading the raster")
    ground = _ground(read_grid(sources[0]).epsg)
    with open_reading(sources, area, most=most, at_once=ground.equal) as reading:
        if reading is None:
            return _nothing(read_grid(sources[0]), area, 256 ** len(sources))
        factor, size = 2**reading.level, 256 ** len(sources)
        count = _Count(ground, size)
        for number, tile in enumerate(reading.tiles):
            covered = count.ground.square_metres(reading.transform_of(tile))
            count.add(reading.read(tile), covered)
            report((number + 1) / (len(reading.tiles) + 1), "Counting the pixels")
        _add_empty(count, reading, area)
        margin, seen = _margin(reading, size, checked) if reading.level else (np.zeros(size), 0)
        mean = count.square_metres.sum() / max(1, count.pixels.sum())
        report(1, "The pixels are counted")
        return count.pixels * factor**2, count.square_metres, margin * mean / factor**2, factor, seen


@lru_cache
def _ground(epsg: int) -> Ground:
    return Ground(CRS.from_epsg(epsg))


def _nothing(grid: Grid, area: Area, size: int) -> tuple[Numbers, Numbers, Numbers, int, int]:
    pixels, square_metres = np.zeros(size), np.zeros(size)
    square_metres[-1] = area.km2 * 1e6
    pixels[-1] = round(square_metres[-1] / _ground(grid.epsg).square_metres(grid.transform).mean())
    return pixels, square_metres, np.zeros(size), 1, 0


def _add_empty(count: _Count, reading: Reading, area: Area) -> None:
    """Set the count of no data, most of which was not read."""
    count.pixels[-1] = count.square_metres[-1] = 0
    empty = centres_inside(reading.cut.geometry, reading.transform) - count.pixels.sum()
    if empty <= 0:
        return
    count.pixels[-1] = empty
    if count.ground.equal:
        count.square_metres[-1] = empty * count.ground.square_metres(reading.transform)[0]
    else:
        count.square_metres[-1] = max(0, area.km2 * 1e6 - count.square_metres.sum())


def _margin(reading: Reading, size: int, most: int) -> tuple[Numbers, int]:
    """Return by value the margin of an overview in pixels of full resolution, extrapolated from some blocks.

    It is the absolute mean difference plus twice its standard error, times the number of blocks.
    """
    total, squares, seen, blocks = np.zeros(size), np.zeros(size), 0, 0.0
    for block in islice(reading.blocks(), most):
        coarse, full = (codes.counts(size) for codes in reading.read_both(block))
        difference = coarse * 4.0**reading.level - full
        total, squares, seen, blocks = total + difference, squares + difference**2, seen + 1, 1 / block.share
    if not seen:
        return total, 0
    mean = total / seen
    variance = np.maximum(0, squares - seen * mean**2) / max(1, seen - 1) / seen * max(0, 1 - seen / blocks)
    return (np.abs(mean) + 2 * np.sqrt(variance)) * blocks, seen
