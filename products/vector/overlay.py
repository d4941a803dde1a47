"""The parts of polygons in an outline, for whole arrays: rings are traced along the edges of both.

This is the method of Weiler and Atherton: where edges cross, the boundary of a part leaves one ring for the other. It
is exact where they clearly cross. A polygon that may touch the outline, but for rounding, is left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from products.outline import Polygonal
from products.raster.fill import Part
from products.vector.blob import Geometries
from products.vector.mending import loops_of, polygons_of

RUN = 8
"""Number of consecutive edges in a run, which is found as one."""
_ULPS = 16
"""A point may be on an edge up to this distance, in units of the last place of the largest coordinate."""
_COMPARED = 4_000
"""Number of pairs of runs whose edges are compared at a time: their boxes fit into a processor's cache."""
_ODD = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
"""Factors that make different numbers of different points, but by chance."""
_SAME = 1e-9
"""The fraction of its area by which a part may change when it is mended."""
_FEWEST = 3
"""Minimum number of points of a ring."""
_LONG = 10_000_000
"""Points of a part times its holes, from which on GEOS takes long to find whether it is valid."""

_Numbers = NDArray[np.float64]
_Places = NDArray[np.intp]
_Flags = NDArray[np.bool_]
_Pairs = tuple[_Places, _Places]


@dataclass(frozen=True, slots=True)
class Rings:
    """The rings of polygons, with the surface to their left. An edge has the number of its first point.

    `ring` is the ring of each point, `first` the first point of each ring, and `owner` the polygon of each ring.
    """

    rings: Geometries
    points: _Numbers
    ring: _Places
    first: _Places
    owner: _Places

    @classmethod
    def of(cls, polygons: Geometries) -> Self:
        """Return the rings of an array of polygons."""
        rings, owner = shapely.get_rings(shapely.orient_polygons(polygons), return_index=True)
        points, ring = shapely.get_coordinates(rings, return_index=True)
        return cls(rings, points, ring, np.searchsorted(ring, np.arange(len(rings) + 1)), owner)

    def runs(self) -> "Runs":
        """Return all edges in runs."""
        edges = np.flatnonzero(self.ring[1:] == self.ring[:-1])
        begins = np.flatnonzero((edges - self.first[self.ring[edges]]) % RUN == 0)
        first, counts = edges[begins], np.diff(begins, append=len(edges))
        run, points = _ranges(first, counts + 1)
        return Runs(shapely.linestrings(self.points[points], indices=run), first, counts)

    def boxes(self) -> _Numbers:
        """Return west, south, east and north of each edge."""
        ends = self.points[:-1], self.points[1:]
        return np.hstack([np.minimum(*ends), np.maximum(*ends)])

    def directions(self) -> _Numbers:
        """Return for each edge how far it goes right and up on a way of one; not a number if it has no length."""
        steps = np.diff(self.points, axis=0)
        with np.errstate(invalid="ignore"):
            found: _Numbers = steps / np.hypot(*steps.T)[:, np.newaxis]
        return found

    def of_pixels(self, polygon: int) -> _Numbers | None:
        """Return the points of a polygon whose edges all run along an axis, else None."""
        first, after = self.first[np.searchsorted(self.owner, [polygon, polygon + 1])]
        points, ring = self.points[first:after], self.ring[first:after]
        oblique = (points[1:] != points[:-1]).all(axis=1) & (ring[1:] == ring[:-1])
        return None if oblique.any() else points


@dataclass(frozen=True, slots=True)
class Runs:
    """Consecutive edges as lines, and the first edge and the number of edges of each."""

    lines: Geometries
    first: _Places
    counts: _Places


@dataclass(frozen=True, slots=True)
class Edges:
    """The edges of an outline, with a spatial index of their runs, and its inside."""

    rings: Rings
    runs: Runs
    tree: shapely.STRtree
    part: Part

    @classmethod
    def of(cls, outline: Polygonal) -> Self:
        """Return all edges of a valid outline."""
        rings = Rings.of(shapely.get_parts(outline))
        runs = rings.runs()
        return cls(rings, runs, shapely.STRtree(runs.lines), Part.of(outline))


@dataclass(frozen=True, slots=True)
class _Crossings:
    """Where an edge of a polygon crosses one of an outline.

    `owner` is the polygon, `edges` has both, the polygon's first, `along` how far along each, and the outline goes
    `into` the polygon there or out of it.
    """

    owner: _Places
    edges: _Places
    along: _Numbers
    points: _Numbers
    into: _Flags


