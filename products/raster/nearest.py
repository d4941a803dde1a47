"""The pixels of an open raster in a box of any CRS, each the nearest one of a suitable overview."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from products.classes import NODATA
from products.errors import InvalidArea, RequestTooLarge
from products.operation import Bounds, period_of, reproject, transformer
from products.raster.blocks import Level
from products.raster.cog import Grid, Pixels, shifts

_MAX_ERROR = 0.125
"""Pixels of the overview by which an interpolated position may differ from PROJ's."""
_CELLS = 4
"""Cells of the first grid of nodes along a side; PROJ transforms the nodes, pixels between them are interpolated."""
_DENSER = 4
_HALVES = np.arange(2 * _CELLS + 1) / (2 * _CELLS)
_BEYOND = 1e9
_ROUNDING = 1.001
_MOST_READ = 16_777_216
"""Maximum pixels of an overview that are read for one picture."""

_Floats = NDArray[np.floating[Any]]
_Axis = tuple[float, float, int]
"""The begin of the first pixel along an axis, the step to the next one, and the number of pixels."""


class Blocks(Protocol):
    """An open raster that is read by windows of its levels, like `RasterBlocks`."""

    @property
    def grid(self) -> Grid:
        """The grid of its pixels."""

    @property
    def levels(self) -> Sequence[Level]:
        """The raster, then its overviews."""

    def level(self, step: float) -> int:
        """Return the index of the coarsest level that is not coarser than `step` pixels of the raster."""

    def window(self, number: int, left: int, top: int, right: int, bottom: int) -> tuple[Pixels, int, int] | None:
        """Return pixels of a level that contain a window, with their first column and row; 255 without data."""


def read_nearest(raster: Blocks, bbox: Bounds, crs: int | str, size: tuple[int, int]) -> Pixels | None:
    """Return exactly the bbox, in its CRS and of `size` (width, height), as `pixels[row, column]`; 255 without data.

    None if the index of the file shows that there is no data: then no block is read. The box may cross the
    antimeridian. Raises BrokenSource, and RequestTooLarge if no overview is coarse enough.
    """
    grid = raster.grid
    try:
        extent = reproject(grid.bounds, grid.epsg, crs)
    except InvalidArea:
        return None
    found: Pixels | None = None
    for shift in shifts(bbox, extent, crs):
        part = _read_at(raster, (bbox[0] + shift, bbox[1], bbox[2] + shift, bbox[3]), crs, size, extent)
        if part is not None:
            found = part if found is None else np.where(found == NODATA, part, found)
    return found


def _read_at(raster: Blocks, bbox: Bounds, crs: int | str, size: tuple[int, int], extent: Bounds) -> Pixels | None:
    across, down = (bbox[2] - bbox[0]) / size[0], (bbox[1] - bbox[3]) / size[1]
    first, last = _inside(bbox[0], across, size[0], extent[0], extent[2])
    top, bottom = _inside(bbox[3], down, size[1], extent[3], extent[1])
    if first >= last or top >= bottom:
        return None
    x, y = (bbox[0] + first * across, across, last - first), (bbox[3] + top * down, down, bottom - top)
    part = _gathered(raster, crs, x, y)
    if part is None or part.shape == (size[1], size[0]):
        return part
    pixels = np.full((size[1], size[0]), NODATA, np.uint8)
    pixels[top:bottom, first:last] = part
    return pixels


def _inside(begin: float, step: float, count: int, low: float, high: float) -> tuple[int, int]:
    """Return the pixels along an axis with their centres in an interval: the first, and the one after the last."""
    first, last = math.ceil((low - begin) / step - 0.5), math.floor((high - begin) / step - 0.5) + 1
    return min(max(first, 0), count), min(max(last, 0), count)


def _gathered(raster: Blocks, crs: int | str, x: _Axis, y: _Axis) -> Pixels | None:
    """Return the nearest pixels of the columns `x` and rows `y`, None if the file has no data there."""
    nodes, weights, step = _positions(raster.grid, crs, x, y)
    number = raster.level(step * _ROUNDING)
    level = raster.levels[number]
    nodes[0] *= level.width / raster.grid.width
    nodes[1] *= level.height / raster.grid.height
    ends = nodes.min((1, 2)), nodes.max((1, 2))
    if not np.isfinite(ends).all():
        nodes[:, ~np.isfinite(nodes).all(0)] = _BEYOND
        ends = nodes.min((1, 2)), np.where(nodes == _BEYOND, -np.inf, nodes).max((1, 2))
    (left, top), (right, bottom) = np.floor(ends[0]), np.floor(ends[1]) + 1
    is_within = left >= 0 and top >= 0 and right <= level.width and bottom <= level.height and nodes.max() < _BEYOND
    window = max(left, 0), max(top, 0), min(right, level.width), min(bottom, level.height)
    if window[0] >= window[2] or window[1] >= window[3]:
        return None
    _refuse_large((window[2] - window[0]) * (window[3] - window[1]))
    left, top, right, bottom = map(int, window)
    block = raster.window(number, left, top, right, bottom)
    if block is None:
        return None
    source, first_column, first_row = block
    # Counted from the window's corner, columns and rows are small enough for single precision.
    corners = (nodes - [[[left]], [[top]]]).astype(np.float32)
    positions = corners if weights is None else weights[1] @ corners @ weights[0].T
    outside = None
    if not is_within:
        outside = (positions < 0).any(0) | (positions[0] >= right - left) | (positions[1] >= bottom - top)
        positions[:, outside] = 0
    columns, rows = positions.astype(np.int32)
    rows += top - first_row
    rows *= source.shape[1]
    rows += columns
    rows += left - first_column
    pixels: Pixels = source.ravel().take(rows, mode="clip")
    if outside is not None:
        pixels[outside] = NODATA
    return pixels


