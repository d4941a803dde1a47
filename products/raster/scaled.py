"""A box of a raster in any size and CRS, read by window and overview, at a cost that is known before."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.transform import array_bounds
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from products.errors import OutsideCrs, RequestTooLarge
from products.operation import Bounds, reproject, transformer
from products.raster.cog import Grid, Opened, intersection, shifts, window_in
from products.raster.visible import Visible

Values = NDArray[Any]
"""Of shape (bands, rows, columns)."""
Method = Literal["nearest", "mode", "linear", "cubic", "mean", "minimum", "maximum", "median"]
"""How a pixel of the answer is interpolated from pixels of the raster."""
Open = Callable[[int | None], Any]
"""Opens the raster, or an overview by its index, as a context manager of `Opened`."""
_READ_AHEAD = 4
_SIDE = 1_024
"""Pixels of an answer along each side whose positions are calculated together."""
_CELLS = 8
_ERROR = 0.03
"""Approximate maximum difference of an interpolated position from PROJ's in pixels."""
_KERNEL = 2
"""Pixels on either side that an interpolation uses, around a position or the pixels below one of the answer."""

_RESAMPLING: Mapping[Method, Resampling] = {
    "mode": Resampling.mode,
    "linear": Resampling.bilinear,
    "cubic": Resampling.cubic,
    "mean": Resampling.average,
    "minimum": Resampling.min,
    "maximum": Resampling.max,
    "median": Resampling.med,
}

_Numbers = NDArray[np.int_]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A box in the units of a CRS, its requested pixels across and down, and the bands, counted from 1.

    The CRS is an EPSG code, or a definition for PROJ. `fill` is the value of pixels without data, and of those that are
    not `visible`.
    """

    bbox: Bounds
    epsg: int | str
    size: tuple[int, int]
    fill: float
    dtype: str = "uint8"
    bands: Sequence[int] = (1,)
    method: Method = "nearest"
    visible: Visible | None = None

    @property
    def transform(self) -> Affine:
        """From columns and rows to coordinates."""
        (west, south, east, north), (width, height) = self.bbox, self.size
        return Affine((east - west) / width, 0, west, 0, (south - north) / height, north)


@dataclass(frozen=True, slots=True)
class _Part:
    """The part of the raster in the box, which may be moved around the Earth by `shift`."""

    wanted: Wanted
    shift: float
    opened: Opened
    columns: range
    rows: range
    epsg: int
    is_over: bool
    """Whether another part is below this one and visible where this one has no data."""

    @property
    def is_straight(self) -> bool:
        """Whether the raster's own CRS is requested: its rows are rows of the answer."""
        return self.epsg == self.wanted.epsg

    def tiles(self, first: int, last: int) -> Iterator[tuple[range, range]]:
        """Yield batches of the requested columns and rows."""
        rows = range(max(first, self.rows.start), min(last, self.rows.stop))
        if self.is_straight and rows:
            yield self.columns, rows
        elif rows:
            for top, left in product(rows[::_SIDE], self.columns[::_SIDE]):
                yield (
                    range(left, min(left + _SIDE, self.columns.stop)),
                    range(top, min(top + _SIDE, rows.stop)),
                )


@dataclass(frozen=True, slots=True)
class ScaledReader:
    """A box of an open raster, read by rows of the answer; each pixel is the nearest one of a suitable overview."""

    wanted: Wanted
    epsg: int
    parts: Sequence[_Part]

    def rows(self, first: int, last: int) -> Values:
        """Return the rows from the first up to, but excluding, the last. Raises rasterio's errors."""
        wanted = self.wanted
        make = _copy if wanted.epsg == self.epsg else _gather
        if wanted.method != "nearest":
            make = _resample
        values = np.full((len(wanted.bands), last - first, wanted.size[0]), wanted.fill, wanted.dtype)
        for part in reversed(self.parts):
            for columns, rows in part.tiles(first, last):
                target = values[:, rows.start - first : rows.stop - first, columns.start : columns.stop]
                make(part, columns, rows, target)
        return values


@contextmanager
def open_scaled(open_: Open, grid: Grid, wanted: Wanted, *, limit: int) -> Iterator[ScaledReader]:
    """Yield a reader of the box, which may cross the antimeridian; without data if the raster lies outside of its CRS.

    Raises BrokenSource, InvalidArea for an unknown CRS, and RequestTooLarge before a pixel is read.
    """
    width, height = wanted.size
    if width * height > limit:
        raise RequestTooLarge(f"{width} x {height} pixels were asked for; at most {limit:,} are answered.")
    try:
        extent = reproject(grid.bounds, grid.epsg, wanted.epsg)
        moved = shifts(wanted.bbox, extent, wanted.epsg)
    except OutsideCrs:
        moved = []
    parts = []
    with ExitStack() as stack:
        for shift in moved:
            found = _seen(grid, wanted, extent, shift, limit)
            if found is not None:
                columns, rows, level = found
                opened = stack.enter_context(open_(level))
                parts.append(_Part(wanted, shift, opened, columns, rows, grid.epsg, is_over=len(moved) > 1))
        yield ScaledReader(wanted, grid.epsg, parts)


