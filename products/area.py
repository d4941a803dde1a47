"""The area of an order: polygons in longitude and latitude, edges straight in these, measured on the ellipsoid."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from zlib import crc32

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError
from shapely.errors import GEOSException

from products.errors import AreaTooLarge, InvalidArea
from products.limits import MAX_ORDER_KM2, MAX_OUTLINE_DEGREES, MAX_VERTICES
from products.outline import Move, Outline, Polygonal, densified, outline
from products.repair import one_of, polygonal, valid

_STEP = 0.002
"""Degrees between the points of a densified edge: its chords stray less than a millimetre in Europe."""
_MOST_ADDED = 400_000
"""Points that densifying adds, at most: where there would be more, chords stray up to five centimetres."""
_CHORD = 500
"""Metres between the points of an edge of another system that becomes one in degrees."""
_EMPTY = "The area is empty. Allowed is a polygon with an inside."
_BEYOND = 1e9
"""Metres that are beyond every place in every system."""
_MARGIN = 20
"""Degrees round a CRS's area of use beyond which an area is cut before it is projected."""
_MAX_OVERLAPS = 40_000_000
_SAMPLE = 256
_AT_ONCE = 500_000
"""Pairs of edges that are compared at once, about."""
_RULES = {1: np.polynomial.legendre.leggauss(4), 180: np.polynomial.legendre.leggauss(12)}
"""Where an edge is looked at to integrate below it, and with which weights, by its height in degrees at most."""
_ELLIPSOID = Geod(ellps="GRS80")
_last: "ContextVar[tuple[object, Area] | None]" = ContextVar("_last", default=None)
"""The value that was read last in this request, and its area: an order is checked in several places."""


@dataclass(frozen=True, slots=True)
class Area:
    """A valid (Multi)Polygon in longitude and latitude (CRS84) and its size on the ellipsoid.

    `repaired` says in a sentence what was repaired in it, empty where nothing was.
    """

    geometry: Polygonal
    repaired: str = ""
    km2: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "geometry", polygonal(self.geometry))
        object.__setattr__(self, "km2", _square_metres(self.geometry) / 1e6)

    def within(self, outline: str | None) -> "Area":
        """Return what of the area lies in an outline, WKB in hexadecimal digits: all where there is none."""
        return (
            self
            if outline is None
            else Area(shapely.intersection(self.geometry, shapely.from_wkb(outline)), self.repaired)
        )

    def project(self, crs: int | str) -> Polygonal:
        """Return the area in a CRS, x before y, edges densified; cut where the CRS is of no use, maybe to nothing.

        The CRS is an EPSG code, or what PROJ reads. PROJ's best operation, never a ballpark one where the datum is
        known. Raises InvalidArea where there is none.
        """
        name = crs if isinstance(crs, str) else f"EPSG:{crs}"
        geometry = _usable(self.geometry, name)
        parts = shapely.get_parts(geometry)
        try:
            move = _move(_transformer("OGC:CRS84", name))
            return one_of(densified(parts, max(_STEP, geometry.length / _MOST_ADDED), move))
        except ProjError as error:
            raise InvalidArea(f"The area cannot be expressed in {CRS.from_user_input(name).name}: {error}") from error


def read_area(value: object) -> Area:
    """Return the area that an input gives, one that an order may cover. Raises InvalidArea, AreaTooLarge."""
    area = measure_area(value)
    check_size(area)
    return area


def measure_area(value: object) -> Area:
    """Return the area that an input gives, of whatever size: WKT, EWKT, GeoJSON, `{"value": GeoJSON}` or an OGC bbox.

    Heights are dropped, as are parts and rings that are empty. What touches or barely crosses itself is repaired, and
    the area says so. Raises InvalidArea, which says what is wrong, where, and what is allowed.
    """
    last = _last.get()
    if last is not None and last[0] is value:
        return last[1]
    area = area_of(outline(value))
    _last.set((value, area))
    return area


