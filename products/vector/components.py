"""Connected areas of equal class in a raster, block by block, in columns and rows."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize, shapes

from products.classes import NODATA
from products.vector.blob import Geometries


class Block(NamedTuple):
    """A block of the raster: its first column and row, and its pixels."""

    column: int
    row: int
    classes: NDArray[np.uint8]

    @property
    def transform(self) -> Affine:
        """From pixels of the block to those of the raster: integers, so that common edges of blocks are equal."""
        return Affine.translation(self.column, self.row)


class Areas(NamedTuple):
    """Polygons and the class of each."""

    polygons: Geometries
    values: NDArray[np.int64]


@dataclass(slots=True)
class Components:
    """Join the areas of single blocks to 4-connected components of equal class.

    Memory is bounded by one row of blocks (the areas that touch an edge of a block) and by the components that cross
    its lower edge.
    """

    _pieces: dict[int, tuple[Any, int]] = field(default_factory=dict)
    _parents: dict[int, int] = field(default_factory=dict)
    _above: dict[int, NDArray[Any]] = field(default_factory=dict)
    _below: dict[int, NDArray[Any]] = field(default_factory=dict)
    _east: dict[int, NDArray[Any]] = field(default_factory=dict)

    def add(self, block: Block) -> Areas:
        """Add the next block of a row, from west to east; return its areas that touch no edge of it."""
        areas = _areas(block)
        edge = _touching(areas.polygons, block)
        labels = self._keep(areas.polygons[edge], areas.values[edge], block)
        self._join(self._above.get(block.column), labels[0])
        self._join(self._east.get(block.column), labels[:, 0])
        self._below[block.column] = labels[-1]
        self._east = {block.column + labels.shape[1]: labels[:, -1]}
        return Areas(areas.polygons[~edge], areas.values[~edge])

    def finish_row(self) -> Areas:
        """End a row of blocks; return the components that do not reach its lower edge."""
        self._above, self._below, self._east = self._below, {}, {}
        reaching = {self._root(label) for edge in self._above.values() for label in np.unique(edge[edge > 0]).tolist()}
        groups = defaultdict(list)
        for label in self._pieces:
            if (root := self._root(label)) not in reaching:
                groups[root].append(label)
        return self._take(list(groups.values()))

    def _keep(self, polygons: Geometries, values: NDArray[np.int64], block: Block) -> NDArray[Any]:
        first = max(self._pieces, default=0) + 1
        pieces = dict(enumerate(zip(polygons, values.tolist(), strict=True), first))
        self._pieces |= pieces
        self._parents |= {label: label for label in pieces}
        burnt = [(polygon, label) for label, (polygon, _) in pieces.items()]
        shape = block.classes.shape
        return rasterize(burnt, shape, transform=block.transform, dtype="int32") if burnt else np.zeros(shape, "int32")

    def _join(self, one: NDArray[Any] | None, other: NDArray[Any]) -> None:
        if one is None:
            return
        both = (one > 0) & (other > 0)
        for a, b in np.unique(np.stack((one[both], other[both])), axis=1).T.tolist():
            if self._pieces[a][1] == self._pieces[b][1]:
                self._parents[self._root(a)] = self._root(b)

    def _root(self, label: int) -> int:
        while (parent := self._parents[label]) != label:
            self._parents[label] = label = self._parents[parent]
        return label

    def _take(self, groups: list[list[int]]) -> Areas:
        values = [self._pieces[labels[0]][1] for labels in groups]
        polygons = [_union([self._pieces.pop(label)[0] for label in labels]) for labels in groups]
        for labels in groups:
            for label in labels:
                del self._parents[label]
        return Areas(_array(polygons), np.array(values, dtype=np.int64))


def _areas(block: Block) -> Areas:
    found = list(shapes(block.classes, block.classes != NODATA, connectivity=4, transform=block.transform))
    polygons = [outline["coordinates"] for outline, _ in found]
    rings = list(chain.from_iterable(polygons))
    points = np.fromiter(chain.from_iterable(chain.from_iterable(rings)), dtype=np.float64).reshape(-1, 2)
    offsets = (_offsets(rings), _offsets(polygons))
    values = np.array([value for _, value in found], dtype=np.int64)
    return Areas(shapely.from_ragged_array(shapely.GeometryType.POLYGON, points, offsets), values)


def _offsets(parts: Sequence[Sequence[Any]]) -> NDArray[np.int64]:
    return np.cumsum([0, *map(len, parts)])


def _touching(polygons: Geometries, block: Block) -> NDArray[np.bool_]:
    height, width = block.classes.shape
    x0, y0, x1, y1 = shapely.bounds(polygons).T
    right, bottom = block.column + width, block.row + height
    return np.asarray((x0 <= block.column) | (y0 <= block.row) | (x1 >= right) | (y1 >= bottom))


def _union(polygons: list[Any]) -> Any:
    if len(polygons) == 1:
        return polygons[0]
    return shapely.simplify(shapely.union_all(polygons), 0)


def _array(polygons: list[Any]) -> Geometries:
    array = np.empty(len(polygons), dtype=object)
    array[:] = polygons
    return array
