"""An area as people write it: WKT, GeoJSON or bbox, read into polygons; what they enclose is checked elsewhere."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from reprlib import Repr
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.database import get_authorities
from pyproj.exceptions import CRSError
from shapely import LinearRing, MultiPolygon, Polygon
from shapely.errors import ShapelyError

from products.errors import InvalidArea
from products.limits import MAX_VERTICES
from products.vector.blob import without_empty

Polygonal = Polygon | MultiPolygon
Move = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""What puts points, a row each, elsewhere."""

_ALLOWED = (
    "Allowed is a POLYGON or MULTIPOLYGON as WKT, as GeoJSON (also a Feature or FeatureCollection), or a bbox, in"
    ' longitude and latitude (for example "POLYGON ((19 49, 20 49, 20 50, 19 49))")'
)
_SYSTEMS = 'Allowed are codes that PROJ knows, such as "EPSG:3035" or "urn:ogc:def:crs:EPSG::3035"'
_WKT = re.compile(
    r"\s*+(?:SRID\s*+=\s*+(?P<srid>\d{1,9})\s*+;)?\s*+(?P<kind>(?:MULTI)?POLYGON)\s*+(?P<tag>ZM|Z|M)?\s*+(?=\(|EMPTY)",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"(?:https?://www\.opengis\.net/def/crs/(?P<uri>\w+)/[\w.]*/|urn:(?:x-)?ogc:def:crs:(?P<urn>\w+):[\w.]*:"
    r"|\[(?P<curie>\w+):(?=\w+\]$)|(?P<name>\w+):)(?P<code>\w+)\]?",
    re.IGNORECASE,
)
_LONGEST_CODE = 100
_POSITION = (2, 3, 4)
"""Numbers of a position: what follows longitude and latitude is a height, or a measure beside it, and is dropped."""
_MOST_PARTS = 2 * MAX_VERTICES
_SHORT = Repr(maxlevel=3, maxdict=4, maxlist=4, maxstring=80, maxlong=40)


@dataclass(frozen=True, slots=True)
class Outline:
    """Polygons, none of them with an empty ring, as an array; and the system of their coordinates.

    `crs` is None for longitude and latitude on WGS 84. Coordinates are x, y (longitude before latitude), unless
    `as_defined`: then those of a `crs` have the order of its own axes. Polygons that are meant `together` may overlap.
    """

    polygons: NDArray[Any]
    crs: CRS | None = None
    as_defined: bool = False
    together: bool = False


def outline(value: object) -> Outline:
    """Return the polygons that a value gives, unchecked but for their form, without empty ones. Raises InvalidArea."""
    inner = value["value"] if isinstance(value, Mapping) and "value" in value and "type" not in value else value
    try:
        if isinstance(inner, str):
            return _from_wkt(inner)
        if isinstance(inner, Mapping):
            return _from_bbox(inner) if "bbox" in inner and "type" not in inner else _from_json(inner)
    except (ShapelyError, ValueError, OverflowError) as error:
        raise _refusal(str(error).removeprefix("ParseException: ") or "it is no WKT", value) from error
    raise _refusal("it is neither text nor an object", value)


