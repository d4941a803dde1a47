"""What of features lies in an outline, cut with what of it is near each: no feature meets all of its vertices."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from products.outline import Polygonal
from products.vector.blob import Geometries

_FEW = 2_048
"""Vertices that are not halved any more."""
_DEEPEST = 16
_OVERLAP, _RIM = 0.02, 0.005
"""How far each half reaches over the middle, and how much of that no feature may reach, as fractions of the extent."""
_FLAG = np.array([(0.0, 1), (-1, 2), (1, 2), (0, 1), (0, 0)])
"""A triangle on a staff, from its foot to its foot, with its inside to the right."""

_Places = NDArray[np.intp]
_Bounds = NDArray[np.float64]
"""Least x, least y, greatest x, greatest y; rows of them."""


@dataclass(frozen=True, slots=True)
class _Rings:
    """Closed rings with their inside to the right: their points, each point's ring, and each ring's polygon."""

    points: NDArray[np.float64]
    ring: NDArray[np.int64]
    polygon: NDArray[np.int64]

    @classmethod
    def of(cls, outline: Polygonal) -> Self:
        """Return those of an outline."""
        polygons = shapely.orient_polygons(shapely.get_parts(outline), exterior_cw=True)
        rings, polygon = shapely.get_rings(polygons, return_index=True)
        points, ring = shapely.get_coordinates(rings, return_index=True)
        return cls(points, ring, polygon)

    def within(self, bounds: _Bounds) -> Self:
        """Return what encloses the same inside of bounds."""
        found = self
        for axis in (0, 1):
            found = found.beyond(axis, bounds[axis], 1).beyond(axis, bounds[axis + 2], -1)
        return found

    def beyond(self, axis: int, bound: float, sign: int) -> Self:
        """Return what encloses the same above a bound of x (axis 0) or y, below it where the sign is negative.

        As Sutherland and Hodgman clip: edges on the bound may lie over each other.
        """
        height = sign * (self.points[:, axis] - bound)
        inside = height >= 0
        if inside.all():
            return self
        edge = np.flatnonzero((self.ring[1:] == self.ring[:-1]) & (inside[1:] != inside[:-1]))
        share = (height[edge] / (height[edge] - height[edge + 1]))[:, np.newaxis]
        places = np.zeros((len(inside), 2), bool)
        places[:, 0], places[edge, 1] = inside, True
        number, is_crossing = np.nonzero(places)
        points, is_crossing = self.points[number], is_crossing.astype(bool)
        points[is_crossing] += share * (self.points[edge + 1] - self.points[edge])
        points[is_crossing, axis] = bound
        return type(self)(*_closed(points, self.ring[number]), self.polygon)

    def geometry(self) -> Any:
        """Return the rings as a multipolygon for GEOS's overlay and for where points are.

        On which side of a ring its inside is GEOS finds from its highest point, of which edges over each other on a
        bound say nothing. It has a flag there then.
        """
        if not len(self.points):
            return shapely.MultiPolygon()
        numbers, ring = np.unique(self.ring, return_inverse=True)
        polygon = self.polygon[numbers]
        hole = np.diff(self.polygon, prepend=-1)[numbers] == 0
        rings = shapely.linearrings(self.points, indices=ring)
        for wrong in np.flatnonzero(shapely.is_ccw(rings) != hole):
            rings[wrong] = _flagged(self.points[ring == wrong], hole=bool(hole[wrong]))
        groups = np.split(np.arange(len(rings)), np.flatnonzero(np.diff(polygon)) + 1)
        return shapely.multipolygons([_polygon(rings[group]) for group in groups if not hole[group[0]]])


def _polygon(rings: Geometries) -> Any:
    return shapely.Polygon(rings[0], list(rings[1:])) if len(rings) > 1 else shapely.polygons(rings[0])


def _flagged(points: NDArray[np.float64], *, hole: bool) -> Any:
    """Return a ring whose highest point is on a bound with a flag outside of it, which leans over from a side."""
    top = int(points[:, 1].argmax())
    x = points[:, 0]
    flag = _FLAG * (-1, 1) if hole else _FLAG.copy()
    flag[:, 0] += 2 * flag[:, 1] * (int(x[top] == x.max()) - int(x[top] == x.min()))
    flag = flag * np.ptp(points, axis=0).max() + points[top]
    return shapely.LinearRing(np.concatenate([points[: top + 1], flag, points[top + 1 :]]))


def _closed(points: NDArray[np.float64], ring: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return rings that end where they begin, without those of less than three places."""
    if not len(points):
        return points, ring
    first = np.flatnonzero(np.diff(ring, prepend=-1))
    last = np.append(first[1:], len(ring)) - 1
    open_ = (points[first] != points[last]).any(axis=1)
    points = np.insert(points, last[open_] + 1, points[first[open_]], axis=0)
    ring = np.insert(ring, last[open_] + 1, ring[first[open_]])
    kept = np.bincount(ring)[ring] > 3  # noqa: PLR2004 -- a triangle has three corners, and ends at the first
    return points[kept], ring[kept]


