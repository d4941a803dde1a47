"""An area as people write it: WKT, GeoJSON or bbox, read into a polygon; what it encloses is checked elsewhere."""

import re
from collections.abc import Mapping
from reprlib import Repr
from typing import Any

import numpy as np
import shapely
from shapely import LinearRing, MultiPolygon, Polygon
from shapely.errors import ShapelyError

from products.errors import InvalidArea
from products.limits import MAX_VERTICES

Polygonal = Polygon | MultiPolygon

_ALLOWED = (
    "Allowed is a POLYGON or MULTIPOLYGON as WKT, as GeoJSON, or a bbox, in longitude and latitude"
    ' (for example "POLYGON ((19 49, 20 49, 20 50, 19 49))")'
)
_WKT = re.compile(r"\s*(MULTI)?POLYGON\b", re.IGNORECASE)
_EPSG_4326 = re.compile(r"https?://www\.opengis\.net/def/crs/EPSG/[\d.]+/4326|urn:ogc:def:crs:EPSG::4326|\[EPSG:4326\]")
_CRS84 = re.compile(
    r"https?://www\.opengis\.net/def/crs/OGC/(1\.3|0)/CRS84h?|urn:ogc:def:crs:OGC:(1\.3)?:CRS84|\[OGC:CRS84\]"
)
_SHORT = Repr(maxlevel=3, maxdict=4, maxlist=4, maxstring=80, maxlong=40)


def outline(value: object) -> Polygonal:
    """Return the polygon that a value gives, unchecked but for its form. Raises InvalidArea."""
    inner = _unwrapped(value)
    try:
        if isinstance(inner, str):
            return _from_wkt(inner)
        if isinstance(inner, Mapping):
            return _from_bbox(inner) if "bbox" in inner and "coordinates" not in inner else _from_json(inner)
    except (ShapelyError, ValueError, OverflowError) as error:
        raise _refusal(str(error).removeprefix("ParseException: ") or "it is no WKT", value) from error
    raise _refusal("it is neither text nor an object", value)


def _unwrapped(value: object) -> object:
    """Return what stands in a qualified value (18-062r2, qualifiedInputValue) or a GeoJSON Feature."""
    for member in ("value", "geometry"):
        if isinstance(value, Mapping) and member in value and "coordinates" not in value:
            value = value[member]
    return value


def _from_wkt(text: str) -> Polygonal:
    if not _WKT.match(text) or "\0" in text:  # where C would stop reading
        raise _refusal("it is no WKT of a polygon", text)
    if text.count(",") > 2 * MAX_VERTICES:
        raise _refusal(f"it has more than {MAX_VERTICES:,} vertices", text)
    with np.errstate(invalid="ignore"):
        geometry: Polygonal = shapely.from_wkt(text)
    return geometry


def _from_json(value: Mapping[str, Any]) -> Polygonal:
    kind, coordinates = value.get("type"), value.get("coordinates")
    if kind not in ("Polygon", "MultiPolygon") or not isinstance(coordinates, list):
        raise _refusal("it is no GeoJSON Polygon or MultiPolygon", value)
    parts = [coordinates] if kind == "Polygon" else coordinates
    if sum(len(ring) for part in parts if isinstance(part, list) for ring in part if isinstance(ring, list)) > (
        2 * MAX_VERTICES
    ):
        raise _refusal(f"it has more than {MAX_VERTICES:,} vertices", value)
    geometry: Polygonal = _polygon(parts[0]) if kind == "Polygon" else MultiPolygon([*map(_polygon, parts)])
    return geometry


def _polygon(rings: object) -> Polygon:
    if not isinstance(rings, list) or not rings:
        raise _refusal("a polygon's coordinates are a list of rings", rings)
    shell, *holes = map(_ring, rings)
    polygon: Polygon = shapely.polygons(shell, holes=holes or None)
    return polygon


def _ring(positions: object) -> LinearRing:
    if not isinstance(positions, list) or len(positions) < 4:  # noqa: PLR2004 -- RFC 7946, 3.1.6
        raise _refusal("a ring is a list of four positions or more", positions)
    for position in positions:
        if not isinstance(position, list) or len(position) not in (2, 3) or not all(map(_is_number, position)):
            raise _refusal("a position is a longitude and a latitude", position)
    points = np.array([position[:2] for position in positions], dtype=float)
    if not np.array_equal(points[0], points[-1]):
        raise _refusal("a ring ends where it begins", positions)
    ring: LinearRing = shapely.linearrings(points)
    return ring


def _from_bbox(value: Mapping[str, Any]) -> Polygonal:
    """Return the box of OGC API Processes 1.0, bbox.yaml; one over the antimeridian is given west before east."""
    corners, crs = value["bbox"], value.get("crs", "[OGC:CRS84]")
    if not isinstance(corners, list) or len(corners) != 4 or not all(map(_is_number, corners)):  # noqa: PLR2004 -- a box has four sides
        raise _refusal("a bbox is a list of four numbers: west, south, east, north", value)
    if not isinstance(crs, str) or not (_CRS84.fullmatch(crs) or _EPSG_4326.fullmatch(crs)):
        raise _refusal("the crs of a bbox is CRS84 or EPSG:4326, as a URI", value)
    west, south, east, north = map(float, corners)
    if _EPSG_4326.fullmatch(crs):
        west, south, east, north = south, west, north, east
    if not south < north or west == east:
        raise _refusal("a bbox has an inside", value)
    if west > east:
        return MultiPolygon([shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)])
    box: Polygon = shapely.box(west, south, east, north)
    return box


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refusal(fault: str, value: object) -> InvalidArea:
    return InvalidArea(f"The area is not readable: {fault}. {_ALLOWED}, not {_shortened(value)}.")


def _shortened(value: object) -> str:
    try:
        return _SHORT.repr(value)
    except ValueError:  # an integer of more digits than Python writes
        return f"a value of type {type(value).__name__}"
