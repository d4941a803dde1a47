"""An area in one raster, or in several on one grid, read by tiles: at full resolution or from an overview."""

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
from products.errors import RequestTooLarge
from products.raster.cog import Grid, grid_of, open_cog, read_classes
from products.raster.cut import Cut, Tile, open_cut, stored_blocks, top_level
from products.raster.fill import Part
from products.raster.tiff import TILE

_LEVELS = TILE.bit_length()


@dataclass(frozen=True, slots=True)
class Codes:
    """What the pixels of a tile are that lie in the area: `inside` tells which, `values` are theirs.

    Of several rasters a value is that of the first times 256 plus that of the second.
    """

    values: NDArray[np.uint16]
    inside: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Reading:
    """An area to be read from an overview of factor 2**`level`; 0 is full resolution.

    `tiles` are those of that level in which there are area and blocks that may have data, each 512 x 512 pixels of it.
    The cut's window begins at a corner of a tile, so that each is read as it is stored.
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
        return self.transform @ Affine.translation(tile.column * TILE, tile.row * TILE)

    def read(self, tile: Tile) -> Codes:
        """Return the pixels of a tile of its own level in the overview."""
        return self._codes(self.coarse, self.level, (tile.column * TILE, tile.row * TILE, TILE), tile.part)

    def blocks(self) -> Iterator[Tile]:
        """Yield the tiles of level 0 below those that are read that have area and may have data, in random order.

        The order is always the same; of each the share is at most that of one among all of them.
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
        """Return a tile of level 0 as the overview has it, and at full resolution."""
        side = TILE >> self.level
        coarse = self._codes(self.coarse, self.level, (block.column * side, block.row * side, side), block.part)
        return coarse, self._codes(self.full, 0, (block.column * TILE, block.row * TILE, TILE), block.part)

    def _codes(self, datasets: Sequence[DatasetReader], level: int, square: tuple[int, int, int], part: Part) -> Codes:
        column, row, side = square
        left, top = (int(self.cut.window.col_off) >> level) + column, (int(self.cut.window.row_off) >> level) + row
        width, height = min(side, datasets[0].width - left), min(side, datasets[0].height - top)
        if min(width, height) <= 0:  # an overview of half an odd size, rounded down
            return Codes(np.zeros(0, np.uint16), np.zeros((0, 0), np.bool_))
        values = np.zeros((height, width), np.uint16)
        for dataset in datasets:
            values = values * np.uint16(256) + read_classes(dataset, Window(left, top, width, height))
        transform = self.cut.transform @ Affine.scale(2**level) @ Affine.translation(column, row)
        inside = part.mask(transform, (height, width))
        return Codes(values[inside], inside)


@contextmanager
def open_reading(sources: Sequence[Path], area: Area, *, most: int) -> Iterator[Reading | None]:
    """Yield the area as it is to be read, None where the rasters, which are on one grid, do not meet it.

    At full resolution where the blocks to be read have `most` pixels together, else the finest overview whose have.
    Raises BrokenSource, InvalidArea, and RequestTooLarge where there is none.
    """
    with ExitStack() as stack:
        cut = stack.enter_context(open_cut(sources[0], area))
        if cut is None:
            yield None
            return
        full = (cut.dataset, *(stack.enter_context(open_cog(source)) for source in sources[1:]))
        cut = _with_all(cut, full[1:])
        level, aligned, tiles = _choose(cut, most)
        index = cut.grid.overviews.index(2**level) if level else None
        coarse = tuple(stack.enter_context(open_cog(source, index)) for source in sources) if level else full
        yield Reading(aligned, level, tuple(tiles), coarse, full)


def _with_all(cut: Cut, others: Sequence[DatasetReader]) -> Cut:
    """Return the cut with the blocks of the other rasters too."""
    stored = cut.stored
    for other in others:
        stored = stored | stored_blocks(other, grid_of(other), cut.window)
    return replace(cut, stored=stored)


def _choose(cut: Cut, most: int) -> tuple[int, Cut, list[Tile]]:
    part = Part.of(cut.geometry)
    for level in _levels(cut.grid):
        aligned = _aligned(cut, level)
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


def _aligned(cut: Cut, level: int) -> Cut:
    """Return the cut with a window that begins at a corner of the raster's tiles of a level."""
    window, side, block = cut.window, TILE << level, cut.grid.block
    left, top = int(window.col_off) // side * side, int(window.row_off) // side * side
    more = (int(window.row_off) // block - top // block, 0), (int(window.col_off) // block - left // block, 0)
    width, height = window.col_off + window.width - left, window.row_off + window.height - top
    return replace(cut, window=Window(left, top, width, height), stored=np.pad(cut.stored, more))