def _refuse_large(count: float) -> None:
    if count > _MOST_READ:
        raise RequestTooLarge(
            f"{count:,.0f} pixels would have to be read, at most {_MOST_READ:,} are: the raster has no overview that "
            "is coarse enough. Ask for a smaller area."
        )


def _positions(
    grid: Grid, crs: int | str, x: _Axis, y: _Axis
) -> tuple[_Floats, tuple[NDArray[np.float32], NDArray[np.float32]] | None, float]:
    """Return the positions of nodes in the raster, their weights for each column and row, and the step.

    The nodes are columns and rows of the raster, of shape (2, nodes down, nodes across); the weights have the shapes
    (pixels, nodes). The grid is refined until the middles of its cells agree with PROJ, or until the centre of each
    pixel is a node: then there are no weights. The step is the number of the raster's pixels from one pixel to the next
    in the middle, the geometric mean of both directions.
    """
    cells, step = _CELLS, 0.0
    share = _HALVES
    while cells < max(x[2], y[2]):
        halves = _nodes(grid, crs, x[0] + x[1] * x[2] * share, y[0] + y[1] * y[2] * share)
        step = step or _step(halves, cells, x[2], y[2])
        nodes, middles = halves[:, ::2, ::2], halves[:, 1::2, 1::2]
        with np.errstate(invalid="ignore"):  # points outside of the projection are infinite or undefined
            error = np.abs(
                (nodes[:, 1:, 1:] + nodes[:, :-1, 1:] + nodes[:, 1:, :-1] + nodes[:, :-1, :-1]) / 4 - middles
            )
            if error.max() <= _MAX_ERROR * max(step, 1):
                return nodes.copy(), (_weights(x[2], cells), _weights(y[2], cells)), step
        cells *= _DENSER
        share = np.arange(2 * cells + 1) / (2 * cells)
    nodes = _nodes(grid, crs, x[0] + x[1] * (np.arange(x[2]) + 0.5), y[0] + y[1] * (np.arange(y[2]) + 0.5))
    return nodes, None, step or 1.0


def _step(halves: _Floats, cells: int, columns: int, rows: int) -> float:
    """Return the raster's pixels from one pixel to the next, by nodes half a cell apart; infinite if unknown."""
    here, east, south = halves[:, cells, cells], halves[:, cells, cells + 1], halves[:, cells + 1, cells]
    with np.errstate(invalid="ignore"):
        across, down = (east - here) * (2 * cells / columns), (south - here) * (2 * cells / rows)
        area = abs(float(across[0] * down[1] - across[1] * down[0]))
    return math.sqrt(area) if math.isfinite(area) else math.inf


def _nodes(grid: Grid, crs: int | str, x: _Floats, y: _Floats) -> _Floats:
    """Return the raster's columns and rows at x and y, of shape (2, len(y), len(x)); not finite where undefined."""
    nodes = np.empty((2, len(y), len(x)))
    nodes[0], nodes[1] = x, y[:, np.newaxis]
    if crs != grid.epsg:
        nodes[0], nodes[1] = transformer(crs, grid.epsg).transform(nodes[0], nodes[1])
    period, place = period_of(grid.epsg), grid.transform
    if period is not None:
        begin = place.c + (grid.width * place.a - period) / 2
        with np.errstate(invalid="ignore"):
            nodes[0] = begin + (nodes[0] - begin) % period
    nodes -= [[[place.c]], [[place.f]]]
    nodes /= [[[place.a]], [[place.e]]]
    return nodes


@lru_cache(64)
def _weights(count: int, cells: int) -> NDArray[np.float32]:
    """Return, for the centre of each of `count` pixels, the weights of its adjacent nodes."""
    place = (np.arange(count) + 0.5) * cells / count
    cell = np.minimum(place.astype(int), cells - 1)
    weights = np.zeros((count, cells + 1), np.float32)
    weights[np.arange(count), cell] = 1 - (place - cell)
    weights[np.arange(count), cell + 1] = place - cell
    return weights
