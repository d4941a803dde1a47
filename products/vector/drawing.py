"""Geometries as the paths of a vector tile: in its units, cut at its edges, rounded; for whole arrays."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from products.vector.blob import Geometries
from products.vector.mending import mended

EXTENT = 4096
"""Units of a tile along each side."""
BUFFER = 64
"""Units around a tile in which geometries remain, so that outlines meet those of the next tile."""
_POINT, _LINESTRING, _POLYGON = KINDS = 1, 2, 3
"""The kinds of features; each is one more than its dimension."""
_MOVE_ONE, _MOVE, _LINE, _CLOSE = 1 | 1 << 3, 1, 2, 7 | 1 << 3
_FEWEST = np.array([0, 1, 2, 3])
"""Minimum number of points of a path of each kind."""
_PASSES = 8
"""Times that corners are removed that change nothing; a longer spike, which shrinks by one each time, is mended."""
_EDGES = -BUFFER, -BUFFER, EXTENT + BUFFER, EXTENT + BUFFER

_Whole = NDArray[np.int64]


def drawn(geometries: Geometries, bounds: tuple[float, float, float, float]) -> "Paths":
    """Return the geometries in units of the tile of these bounds, cut at its edges, valid after they are rounded.

    Only the parts of the highest dimension of a collection are drawn.
    """
    west, south, east, north = bounds
    scale = np.array([EXTENT / (east - west), -EXTENT / (north - south)])
    moved = shapely.transform(geometries, lambda points: (points - (west, north)) * scale)
    points, owners = shapely.get_coordinates(moved, return_index=True)
    moved[owners[~np.isfinite(points).all(axis=1)]] = None
    flat = (shapely.get_dimensions(moved) < _POLYGON - 1) & ~shapely.is_missing(moved)
    moved[flat] = shapely.clip_by_rect(moved[flat], *_EDGES)
    paths = Paths.of(moved)
    surfaces = paths.surfaces()
    broken = ~shapely.is_valid(surfaces) & ~shapely.is_missing(surfaces)
    if not broken.any():
        return paths
    others, numbers = np.full(len(moved), None, dtype=object), np.flatnonzero(broken)
    others[broken] = mended(surfaces[broken], lambda number: _cut(moved[numbers[number]]))
    return paths.instead(broken, Paths.of(others))


def _cut(surface: Any) -> Any:
    """Return the valid part of a surface in the tile and a small margin."""
    valid = surface if surface.is_valid else shapely.make_valid(surface)
    return shapely.clip_by_rect(valid, *_EDGES)


@dataclass(frozen=True, slots=True)
class Paths:
    """The drawn paths of features, in integers: one for each line or ring, or for all points of a feature.

    Each path has its feature, its kind and its number; the rings of a polygon follow its outer one (`outer`), without
    their last places. Paths are in the order of the features.
    """

    count: int
    places: _Whole
    path: _Whole
    """The number of the path of each point."""
    owner: _Whole
    kind: _Whole
    outer: NDArray[np.bool_]

    @classmethod
    def of(cls, geometries: Geometries) -> Self:
        """Return the paths of geometries in units of the tile."""
        parts, owner = _parts(geometries)
        kinds = shapely.get_dimensions(parts) + 1
        surfaces = kinds == _POLYGON
        rings, of = shapely.get_rings(parts[surfaces], return_index=True)
        numbers = np.flatnonzero(surfaces)[of]
        lines = np.concatenate([rings, parts[~surfaces]])
        numbers = np.concatenate([numbers, np.flatnonzero(~surfaces)])
        order = np.argsort(numbers, kind="stable")
        lines, numbers = lines[order], numbers[order]
        places, path = shapely.get_coordinates(lines, return_index=True)
        outer = np.diff(numbers, prepend=-1) != 0
        same = (kinds[numbers] == _POINT) & (
            np.diff(owner[numbers], prepend=-1) == 0
        )  # points of a feature are one path
        joined = np.cumsum(~same) - 1
        path = joined[path]
        kind = kinds[numbers][~same]
        places, path = _cut_rings(places, path, kind)
        found = cls(len(geometries), np.rint(places).astype(np.int64), path, owner[numbers][~same], kind, outer[~same])
        return found._cleaned()

    def _cleaned(self) -> Self:
        """Return paths without redundant points, and without paths that become empty."""
        places, path = self.places, self.path
        passes = count(1)
        while len(places):
            kind = self.kind[path]
            begins = np.flatnonzero(np.diff(path, prepend=-1))
            ends = np.append(begins[1:], len(path)) - 1
            following = np.arange(1, len(path) + 1)
            following[ends] = begins
            steps = places[following] - places
            useless = ~steps.any(axis=1) & (kind != _POINT)
            useless[ends] &= kind[ends] == _POLYGON
            if not useless.any():
                if next(passes) > _PASSES:
                    break
                before = np.empty_like(steps)
                before[following] = steps
                useless = (before[:, 0] * steps[:, 1] == before[:, 1] * steps[:, 0]) & (kind == _POLYGON)
                if not useless.any():
                    break
            places, path = places[~useless], path[~useless]
        sizes = np.bincount(path, minlength=len(self.kind))
        enough = sizes >= _FEWEST[self.kind]
        polygon = np.cumsum(self.outer) - 1
        chosen = enough & enough[self.outer][polygon]
        return self._with(places, path, chosen)

    def _with(self, places: _Whole, path: _Whole, chosen: NDArray[np.bool_]) -> Self:
        numbers = np.cumsum(chosen) - 1
        there = chosen[path]
        return type(self)(
            self.count, places[there], numbers[path[there]], self.owner[chosen], self.kind[chosen], self.outer[chosen]
        )

    def surfaces(self) -> Geometries:
        """Return the polygons of each feature, or None."""
        found: Geometries = np.full(self.count, None, dtype=object)
        rings = self.kind == _POLYGON
        if rings.any():
            of_rings = rings[self.path]
            _, path = np.unique(self.path[of_rings], return_inverse=True)
            made = shapely.linearrings(self.places[of_rings].astype(np.float64), indices=path)
            outer = self.outer[rings]
            polygons = shapely.polygons(made, indices=np.cumsum(outer) - 1)
            shapely.multipolygons(polygons, indices=self.owner[rings][outer], out=found)
        return found

    def instead(self, features: NDArray[np.bool_], others: Self) -> Self:
        """Return the paths with new ones for these features."""
        rest = self._with(self.places, self.path, ~features[self.owner])
        owner = np.concatenate([rest.owner, others.owner])
        order = np.argsort(owner, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        path = rank[np.concatenate([rest.path, others.path + len(rest.owner)])]
        sorting = np.argsort(path, kind="stable")
        places = np.concatenate([rest.places, others.places])[sorting]
        kind, outer = np.concatenate([rest.kind, others.kind]), np.concatenate([rest.outer, others.outer])
        return type(self)(self.count, places, path[sorting], owner[order], kind[order], outer[order])

    def commands(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield the number, the kind and the commands of each feature that is drawn (Vector Tile 2.1, 4.3)."""
        if not len(self.path):
            return
        places = self._reoriented()
        begins = np.flatnonzero(np.diff(self.path, prepend=-1))
        sizes = np.diff(begins, append=len(places))
        steps = np.diff(places, axis=0, prepend=np.zeros((1, 2), np.int64))
        first = np.flatnonzero(np.diff(self.owner, prepend=-1))
        steps[begins[first]] = places[begins[first]]
        points, rings = self.kind == _POINT, self.kind == _POLYGON
        lengths = 2 * sizes + 1 + ~points + rings
        at = np.cumsum(lengths) - lengths
        numbers = np.empty(lengths.sum(), np.int64)
        numbers[at] = np.where(points, _MOVE | sizes << 3, _MOVE_ONE)
        numbers[at[~points] + 3] = _LINE | (sizes[~points] - 1) << 3
        numbers[(at + lengths - 1)[rings]] = _CLOSE
        within = np.arange(len(places)) - begins[self.path]
        to = at[self.path] + 1 + 2 * within + (~points[self.path] & (within > 0))
        numbers[to], numbers[to + 1] = ((steps << 1) ^ (steps >> 63)).T
        content, ends = _varints(numbers)
        limits = np.append(ends[at[first]] - _lengths(numbers[at[first]]), ends[-1]).tolist()
        features = zip(self.owner[first].tolist(), self.kind[first].tolist(), strict=True)
        for place, (feature, kind) in enumerate(features):
            yield feature, kind, content[limits[place] : limits[place + 1]]

    def _reoriented(self) -> _Whole:
        """Return the points with outer rings clockwise for y downwards, and inner rings counterclockwise."""
        begins = np.flatnonzero(np.diff(self.path, prepend=-1))
        ends = np.append(begins[1:], len(self.path)) - 1
        following = np.arange(1, len(self.path) + 1)
        following[ends] = begins
        x, y = self.places.T
        areas = np.add.reduceat(x * y[following] - x[following] * y, begins)
        reversed_ = ((areas > 0) != self.outer) & (self.kind == _POLYGON)
        order = np.where(
            reversed_[self.path], (begins + ends)[self.path] - np.arange(len(self.path)), np.arange(len(self.path))
        )
        ordered: _Whole = self.places[order]
        return ordered


