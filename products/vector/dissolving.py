"""Polygons of classes on the grid of a tile: dissolved by class, so that each class keeps its area at small scales.

The area of each class in each cell of the grid is summed exactly. Each cell then gets one class, and what it has of
other classes is carried on to the next cells with these: so the cells of a class have together the area of its
polygons, also of those that are smaller than a cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from rasterio.features import shapes

from products.errors import RequestTooLarge
from products.operation import Bounds, transformer
from products.vector.blob import Geometries
from products.vector.drawing import BUFFER, EXTENT, Paths
from products.vector.mvt import Encoder

CELLS = 256
"""Cells along each side of a tile; the grid has some more around it, so that outlines meet those of the next tile."""
MOST_CLASSES = 100
MOST_DISSOLVED = 1_000_000
"""Maximum polygons of a tile, as many as are looked for in a GeoPackage."""
_UNITS = EXTENT // CELLS
MARGIN = BUFFER // _UNITS
"""Cells of the grid on each side of a tile."""
_SIDE = CELLS + 2 * MARGIN
_NODES = 65
"""Points along each side of the area that are transformed; between them coordinates are interpolated."""
_SMALL = 1 / 4
"""Size in cells of a polygon whose area is put into the cell of its centroid."""
_WHOLE = 0.95
"""The covered share of a cell and its neighbours from which on the cell has no hole."""
_PURE = 0.999
"""The share of a cell from which on it is taken for all of it."""

_Numbers = NDArray[np.float64]
_Whole = NDArray[np.int64]
Labels = NDArray[np.int64]
"""The numbers of the classes of cells, from north to south; -1 for none."""


@dataclass(frozen=True, slots=True)
class _Places:
    """From the layer's coordinates to cells: by interpolation inside of `bounds`, and exact outside of them."""

    bounds: Bounds
    tile: Bounds
    source: int | str
    target: int | str
    nodes: _Numbers = field(init=False)
    density: _Numbers = field(init=False)
    """Cells of a square of the layer's coordinates with sides of one, between the nodes."""

    def __post_init__(self) -> None:
        west, south, east, north = self.bounds
        x, y = np.meshgrid(np.linspace(west, east, _NODES), np.linspace(south, north, _NODES))
        nodes = self.exact(np.column_stack((x.ravel(), y.ravel()))).reshape(_NODES, _NODES, 2)
        across, down = nodes[1:, 1:] - nodes[:-1, :-1], nodes[1:, :-1] - nodes[:-1, 1:]
        cells = np.abs(across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]) / 2
        square = (east - west) * (north - south) / (_NODES - 1) ** 2
        object.__setattr__(self, "nodes", nodes)
        object.__setattr__(self, "density", cells / square)

    def exact(self, points: _Numbers) -> _Numbers:
        """Return points in cells, transformed one by one."""
        west, south, east, north = self.tile
        x, y = points.T if self.source == self.target else transformer(self.source, self.target).transform(*points.T)
        side = CELLS / (east - west), -CELLS / (north - south)
        return np.column_stack(((x - west) * side[0] + MARGIN, (y - north) * side[1] + MARGIN))

    def near(self, points: _Numbers) -> _Numbers:
        """Return points inside of the bounds in cells."""
        (column, u), (row, v) = self._node(points)
        nodes = self.nodes
        u, v = u[:, None], v[:, None]
        low = nodes[row, column] * (1 - u) + nodes[row, column + 1] * u
        high = nodes[row + 1, column] * (1 - u) + nodes[row + 1, column + 1] * u
        found: _Numbers = low * (1 - v) + high * v
        return found

    def densities(self, points: _Numbers) -> _Numbers:
        """Return how many cells a square with sides of one has at each point."""
        (column, _), (row, _) = self._node(points)
        found: _Numbers = self.density[row, column]
        return found

    def _node(self, points: _Numbers) -> list[tuple[_Whole, _Numbers]]:
        """Return for each axis the node before each point, and the point's share of the way to the next."""
        found = []
        for axis in (0, 1):
            low, high = self.bounds[axis], self.bounds[axis + 2]
            at = np.clip((points[:, axis] - low) * ((_NODES - 1) / (high - low)), 0, _NODES - 1)
            node = np.minimum(at.astype(np.int64), _NODES - 2)
            found.append((node, at - node))
        return found