def _seen(
    grid: Grid, wanted: Wanted, extent: Bounds, shift: float, limit: int
) -> tuple[range, range, int | None] | None:
    """Return the columns and rows of the answer with their centres in the raster's extent, and the overview to read."""
    west, south, east, north = wanted.bbox
    bbox = west + shift, south, east + shift, north
    seen = intersection(bbox, extent)
    window = window_in(grid, reproject(seen, wanted.epsg, grid.epsg)) if seen else None
    if not seen or not window:
        return None
    pixels = wanted.size[0] * wanted.size[1] * _area(seen) / _area(bbox)
    level = choose_overview(grid, window, pixels, limit)
    x, y = _middles(wanted, range(wanted.size[0]), range(wanted.size[1]))
    columns = np.flatnonzero((seen[0] <= x + shift) & (x + shift <= seen[2]))
    rows = np.flatnonzero((seen[1] <= y) & (y <= seen[3]))
    if not len(columns) or not len(rows):
        return None
    return range(int(columns[0]), int(columns[-1]) + 1), range(int(rows[0]), int(rows[-1]) + 1), level


def _middles(wanted: Wanted, columns: range, rows: range) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return x of the centre of each column and y of that of each row."""
    transform = wanted.transform
    x = transform.c + transform.a * (np.arange(columns.start, columns.stop) + 0.5)
    y = transform.f + transform.e * (np.arange(rows.start, rows.stop) + 0.5)
    return x, y


def _copy(part: _Part, columns: range, rows: range, target: Values) -> None:
    """Copy the pixels at the centres of those of the answer, in the same CRS: at the same scale the same pixels."""
    x, y = _middles(part.wanted, columns, rows)
    dataset = part.opened.dataset
    place = dataset.transform
    across = np.floor((x + part.shift - place.c) / place.a).astype(int)
    down = np.floor((y - place.f) / place.e).astype(int)
    in_columns, in_rows = _inside(across, dataset.width), _inside(down, dataset.height)
    if not in_columns.any() or not in_rows.any():
        return
    (left, right), (top, bottom) = _bounds(across[in_columns]), _bounds(down[in_rows])
    read = _read(part, Window(left, top, right - left, bottom - top))
    if read.shape == target.shape:
        _put(part, read, target, ...)
        return
    picked = read[:, (down[in_rows] - top)[:, None], across[in_columns] - left]
    _put(part, picked, target, np.ix_(range(len(target)), in_rows.nonzero()[0], in_columns.nonzero()[0]))


def _gather(part: _Part, columns: range, rows: range, target: Values) -> None:
    """Copy the pixels at the centres of those of the answer, in another CRS."""
    dataset = part.opened.dataset
    across, down = _places(part, columns, rows)
    inside = (across >= 0) & (across < dataset.width) & (down >= 0) & (down < dataset.height)
    if not inside.any():
        return
    across, down = across[inside].astype(int), down[inside].astype(int)
    (left, right), (top, bottom) = _bounds(across), _bounds(down)
    read = _read(part, Window(left, top, right - left, bottom - top))
    _put(part, read[:, down - top, across - left], target, (slice(None), inside))


def _resample(part: _Part, columns: range, rows: range, target: Values) -> None:
    """Fill the pixels by GDAL's warper, which supports all methods of interpolation.

    It never writes its nodata value, which is therefore the file's: a valid 255 would become 254.
    """
    wanted = part.wanted
    place = Affine.translation(part.shift, 0) @ wanted.transform @ Affine.translation(columns.start, rows.start)
    given = {
        "crs": f"EPSG:{wanted.epsg}" if isinstance(wanted.epsg, int) else wanted.epsg,
        "transform": place,
        "width": len(columns),
        "height": len(rows),
    }
    with ExitStack() as stack:
        source, bands = part.opened, list(wanted.bands)
        if wanted.visible is not None:
            box = array_bounds(len(rows), len(columns), place)
            source = stack.enter_context(_visible_part(part, box, (len(columns), len(rows))))
            bands = list(range(1, len(bands) + 1))
        empty = wanted.fill if source.dataset.nodata is None else source.dataset.nodata
        missing = {"add_alpha": True} if source.masked else {"src_nodata": empty, "nodata": empty}
        warp = WarpedVRT(source.dataset, resampling=_RESAMPLING[wanted.method], **given, **missing)
        warped = stack.enter_context(warp)
        values = warped.read(bands)
        if source.masked:
            values[:, warped.read(warped.count) == 0] = wanted.fill
        elif empty != wanted.fill:
            values[values == empty] = wanted.fill
    _put(part, values, target, ...)


@contextmanager
def _visible_part(part: _Part, box: Bounds, size: tuple[int, int]) -> Iterator[Opened]:
    """Yield the visible part of the raster's bands around a box of the answer, in memory: no other is interpolated."""
    wanted, dataset = part.wanted, part.opened.dataset
    seen = intersection(box, reproject(tuple(dataset.bounds), part.epsg, wanted.epsg)) or box
    west, south, east, north = reproject(seen, wanted.epsg, part.epsg)
    (left, top), (right, bottom) = ~dataset.transform @ (west, north), ~dataset.transform @ (east, south)
    more = _KERNEL * (2 + max((right - left) / size[0], (bottom - top) / size[1]))
    first, last = max(0, math.floor(left - more)), min(dataset.width, math.ceil(right + more))
    upper, lower = max(0, math.floor(top - more)), min(dataset.height, math.ceil(bottom + more))
    window = Window(first, upper, max(1, last - first), max(1, lower - upper))
    values = _read(part, window)
    form = {"count": len(values), "width": values.shape[2], "height": values.shape[1], "dtype": values.dtype}
    place = dataset.transform @ Affine.translation(first, upper)
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", crs=dataset.crs, transform=place, nodata=wanted.fill, **form) as written:
            written.write(values)
        with memory.open() as opened:
            yield Opened(opened, part.opened.version, masked=False)