def _cut_rings(places: NDArray[np.float64], path: _Whole, kind: _Whole) -> tuple[NDArray[np.float64], _Whole]:
    """Return the points of the paths with rings cut at the edges of a tile, where they may overlap themselves.

    Each edge of the tile in turn removes the part beyond it (Sutherland and Hodgman), also of an invalid polygon.
    """
    for number, limit in enumerate(_EDGES):
        axis, sign = number % 2, 1 if number < len(_EDGES) // 2 else -1
        depth = sign * (places[:, axis] - limit)
        chosen = (depth >= 0) | (kind[path] != _POLYGON)
        if chosen.all():
            continue
        begins = np.flatnonzero(np.diff(path, prepend=-1))
        following = np.arange(1, len(path) + 1)
        following[np.append(begins[1:], len(path)) - 1] = begins
        crossed = np.flatnonzero(chosen != chosen[following])
        after = following[crossed]
        share = depth[crossed] / (depth[crossed] - depth[after])
        cut = places[crossed] + share[:, None] * (places[after] - places[crossed])
        cut[:, axis] = limit
        order = np.argsort(np.concatenate((2 * np.flatnonzero(chosen), 2 * crossed + 1)))
        places, path = (np.concatenate(each)[order] for each in ((places[chosen], cut), (path[chosen], path[crossed])))
    return places, path


