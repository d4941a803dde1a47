"""The number of polygons of each class in an area, counted or estimated at a bounded cost."""

# ruff: noqa: S608 - identifiers come from the layer, quoted; values are never formatted in

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from products.area import Area
from products.vector.blob import Geometries, decode
from products.vector.clip import Clip
from products.vector.extract import any_inside, land_cover
from products.vector.geopackage import Reader, parts_of, read_geopackage, readable
from products.vector.layer import quote
from products.vector.style import COLUMN

MOST_NODES, _FEW_NODES = 1_000, 100
"""Maximum nodes of the R-tree that are read on each level; a leaf has about thirty polygons."""

_MOST_NEAR = 50_000
"""Total runs of an outline's edges near the boxes of leaves above which fewer leaves are read."""
_LEAST = 30
"""Minimum leaves that are read."""
_ROOT = 1
_READ = 4_000
"""Features on the edge that are read at a time."""
_TWO_SIDED = 1.96
"""Standard errors of a 95 % confidence interval."""

_Numbers = NDArray[np.int64]
_Weights = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PolygonCounts:
    """Polygons by class value; their sum may be off by the fraction `margin` (95 % confidence), 0 if it is exact."""

    polygons: Mapping[int, int]
    margin: float = 0.0

    @property
    def total(self) -> int:
        """The sum over all classes."""
        return sum(self.polygons.values())


class _Found(NamedTuple):
    """Parts of nodes: the index of the node, the number, the box, and whether the box is inside."""

    owners: _Numbers
    numbers: _Numbers
    boxes: Geometries
    inside: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Leaves:
    """Leaves of the R-tree, each representing `weights` leaves; drawn from `chains`, all of them if `exact`."""

    numbers: _Numbers
    weights: _Weights
    chains: int
    exact: bool


def count_polygons(source: Path, area: Area, *, most: int = MOST_NODES) -> PolygonCounts:
    """Count the polygons that an extraction of the area would deliver. Raises BrokenSource, InvalidArea.

    If the area meets more than `most` leaves of the R-tree, or its outline is too complex for that many, the sum is
    estimated from some of them, drawn at random with a fixed seed.
    """
    with read_geopackage(source) as reader:
        outline = area.project(land_cover(reader.layer).epsg)
        if outline.is_empty:
            return PolygonCounts({})
        return _Census(reader, Clip.of(outline)).take(most)


def has_features(source: Path, area: Area) -> bool:
    """Return whether the product has data in the area, fast also if its box contains all. Raises BrokenSource."""
    found = count_polygons(source, area, most=_FEW_NODES)
    return bool(found.total) or (found.margin > 0 and any_inside(source, area))


@dataclass(frozen=True, slots=True)
class _Census:
    """A count of the features of one open GeoPackage inside an outline."""

    reader: Reader
    clip: Clip

    def take(self, most: int) -> PolygonCounts:
        leaves = self._leaves(most)
        owners, keys, _, inside = self._meeting(leaves.numbers)
        inner = self._inside(keys, inside)
        classes, weights = self._classes(keys[inner]), leaves.weights[owners[inner]]
        values, places = np.unique(classes, return_inverse=True)
        sums = np.rint(np.bincount(places, weights, len(values))).astype(np.int64)
        counted = {int(value): int(count) for value, count in zip(values, sums, strict=True)}
        each = leaves.weights * np.bincount(owners[inner], minlength=len(leaves.numbers))
        return PolygonCounts(counted, 0.0 if leaves.exact else _margin(each, leaves.chains))

    def _leaves(self, most: int) -> _Leaves:
        """Descend the R-tree to all nodes that meet the outline while they are few, then to one child of each."""
        numbers, depth, near = np.array([_ROOT]), self._depth(), 0
        while depth and len(numbers) <= most:
            found = self._meeting(numbers)
            numbers, depth, near = found.numbers, depth - 1, int(self.clip.near(found.boxes).sum())
        affordable = min(most, max(_LEAST, len(numbers) * _MOST_NEAR // max(near, 1)))
        if len(numbers) <= affordable:
            return _Leaves(numbers, np.ones(len(numbers)), len(numbers), exact=True)
        chance = np.random.default_rng(0)
        chosen = chance.choice(numbers, affordable, replace=False)
        weights = np.full(affordable, len(numbers) / affordable)
        for _ in range(depth):
            below = self._meeting(chosen)
            chosen, weights = _one_each(below.owners, below.numbers, weights, chance)
        return _Leaves(chosen, weights, affordable, exact=False)

    def _depth(self) -> int:
        [(root,)] = self._rows(self._node, [_ROOT], "data")
        return int.from_bytes(root[:2])

    @property
    def _node(self) -> str:
        return f"{quote(f'{self.reader.layer.index}_node')} WHERE nodeno"

    def _meeting(self, numbers: _Numbers) -> _Found:
        """Return the parts of these nodes that meet the outline."""
        found = dict(self._rows(self._node, numbers.tolist(), "nodeno, data"))
        parts = [parts_of(found[number]) for number in numbers.tolist()]
        owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        cells = np.concatenate([*parts, parts_of(bytes(4))])
        west, east, south, north = cells["box"].T.astype(np.float64)
        boxes = shapely.box(west, south, east, north)
        meeting, inside = self.clip.relate(boxes)
        return _Found(owners[meeting], cells["id"][meeting].astype(np.int64), boxes[meeting], inside[meeting])

    def _inside(self, keys: _Numbers, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which features have a part of their surface in the outline; those on its edge are compared exactly."""
        edge = np.flatnonzero(~inside)
        layer = self.reader.layer
        table = f"{quote(layer.table)} WHERE {quote(layer.key)}"
        for places in np.split(edge, range(_READ, len(edge), _READ)):
            found = dict(self._rows(table, keys[places].tolist(), f"{quote(layer.key)}, {quote(layer.geometry)}"))
            inside[places] = self.clip.meets(decode([found[key] for key in keys[places].tolist()]))
        return inside

    def _classes(self, keys: _Numbers) -> _Numbers:
        layer = self.reader.layer
        table = f"{quote(layer.table)} WHERE {quote(layer.key)}"
        found = dict(self._rows(table, keys.tolist(), f"{quote(layer.key)}, {quote(COLUMN)}"))
        return np.array([found[key] for key in keys.tolist()], np.int64)

    def _rows(self, where: str, keys: list[int], columns: str) -> list[tuple[Any, ...]]:
        query = f"SELECT {columns} FROM {where} IN (SELECT value FROM json_each(?))"
        with readable(self.reader.source):
            return self.reader.connection.execute(query, (json.dumps(keys),)).fetchall()


def _one_each(
    owners: _Numbers, below: _Numbers, weights: _Weights, chance: np.random.Generator
) -> tuple[_Numbers, _Weights]:
    """Return a random child of each node as a sample of all children."""
    order = chance.permutation(len(owners))
    nodes, first, counts = np.unique(owners[order], return_index=True, return_counts=True)
    return below[order[first]], weights[nodes] * counts


def _margin(each: _Weights, chains: int) -> float:
    """Return the 95 % margin of a sum as a fraction of it, from each chain's result; lost chains count as 0."""
    total = each.sum()
    if not total:
        return 1.0
    variance = (np.square(each).sum() - total**2 / chains) / (chains - 1)
    return float(_TWO_SIDED * np.sqrt(chains * variance) / total)
