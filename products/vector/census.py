"""How many polygons of each class an area takes, counted or estimated at a bounded cost."""

# ruff: noqa: S608 - identifiers come from the layer, quoted; values are never formatted in

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from products.area import Area
from products.vector.blob import decode
from products.vector.clip import Clip
from products.vector.extract import land_cover
from products.vector.geopackage import Reader, parts_of, read_geopackage, readable
from products.vector.layer import quote
from products.vector.style import COLUMN

MOST_NODES = 1_000
"""Nodes of the R-tree that are looked at on each level, at most; a leaf holds some thirty polygons."""

_ROOT = 1
_TWO_SIDED = 1.96
"""Standard errors that hold 95 of 100 outcomes."""

_Numbers = NDArray[np.int64]
_Weights = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PolygonCounts:
    """Polygons by class value; their sum may be off by the fraction `margin` (95 % confidence), 0 where it is exact."""

    polygons: Mapping[int, int]
    margin: float = 0.0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.polygons.values())


@dataclass(frozen=True, slots=True)
class _Leaves:
    """Leaves of the R-tree, each standing for `weights` of them; drawn from `chains`, all of them where `exact`."""

    numbers: _Numbers
    weights: _Weights
    chains: int
    exact: bool


def count_polygons(source: Path, area: Area, *, most: int = MOST_NODES) -> PolygonCounts:
    """Count the polygons that an extraction of the area would deliver. Raises BrokenSource, InvalidArea.

    Where the area meets more than `most` leaves of the R-tree the sum is estimated from so many, drawn at random but
    the same ones each time.
    """
    with read_geopackage(source) as reader:
        outline = area.project(land_cover(reader.layer).epsg)
        if outline.is_empty:
            return PolygonCounts({})
        return _Census(reader, Clip.of(outline)).take(most)


@dataclass(frozen=True, slots=True)
class _Census:
    """A count of the features of one open GeoPackage inside an outline."""

    reader: Reader
    clip: Clip

    def take(self, most: int) -> PolygonCounts:
        leaves = self._leaves(most)
        owners, keys, boxes = self._meeting(leaves.numbers)
        kept = self._inside(keys, boxes)
        classes, weights = self._classes(keys[kept]), leaves.weights[owners[kept]]
        values, places = np.unique(classes, return_inverse=True)
        sums = np.rint(np.bincount(places, weights, len(values))).astype(np.int64)
        counted = {int(value): int(count) for value, count in zip(values, sums, strict=True)}
        each = leaves.weights * np.bincount(owners[kept], minlength=len(leaves.numbers))
        return PolygonCounts(counted, 0.0 if leaves.exact else _margin(each, leaves.chains))

    def _leaves(self, most: int) -> _Leaves:
        """Go down the R-tree, all nodes that meet the outline as long as they are few, then one below each of some."""
        numbers, depth = np.array([_ROOT]), self._depth()
        while depth and len(numbers) <= most:
            numbers, depth = self._meeting(numbers)[1], depth - 1
        if len(numbers) <= most:
            return _Leaves(numbers, np.ones(len(numbers)), len(numbers), exact=True)
        chance = np.random.default_rng(0)
        chosen, weights = chance.choice(numbers, most, replace=False), np.full(most, len(numbers) / most)
        for _ in range(depth):
            owners, below, _ = self._meeting(chosen)
            chosen, weights = _one_each(owners, below, weights, chance)
        return _Leaves(chosen, weights, most, exact=False)

    def _depth(self) -> int:
        [(root,)] = self._rows(self._node, [_ROOT], "data")
        return int.from_bytes(root[:2])

    @property
    def _node(self) -> str:
        return f"{quote(f'{self.reader.layer.index}_node')} WHERE nodeno"

    def _meeting(self, numbers: _Numbers) -> tuple[_Numbers, _Numbers, Any]:
        """Return what of these nodes meets the outline: for each part its node's place, its number and its box."""
        found = dict(self._rows(self._node, numbers.tolist(), "nodeno, data"))
        parts = [parts_of(found[number]) for number in numbers.tolist()]
        owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        cells = np.concatenate([*parts, parts_of(bytes(4))])
        west, east, south, north = cells["box"].T.astype(np.float64)
        boxes = shapely.box(west, south, east, north)
        meeting, _ = self.clip.relate(boxes)
        return owners[meeting], cells["id"][meeting].astype(np.int64), boxes[meeting]

    def _inside(self, keys: _Numbers, boxes: Any) -> NDArray[np.bool_]:
        """Say which features have some of their surface in the outline; those across its edge are looked at in full."""
        _, inside = self.clip.relate(boxes)
        edge = np.flatnonzero(~inside)
        layer = self.reader.layer
        table = f"{quote(layer.table)} WHERE {quote(layer.key)}"
        for places in np.split(edge, range(500, len(edge), 500)):
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
    """Return one of what is below each node, at random, which stands for all of them."""
    order = chance.permutation(len(owners))
    nodes, first, counts = np.unique(owners[order], return_index=True, return_counts=True)
    return below[order[first]], weights[nodes] * counts


def _margin(each: _Weights, chains: int) -> float:
    """Return the 95 % margin of a sum as a fraction of it, from what each of the chains found; lost ones found none."""
    total = each.sum()
    if not total:
        return 1.0
    variance = (np.square(each).sum() - total**2 / chains) / (chains - 1)
    return float(_TWO_SIDED * np.sqrt(chains * variance) / total)
