"""Polygons on whole numbers that rounding has made invalid: they touch or cover themselves along lines and at places.

What lies twice on a line in opposite directions is taken away, and rings are traced anew, each around one surface.
GEOS's `set_precision` takes several times as long; it is asked where edges cross between whole numbers.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

_BITS = 14
"""Bits of a coordinate of a tile, with an offset that leaves none below zero."""
_OFFSET = 1 << _BITS - 2
_MOST_STEPS = 1_000_000
"""Places between the ends of edges that are looked at, at most."""
_SLIVERS, _ALIKE = 4, 0.001
"""The area that slivers have at most, and the part of the whole's that they have."""
_FEWEST = 3
"""Places of a ring at least."""

_Whole = NDArray[np.int64]


def mended(rounded: Any, exact: Callable[[], Any]) -> Any:
    """Return a valid geometry on whole numbers of one that is invalid; `exact` is the same before it was rounded."""
    found = _traced(*_single(*_parted(*_edges(rounded))))
    if found is not None and found.is_valid:
        return found
    positive = shapely.buffer(rounded, 0)  # without slivers that rounding has turned over
    if abs(positive.area - rounded.area) > _SLIVERS + rounded.area * _ALIKE:
        positive = exact()
    return shapely.set_precision(positive, 1)


def _traced(begin: _Whole, end: _Whole) -> Any:
    """Return the surfaces to the left of edges, None where the edges do not say what they are."""
    loops = [np.array(loop) for walk in _walks(begin, end) for loop in _loops(walk)]
    if not loops or min(map(len, loops)) < _FEWEST:
        return None if len(begin) else shapely.Polygon()
    places = _places(np.concatenate(loops)).astype(np.float64)
    rings = shapely.linearrings(places, indices=np.repeat(np.arange(len(loops)), list(map(len, loops))))
    outer = shapely.is_ccw(rings)
    shells, holes = shapely.polygons(rings[outer]), rings[~outer]
    if not len(holes):
        return shapely.multipolygons(shells)
    middles = shapely.get_coordinates(shapely.line_interpolate_point(holes, 0.5))
    of, shell = shapely.STRtree(shells).query(shapely.points(middles))
    shapely.prepare(shells)
    inside = shapely.contains_xy(shells[shell], middles[of])
    of, shell = of[inside], shell[inside]
    order = np.lexsort((shapely.area(shells[shell]), of))
    numbers, first = np.unique(of[order], return_index=True)
    if len(numbers) < len(holes):
        return None
    polygon = np.concatenate((np.arange(len(shells)), shell[order][first]))
    sorting = np.argsort(polygon, kind="stable")
    made = shapely.polygons(np.concatenate((rings[outer], holes))[sorting], indices=polygon[sorting])
    return shapely.multipolygons(made)


def _edges(geometry: Any) -> tuple[_Whole, _Whole]:
    """Return the beginnings and ends of the edges of polygons, their surface to the left."""
    oriented = shapely.orient_polygons(shapely.get_parts(geometry))
    points, ring = shapely.get_coordinates(shapely.get_rings(oriented), return_index=True)
    codes, along = _codes(points.astype(np.int64)), ring[1:] == ring[:-1]
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
    between = _codes(places[edge] + rank[:, None] * (steps // np.maximum(counts, 1)[:, None])[edge])
    there = (rank == 0) | np.isin(between, begin)
    edge, parted = edge[there], between[there]
    ends = np.append(parted[1:], 0)
    last = np.diff(edge, append=-1) != 0
    ends[last] = end[edge[last]]
    return parted, ends


def _single(begin: _Whole, end: _Whole) -> tuple[_Whole, _Whole]:
    """Return edges without those that lie there and back."""
    forwards = begin < end
    low, high = np.minimum(begin, end), np.maximum(begin, end)
    pairs, place = np.unique(low << 2 * _BITS | high, return_inverse=True)
    net = np.bincount(place, np.where(forwards, 1, -1), len(pairs)).astype(np.int64)
    pairs = np.repeat(pairs, np.abs(net))
    forwards = np.repeat(net > 0, np.abs(net))
    low, high = pairs >> 2 * _BITS, np.bitwise_and(pairs, (1 << 2 * _BITS) - 1)
    return np.where(forwards, low, high), np.where(forwards, high, low)


def _places(codes: _Whole) -> _Whole:
    return np.column_stack((codes >> _BITS, codes & (1 << _BITS) - 1)) - _OFFSET


def _codes(places: _Whole) -> _Whole:
    codes: _Whole = places[:, 0] + _OFFSET << _BITS | places[:, 1] + _OFFSET
    return codes


def _walks(begin: _Whole, end: _Whole) -> Iterator[list[int]]:
    """Yield the ways along edges around each surface, which turn as far to the left as they can."""
    order = np.argsort(begin, kind="stable")
    first, last = (np.searchsorted(begin[order], end, side) for side in ("left", "right"))
    begins, ends, following = begin.tolist(), end.tolist(), order[first].tolist()
    for edge in np.flatnonzero(last - first > 1).tolist():
        come, here = begins[edge], ends[edge]
        following[edge] = min(order[first[edge] : last[edge]].tolist(), key=lambda way: _turn(come, here, ends[way]))
    if len(set(following)) < len(following):  # edges cross, or a surface has been turned over
        return
    passed = bytearray(len(begins))
    for start in range(len(begins)):
        walk, edge = [], start
        while not passed[edge]:
            passed[edge] = 1
            walk.append(begins[edge])
            edge = following[edge]
        if walk:
            yield walk


def _turn(come: int, here: int, go: int) -> float:
    """Return the angle with the hands of a clock from the way back to a way on."""
    back, on = (math.atan2(*_step(here, there)) for there in (come, go))
    return (on - back) % (2 * math.pi) or 2 * math.pi


def _step(begin: int, end: int) -> tuple[int, int]:
    """Return x and y of a step: its angle by atan2 is from y towards x, as the hands of a clock go."""
    return (end >> _BITS) - (begin >> _BITS), (end & (1 << _BITS) - 1) - (begin & (1 << _BITS) - 1)


def _loops(walk: list[int]) -> Iterator[list[int]]:
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
