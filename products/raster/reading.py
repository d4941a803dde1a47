"""An area in one raster, or in several on one grid, read by tiles at full resolution or from an overview."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window

from products.area import Area
from products.classes import NODATA
from products.errors import RequestTooLarge
from products.raster.cog import Grid, Pixels, count_values, grid_of, only_inside, open_cog, read_classes
from products.raster.cut import Cut, Tile, open_cut, stored_blocks, top_level
from products.raster.fill import Part
from products.raster.tiff import TILE

_LEVELS = TILE.bit_length()
_BAND = 262_144
"""Number of pixels that are counted together: they fit into a processor's cache."""
_AT_ONCE = 8_000_000
"""Maximum pixels of a window that is read at once, with fewer steps and 50 MB."""


@dataclass(frozen=True, slots=True)
class Codes:
    """The pixels of a tile, `all`, and a mask of those in the area, `inside`.

    For two rasters, a value is that of the first times 256 plus that of the second.
    """

    all: NDArray[np.uint16] | Pixels
    inside: NDArray[np.bool_]

    @property
    def values(self) -> NDArray[np.uint16] | Pixels:
        """The pixels in the area."""
        return self.all[self.inside]

    def counts(self, size: int, likely: Sequence[int] = ()) -> NDArray[np.int64]:
        """Return how many pixels in the area have each of `size` values; fast if only the `likely` ones occur."""
        if self.all.dtype != np.uint8:
            return np.bincount(self.values, minlength=size)
        counts = np.zeros(size, np.int64)
        rows = max(1, _BAND // max(1, self.inside.shape[1]))
        for top in range(0, len(self.all), rows):
            pixels, inside = self.all[top : top + rows], self.inside[top : top + rows]
            counts += count_values(only_inside(pixels.astype(np.uint8, copy=False), inside), [NODATA, *likely])
        counts[NODATA] -= self.inside.size - np.count_nonzero(self.inside)
        return counts


@dataclass(frozen=True, slots=True)
class Reading:
    """An area to be read from an overview of factor 2**`level`; 0 is full resolution.

    `tiles` are those of that level with a part of the area and blocks that may have data, each 512 x 512 pixels of it;
    or one that contains the whole window. The window begins at a corner of a tile, so that tiles are stored blocks.
    """

    cut: Cut
    level: int
    tiles: tuple[Tile, ...]
    coarse: tuple[DatasetReader, ...]
    full: tuple[DatasetReader, ...]

    @property
    def transform(self) -> Affine:
        """From pixels of the overview, counted from the window's corner, to coordinates."""
        return self.cut.transform @ Affine.scale(2**self.level)

    def transform_of(self, tile: Tile) -> Affine:
        """From pixels of the overview, counted from the tile's corner, to coordinates."""
        side = TILE << (tile.level - self.level)
        return self.transform @ Affine.translation(tile.column * side, tile.row * side)

    def read(self, tile: Tile) -> Codes:
        """Return the pixels of one of the tiles in the overview."""
        side = TILE << (tile.level - self.level)
        return self._codes(self.coarse, self.level, (tile.column * side, tile.row * side, side), tile.part)

    def blocks(self) -> Iterator[Tile]:
        """Yield the tiles of level 0 below the read ones that have area and may have data, in a fixed random order.

        The share of each is at most that of one among all of them.
        """
        above = {(tile.column, tile.row): tile.part for tile in self.tiles}
        places = self._stored()
        for number in np.random.default_rng(0).permutation(len(places)):
            column, row = places[number]
            around = above.get((column >> self.level, row >> self.level))
            part = around.within(self.cut.box(0, column, row)) if around else None
            if part:
                yield Tile(0, column, row, part, 1 / len(places))

    def _stored(self) -> list[tuple[int, int]]:
        columns, rows = (-(-int(side) // TILE) for side in (self.cut.window.width, self.cut.window.height))
        return [(x, y) for y in range(rows) for x in range(columns) if self.cut.stored_in(0, x, y)]

    def read_both(self, block: Tile) -> tuple[Codes, Codes]:
        """Return a tile of level 0 from the overview, and at full resolution."""
        side = TILE >> self.level
        coarse = self._codes(self.coarse, self.level, (block.column * side, block.row * side, side), block.part)
        return coarse, self._codes(self.full, 0, (block.column * TILE, block.row * TILE, TILE), block.part)

    def _codes(self, datasets: Sequence[DatasetReader], level: int, square: tuple[int, int, int], part: Part) -> Codes:
        column, row, side = square
        left, top = (int(self.cut.window.col_off) >> level) + column, (int(self.cut.window.row_off) >> level) + row
        width, height = (
            min(side, whole - begin, -(-int(window) >> level) - before)
            for whole, begin, window, before in (
                (datasets[0].width, left, self.cut.window.width, column),
                (datasets[0].height, top, self.cut.window.height, row),
            )
        )
        if min(width, height) <= 0:  # an overview of an odd size, halved and rounded down
            return Codes(np.zeros((0, 0), np.uint8), np.zeros((0, 0), np.bool_))
        transform = self.cut.transform @ Affine.scale(2**level) @ Affine.translation(column, row)
        inside = part.mask(transform, (height, width))
        blocks = self.cut.blocks
        if len(datasets) == 1 and blocks and level < len(blocks.levels):
            return Codes(blocks.read(level, left, top, (height, width)), inside)
        values: NDArray[np.uint16] | Pixels = read_classes(datasets[0], Window(left, top, width, height))
        for dataset in datasets[1:]:
            values = values * np.uint16(256) + read_classes(dataset, Window(left, top, width, height))
        return Codes(values, inside)


@contextmanager
def open_reading(sources: Sequence[Path], area: Area, *, most: int, at_once: bool = False) -> Iterator[Reading | None]:
    """Yield the area for reading, None if the rasters, which are on one grid, do not intersect it.

    It is read at full resolution if the blocks have at most `most` pixels, else from the finest overview with so few.
    With `at_once` a small window of one raster is one tile. Raises BrokenSource, InvalidArea, and RequestTooLarge if
    no overview is coarse enough.
    """
    with ExitStack() as stack:
        cut = stack.enter_context(open_cut(sources[0], area))
        if cut is None:
            yield None
            return
        full = (cut.dataset, *(stack.enter_context(open_cog(source)) for source in sources[1:]))
        cut = _with_all(cut, full[1:])
        level, aligned, tiles = _choose(cut, most, at_once=at_once and not full[1:])
        index = cut.grid.overviews.index(2**level) if level else None
        coarse = tuple(stack.enter_context(open_cog(source, index)) for source in sources) if level else full
        yield Reading(aligned, level, tuple(tiles), coarse, full)


def _with_all(cut: Cut, others: Sequence[DatasetReader]) -> Cut:
    """Return the cut with the blocks of the other rasters added."""
    stored = cut.stored
    for other in others:
        stored = stored | stored_blocks(other, grid_of(other), cut.window)
    return replace(cut, stored=stored)


def _choose(cut: Cut, most: int, *, at_once: bool) -> tuple[int, Cut, list[Tile]]:
    part = Part.of(cut.geometry)
    if at_once and cut.blocks and cut.window.width * cut.window.height <= min(_AT_ONCE, most):
        return 0, cut, [Tile(top_level(cut.window.width, cut.window.height), 0, 0, part)]
    for level in _levels(cut.grid):
        aligned = cut.aligned(TILE << level)
        top = max(level, top_level(aligned.window.width, aligned.window.height))
        tiles: list[Tile] = []
        for tile in _below(aligned, Tile(top, 0, 0, part), level):
            tiles.append(tile)
            if len(tiles) * TILE**2 > most:
                break
        else:
            return level, aligned, tiles
    raise RequestTooLarge(
        f"More than {most:,} pixels would have to be read: the raster has no overview that is coarse enough. "
        "Ask for a smaller area."
    )


def _levels(grid: Grid) -> Iterator[int]:
    yield 0
    yield from (level for level in range(1, _LEVELS) if 2**level in grid.overviews)


def _below(cut: Cut, tile: Tile, level: int) -> Iterator[Tile]:
    if tile.level == level:
        yield tile
        return
    for quarter in cut.quarters(tile):
        yield from _below(cut, quarter, level)
