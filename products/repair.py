"""Outlines as they are published, which touch or barely cross themselves, made valid; others refused."""

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from products.errors import InvalidArea
from products.limits import MAX_VERTICES
from products.outline import Polygonal

MOST_CHANGED = 1e-6
"""The share of an area that repairing it may change, below."""

_MOST_CROSSINGS = 100_000
"""Places where edges cross each other, at most: each may become a vertex."""
_MOST_PAIRS = 5_000_000
"""Pairs of edges that are looked at for it."""
_EDGES = 512
_COMPARED = 8
"""Surfaces of the same bounds that are compared with each other."""

_Points = NDArray[np.float64]


def polygonal(geometry: shapely.Geometry) -> Polygonal:
    """Return the polygons of a geometry, in collections of collections too, without points, lines and empty parts."""
    parts = np.array([geometry])
    while (shapely.get_type_id(parts) > shapely.GeometryType.POLYGON).any():
        parts = shapely.get_parts(parts)
    return one_of(parts[(shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(parts)])


def valid(polygons: NDArray[Any], *, together: bool = False) -> tuple[Polygonal, str]:
    """Return polygons as one valid geometry, and a sentence that says what was repaired, empty where nothing was.

    Repaired is what changes the area by less than a millionth: rings that touch, spikes, doubled parts. Polygons that
    are meant `together` may overlap. Raises InvalidArea, which says where.
    """
    geometry = one_of(polygons)
    if shapely.is_valid(geometry):
        return geometry, ""
    each_valid = bool(shapely.is_valid(polygons).all())
    distinct = _distinct(polygons)
    _check_crossings(distinct)
    parts = shapely.make_valid(distinct, method="structure", keep_collapsed=False)
    changes = _changes(distinct, parts)
    parts = _unlike(parts)
    whole = polygonal(shapely.union_all(parts))
    if shapely.get_num_coordinates(whole) > MAX_VERTICES:
        raise InvalidArea(f"The area's polygons have together more than {MAX_VERTICES:,} vertices. Simplify them.")
    overlap = 0 if together else shapely.area(parts).sum() - whole.area
    if not changes.sum() + overlap < MOST_CHANGED * whole.area:
        worst = distinct[changes.argmax()]
        reason = shapely.is_valid_reason(geometry if shapely.is_valid(worst) else worst)
        raise InvalidArea(f"The area {_fault(reason)}. Allowed is a valid polygon or multipolygon.")
    if together and each_valid:
        return whole, ""
    fault = _fault(shapely.is_valid_reason(geometry))
    return whole, f"The area {fault}; it was repaired, which changed its size by less than a millionth."


def one_of(polygons: NDArray[Any]) -> Polygonal:
    """Return polygons as one geometry, which is only as valid as they are."""
    only: Polygonal = polygons[0] if len(polygons) == 1 else shapely.multipolygons(polygons)
    return only


def _distinct(polygons: NDArray[Any]) -> NDArray[Any]:
    """Return polygons without those, and without holes, that are there twice."""
    rings, owners = shapely.get_rings(polygons, return_index=True)
    texts = shapely.to_wkb(shapely.normalize(shapely.polygons(rings)))
    first = np.concatenate([[True], owners[1:] != owners[:-1]])
    keys = [(owner, is_shell, text) for owner, is_shell, text in zip(owners.tolist(), first, texts, strict=True)]
    if len(set(keys)) < len(keys):
        by_outer: dict[Any, dict[Any, Any]] = {}
        for key, ring in zip(keys, rings, strict=True):
            by_outer.setdefault(key[0], {}).setdefault(key, ring)
        polygons = np.array([shapely.Polygon(*_split(list(each.values()))) for each in by_outer.values()], dtype=object)
    _, places = np.unique(np.array(shapely.to_wkb(shapely.normalize(polygons)), dtype=object), return_index=True)
    return polygons[np.sort(places)]


def _split(rings: list[Any]) -> tuple[Any, list[Any]]:
    return rings[0], rings[1:]


def _unlike(parts: NDArray[Any]) -> NDArray[Any]:
    """Return surfaces without those that cover the same as another."""
    _, groups, counts = np.unique(shapely.bounds(parts), axis=0, return_inverse=True, return_counts=True)
    distinct = np.ones(len(parts), bool)
    for group in np.flatnonzero(counts > 1):
        members = np.flatnonzero(groups == group)
        for place in members[:_COMPARED]:
            if distinct[place]:
                others = members[members > place]
                distinct[others[shapely.equals(parts[place], parts[others])]] = False
    return parts[distinct]


def _changes(polygons: NDArray[Any], parts: NDArray[Any]) -> NDArray[np.float64]:
    """Return how much area making each polygon valid changed, all of it and each of its rings."""
    rings, owners = shapely.get_rings(polygons, return_index=True)
    surfaces = shapely.polygons(rings)
    repaired = shapely.make_valid(surfaces, method="structure", keep_collapsed=False)
    each = np.abs(shapely.area(surfaces) - shapely.area(repaired))
    changes: NDArray[np.float64] = np.abs(shapely.area(polygons) - shapely.area(parts))
    return changes + np.bincount(owners, each, len(polygons))


def _check_crossings(polygons: NDArray[Any]) -> None:
    """Refuse polygons whose edges cross each other so often that putting them together would take long."""
    points, rings = shapely.get_coordinates(shapely.get_rings(polygons), return_index=True)
    same = np.flatnonzero(rings[1:] == rings[:-1])
    begin, end = points[same], points[same + 1]
    edges = shapely.linestrings(np.stack([begin, end], axis=1))
    tree, crossings, pairs = shapely.STRtree(edges), 0, 0
    order = np.random.default_rng(0).permutation(len(edges))
    for some in np.split(order, range(_EDGES, len(order), _EDGES)):
        one, other = tree.query(edges[some])
        one = some[one]
        crossings += int(np.count_nonzero(_cross(begin[one], end[one], begin[other], end[other])))
        pairs += len(one)
        if crossings > 2 * _MOST_CROSSINGS or pairs > _MOST_PAIRS:
            raise InvalidArea(
                f"The area's outlines cross each other too often. Allowed are {_MOST_CROSSINGS:,} crossings: put its "
                "polygons together first, or simplify them."
            )


def _cross(a: _Points, b: _Points, c: _Points, d: _Points) -> NDArray[np.bool_]:
    """Tell which of the edges from a to b and from c to d cross inside of both."""
    crossing: NDArray[np.bool_] = (_side(a, b, c) * _side(a, b, d) < 0) & (_side(c, d, a) * _side(c, d, b) < 0)
    return crossing


def _side(a: _Points, b: _Points, point: _Points) -> _Points:
    (x, y), (dx, dy) = (point - a).T, (b - a).T
    side: _Points = np.sign(dx * y - dy * x)
    return side


def _fault(reason: str) -> str:
    """Return GEOS's `Self-intersection[15 50]` as a sentence."""
    what, _, at = reason.partition("[")
    faults = {"Self-intersection": "crosses itself", "Ring Self-intersection": "touches itself"}
    fault = faults.get(what, f"is not valid ({what.lower()})")
    return f"{fault}{' at ' + at.rstrip(']') if at else ''}"
