"""The pixels of a raster with their centre in an area, found by quarters; empty blocks are skipped."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Self

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window
from shapely.affinity import translate

from products.area import Area
from products.classes import NODATA
from products.operation import Bounds
from products.outline import Polygonal
from products.raster.cog import Grid, Pixels, grid_of, has_mask, only_inside, open_cog, read_classes, shifts, window_in
from products.raster.fill import Part
from products.raster.stored import StoredBlocks, open_blocks
from products.raster.tiff import TILE
from products.whole import version_of

_FEW = 64
"""Number of blocks up to which no overview is opened to find empty ones, as opening costs as much as reading."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile of a pyramid over the cut: at `level` n its pixels are 2**n times as wide as those of the raster.

    `part` is the part of the area in it; `share` is its fraction of the whole work.
    """

    level: int
    column: int
    row: int
    part: Part
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Cut:
    """An area in a raster: `window` bounds it, `stored[row, column]` is whether a block may have data.

    `blocks` are those of the raster, if they can be copied as they are stored.
    """

    dataset: DatasetReader
    grid: Grid
    window: Window
    geometry: Polygonal
    stored: NDArray[np.bool_]
    blocks: StoredBlocks | None = None

    @property
    def transform(self) -> Affine:
        """From pixels to coordinates."""
        return self.grid.transform @ Affine.translation(self.window.col_off, self.window.row_off)

    @property
    def epsg(self) -> int:
        """The code of its CRS."""
        return self.grid.epsg

    @property
    def top(self) -> Tile:
        """The tile that contains the whole area."""
        level, part = top_level(self.window.width, self.window.height), Part.of(self.geometry)
        return Tile(level, 0, 0, part.within(self.box(level, 0, 0)) or part)

    def quarters(self, tile: Tile) -> Iterator[Tile]:
        """Yield the quarters of a tile, a level lower, with a part of the area and blocks that may have data."""
        found = []
        for column, row in product((2 * tile.column, 2 * tile.column + 1), (2 * tile.row, 2 * tile.row + 1)):
            count = self.stored_in(tile.level - 1, column, row)
            part = tile.part.within(self.box(tile.level - 1, column, row)) if count else None
            if part:
                found.append((column, row, part, count))
        total = sum(count for *_, count in found)
        for column, row, part, count in found:
            yield Tile(tile.level - 1, column, row, part, tile.share * count / total)

    def read(self, tile: Tile) -> Pixels:
        """Return the 512 x 512 pixels of a tile of level 0, 255 outside of the area and of the window."""
        window = self._window(tile)
        pixels = np.full((TILE, TILE), NODATA, np.uint8)
        view = pixels[: int(window.height), : int(window.width)]
        if self.blocks:
            view[:] = self.blocks.read(0, int(window.col_off), int(window.row_off), view.shape)
        else:
            view[:] = read_classes(self.dataset, window)
        if not tile.part.whole:
            transform = self.grid.transform @ Affine.translation(window.col_off, window.row_off)
            view[:] = only_inside(view, tile.part.mask(transform, view.shape))
        return pixels

    def aligned(self, side: int) -> Self:
        """Return the cut with a window that begins at a corner of squares of this side in pixels."""
        window, block = self.window, self.grid.block
        left, top = int(window.col_off) // side * side, int(window.row_off) // side * side
        more = (int(window.row_off) // block - top // block, 0), (int(window.col_off) // block - left // block, 0)
        width, height = window.col_off + window.width - left, window.row_off + window.height - top
        return replace(self, window=Window(left, top, width, height), stored=np.pad(self.stored, more))

    def _window(self, tile: Tile) -> Window:
        left, top = tile.column * TILE, tile.row * TILE
        width, height = min(TILE, self.window.width - left), min(TILE, self.window.height - top)
        return Window(self.window.col_off + left, self.window.row_off + top, width, height)

    def box(self, level: int, column: int, row: int) -> Bounds:
        """Return the box of a tile in the raster's CRS."""
        side = TILE << level
        left, top = self.window.col_off + column * side, self.window.row_off + row * side
        west, north = self.grid.transform @ (left, top)
        east, south = self.grid.transform @ (min(left + side, self.grid.width), min(top + side, self.grid.height))
        return west, south, east, north

    def stored_in(self, level: int, column: int, row: int) -> int:
        """Return how many blocks below a tile may have data."""
        side, block = TILE << level, self.grid.block
        left, top = self.window.col_off % block + column * side, self.window.row_off % block + row * side
        right, bottom = left + side, top + side
        return int(
            np.count_nonzero(self.stored[top // block : -(-bottom // block), left // block : -(-right // block)])
        )


def top_level(width: float, height: float) -> int:
    """Return the level on which one tile contains so many pixels of level 0."""
    return max(0, (int(max(width, height)) - 1).bit_length() - TILE.bit_length() + 1)


@contextmanager
def open_cut(source: Path, area: Area) -> Iterator[Cut | None]:
    """Yield the area's cut of a raster, None if they do not intersect. Raises BrokenSource, InvalidArea."""
    version = version_of(source, ())
    with open_cog(source) as dataset, open_blocks(dataset, version) as blocks:
        grid = grid_of(dataset)
        geometry = on_raster(area.project(grid.epsg), grid)
        window = None if geometry.is_empty else window_in(grid, geometry.bounds)
        if window is None:
            yield None
        else:
            yield Cut(dataset, grid, window, geometry, stored_blocks(dataset, grid, window, blocks), blocks)


def on_raster(geometry: Polygonal, grid: Grid) -> Polygonal:
    """Return an area in the range of the raster: a raster in degrees may continue beyond 180, or begin at 0."""
    moves = [] if geometry.is_empty else shifts(geometry.bounds, grid.bounds, grid.epsg)
    if moves in ([], [0]):
        return geometry
    moved: list[Polygonal] = [translate(geometry, move) for move in moves]
    return moved[0] if len(moved) == 1 else shapely.union_all(moved)


def stored_blocks(
    dataset: DatasetReader, grid: Grid, window: Window, blocks: StoredBlocks | None = None
) -> NDArray[np.bool_]:
    """Return which blocks of the window may have data.

    A block that a sparse file omits has none, unless the file declares no nodata value: then it is 0. A block with an
    empty overview has none either, as the mode ignores no data.
    """
    left, right = int(window.col_off) // grid.block, -(-int(window.col_off + window.width) // grid.block)
    top, bottom = int(window.row_off) // grid.block, -(-int(window.row_off + window.height) // grid.block)
    offset, columns = dataset.get_tag_item, range(left, right)
    if dataset.nodata is None and not has_mask(dataset):
        return np.ones((bottom - top, right - left), np.bool_)
    if blocks:
        stored = blocks.levels[0].offsets[top:bottom, left:right].astype(np.bool_)
    else:
        stored = np.array(
            [[offset(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=1) is not None for x in columns] for y in range(top, bottom)]
        )
    exact = [index for index, factor in enumerate(grid.overviews) if _is_exact(grid, factor)]
    if (
        exact
        and np.count_nonzero(stored) > _FEW
        and dataset.tags(ns="IMAGE_STRUCTURE").get("OVERVIEW_RESAMPLING", "").upper() == "MODE"
    ):
        side = grid.block // grid.overviews[exact[-1]]
        with open_cog(Path(dataset.name), exact[-1]) as overview:
            for index, row in enumerate(range(top, bottom)):
                stored[index] &= _filled(overview, row * side, left * side, stored.shape[1], side)
    return stored


def _is_exact(grid: Grid, factor: int) -> bool:
    return grid.block % factor == grid.width % factor == grid.height % factor == 0


def _filled(overview: DatasetReader, top: int, left: int, columns: int, side: int) -> NDArray[np.bool_]:
    """Return which blocks of a row have data in an overview, in which each block is `side` pixels wide."""
    pixels = np.full((side, columns * side), NODATA, np.uint8)
    height, width = min(side, overview.height - top), min(columns * side, overview.width - left)
    pixels[:height, :width] = read_classes(overview, Window(left, top, width, height))
    filled: NDArray[np.bool_] = (pixels != NODATA).reshape(side, columns, side).any(axis=(0, 2))
    return filled