def _put(part: _Part, picked: Values, target: Values, places: Any) -> None:
    if part.is_over:
        fill = part.wanted.fill
        picked = np.where(np.isnan(picked) if math.isnan(fill) else picked == fill, target[places], picked)
    target[places] = picked


def _places(part: _Part, columns: range, rows: range) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the columns and rows of the overview at the centres of the answer's pixels.

    They are interpolated between nodes by PROJ, refined until the middle of each cell agrees with PROJ; infinite for a
    pixel outside of the projection.
    """
    x, y = _middles(part.wanted, columns, rows)
    x = x + part.shift
    cells = _CELLS
    while cells * 2 < min(len(x), len(y)):
        nodes = _exact(part, *(np.linspace(axis[0], axis[-1], cells + 1) for axis in (x, y)))
        middle = (np.arange(cells) + 0.5) / cells
        middles = _exact(part, *(axis[0] + (axis[-1] - axis[0]) * middle for axis in (x, y)))
        between = (nodes[:, 1:, 1:] + nodes[:, :-1, 1:] + nodes[:, 1:, :-1] + nodes[:, :-1, :-1]) / 4
        if not np.isfinite(nodes).all():
            break
        if np.abs(between - middles).max() <= _ERROR:
            weights = _weights(len(x), cells), _weights(len(y), cells)
            across, down = (np.floor(weights[1] @ axis @ weights[0].T) for axis in nodes)
            return across, down
        cells *= 2
    across, down = np.floor(_exact(part, x, y))
    return across, down


def _exact(part: _Part, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return columns and rows of the overview, not rounded, of shape (2, y, x)."""
    east, north = np.meshgrid(x, y)
    there = transformer(part.wanted.epsg, part.epsg).transform(east.ravel(), north.ravel())
    place = part.opened.dataset.transform
    across, down = (np.asarray(each).reshape(east.shape) for each in there)
    return np.array([(across - place.c) / place.a, (down - place.f) / place.e])


def _weights(count: int, cells: int) -> NDArray[np.float64]:
    """Return the weights of the adjacent nodes for each pixel."""
    place = np.linspace(0, cells, count)
    cell = np.minimum(place.astype(int), cells - 1)
    weights = np.zeros((count, cells + 1))
    numbers = np.arange(count)
    weights[numbers, cell] = 1 - (place - cell)
    weights[numbers, cell + 1] = place - cell
    return weights


def _read(part: _Part, window: Window) -> Values:
    """Return the bands of a window, with the fill value where the file has no data: by its nodata or by its mask."""
    dataset, wanted = part.opened.dataset, part.wanted
    bands = list(wanted.bands)
    values: Values = dataset.read(bands, window=window, out_dtype=wanted.dtype)
    if part.opened.masked:
        values[dataset.read_masks(bands, window=window) == 0] = wanted.fill
    nodata = dataset.nodata
    if nodata is not None and nodata != wanted.fill:
        values[values == nodata] = wanted.fill
    if wanted.visible is not None:
        place = dataset.transform @ Affine.translation(window.col_off, window.row_off)
        values = wanted.visible.shown(values, place, wanted.fill)
    return values


def _inside(numbers: _Numbers, size: int) -> NDArray[np.bool_]:
    return (numbers >= 0) & (numbers < size)


def _bounds(numbers: _Numbers) -> tuple[int, int]:
    return int(numbers.min()), int(numbers.max()) + 1


def choose_overview(grid: Grid, window: Window, wanted: float, limit: int) -> int | None:
    """Return the index of the coarsest overview that is not coarser than wanted, None for the raster itself.

    Raises RequestTooLarge if this reads more pixels than `limit` allows.
    """
    pixels = window.width * window.height
    fits = [index for index, factor in enumerate(grid.overviews) if factor**2 * wanted <= pixels]
    read = pixels / grid.overviews[fits[-1]] ** 2 if fits else pixels
    if read > _READ_AHEAD * limit:
        raise RequestTooLarge(
            f"{read:,.0f} pixels would have to be read, at most {_READ_AHEAD * limit:,} are: the raster has no "
            "overview that is coarse enough. Ask for a smaller bbox."
        )
    return fits[-1] if fits else None


def _area(bounds: Bounds) -> float:
    return (bounds[2] - bounds[0]) * (bounds[3] - bounds[1])