def area_of(found: Outline) -> Area:
    """Return the area of polygons, checked, repaired and in longitude and latitude. Raises InvalidArea."""
    polygons = shapely.force_2d(found.polygons)
    _check_form(polygons)
    polygons = _without_repeats(polygons)
    if found.crs is not None:
        polygons = to_degrees(polygons, found.crs, as_defined=found.as_defined)
    _check_bounds(polygons)
    _check_cost(polygons)
    return Area(*valid(polygons, together=found.together))


def to_degrees(polygons: NDArray[Any], crs: CRS, *, as_defined: bool = False) -> NDArray[Any]:
    """Return polygons of a system in longitude and latitude; their edges are straight in it, and densified.

    Coordinates are x before y, unless `as_defined` by the system. PROJ's best operation, never a ballpark one. Raises
    InvalidArea where there is none.
    """
    if not crs.is_geographic:
        step = _CHORD / crs.axis_info[0].unit_conversion_factor
        if not np.abs(shapely.get_coordinates(polygons)).max(initial=0) < _BEYOND * _CHORD / step:
            raise InvalidArea(f"The area lies outside of where {crs.name} can be used.")
        polygons = densified(polygons, max(step, shapely.length(polygons).sum() / _MOST_ADDED))
    try:
        transformer = _transformer(crs.to_wkt(), "OGC:CRS84", x_first=not as_defined)
        points = _move(transformer)(shapely.get_coordinates(polygons))
    except ProjError as error:
        raise InvalidArea(
            f"The area cannot be taken from {crs.name} to longitude and latitude: {error}. Allowed are "
            "places where that system can be used."
        ) from error
    moved: NDArray[Any] = shapely.set_coordinates(polygons.copy(), points)
    return moved


@lru_cache(64)
def _transformer(source: str, target: str, *, x_first: bool = True) -> Transformer:
    """Return PROJ's best operation, a ballpark one only where nobody knows a datum. Raises ProjError."""
    try:
        return Transformer.from_crs(source, target, always_xy=x_first, allow_ballpark=False)
    except ProjError:
        datums = [CRS.from_user_input(crs).datum for crs in (source, target)]
        if not any(datum is not None and datum.name.lower().startswith("unknown") for datum in datums):
            raise
        return Transformer.from_crs(source, target, always_xy=x_first)


def _move(transformer: Transformer) -> Move:
    return lambda points: np.column_stack(transformer.transform(points[:, 0], points[:, 1], errcheck=True))


@lru_cache(64)
def _area_of_use(crs: str) -> tuple[float, float, float, float] | None:
    """Return west, south, east, north."""
    use = CRS.from_user_input(crs).area_of_use
    return None if use is None else use.bounds


def check_size(area: Area) -> None:
    """Refuse an area that is larger than an order may cover. Raises AreaTooLarge."""
    if area.km2 > MAX_ORDER_KM2:
        raise AreaTooLarge(f"The area has {area.km2:,.0f} km2; an order covers at most {MAX_ORDER_KM2:,} km2.")


def _usable(geometry: Polygonal, crs: str) -> Polygonal:
    use = _area_of_use(crs)
    if use is None or use[0] > use[2]:
        return geometry
    west, south, east, north = use
    box = shapely.box(west - _MARGIN, south - _MARGIN, east + _MARGIN, north + _MARGIN)
    is_held = shapely.covers(box, shapely.envelope(geometry))
    return geometry if is_held else polygonal(shapely.intersection(geometry, box))


def _square_metres(geometry: Polygonal) -> float:
    """Integrate the area below each edge up to the equator: exact for edges straight in longitude and latitude."""
    rings = shapely.get_rings(shapely.get_parts(shapely.orient_polygons(geometry)))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    same = ring[1:] == ring[:-1]
    begin, end = np.radians(points[:-1][same]).T, np.radians(points[1:][same]).T
    (_, middle), (half_x, half_y) = (begin + end) / 2, (end - begin) / 2
    below, least = np.zeros(len(middle)), -1
    for height, (nodes, weights) in _RULES.items():
        some = (np.abs(half_y) > np.radians(least / 2)) & (np.abs(half_y) <= np.radians(height / 2))
        below[some] = weights @ square_metres_below(middle[some] + nodes[:, np.newaxis] * half_y[some])
        least = height
    return -float(np.sum(half_x * below))