def overlay(polygons: Geometries, outline: Edges, met: _Pairs) -> tuple[Geometries, _Places, _Flags]:
    """Return the parts of valid polygons in an outline, the polygon of each, and which polygons are left out.

    `met` are all pairs of a polygon and a run of edges that intersect.
    """
    rings = Rings.of(polygons)
    crossings, unclear = _crossings(rings, outline)
    following = _following(rings, outline.rings, crossings, unclear)
    traced, of_traced = _traced(rings, outline.rings, crossings, following, unclear)
    inner, of_inner = _inner(rings, outline, crossings, met)
    found, owner = np.concatenate([traced, inner]), np.concatenate([of_traced, of_inner])
    clear = ~unclear[owner]
    parts, owner, lost = polygons_of(*_untouched(found[clear], owner[clear], unclear))
    unclear[lost] = True
    again = np.isin(owner, _invalid(_bare(parts, owner, rings), owner))
    mended, of_mended = _mended(parts[again], owner[again], unclear)
    unclear[_invalid(mended, of_mended)] = True
    parts, owner = np.concatenate([parts[~again], mended]), np.concatenate([owner[~again], of_mended])
    clear = ~unclear[owner]
    return parts[clear], owner[clear], unclear


def _invalid(parts: Geometries, owner: _Places) -> _Places:
    """Return the polygons whose parts are not valid together."""
    order = np.argsort(owner, kind="stable")
    there, group = np.unique(owner[order], return_inverse=True)
    invalid: _Places = there[~shapely.is_valid(shapely.multipolygons(parts[order], indices=group))]
    return invalid


def _bare(parts: Geometries, owner: _Places, polygons: Rings) -> Geometries:
    """Return parts without holes that cannot make them invalid, if there are many: GEOS compares each with the shell.

    Crossings are exactly on edges that run along an axis, so that a polygon of such edges stays as valid as it was.
    """
    found = parts.copy()
    costs = shapely.get_num_interior_rings(parts) * shapely.get_num_coordinates(parts)
    for place in np.flatnonzero(costs > _LONG).tolist():
        points = polygons.of_pixels(owner[place])
        if points is not None:
            found[place] = _without_holes(parts[place], _sortable(points))
    return found


def _sortable(points: _Numbers) -> NDArray[np.complex128]:
    """Return points as numbers that can be sorted."""
    return (points + 0.0).view(np.complex128).ravel()  # without negative zeros


def _without_holes(part: Any, known: NDArray[np.complex128]) -> Any:
    """Return a part without the holes of known points; the part itself if its rings may divide its inside."""
    rings = shapely.get_rings(part)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    points, ring = points[:-1][ring[1:] == ring[:-1]], ring[:-1][ring[1:] == ring[:-1]]
    places, number, counts = np.unique(_sortable(points), return_inverse=True, return_counts=True)
    shared = counts[number] > 1
    if _have_circle(ring[shared].tolist(), (number[shared] + len(rings)).tolist()):
        return part
    others = np.bincount(ring, ~np.isin(places, known)[number]) > 0
    return shapely.Polygon(rings[0], rings[1:][others[1:]].tolist())


def _have_circle(nodes: list[int], others: list[int]) -> bool:
    """Return whether connections of nodes close a circle."""
    above: dict[int, int] = {}

    def top(node: int) -> int:
        while above.setdefault(node, node) != node:
            above[node] = above[above[node]]
            node = above[node]
        return node

    for one, other in zip(nodes, others, strict=True):
        if top(one) == top(other):
            return True
        above[top(one)] = top(other)
    return False


def _mended(parts: Geometries, owner: _Places, unclear: _Flags) -> tuple[Geometries, _Places]:
    """Return parts that touch themselves as valid ones; a polygon whose area changes by it becomes unclear."""
    wrong = np.flatnonzero(~shapely.is_valid(parts))
    made = shapely.make_valid(parts[wrong], method="structure", keep_collapsed=False)
    areas = shapely.area(parts[wrong])
    unclear[owner[wrong[np.abs(shapely.area(made) - areas) > _SAME * areas]]] = True
    pieces, place = shapely.get_parts(made, return_index=True)
    of_pieces = owner[wrong][place]
    return np.concatenate([np.delete(parts, wrong), pieces]), np.concatenate([np.delete(owner, wrong), of_pieces])