class ClassGrid:
    """The area of each class in the cells of a tile, to which polygons are added; a class is a tuple of values."""

    def __init__(self, tile: Bounds, crs: int | str, area: Bounds, native: int | str) -> None:
        """`area` has the part of the tile with polygons, in their CRS `native`. Raises ProjError."""
        west, south, east, north = area
        wide, high = (east - west) / 100, (north - south) / 100
        self._places = _Places((west - wide, south - high, east + wide, north + high), tile, native, crs)
        if not np.isfinite(self._places.nodes).all():
            raise ProjError("the area has points that have no place in the CRS of the tile")
        self._classes: dict[tuple[Any, ...], int] = {}
        self._edges = np.zeros((MOST_CLASSES, _SIDE, _SIDE + 1))
        self._small = np.zeros((MOST_CLASSES, _SIDE, _SIDE))

    @property
    def small(self) -> float:
        """The size, in the layer's units, below which a polygon can be added by its centroid and area."""
        return float(_SMALL / np.sqrt(self._places.density.max()))

    def add(self, classes: Sequence[tuple[Any, ...]], polygons: Geometries) -> None:
        """Add polygons and multipolygons. Raises RequestTooLarge for too many classes."""
        numbers = self._numbers(classes)
        west, south, east, north = shapely.bounds(polygons).T
        small = np.fmax(east - west, north - south) <= self.small
        there = ~shapely.is_missing(polygons) & ~shapely.is_empty(polygons)
        some = polygons[small & there]
        centres = shapely.get_coordinates(shapely.centroid(some))
        self._add_small(numbers[small & there], centres, shapely.area(some))
        low, high = self._places.bounds[:2], self._places.bounds[2:]
        inside = (west >= low[0]) & (south >= low[1]) & (east <= high[0]) & (north <= high[1])
        for chosen, place in ((inside, self._places.near), (~inside, self._places.exact)):
            large = np.flatnonzero(there & ~small & chosen)
            if len(large):
                parts, owner = shapely.get_parts(polygons[large], return_index=True)
                rings, of = shapely.get_rings(shapely.orient_polygons(parts), return_index=True)
                points, ring = shapely.get_coordinates(rings, return_index=True)
                same = ring[1:] == ring[:-1]
                cells = place(points)
                self._add_edges(numbers[large][owner[of[ring[:-1][same]]]], cells[:-1][same], cells[1:][same])

    def add_small(self, classes: Sequence[tuple[Any, ...]], centres: _Numbers, areas: _Numbers) -> None:
        """Add polygons not larger than `small` by their centroids and areas. Raises RequestTooLarge."""
        self._add_small(self._numbers(classes), centres, areas)

    def _numbers(self, classes: Sequence[tuple[Any, ...]]) -> _Whole:
        known = self._classes
        numbers = np.array([known.setdefault(each, len(known)) for each in classes], dtype=np.int64)
        if len(known) > MOST_CLASSES:
            raise RequestTooLarge(f"a tile of this scale has at most {MOST_CLASSES} classes; ask for a larger scale")
        return numbers

    def _add_small(self, numbers: _Whole, centres: _Numbers, areas: _Numbers) -> None:
        if not len(numbers):
            return
        cells = self._places.near(centres)
        column, row = np.floor(cells).astype(np.int64).T
        inside = (column >= 0) & (column < _SIDE) & (row >= 0) & (row < _SIDE)
        weight = (areas * self._places.densities(centres))[inside]
        self._put(self._small, numbers[inside], row[inside], column[inside], weight)

    def _add_edges(self, numbers: _Whole, begin: _Numbers, end: _Numbers) -> None:
        """Add the edges of rings: each adds to the cells on its right how much of their height it passes.

        Edges down and up of a ring cancel each other to the right of it, so that sums along rows are shares of cells.
        """
        finite = np.isfinite(begin).all(axis=1) & np.isfinite(end).all(axis=1)
        numbers, begin, end = numbers[finite], begin[finite], end[finite]
        (x, y), (x_end, y_end) = begin.T, end.T
        low, high = np.clip(np.minimum(y, y_end), 0, _SIDE), np.clip(np.maximum(y, y_end), 0, _SIDE)
        edge, row = _split(low, high, np.floor(low), np.ceil(high) - 1)
        top, bottom = np.maximum(low[edge], row), np.minimum(high[edge], row + 1)
        slope = ((x_end - x)[edge]) / ((y_end - y)[edge])
        ends = x[edge] + (top - y[edge]) * slope, x[edge] + (bottom - y[edge]) * slope
        height = (bottom - top) * np.sign((y_end - y)[edge])
        left, right = np.minimum(*ends), np.maximum(*ends)
        piece, column = _split(
            left, right, np.clip(np.floor(left), -1, _SIDE), np.clip(np.ceil(right) - 1, -1, _SIDE), flat=True
        )
        width = (right - left)[piece]
        from_ = np.where(column < 0, left[piece], np.maximum(left[piece], column))
        to = np.where(column >= _SIDE, right[piece], np.minimum(right[piece], column + 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            weight = height[piece] * np.where(width > 0, (to - from_) / width, 1.0)
        middle = np.where(column < 0, 0.0, (from_ + to) / 2 - column)
        inside = column < _SIDE
        numbers, rows = numbers[edge][piece][inside], row[piece][inside]
        columns, weight, middle = np.maximum(column, 0)[inside], weight[inside], middle[inside]
        self._put(self._edges, numbers, rows, columns, weight * (1 - middle))
        self._put(self._edges, numbers, rows, columns + 1, weight * middle)

    def _put(self, into: _Numbers, numbers: _Whole, rows: _Whole, columns: _Whole, weight: _Numbers) -> None:
        count, height, width = len(self._classes), *into.shape[1:]
        flat = (numbers * height + rows) * width + columns
        into[:count] += np.bincount(flat, weight, count * height * width).reshape(count, height, width)

    @property
    def classes(self) -> tuple[tuple[Any, ...], ...]:
        """The classes by their numbers in `labels`."""
        return tuple(self._classes)

    def tile(self, layer: str, columns: Sequence[str]) -> bytes:
        """Return the vector tile with a feature for each class, which is a tuple of the values of these columns."""
        return dissolved_tile(layer, columns, self.classes, self.labels()) if self._classes else b""

    def labels(self) -> Labels:
        """Return the number of the class of each cell of the grid, with the margin around the tile; -1 for none."""
        count = len(self._classes)
        return labelled(np.cumsum(self._edges[:count], axis=2)[:, :, :-1].clip(0) + self._small[:count])


def dissolved_tile(layer: str, columns: Sequence[str], classes: Sequence[tuple[Any, ...]], labels: Labels) -> bytes:
    """Return the vector tile of a labelled grid, margin included, with a feature for each class that it has."""
    found, numbers = np.unique(labels, return_inverse=True)
    first = int(found[0] < 0)
    there = [classes[number] for number in found[first:].tolist()]
    made = Encoder(layer, columns)
    if there:
        made.add(outlined(numbers.reshape(labels.shape) - first), [None] * len(there), list(zip(*there, strict=True)))
    return made.content()


def outlined(labels: Labels) -> Paths:
    """Return the paths of each class of a labelled grid, in units of the tile."""
    place = Affine(_UNITS, 0, -BUFFER, 0, _UNITS, -BUFFER)
    found = list(shapes(labels.astype(np.int16), labels >= 0, connectivity=4, transform=place))
    made: Geometries = np.full(int(labels.max()) + 1, None, dtype=object)
    if found:
        outlines = [outline["coordinates"] for outline, _ in found]
        rings = list(chain.from_iterable(outlines))
        points = np.fromiter(chain.from_iterable(chain.from_iterable(rings)), np.float64).reshape(-1, 2)
        offsets = tuple(np.cumsum([0, *map(len, parts)]) for parts in (rings, outlines))
        polygons = shapely.from_ragged_array(shapely.GeometryType.POLYGON, points, offsets)
        values = np.array([int(value) for _, value in found])
        order = np.argsort(values, kind="stable")
        shapely.multipolygons(polygons[order], indices=values[order], out=made)
    return Paths.of(made)


def labelled(areas: _Numbers) -> Labels:
    """Return the number of the class of each cell, -1 for none, by the share of each class in each cell."""
    count, side = areas.shape[:2]
    shares = np.concatenate((areas, np.zeros((1, side, side))))
    covered = shares.sum(axis=0)
    whole = _mean(np.minimum(covered, 1)) >= _WHOLE
    shares[:, whole] /= np.maximum(covered[whole], 1e-9)
    shares[count, ~whole] = 1 - covered[~whole]
    labels: Labels = np.where(covered > 0, shares.argmax(axis=0), count)
    shares[:, 1::2] = shares[:, 1::2, ::-1]  # every second row is passed from its end
    flat, chosen = shares.reshape(count + 1, -1).T, labels.copy()
    chosen[1::2] = labels[1::2, ::-1]
    chosen = chosen.ravel()
    mixed = np.flatnonzero((flat.max(axis=1) < _PURE) & (flat[:, :count].sum(axis=1) > 0))
    chosen[mixed] = _carried(flat[mixed])
    labels = chosen.reshape(side, side)
    labels[1::2] = labels[1::2, ::-1]
    return np.where(labels == count, -1, labels)


def _split(
    low: _Numbers, high: _Numbers, first: _Numbers, last: _Numbers, *, flat: bool = False
) -> tuple[_Whole, _Whole]:
    """Return the index and the whole numbers of each interval, one by one; `flat` keeps intervals of length 0."""
    counts = np.where((high > low) | flat, np.maximum(last - first, 0) + 1, 0).astype(np.int64)
    index = np.repeat(np.arange(len(low)), counts)
    within = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
    return index, first.astype(np.int64)[index] + within


def _mean(numbers: _Numbers) -> _Numbers:
    """Return the mean of each number and its eight neighbours."""
    padded = np.pad(numbers, 1, mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    mean: _Numbers = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9
    return mean


def _carried(shares: _Numbers) -> _Whole:
    """Return a class for each cell, one that it has; what it has of the others is carried to the next cells."""
    carry = np.zeros(shares.shape[1])
    chosen = np.zeros(len(shares), np.int64)
    absent = np.where(shares > 1 - _PURE, 0.0, -np.inf)
    for place, (share, without) in enumerate(zip(shares, absent, strict=True)):
        carry += share
        found = int((carry + without).argmax())
        chosen[place] = found
        carry[found] -= 1
    return chosen
