"""A raster in another CRS: each pixel is the nearest one of the source; empty blocks are never read."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window

from products.area import Area
from products.classes import NODATA
from products.operation import Bounds, Operation
from products.outline import Polygonal
from products.raster.cog import Grid, Pixels, grid_of, only_inside, open_cog, read_classes, window_in
from products.raster.cut import Tile, stored_blocks, top_level
from products.raster.fill import Part
from products.raster.tiff import TILE

RESOLUTION = 10
"""Side of a pixel in metres."""
MAX_ERROR = 0.125
"""Pixels by which an interpolated position may differ from PROJ's."""
_EDGE = np.linspace(0, 1, 9)
_MARGIN = 0.02
"""Share of a tile's side by which its bounds in the source are widened."""


@dataclass(frozen=True, slots=True)
class Warp:
    """An area of a raster in the target CRS of `operation`, with pixels on the 10 m grid.

    `origin` is the upper left corner, `window` the size in pixels; `stored[row, column]` is whether a block of the
    source may have data, counted from `first` (column, row).
    """

    dataset: DatasetReader
    grid: Grid
    operation: Operation
    epsg: int
    origin: tuple[float, float]
    window: Window
    geometry: Polygonal
    stored: NDArray[np.bool_]
    first: tuple[int, int]

    @property
    def transform(self) -> Affine:
        """From pixels to coordinates."""
        x, y = self.origin
        return Affine(RESOLUTION, 0, x, 0, -RESOLUTION, y)

    @property
    def top(self) -> Tile:
        """The tile that contains the whole area."""
        return Tile(top_level(self.window.width, self.window.height), 0, 0, Part.of(self.geometry))

    def quarters(self, tile: Tile) -> Iterator[Tile]:
        """Yield the quarters of a tile, a level lower, with a part of the area and blocks that may have data."""
        found = []
        for column, row in product((2 * tile.column, 2 * tile.column + 1), (2 * tile.row, 2 * tile.row + 1)):
            box = self._box(tile.level - 1, column, row)
            count = self._stored_in(box)
            part = tile.part.within(box) if count else None
            if part:
                found.append((column, row, part, count))
        total = sum(count for *_, count in found)
        for column, row, part, count in found:
            yield Tile(tile.level - 1, column, row, part, tile.share * count / total)

    def read(self, tile: Tile) -> Pixels:
        """Return the 512 x 512 pixels of a tile of level 0, 255 outside of the area."""
        pixels = np.full((TILE, TILE), NODATA, np.uint8)
        left, top = tile.column * TILE, tile.row * TILE
        transform = self.transform @ Affine.translation(left, top)
        columns, rows = positions(self.operation, self.grid, transform)
        self._nearest(np.floor(columns).astype(np.int64), np.floor(rows).astype(np.int64), pixels)
        return only_inside(pixels, tile.part.mask(transform, pixels.shape))

    def _nearest(self, columns: NDArray[np.int64], rows: NDArray[np.int64], pixels: Pixels) -> None:
        inside = (columns >= 0) & (columns < self.grid.width) & (rows >= 0) & (rows < self.grid.height)
        if not inside.any():
            return
        left, top = int(columns[inside].min()), int(rows[inside].min())
        width, height = int(columns[inside].max()) - left + 1, int(rows[inside].max()) - top + 1
        source = read_classes(self.dataset, Window(left, top, width, height))
        pixels[inside] = source[rows[inside] - top, columns[inside] - left]

    def _box(self, level: int, column: int, row: int) -> Bounds:
        side = RESOLUTION * (TILE << level)
        west, north = self.origin[0] + column * side, self.origin[1] - row * side
        last = self.origin[0] + RESOLUTION * self.window.width, self.origin[1] - RESOLUTION * self.window.height
        east, south = min(west + side, last[0]), max(north - side, last[1])
        return west, min(south, north), max(east, west), north

    def _stored_in(self, box: Bounds) -> int:
        west, south, east, north = box
        if west == east or south == north:
            return 0
        left, top, right, bottom = _source_pixels(self.operation, self.grid, box)
        columns = (int(edge // self.grid.block) - self.first[0] for edge in (left, right))
        rows = (int(edge // self.grid.block) - self.first[1] for edge in (top, bottom))
        (first, last), (upper, lower) = columns, rows
        return int(np.count_nonzero(self.stored[max(0, upper) : max(0, lower + 1), max(0, first) : max(0, last + 1)]))


@contextmanager
def open_warp(source: Path, area: Area, operation: Operation, epsg: int) -> Iterator[Warp | None]:
    """Yield the area of a raster in another CRS, None if they do not intersect. Raises BrokenSource, InvalidArea."""
    with open_cog(source) as dataset:
        grid = grid_of(dataset)
        there = area.project(grid.epsg)
        window = None if there.is_empty else window_in(grid, there.bounds)
        if window is None:
            yield None
            return
        west, north = grid.transform @ (window.col_off, window.row_off)
        east, south = grid.transform @ (window.col_off + window.width, window.row_off + window.height)
        geometry = shapely.make_valid(operation.project(there))
        left, bottom, right, top = shapely.intersection(
            shapely.box(*geometry.bounds), shapely.box(*_bounds(operation, (west, south, east, north)))
        ).bounds
        origin = math.floor(left / RESOLUTION) * RESOLUTION, math.ceil(top / RESOLUTION) * RESOLUTION
        width, height = math.ceil((right - origin[0]) / RESOLUTION), math.ceil((origin[1] - bottom) / RESOLUTION)
        yield Warp(
            dataset,
            grid,
            operation,
            epsg,
            origin,
            Window(0, 0, width, height),
            geometry,
            stored_blocks(dataset, grid, window),
            (int(window.col_off) // grid.block, int(window.row_off) // grid.block),
        )


def positions(
    operation: Operation, grid: Grid, transform: Affine, *, most: float = MAX_ERROR
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the source's columns and rows at the centres of a tile's 512 x 512 pixels.

    They are interpolated between nodes by PROJ, refined until the middle of each cell is within a quarter of `most`.
    """
    cells = 4
    while True:
        nodes = _nodes(operation, grid, transform, np.linspace(0, TILE, cells + 1))
        middles = _nodes(operation, grid, transform, (np.arange(cells) + 0.5) * TILE / cells)
        between = (nodes[:, 1:, 1:] + nodes[:, :-1, 1:] + nodes[:, 1:, :-1] + nodes[:, :-1, :-1]) / 4
        if np.abs(between - middles).max() <= most / 4 or cells == TILE:
            break
        cells *= 2
    weights = node_weights(cells)
    columns, rows = (weights @ values @ weights.T for values in nodes)
    return columns, rows


def node_weights(cells: int) -> NDArray[np.float64]:
    """Return the weights of the adjacent nodes for each of 512 pixels' centres."""
    place = (np.arange(TILE) + 0.5) * cells / TILE
    cell = np.minimum(place.astype(int), cells - 1)
    weights = np.zeros((TILE, cells + 1))
    weights[np.arange(TILE), cell] = 1 - (place - cell)
    weights[np.arange(TILE), cell + 1] = place - cell
    return weights


def _nodes(operation: Operation, grid: Grid, transform: Affine, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the source's columns and rows at the pixels `at` x `at`, of shape (2, rows, columns)."""
    columns, rows = np.meshgrid(at, at)
    x, y = transform.c + transform.a * columns.ravel(), transform.f + transform.e * rows.ravel()
    there = ~grid.transform @ operation.back(x, y)
    return np.array(there).reshape(2, len(at), len(at))


def _around(bounds: tuple[float, float, float, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points along the edges of a box."""
    west, south, east, north = bounds
    x, y = west + _EDGE * (east - west), south + _EDGE * (north - south)
    same = np.ones_like(_EDGE)
    return np.concatenate([x, x, same * west, same * east]), np.concatenate([same * south, same * north, y, y])


def _bounds(operation: Operation, bounds: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Return an envelope of a box of the source, possibly too large but not too small."""
    x, y = operation.transform(*_around(bounds))
    margin = _MARGIN * max(np.ptp(x), np.ptp(y))
    return x.min() - margin, y.min() - margin, x.max() + margin, y.max() + margin


def _source_pixels(
    operation: Operation, grid: Grid, bounds: tuple[float, float, float, float]
) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom, in pixels of the source, of a window that contains a box of the target."""
    x, y = operation.back(*_around(bounds))
    columns, rows = ~grid.transform @ (x, y)
    margin = 2 + _MARGIN * max(np.ptp(columns), np.ptp(rows))
    return columns.min() - margin, rows.min() - margin, columns.max() + margin, rows.max() + margin