def _untouched(rings: Geometries, owner: _Places, unclear: _Flags) -> tuple[Geometries, _Places]:
    """Return rings and the polygon of each, where a ring that passes a point several times becomes several rings."""
    points, ring = shapely.get_coordinates(rings, return_index=True)
    points, ring = points[:-1][ring[1:] == ring[:-1]], ring[:-1][ring[1:] == ring[:-1]]
    x, y = points.view(np.uint64).T
    codes = (x * _ODD[0] ^ y) * _ODD[1] ^ ring.astype(np.uint64) * _ODD[2]
    ordered = np.sort(codes)
    twice = np.unique(ring[np.isin(codes, ordered[1:][ordered[1:] == ordered[:-1]])])
    some = np.flatnonzero(np.isin(ring, twice))
    places, numbers = np.unique(points[some].view(np.complex128), return_inverse=True)
    walks = np.split(numbers.ravel(), np.flatnonzero(np.diff(ring[some])) + 1) if len(some) else []
    loops = [[*loops_of(walk.tolist())] for walk in walks]
    lengths = np.array([len(loop) for each in loops for loop in each], np.intp)
    passed = np.fromiter(chain.from_iterable(chain.from_iterable(loops)), np.intp, int(lengths.sum()))
    number, of_loops = np.repeat(np.arange(len(lengths)), lengths), np.repeat(owner[twice], [*map(len, loops)])
    made, of_made = _linear(places[passed].view(np.float64).reshape(-1, 2), number, of_loops, unclear)
    return np.concatenate([np.delete(rings, twice), made]), np.concatenate([np.delete(owner, twice), of_made])


def _linear(points: _Numbers, ring: _Places, owner: _Places, unclear: _Flags) -> tuple[Geometries, _Places]:
    """Return the rings of points and the polygon of each; a polygon with a ring of too few points becomes unclear."""
    flat = np.bincount(ring, minlength=len(owner)) < _FEWEST
    unclear[owner[flat]] = True
    not_flat = ~flat[ring]
    return shapely.linearrings(points[not_flat], indices=(np.cumsum(~flat) - 1)[ring[not_flat]]), owner[~flat]


def _crossings(polygons: Rings, outline: Edges) -> tuple[_Crossings, _Flags]:
    """Return where edges cross, and which polygons have an edge that may touch the outline."""
    unclear = np.zeros(int(polygons.owner.max(initial=-1)) + 1, bool)
    largest = max(np.abs(each.points).max(initial=0) for each in (polygons, outline.rings))
    tolerance = _ULPS * np.spacing(largest)
    points, others = polygons.points, outline.rings.points
    ways, other_ways = polygons.directions(), outline.rings.directions()
    found: list[tuple[NDArray[Any], ...]] = []
    for pair in _near(polygons, outline, tolerance):
        ends = np.stack([_heights(others.take(pair[1] + end, axis=0), points, ways, pair[0]) for end in (0, 1)])
        across = _across(ends, tolerance)
        left = np.flatnonzero(across <= 0)
        one, other, ends, across = pair[0][left], pair[1][left], ends[:, left], across[left]
        other_ends = np.stack([_heights(points.take(one + end, axis=0), others, other_ways, other) for end in (0, 1)])
        other_across = _across(other_ends, tolerance)
        crossed = (across < 0) & (other_across < 0)
        unclear[polygons.owner[polygons.ring[one[~crossed & (other_across <= 0)]]]] = True
        edges, heights = np.stack([one, other])[:, crossed], np.stack([other_ends, ends])[..., crossed]
        along = heights[:, 0] / (heights[:, 0] - heights[:, 1])
        begin = points[edges[0]]
        crossings = begin + along[0][:, np.newaxis] * (points[edges[0] + 1] - begin)
        found.append((edges, along, crossings.T, heights[1, 1] > 0))
    edges, along, places, into = (np.concatenate(each, axis=-1) for each in zip(*found, strict=True))
    return _Crossings(polygons.owner[polygons.ring[edges[0]]], edges, along, places.T, into), unclear


