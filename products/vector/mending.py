"""Polygons on whole numbers that rounding has made invalid: they touch or cover themselves along lines and at places.

What lies twice on a line in opposite directions is taken away, and rings are traced anew, each around one surface.
GEOS's `set_precision` takes several times as long; it is asked where edges cross between whole numbers.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from products.vector.blob import Geometries

_BITS = 14
"""Bits of a coordinate of a tile, with an offset so that none is negative."""
_MASK = (1 << _BITS) - 1
_OFFSET = 1 << _BITS - 2
_HALF = 31
"""Bits of the number of a place among those that there are."""
_MOST_STEPS = 4_000_000
"""Maximum number of points between the ends of edges that are compared."""
_SLIVERS, _ALIKE = 4, 0.001
"""The maximum area of slivers, and their maximum share of the whole area."""
_FEWEST = 3
"""Minimum number of points of a ring."""

_BETWEEN = 0.381966
"""The part of a ring's length after which a point is compared: it is no corner of a square, where rings may touch."""

_Whole = NDArray[np.int64]


def mended(rounded: Geometries, exact: Callable[[int], Any]) -> Geometries:
    """Return valid geometries on whole numbers of invalid ones; `exact` returns what one was before it was rounded."""
    found = _traced(rounded)
    for number in np.flatnonzero(~shapely.is_valid(found)).tolist():
        before = rounded[number]
        positive = shapely.buffer(before, 0)  # without slivers that rounding has turned over
        if abs(positive.area - before.area) > _SLIVERS + before.area * _ALIKE:
            positive = exact(number)
        found[number] = shapely.set_precision(positive, 1)
    return found


def _traced(geometries: Geometries) -> Geometries:
    """Return the surfaces to the left of edges, None if the edges do not define them."""
    begin, end = _single(*_parted(*_edges(geometries)))
    following = _following(begin, end)
    unclear = np.zeros(len(geometries), bool)
    unclear[(begin >> 2 * _BITS)[np.bincount(following, minlength=len(begin)) != 1]] = True
    loops = [loop for walk in _walks(begin, following, unclear) for loop in loops_of(walk)]
    lengths = np.fromiter(map(len, loops), np.int64, len(loops))
    codes = np.fromiter(chain.from_iterable(loops), np.int64, int(lengths.sum()))
    ring = np.repeat(np.arange(len(loops)), lengths)
    owner = codes[np.cumsum(lengths) - lengths] >> 2 * _BITS
    unclear[owner[lengths < _FEWEST]] = True
    found: Geometries = shapely.empty(len(geometries), geom_type=shapely.GeometryType.MULTIPOLYGON)
    clear = ~unclear[owner]
    if clear.any():
        unaffected = clear[ring]
        numbers = (np.cumsum(clear) - 1)[ring[unaffected]]
        rings = shapely.linearrings(_places(codes[unaffected]).astype(np.float64), indices=numbers)
        polygons, owner, lost = polygons_of(rings, owner[clear])
        unclear[lost] = True
        order = np.argsort(owner, kind="stable")
        shapely.multipolygons(polygons[order], indices=owner[order], out=found)
    found[unclear] = None
    return found


def polygons_of(rings: Geometries, owner: _Whole) -> tuple[Geometries, _Whole, _Whole]:
    """Return polygons and the feature of each, and the features that have a hole outside of their polygons."""
    outer = shapely.is_ccw(rings)
    shells, holes = shapely.polygons(rings[outer]), rings[~outer]
    of_shells, of_holes = owner[outer], owner[~outer]
    if not len(holes):
        return shells, of_shells, of_holes
    middles = shapely.get_coordinates(shapely.line_interpolate_point(holes, _BETWEEN, normalized=True))
    hole, shell = shapely.STRtree(shells).query(shapely.points(middles))
    same = of_holes[hole] == of_shells[shell]
    hole, shell = hole[same], shell[same]
    shapely.prepare(shells)
    inside = shapely.contains_xy(shells[shell], middles[hole])
    hole, shell = hole[inside], shell[inside]
    order = np.lexsort((shapely.area(shells[shell]), hole))
    there, first = np.unique(hole[order], return_index=True)
    polygon = np.concatenate((np.arange(len(shells)), shell[order][first]))
    sorting = np.argsort(polygon, kind="stable")
    made = shapely.polygons(np.concatenate((rings[outer], holes[there]))[sorting], indices=polygon[sorting])
    return made, of_shells, np.delete(of_holes, there)