def _parts(geometries: Geometries) -> tuple[Geometries, _Whole]:
    """Return the parts of geometries of the highest dimension, and the index of the geometry of each."""
    parts, owner = shapely.get_parts(geometries, return_index=True)
    while (shapely.get_type_id(parts) > shapely.GeometryType.POLYGON).any():
        parts, of = shapely.get_parts(parts, return_index=True)
        owner = owner[of]
    there = ~shapely.is_empty(parts)
    parts, owner = parts[there], owner[there]
    dimensions = shapely.get_dimensions(parts)
    highest = np.zeros(len(geometries), np.int64)
    np.maximum.at(highest, owner, dimensions)
    most = dimensions == highest[owner]
    return parts[most], owner[most]


def _lengths(numbers: _Whole) -> _Whole:
    """Return the lengths of the varints of numbers below 2 ** 35."""
    lengths = np.ones(len(numbers), np.int64)
    for bits in (7, 14, 21, 28):
        lengths += numbers >= 1 << bits
    return lengths


def _varints(numbers: _Whole) -> tuple[bytes, _Whole]:
    """Return numbers as varints, and the end of each."""
    lengths = _lengths(numbers)
    ends = np.cumsum(lengths)
    begins = ends - lengths
    content = np.empty(ends[-1], np.uint8)
    for place in range(lengths.max()):
        some = lengths > place
        more = (lengths[some] > place + 1) << 7
        content[begins[some] + place] = numbers[some] >> 7 * place & 0x7F | more
    return content.tobytes(), ends
