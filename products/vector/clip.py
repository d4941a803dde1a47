"""The parts of features in an outline, compared and cut with only the edges of it that are near each of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import shapely
from numpy.typing import NDArray

from products.errors import AreaTooLarge
from products.limits import MAX_VERTICES
from products.outline import Polygonal
from products.raster.fill import Part
from products.vector.blob import Geometries
from products.vector.overlay import RUN, Edges, overlay

_PAIRS = 4_000_000
"""Maximum pairs of a feature and a run of edges with intersecting boxes that are in memory."""
_TOGETHER = 10_000
"""Maximum features that are compared at a time."""
_CUT = 10_000
"""Approximate number of intersecting pairs whose features are cut at a time: teeth of a comb take some 30 kB each."""
MOST_PIECES = 50_000
"""Maximum pieces that an outline cuts features into in one order: those of a comb take some 15 seconds."""
_CROSSINGS = MAX_VERTICES // RUN
"""Maximum runs across one feature, which is cut at once: those of the longest outline. Those of a comb take 1 GB."""
_TOO_MANY = (
    f"The area's outline cuts the product's polygons into too many pieces. Allowed are {MOST_PIECES:,}, and"
    f" {MAX_VERTICES:,} edges across one polygon. Simplify it, order a part of it, or order the raster."
)
_FIRST, _TIMES = 4, 4
"""Runs that a feature is compared with first, and the factor by which the number grows until one decides."""

_Flags = NDArray[np.bool_]
_Places = NDArray[np.intp]
_Test = Callable[[Geometries, Geometries], _Flags]


@dataclass(frozen=True, slots=True)
class Clip:
    """An outline that features are compared and cut with: its edges in runs with a spatial index, and its inside.

    The cost is linear in the outline, once, and for each feature in the edges near it.
    """

    edges: Edges

    @classmethod
    def of(cls, outline: Polygonal) -> Self:
        """Return all of a valid outline."""
        return cls(Edges.of(outline))

    @property
    def runs(self) -> shapely.STRtree:
        """The edges of the outline in runs."""
        return self.edges.tree

    @property
    def part(self) -> Part:
        """The inside of the outline."""
        return self.edges.part

    def cut(self, geometries: Geometries, *, most: int = MOST_PIECES) -> tuple[Geometries, int]:
        """Return the part of each in the outline as a multipolygon, empty without a surface; and the number of pieces.

        Raises AreaTooLarge as soon as there are more than `most` pieces.
        """
        surfaces, owners = _surfaces(geometries)
        crossed, run = self.runs.query(surfaces, predicate="intersects")
        if np.bincount(crossed, minlength=1).max() > _CROSSINGS:
            raise AreaTooLarge(_TOO_MANY)
        whole = np.ones(len(surfaces), bool)
        whole[crossed] = False
        contained = np.flatnonzero(whole)
        contained = contained[self.part.holds(_corners(surfaces[contained]))]
        pieces, of, made = [surfaces[contained]], [owners[contained]], 0
        for pairs in _split(crossed):
            cut, places = self._pieces(surfaces, crossed[pairs], run[pairs])
            made += len(cut)
            if made > most:
                raise AreaTooLarge(_TOO_MANY)
            pieces.append(cut)
            of.append(owners[places])
        return _multipolygons(np.concatenate(pieces), np.concatenate(of), len(geometries)), made

    def meets(self, geometries: Geometries) -> _Flags:
        """Return which have a surface in the outline: an edge of it is inside of them, or they are inside of it."""
        surfaces, owners = _surfaces(geometries)
        found = self.part.holds(shapely.get_coordinates(shapely.point_on_surface(surfaces)))
        rest = np.flatnonzero(~found)
        found[rest] = self._passed(surfaces[rest], _pass_inside)
        return np.bincount(owners[found], minlength=len(geometries)) > 0

    def relate(self, geometries: Geometries) -> tuple[_Flags, _Flags]:
        """Return which intersect the outline, if only in a point, and which of them are inside of it."""
        parts, owners = shapely.get_parts(geometries, return_index=True)
        parts, owners = parts[~shapely.is_empty(parts)], owners[~shapely.is_empty(parts)]
        touched = self._passed(parts, shapely.intersects)
        inside = np.zeros(len(parts), bool)
        inside[~touched] = self.part.holds(_corners(parts[~touched]))
        parts_, held, met = (
            np.bincount(owners[some], minlength=len(geometries)) for some in (slice(None), inside, inside | touched)
        )
        return met > 0, (held == parts_) & (parts_ > 0)

    def near(self, boxes: Geometries) -> NDArray[np.intp]:
        """Return how many runs of edges are near each box, which is the cost of comparing its content."""
        counts: NDArray[np.intp] = np.bincount(self.runs.query(boxes)[0], minlength=len(boxes))
        return counts

    def _passed(self, geometries: Geometries, test: _Test) -> _Flags:
        """Return for which the test is true with a run near them: tried with a few first, then with more."""
        found = np.zeros(len(geometries), bool)
        step = min(max(1, _PAIRS // max(1, len(self.runs))), _TOGETHER)
        for begin in range(0, len(geometries), step):
            some = geometries[begin : begin + step]
            owner, run = self.runs.query(some)
            shapely.prepare(some)
            rank, most = np.arange(len(owner)) - np.searchsorted(owner, owner), _FIRST
            while len(owner):
                now = rank < most
                found[begin + owner[now][test(some[owner[now]], self.runs.geometries[run[now]])]] = True
                left = ~now & ~found[begin + owner]
                owner, run, rank, most = owner[left], run[left], rank[left], most * _TIMES
            shapely.destroy_prepared(some)
        return found

    def _pieces(self, surfaces: Geometries, crossed: _Places, run: _Places) -> tuple[Geometries, _Places]:
        """Return the parts of surfaces in the outline, with the surface of each. No two have a common edge."""
        places, group = np.unique(crossed, return_inverse=True)
        parts, owners, unclear = overlay(surfaces[places], self.edges, (group, run))
        rest = unclear[group]
        others, of_others = self._noded(surfaces, crossed[rest], run[rest])
        return np.concatenate([parts, others]), np.concatenate([places[owners], of_others])

    def _noded(self, surfaces: Geometries, crossed: _Places, run: _Places) -> tuple[Geometries, _Places]:
        """Return the same by GEOS, for edges that may touch: the faces made by the edges of both.

        It takes several times as long as `overlay`.
        """
        places, group = np.unique(crossed, return_inverse=True)
        lines = shapely.multilinestrings(self.runs.geometries[run], indices=group)
        together = shapely.union(shapely.boundary(surfaces[places]), lines)
        faces, owners = shapely.get_parts(shapely.polygonize(together[:, np.newaxis]), return_index=True)
        wide = shapely.area(faces) > shapely.length(faces) * np.spacing(np.abs(shapely.bounds(faces)).max(initial=0))
        faces, owners = faces[wide], owners[wide]  # of what is narrower, no point is surely inside
        points = shapely.get_coordinates(shapely.point_on_surface(faces))
        shapely.prepare(surfaces[places])
        inside = shapely.contains_xy(surfaces[places[owners]], points)
        shapely.destroy_prepared(surfaces[places])
        inside[inside] = self.part.holds(points[inside])
        return faces[inside], places[owners[inside]]


def _pass_inside(surfaces: Geometries, lines: Geometries) -> _Flags:
    """Return which lines cross the inside of their surfaces."""
    passing: _Flags = shapely.intersects(surfaces, lines)
    passing[passing] = ~shapely.touches(surfaces[passing], lines[passing])
    return passing


def _split(crossed: _Places) -> Iterator[slice]:
    """Yield batches of pairs, with all pairs of a feature in one batch."""
    begins = np.flatnonzero(np.diff(crossed, prepend=-1))
    first = begins[np.diff(begins // _CUT, prepend=-1) > 0]
    yield from (slice(*ends) for ends in pairwise([*first.tolist(), len(crossed)]))


def _corners(geometries: Geometries) -> NDArray[np.float64]:
    """Return a point of each."""
    points, owners = shapely.get_coordinates(geometries, return_index=True)
    corners: NDArray[np.float64] = points[np.searchsorted(owners, np.arange(len(geometries)))]
    return corners


def _surfaces(geometries: Geometries) -> tuple[Geometries, _Places]:
    """Return the polygons of geometries, and the index of the geometry of each."""
    parts, owners = shapely.get_parts(geometries, return_index=True)
    polygons = (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(parts)
    return parts[polygons], owners[polygons]


def _multipolygons(polygons: Geometries, owners: _Places, count: int) -> Geometries:
    """Return the polygons of each owner as one geometry."""
    order = np.argsort(owners, kind="stable")
    collected: Geometries = shapely.empty(count, geom_type=shapely.GeometryType.MULTIPOLYGON)
    shapely.multipolygons(polygons[order], indices=owners[order], out=collected)
    return collected