def _near(polygons: Rings, outline: Edges, tolerance: float) -> Iterator[_Pairs]:
    """Yield pairs of an edge of a polygon and one of the outline whose boxes intersect, or nearly so."""
    runs, wider = polygons.runs(), np.array([-tolerance, -tolerance, tolerance, tolerance])
    boxes, others = polygons.boxes() + wider, outline.rings.boxes()
    bounds = shapely.bounds(outline.runs.lines)
    found = outline.tree.query(shapely.box(*(shapely.bounds(runs.lines) + wider).T))
    for run, other_run in np.array_split(found, found.shape[1] // _COMPARED + 1, axis=1):
        place, edge = _ranges(runs.first[run], runs.counts[run])
        near = _intersect(boxes.take(edge, axis=0), bounds.take(other_run[place], axis=0))
        place, edge = place[near], edge[near]
        some, other = _ranges(outline.runs.first[other_run[place]], outline.runs.counts[other_run[place]])
        near = _intersect(boxes.take(edge[some], axis=0), others.take(other, axis=0))
        yield edge[some[near]], other[near]


def _intersect(boxes: _Numbers, others: _Numbers) -> _Places:
    """Return which boxes intersect."""
    x = (boxes[:, 0] <= others[:, 2]) & (boxes[:, 2] >= others[:, 0])
    return np.flatnonzero(x & (boxes[:, 1] <= others[:, 3]) & (boxes[:, 3] >= others[:, 1]))


def _heights(points: _Numbers, begins: _Numbers, ways: _Numbers, edge: _Places) -> _Numbers:
    """Return how far points are to the left of edges."""
    x, y = (points - begins.take(edge, axis=0)).T
    right, up = ways.take(edge, axis=0).T
    heights: _Numbers = right * y - up * x
    return heights


def _across(heights: _Numbers, tolerance: float) -> _Numbers:
    """Return -1 if two ends are on opposite sides of a line, 1 if they are on one side, 0 if one may be on it."""
    side = np.where(np.abs(heights) > tolerance, np.sign(heights), 0)
    across: _Numbers = side[0] * side[1]
    return across


def _following(polygons: Rings, outline: Rings, crossings: _Crossings, unclear: _Flags) -> _Places:
    """Return the crossing that follows each around a part; polygons for which it is not certain become unclear."""
    groups = polygons.ring[crossings.edges[0]], crossings.owner * len(outline.rings) + outline.ring[crossings.edges[1]]
    after = np.zeros((2, len(crossings.owner)), np.intp)
    for number, group in enumerate(groups):
        order = np.lexsort((crossings.along[number], crossings.edges[number], group))
        ends = np.diff(group[order], append=-1) != 0
        begins = np.flatnonzero(np.diff(group[order], prepend=-1))
        after_it = np.append(order[1:], 0)
        after_it[ends] = order[begins]
        after[number, order] = after_it
    following: _Places = np.where(crossings.into, after[1], after[0])
    unclear[crossings.owner[crossings.into[following] == crossings.into]] = True
    return following


def _traced(
    polygons: Rings, outline: Rings, crossings: _Crossings, following: _Places, unclear: _Flags
) -> tuple[Geometries, _Places]:
    """Return the rings that have crossings, and the polygon of each; that of a ring without inside becomes unclear."""
    order, cycle = _cycles(following, ~unclear[crossings.owner])
    into, last = crossings.into[order], following[order]
    number = into.astype(np.intp)
    begin, end = crossings.edges[number, order], crossings.edges[number, last]
    first, length = np.zeros((2, len(order)), np.intp)
    for some, rings in ((~into, polygons), (into, outline)):
        ring = rings.ring[begin[some]]
        first[some], length[some] = rings.first[ring], rings.first[ring + 1] - rings.first[ring] - 1
    steps = (end - begin) % length
    around = (begin == end) & (crossings.along[number, last] <= crossings.along[number, order])
    steps[around] = length[around]
    place, step = _ranges(np.zeros_like(steps), steps + 1)
    point = (first + into * len(polygons.points))[place] + ((begin - first)[place] + step) % length[place]
    point = np.where(step == 0, len(polygons.points) + len(outline.points) + order[place], point)
    points = np.concatenate([polygons.points, outline.points, crossings.points])[point]
    owner = crossings.owner[order[np.searchsorted(cycle, np.arange(cycle.max(initial=-1) + 1))]]
    return _linear(points, cycle[place], owner, unclear)


def _cycles(following: _Places, chosen: _Flags) -> _Pairs:
    """Return the chosen crossings in the order in which they follow each other, and the number of the ring of each."""
    after, left = following.tolist(), bytearray(chosen.tobytes())
    order: list[int] = []
    ends = [0]
    for start in np.flatnonzero(chosen).tolist():
        if not left[start]:
            continue
        place = start
        while left[place]:
            left[place] = 0
            order.append(place)
            place = after[place]
        ends.append(len(order))
    return np.array(order, np.intp), np.repeat(np.arange(len(ends) - 1), np.diff(ends))


def _inner(polygons: Rings, outline: Edges, crossings: _Crossings, met: _Pairs) -> tuple[Geometries, _Places]:
    """Return the rings without a crossing that are around parts, of polygons and of the outline, and their polygon."""
    crossed = np.zeros(len(polygons.rings), bool)
    crossed[polygons.ring[crossings.edges[0]]] = True
    alone = np.flatnonzero(~crossed)
    alone = alone[outline.part.holds(polygons.points[polygons.first[alone]])]
    count = len(outline.rings.rings)
    passed = np.unique(crossings.owner * count + outline.rings.ring[crossings.edges[1]])
    inside = np.unique(met[0] * count + outline.rings.ring[outline.runs.first[met[1]]])
    owner, ring = np.divmod(np.setdiff1d(inside, passed, assume_unique=True), count)
    return (
        np.concatenate([polygons.rings[alone], outline.rings.rings[ring]]),
        np.concatenate([polygons.owner[alone], owner]),
    )


def _ranges(first: _Places, counts: _Places) -> _Pairs:
    """Return consecutive numbers from each first one, so many, and before them the place of the first of each."""
    place = np.repeat(np.arange(len(first)), counts)
    return place, np.arange(len(place)) + np.repeat(first - np.cumsum(counts) + counts, counts)