def densified(polygons: NDArray[Any], longest: float, move: Move | None = None) -> NDArray[Any]:
    """Return polygons with points between the ends of edges that are longer, otherwise as they are, and then moved.

    GEOS's own function repairs what is not valid, before anybody could refuse it, and may drop what is very thin.
    """
    rings, owners = shapely.get_rings(polygons, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    edges = np.diff(points, axis=0)
    edges[ring[1:] != ring[:-1]] = 0
    counts = np.maximum(1, np.ceil(np.hypot(*edges.T) / longest)).astype(np.int64)
    place = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
    along = (place / np.repeat(counts, counts))[:, np.newaxis]
    made = np.repeat(points[:-1], counts, axis=0) + np.repeat(edges, counts, axis=0) * along
    made = np.vstack([made, points[-1:]])
    ends = np.append(np.repeat(ring[:-1], counts), ring[-1:])
    offsets = np.searchsorted(ends, np.arange(len(rings) + 1)), np.searchsorted(owners, np.arange(len(polygons) + 1))
    dense: NDArray[Any] = shapely.from_ragged_array(shapely.GeometryType.POLYGON, move(made) if move else made, offsets)
    return dense


def _code_of(name: object) -> tuple[str, str]:
    """Return the authority and code that a name, URN, URI or CURIE has; never what PROJ takes for parameters or a file.

    Raises InvalidArea.
    """
    found = _CODE.fullmatch(name) if isinstance(name, str) and len(name) <= _LONGEST_CODE else None
    if found is None:
        raise InvalidArea(f"The crs is not readable: {_shortened(name)} is no code of an authority. {_SYSTEMS}.")
    authority = (found["uri"] or found["urn"] or found["curie"] or found["name"]).upper()
    return ("OGC", "CRS84") if (authority, found["code"]) == ("CRS", "84") else (authority, found["code"])


_OF_EPSG = {"CRS27": "4267", "CRS83": "4269"}
"""Systems of the OGC that are the EPSG's but for the order of axes: PROJ compares theirs with all for seconds."""


@cache
def _authorities() -> frozenset[str]:
    return frozenset(get_authorities()) - {"PROJ"}


@lru_cache(256)
def _known(authority: str, code: str) -> CRS | None:
    """Return the system, None if PROJ knows none of this code; a lookup takes milliseconds."""
    if authority == "OGC" and code.upper() in _OF_EPSG:
        authority, code = "EPSG", _OF_EPSG[code.upper()]
    try:
        return CRS.from_authority(authority, code).to_2d()
    except CRSError:
        return None


def _system(authority: str, code: str) -> CRS | None:
    """Return the system of a code, None for longitude and latitude on WGS 84. Raises InvalidArea."""
    if (authority, code.upper()) in {("EPSG", "4326"), ("OGC", "CRS84"), ("OGC", "CRS84H")}:
        return None
    fault = f"The crs {authority[:20]}:{code[:20]} "
    if authority not in _authorities():
        raise InvalidArea(f"{fault}is of an authority that PROJ does not know. {_SYSTEMS}.")
    crs = _known(authority, code)
    if crs is None:
        raise InvalidArea(f"{fault}is not known to PROJ. {_SYSTEMS}.")
    if not (crs.is_geographic or crs.is_projected):
        raise InvalidArea(f"{fault}is no system of places on the ground. {_SYSTEMS}.")
    return crs


def _from_wkt(text: str) -> Outline:
    found = _WKT.match(text)
    if not found or "\0" in text:  # where C would stop reading
        raise _refusal("it is no WKT of a polygon", text)
    if text.count(",") > _MOST_PARTS:
        raise _refusal(f"it has more than {MAX_VERTICES:,} vertices", text)
    rings = text[found.end() :].rstrip().removesuffix(";")
    with np.errstate(invalid="ignore", over="ignore"):
        geometry = shapely.from_wkt(f"{found['kind']} {found['tag'] or ''} {rings}")
    crs = _of_srid(found["srid"]) if found["srid"] else None
    return Outline(shapely.get_parts(without_empty(np.array([geometry], dtype=object))), crs)


def _of_srid(srid: str) -> CRS | None:
    """Return the system of a number as PostGIS has it: EPSG's, else ESRI's."""
    try:
        return _system("EPSG", srid)
    except InvalidArea:
        return _system("ESRI", srid)


def _from_json(value: Mapping[str, Any]) -> Outline:
    found = list(_geometries(value))
    coordinates = [part for geometry, _ in found for part in _parts(geometry)]
    if _length(coordinates) > _MOST_PARTS:
        raise _refusal(f"it has more than {MAX_VERTICES:,} vertices", value)
    names = [crs for _, crs in found if crs is not None]
    if any(name != names[0] for name in names):
        raise InvalidArea(f"The area has places in two systems, {_shortened(names)}. Allowed is one crs for all.")
    crs = _system(*_code_of(names[0])) if names else None
    polygons = [_polygon(rings) for rings in coordinates if not _is_empty(rings)]
    return Outline(np.array(polygons, dtype=object), crs, together=value.get("type") == "FeatureCollection")


def _is_empty(rings: object) -> bool:
    return isinstance(rings, list) and all(ring == [] for ring in rings)


def _length(coordinates: list[Any]) -> int:
    """Return how many positions and rings there are at most, of whatever form they turn out to be."""
    rings = (ring for part in coordinates if isinstance(part, list) for ring in part)
    return len(coordinates) + sum(1 + (len(ring) if isinstance(ring, list) else 0) for ring in rings)


def _geometries(value: object, crs: str | None = None) -> Iterator[tuple[Mapping[str, Any], str | None]]:
    """Yield the geometries of what GeoJSON calls an object, each with the name of its system."""
    if not isinstance(value, Mapping):
        raise _refusal("it is no GeoJSON object", value)
    if "crs" in value:
        crs = _name_of(value["crs"])
    kind = value.get("type")
    if kind == "FeatureCollection":
        for feature in _features(value):
            yield from _geometry(feature, crs)
    elif kind == "Feature":
        yield from _geometry(value, crs)
    else:
        yield value, crs


def _features(collection: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the features of a collection that have a geometry."""
    features = collection.get("features")
    if not isinstance(features, list):
        raise _refusal("a FeatureCollection has an array of features", collection)
    for feature in features:
        if not isinstance(feature, Mapping) or feature.get("type") != "Feature":
            raise _refusal("it has a member of features that is no GeoJSON Feature", feature)
        if feature.get("geometry") is not None:
            yield feature


def _geometry(feature: Mapping[str, Any], crs: str | None) -> Iterator[tuple[Mapping[str, Any], str | None]]:
    geometry = feature.get("geometry")
    if not isinstance(geometry, Mapping) or geometry.get("type") in {"Feature", "FeatureCollection"}:
        raise _refusal("it has a Feature without a geometry", feature)
    yield from _geometries(geometry, _name_of(feature["crs"]) if "crs" in feature else crs)


def _name_of(crs: object) -> str:
    """Return the name in a `crs` member as GeoJSON had it in 2008; a link is not followed."""
    name = crs
    if isinstance(crs, Mapping) and crs.get("type") == "name" and isinstance(crs.get("properties"), Mapping):
        name = crs["properties"].get("name")
    if not isinstance(name, str):
        raise InvalidArea(f"The crs is not readable: {_shortened(crs)} has no name. {_SYSTEMS}.")
    return name


def _parts(geometry: Mapping[str, Any]) -> list[Any]:
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind not in ("Polygon", "MultiPolygon") or not isinstance(coordinates, list):
        raise _refusal("it is no GeoJSON Polygon or MultiPolygon", geometry)
    return [coordinates] if kind == "Polygon" else coordinates


def _polygon(rings: object) -> Polygon:
    if not isinstance(rings, list):
        raise _refusal("a polygon's coordinates are a list of rings", rings)
    if rings[0] == []:
        raise _refusal("a polygon has an outer ring before its holes", rings)
    shell, *holes = (_ring(ring) for ring in rings if ring != [])
    polygon: Polygon = shapely.polygons(shell, holes=holes or None)
    return polygon


def _ring(positions: object) -> LinearRing:
    if not isinstance(positions, list) or len(positions) < 4:  # noqa: PLR2004 -- RFC 7946, 3.1.6
        raise _refusal("a ring is a list of four positions or more", positions)
    for position in positions:
        if not isinstance(position, list) or len(position) not in _POSITION or not all(map(_is_number, position)):
            raise _refusal("a position is a longitude and a latitude", position)
    points = np.array([position[:2] for position in positions], dtype=float)
    if not np.array_equal(points[0], points[-1]):
        raise _refusal("a ring ends where it begins", positions)
    ring: LinearRing = shapely.linearrings(points)
    return ring


def _from_bbox(value: Mapping[str, Any]) -> Outline:
    """Return the box of OGC API Processes 1.0, bbox.yaml, in the order of its system's axes.

    One over the antimeridian is given west before east.
    """
    corners, name = value["bbox"], value.get("crs", "OGC:CRS84")
    if not isinstance(corners, list) or len(corners) != 4 or not all(map(_is_number, corners)):  # noqa: PLR2004 -- a box has four sides
        raise _refusal("a bbox is a list of four numbers: west, south, east, north", value)
    authority, code = _code_of(name)
    crs = _system(authority, code)
    west, south, east, north = map(float, corners)
    if (authority, code) == ("EPSG", "4326"):
        west, south, east, north = south, west, north, east
    if not south < north or west == east or (crs is not None and west > east):
        raise _refusal("a bbox has an inside", value)
    if west > east:
        boxes = [shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)]
    else:
        boxes = [shapely.box(west, south, east, north)]
    return Outline(np.array(boxes, dtype=object), crs, as_defined=authority != "OGC")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refusal(fault: str, value: object) -> InvalidArea:
    return InvalidArea(f"The area is not readable: {fault}. {_ALLOWED}, not {_shortened(value)}.")


def _shortened(value: object) -> str:
    try:
        return _SHORT.repr(value)
    except ValueError:  # an integer of more digits than Python writes
        return f"a value of type {type(value).__name__}"
