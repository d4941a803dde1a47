"""The inputs for a place: an area, or a nation."""

from collections.abc import Mapping
from typing import Any

from processes.errors import AreaRefused, InvalidInput
from processes.messages import shown
from products.area import Area, check_size, measure_area
from products.errors import AreaTooLarge, InvalidArea
from products.nations import NATIONS, Nation, find_nation

_CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
BOX: Mapping[str, Any] = {
    "title": 'a box as {"bbox": [west, south, east, north]}',
    "type": "object",
    "format": "ogc-bbox",
    "required": ["bbox"],
    "properties": {
        "bbox": {"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "number"}},
        "crs": {
            "type": "string",
            "description": "URI, URN or code of an authority; the box has the order of its axes.",
            "minLength": 1,
            "maxLength": 100,
            "default": _CRS84,
        },
    },
    "additionalProperties": False,
}

AREA: Mapping[str, Any] = {
    "oneOf": [
        {
            "title": "a POLYGON or MULTIPOLYGON as WKT, longitude latitude",
            "type": "string",
            "format": "wkt",
            "minLength": 1,
        },
        {
            "title": "a GeoJSON Polygon or MultiPolygon",
            "type": "object",
            "format": "geojson-geometry",
            "required": ["type", "coordinates"],
            "properties": {
                "type": {"type": "string", "enum": ["Polygon", "MultiPolygon"]},
                "coordinates": {"type": "array", "items": {}},
            },
        },
        {
            "title": "a GeoJSON Feature or FeatureCollection of these",
            "type": "object",
            "format": "geojson-feature-collection",
            "required": ["type"],
            "properties": {
                "type": {"type": "string", "enum": ["Feature", "FeatureCollection"]},
                "geometry": {"type": "object"},
                "features": {"type": "array", "items": {}},
            },
        },
        BOX,
    ]
}

NATION: Mapping[str, Any] = {
    "title": "Nation",
    "description": "The name of the nation in any case, as the collection of nations has it.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 100},
}


def area_of(value: Any, name: str = "aoi") -> Area:
    """Return the area of an input, no larger than an order may cover. Raises InvalidInput, AreaRefused."""
    return sized(any_area_of(value, name), name)


def sized(area: Area, name: str = "aoi") -> Area:
    """Return the area. Raises AreaRefused if it is larger than an order may cover."""
    try:
        check_size(area)
    except AreaTooLarge as error:
        raise AreaRefused(name, f"input '{name}': {error}") from error
    return area


def any_area_of(value: Any, name: str = "aoi") -> Area:
    """Return the area of an input, of any size. Raises InvalidInput."""
    try:
        return measure_area(value)
    except InvalidArea as error:
        raise InvalidInput(name, f"input '{name}': {error}") from error


def nation_of(value: str, name: str = "nation") -> Nation:
    """Return the nation that an input names. Raises InvalidInput."""
    nation = find_nation(value)
    if nation is None:
        names = ", ".join(each.title for each in NATIONS)
        raise InvalidInput(name, f"input '{name}': {shown(value)} is not a nation; allowed: {names}")
    return nation