def square_metres_below(latitude: NDArray[np.float64], ellipsoid: Geod = _ELLIPSOID) -> NDArray[np.float64]:
    """Return the ellipsoid's area in m2 between the equator and a latitude, for each radian of longitude."""
    squared = ellipsoid.es
    eccentricity, sine = np.sqrt(squared), np.sin(latitude)
    strip: NDArray[np.float64] = sine / (1 - squared * sine**2) + np.arctanh(eccentricity * sine) / eccentricity
    return strip * ellipsoid.b**2 / 2


def _check_form(polygons: NDArray[Any]) -> None:
    points = shapely.get_coordinates(polygons)
    if not len(points):
        raise InvalidArea(_EMPTY)
    if not np.isfinite(points).all():
        raise InvalidArea("The area has a coordinate that is not a finite number.")
    if len(points) > MAX_VERTICES:
        raise InvalidArea(f"The area has {len(points):,} vertices. Allowed are {MAX_VERTICES:,}: simplify it.")


def _without_repeats(polygons: NDArray[Any]) -> NDArray[Any]:
    """Return polygons without points that repeat the one before: GEOS would compare each of them with each other.

    Rings that would have no inside are left as they are, to be refused for it.
    """
    try:
        shorter: NDArray[Any] = shapely.remove_repeated_points(polygons)
    except GEOSException:
        return polygons
    least = shapely.get_num_points(shapely.get_rings(shorter)).min(initial=4)
    return shorter if least >= 4 else polygons  # noqa: PLR2004 - a triangle, closed


def _check_bounds(polygons: NDArray[Any]) -> None:
    points = shapely.get_coordinates(polygons)
    if not len(points):
        raise InvalidArea(_EMPTY)
    beyond = np.flatnonzero(~(np.abs(points) <= (180, 90)).all(axis=1))
    if len(beyond):
        x, y = points[beyond[0]]
        raise InvalidArea(
            f"The area has the point {x:.10g} {y:.10g}. Allowed are longitudes from -180 to 180, then latitudes from "
            "-90 to 90."
        )


def _check_cost(polygons: NDArray[Any]) -> None:
    """Refuse an outline whose checking would take long; edges whose boxes overlap are compared with each other."""
    length = shapely.length(polygons).sum()
    if length > MAX_OUTLINE_DEGREES:
        raise InvalidArea(f"The area's outline is {length:,.0f} degrees long. Allowed are {MAX_OUTLINE_DEGREES:,}.")
    if _overlaps(shapely.get_coordinates(polygons)) > _MAX_OVERLAPS:
        raise InvalidArea("The area's outline is too tangled: too many of its edges lie over each other. Simplify it.")


def _overlaps(points: NDArray[np.float64]) -> float:
    """Estimate from a sample, the same one each time, how many pairs of edges have boxes that overlap."""
    if len(points) < 2:  # noqa: PLR2004 -- an edge has two ends
        return 0
    columns = np.ascontiguousarray(points.T)
    (west, south), (east, north) = (
        np.minimum(columns[:, :-1], columns[:, 1:]),
        np.maximum(columns[:, :-1], columns[:, 1:]),
    )
    chosen = np.arange(len(west))
    if len(west) > _SAMPLE:
        chosen = np.random.default_rng(crc32(columns)).choice(len(west), _SAMPLE, replace=False)
    hits = 0
    for some in np.array_split(chosen, len(west) * len(chosen) // _AT_ONCE + 1):
        i = some[:, np.newaxis]
        hits += int(np.count_nonzero((west <= east[i]) & (east >= west[i]) & (south <= north[i]) & (north >= south[i])))
    return hits / len(chosen) * len(west)