def _edges(geometries: Geometries) -> tuple[_Whole, _Whole]:
    """Return the beginnings and ends of the edges of polygons, their surface to the left.

    A place is identified by a number made of its feature, x and y.
    """
    parts, owner = shapely.get_parts(geometries, return_index=True)
    rings, part = shapely.get_rings(shapely.orient_polygons(parts), return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    codes, along = _codes(points.astype(np.int64), owner[part[ring]]), ring[1:] == ring[:-1]
    return codes[:-1][along], codes[1:][along]


def _parted(begin: _Whole, end: _Whole) -> tuple[_Whole, _Whole]:
    """Return edges parted where others begin on them, unless too many places would have to be looked at."""
    places = _places(begin)
    steps: _Whole = _places(end) - places
    counts = np.gcd(*np.abs(steps).T)
    if counts.sum() > _MOST_STEPS:
        return begin, end
    edge = np.repeat(np.arange(len(begin)), counts)
    rank = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    step = (steps // np.maximum(counts, 1)[:, None])[edge]
    between = _codes(places[edge] + rank[:, None] * step, begin[edge] >> 2 * _BITS)
    there = (rank == 0) | np.isin(between, begin)
    edge, parted = edge[there], between[there]
    ends = np.append(parted[1:], 0)
    last = np.diff(edge, append=-1) != 0
    ends[last] = end[edge[last]]
    return parted, ends


def _single(begin: _Whole, end: _Whole) -> tuple[_Whole, _Whole]:
    """Return edges without pairs in opposite directions."""
    codes, numbers = np.unique(np.concatenate((begin, end)), return_inverse=True)
    begin, end = np.split(numbers, 2)
    pairs, place = np.unique(np.minimum(begin, end) << _HALF | np.maximum(begin, end), return_inverse=True)
    net = np.bincount(place, np.where(begin < end, 1, -1), len(pairs)).astype(np.int64)
    pairs, forwards = np.repeat(pairs, np.abs(net)), np.repeat(net > 0, np.abs(net))
    low, high = codes[pairs >> _HALF], codes[np.bitwise_and(pairs, (1 << _HALF) - 1)]
    return np.where(forwards, low, high), np.where(forwards, high, low)


def _following(begin: _Whole, end: _Whole) -> _Whole:
    """Return the edge that follows each around its surface: the one that turns as far to the left as can be.

    It is the next with the hands of a clock from the way back, of those that begin where the edge ends.
    """
    count = len(begin)
    x, y = (_places(end) - _places(begin)).T
    leave, back = np.arctan2(x, y), np.arctan2(-x, -y)  # angles with the hands of a clock
    place, angle = np.concatenate((begin, end)), np.concatenate((leave, back))
    order = np.lexsort((angle, place))
    leaves = order < count
    at = np.flatnonzero(leaves)
    after = np.searchsorted(at, np.arange(len(order)), "right")
    same = place[order]
    first = np.searchsorted(same[at], same)
    beyond = after == np.searchsorted(same[at], same, "right")
    chosen = np.where(beyond, first, after)
    following = np.empty(count, np.int64)
    following[order[~leaves] - count] = order[at][np.minimum(chosen, len(at) - 1)][~leaves]
    return following


def _places(codes: _Whole) -> _Whole:
    return np.column_stack((codes >> _BITS & _MASK, codes & _MASK)) - _OFFSET


def _codes(places: _Whole, feature: _Whole) -> _Whole:
    codes: _Whole = (feature << _BITS | places[:, 0] + _OFFSET) << _BITS | places[:, 1] + _OFFSET
    return codes


def _walks(begin: _Whole, following: _Whole, unclear: NDArray[np.bool_]) -> Iterator[list[int]]:
    """Yield the ways along edges around surfaces, but those of features whose edges cross or were turned over."""
    begins, after = begin.tolist(), following.tolist()
    passed = bytearray(unclear[begin >> 2 * _BITS].tobytes())
    for start in range(len(begins)):
        walk, edge = [], start
        while not passed[edge]:
            passed[edge] = 1
            walk.append(begins[edge])
            edge = after[edge]
        if walk:
            yield walk


def loops_of(walk: list[int]) -> Iterator[list[int]]:
    """Yield the rings of a way that may pass places several times."""
    if len(set(walk)) == len(walk):
        yield walk
        return
    path: list[int] = []
    known: dict[int, int] = {}
    for place in [*walk, walk[0]]:
        if place in known:
            begin = known[place]
            loop = path[begin:]
            for each in loop:
                del known[each]
            del path[begin:]
            yield loop
        known[place] = len(path)
        path.append(place)