@dataclass(eq=False)
class Clip:
    """An outline, or what of it lies in bounds, that features are cut with; halved where a feature lies in a half."""

    rings: _Rings
    depth: int = 0

    @classmethod
    def of(cls, outline: Polygonal) -> Self:
        """Return all of a valid outline."""
        return cls(_Rings.of(outline))

    def cut(self, geometries: Geometries) -> Geometries:
        """Return what of each lies in the outline, as multipolygons, empty where no surface does."""
        found = shapely.empty(len(geometries), geom_type=shapely.GeometryType.MULTIPOLYGON)
        for clip, places in self._near(geometries):
            found[places] = clip.pieces(geometries[places])
        return _multipolygons(found)

    def meets(self, geometries: Geometries) -> NDArray[np.bool_]:
        """Say which have a surface in the outline; of most of them the corners, or places between, tell."""
        found = np.zeros(len(geometries), bool)
        for clip, places in self._near(geometries):
            rest = places[shapely.intersects(clip.outline, geometries[places])]
            for count in (1, 64):
                near = shapely.segmentize(geometries[rest], shapely.length(geometries[rest]) / count)
                points, owners = shapely.get_coordinates(near, return_index=True)
                found[rest[owners[shapely.contains_xy(clip.outline, points)]]] = True
                rest = rest[~found[rest]]
            found[rest] = ~shapely.is_empty(_multipolygons(clip.pieces(geometries[rest])))
        return found

    def relate(self, geometries: Geometries) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Say which meet the outline, if only in a point, and which of them lie in its inside."""
        meeting, inside = np.zeros((2, len(geometries)), bool)
        for clip, places in self._near(geometries):
            meeting[places] = shapely.intersects(clip.outline, geometries[places])
            inside[places] = shapely.contains_properly(clip.outline, geometries[places])
        return meeting, inside

    def _near(self, geometries: Geometries) -> Iterator[tuple["Clip", _Places]]:
        """Yield what is near some of the geometries, and their places; nothing is near of those that are left out."""
        bounds = shapely.bounds(geometries)
        waiting: list[tuple[Clip, _Places]] = [(self, np.arange(len(geometries)))]
        while waiting:
            clip, places = waiting.pop()
            size = len(clip.rings.points)
            if size > _FEW and clip.depth < _DEEPEST:
                axis, (middle, extent) = clip.middle
                reach = extent * (_OVERLAP - _RIM)
                low = bounds[places, axis + 2] < middle + reach
                high = ~low & (bounds[places, axis] > middle - reach)
                waiting += [(clip.low, places[low])] if low.any() else []
                waiting += [(clip.high, places[high])] if high.any() else []
                places = places[~(low | high)]
            if size and len(places):
                yield clip, places

    @cached_property
    def middle(self) -> tuple[int, tuple[float, float]]:
        """The axis along which it is longer, and its middle and extent there."""
        low, high = self.rings.points.min(axis=0), self.rings.points.max(axis=0)
        axis = int((high - low).argmax())
        return axis, (float(low[axis] + high[axis]) / 2, float(high[axis] - low[axis]))

    @cached_property
    def low(self) -> "Clip":
        """What lies left of the middle, or below it, and a little more."""
        axis, (middle, extent) = self.middle
        return Clip(self.rings.beyond(axis, middle + extent * _OVERLAP, -1), self.depth + 1)

    @cached_property
    def high(self) -> "Clip":
        """What lies right of the middle, or above it, and a little more."""
        axis, (middle, extent) = self.middle
        return Clip(self.rings.beyond(axis, middle - extent * _OVERLAP, 1), self.depth + 1)

    @cached_property
    def outline(self) -> Any:
        """Its rings, made ready to be compared with many."""
        outline = self.rings.geometry()
        shapely.prepare(outline)
        return outline

    def pieces(self, geometries: Geometries) -> Geometries:
        """Return what of each lies in the outline, lines and points too."""
        meeting = shapely.intersects(self.outline, geometries)
        edge = meeting & ~shapely.covers(self.outline, geometries)
        found = np.where(meeting, geometries, shapely.MultiPolygon())
        near: Any = self.outline
        if len(self.rings.points) > _FEW:
            bounds = shapely.bounds(geometries[edge])
            rim = _RIM * (bounds[:, 2:] - bounds[:, :2])
            around = np.hstack([bounds[:, :2] - rim, bounds[:, 2:] + rim])
            near = np.array([self.rings.within(each).geometry() for each in around], dtype=object)
        found[edge] = shapely.intersection(found[edge], near)
        return found


def _multipolygons(geometries: Geometries) -> Geometries:
    """Return the polygons of each geometry together; lines and points, where a cut only touches, are left out."""
    parts, owners = shapely.get_parts(geometries, return_index=True)
    polygons = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    collected: Geometries = shapely.empty(len(geometries), geom_type=shapely.GeometryType.MULTIPOLYGON)
    shapely.multipolygons(parts[polygons], indices=owners[polygons], out=collected)
    return collected
