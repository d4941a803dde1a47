"""The area of an order: polygons in longitude and latitude, edges straight in these, measured on the ellipsoid."""

from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError

from products.errors import AreaTooLarge, InvalidArea
from products.limits import MAX_ORDER_KM2, MAX_OUTLINE_DEGREES, MAX_VERTICES
from products.outline import Polygonal, outline

_STEP = 0.002
"""Degrees between the points of a densified edge: its chords stray less than a millimetre in Europe."""
_MARGIN = 20
"""Degrees round a CRS's area of use beyond which an area is cut before it is projected."""
_MAX_OVERLAPS = 40_000_000
_SAMPLE = 256
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_ELLIPSOID = Geod(ellps="GRS80")


@dataclass(frozen=True, slots=True)
class Area:
    """A valid (Multi)Polygon in longitude and latitude (CRS84) and its size on the ellipsoid."""

    geometry: Polygonal
    km2: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "geometry", polygonal(self.geometry))
        object.__setattr__(self, "km2", _square_metres(self.geometry) / 1e6)

    def project(self, epsg: int) -> Polygonal:
        """Return the area in a CRS, x before y, edges densified; cut where the CRS is of no use, maybe to nothing.

        PROJ's best operation, never a ballpark one. Raises InvalidArea where there is none.
        """
        geometry = shapely.segmentize(_usable(self.geometry, epsg), _STEP)
        try:
            transformer = Transformer.from_crs("OGC:CRS84", epsg, always_xy=True, allow_ballpark=False)
            x, y = shapely.get_coordinates(geometry).T
            points = np.column_stack(transformer.transform(x, y, errcheck=True))
        except ProjError as error:
            raise InvalidArea(f"The area cannot be expressed in EPSG:{epsg}: {error}") from error
        projected: Polygonal = shapely.set_coordinates(geometry, points)
        return projected


def read_area(value: object) -> Area:
    """Return the area that an input gives, one that an order may cover. Raises InvalidArea, AreaTooLarge."""
    area = measure_area(value)
    check_size(area)
    return area


def measure_area(value: object) -> Area:
    """Return the area that an input gives, of whatever size: WKT, GeoJSON, `{"value": GeoJSON}` or an OGC bbox.

    Heights are dropped. Raises InvalidArea, which says what is wrong, where, and what is allowed.
    """
    geometry = shapely.force_2d(outline(value))
    _check_bounds(geometry)
    _check_cost(geometry)
    if not shapely.is_valid(geometry):
        raise InvalidArea(_fault(shapely.is_valid_reason(geometry)))
    return Area(geometry)


def check_size(area: Area) -> None:
    """Refuse an area that is larger than an order may cover. Raises AreaTooLarge."""
    if area.km2 > MAX_ORDER_KM2:
        raise AreaTooLarge(f"The area has {area.km2:,.0f} km2; an order covers at most {MAX_ORDER_KM2:,} km2.")


def _usable(geometry: Polygonal, epsg: int) -> Polygonal:
    use = CRS.from_epsg(epsg).area_of_use
    if use is None or use.west > use.east:
        return geometry
    box = shapely.box(use.west - _MARGIN, use.south - _MARGIN, use.east + _MARGIN, use.north + _MARGIN)
    return geometry if shapely.covers(box, geometry) else polygonal(shapely.intersection(geometry, box))


def polygonal(geometry: shapely.Geometry) -> Polygonal:
    """Return the polygons of a geometry, without the points and lines that an intersection may leave."""
    parts = shapely.get_parts(geometry) if geometry.geom_type == "GeometryCollection" else np.array([geometry])
    kept = shapely.get_parts(parts[shapely.get_dimensions(parts) == 2])  # noqa: PLR2004 -- a surface's dimension
    only: Polygonal = kept[0] if len(kept) == 1 else shapely.multipolygons(kept)
    return only


def _square_metres(geometry: Polygonal) -> float:
    """Integrate the area below each edge up to the equator: exact for edges straight in longitude and latitude."""
    rings = shapely.get_rings(shapely.get_parts(shapely.orient_polygons(geometry)))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    same = ring[1:] == ring[:-1]
    begin, end = np.radians(points[:-1][same]), np.radians(points[1:][same])
    middle, half = (begin + end) / 2, (end - begin) / 2
    below = _WEIGHTS @ _below(middle[:, 1] + _NODES[:, np.newaxis] * half[:, 1])
    return -float(np.sum(half[:, 0] * below))


def _below(latitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ellipsoid's area in m2 between the equator and a latitude, for each radian of longitude."""
    squared = _ELLIPSOID.es
    eccentricity, sine = np.sqrt(squared), np.sin(latitude)
    strip: NDArray[np.float64] = sine / (1 - squared * sine**2) + np.arctanh(eccentricity * sine) / eccentricity
    return strip * _ELLIPSOID.b**2 / 2


def _check_bounds(geometry: Polygonal) -> None:
    points = shapely.get_coordinates(geometry)
    if not len(points):
        raise InvalidArea("The area is empty. Allowed is a polygon with an inside.")
    if not np.isfinite(points).all():
        raise InvalidArea("The area has a coordinate that is not a finite number.")
    beyond = np.flatnonzero((np.abs(points) > (180, 90)).any(axis=1))
    if len(beyond):
        x, y = points[beyond[0]]
        raise InvalidArea(
            f"The area has the point {x:.10g} {y:.10g}. Allowed are longitudes from -180 to 180, then latitudes from "
            "-90 to 90."
        )


def _check_cost(geometry: Polygonal) -> None:
    """Refuse an outline whose checking would take long; edges whose boxes overlap are compared with each other."""
    points = shapely.get_coordinates(geometry)
    if len(points) > MAX_VERTICES:
        raise InvalidArea(f"The area has {len(points):,} vertices. Allowed are {MAX_VERTICES:,}: simplify it.")
    if geometry.length > MAX_OUTLINE_DEGREES:
        raise InvalidArea(
            f"The area's outline is {geometry.length:,.0f} degrees long. Allowed are {MAX_OUTLINE_DEGREES:,}."
        )
    if _overlaps(points) > _MAX_OVERLAPS:
        raise InvalidArea("The area's outline is too tangled: too many of its edges lie over each other. Simplify it.")


def _overlaps(points: NDArray[np.float64]) -> float:
    """Estimate from a sample how many pairs of edges have boxes that overlap."""
    low, high = np.minimum(points[:-1], points[1:]), np.maximum(points[:-1], points[1:])
    chosen = np.random.default_rng().choice(len(low), min(_SAMPLE, len(low)), replace=False)
    hits = sum(np.count_nonzero(((low <= high[i]) & (high >= low[i])).all(axis=1)) for i in chosen)
    return hits / len(chosen) * len(low)


def _fault(reason: str) -> str:
    """Return GEOS's `Self-intersection[15 50]` as a sentence."""
    what, _, where = reason.partition("[")
    words = {"Self-intersection": "crosses itself", "Ring Self-intersection": "touches itself"}
    fault = words.get(what, f"is not valid ({what.lower()})")
    return f"The area {fault}{' at ' + where.rstrip(']') if where else ''}. Allowed is a valid polygon or multipolygon."
