"""Checks a FeatureCollection (RFC 7946) in one pass; a JSON Schema would take seconds for a large one."""

from collections.abc import Mapping
from typing import Any

from processes.errors import InvalidInput
from processes.messages import shown

FEATURE_COLLECTION: Mapping[str, Any] = {
    "title": "a GeoJSON FeatureCollection",
    "type": "object",
    "format": "geojson-feature-collection",
    "required": ["type", "features"],
    "properties": {
        "type": {"type": "string", "enum": ["FeatureCollection"]},
        "features": {"type": "array", "items": {}},
    },
}

_DEPTHS = {"Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
_KINDS = ", ".join((*_DEPTHS, "GeometryCollection"))
_FEWEST = {"LineString": 2, "MultiLineString": 2, "Polygon": 4, "MultiPolygon": 4}
"""The fewest positions of a line and of a closed ring (RFC 7946, 3.1.4 and 3.1.6)."""
_NUMBERS = {int, float}
_MOST_NESTED = 8


def check_features(name: str, collection: Mapping[str, Any]) -> None:
    """Raise InvalidInput for an invalid feature in a collection that fits the schema."""
    for number, feature in enumerate(collection["features"]):
        place = f"{name}.features[{number}]"
        if not isinstance(feature, dict) or feature.get("type") != "Feature":
            raise _refused(name, place, feature, "a GeoJSON Feature")
        if "geometry" not in feature or not _is_geometry(feature["geometry"], optional=True):
            raise _refused(name, f"{place}.geometry", feature.get("geometry"), f"null or any of {_KINDS}, whole")
        if "properties" not in feature or not isinstance(feature["properties"], dict | None):
            raise _refused(name, f"{place}.properties", feature.get("properties"), "an object or null")


def _refused(name: str, place: str, value: object, allowed: str) -> InvalidInput:
    return InvalidInput(name, f"input '{place}': {shown(value)}; allowed: {allowed}")


def _is_geometry(value: Any, *, optional: bool = False, nested: int = 0) -> bool:
    if value is None:
        return optional
    if not isinstance(value, dict):
        return False
    kind = value.get("type")
    if kind == "GeometryCollection":
        parts = value.get("geometries")
        if not isinstance(parts, list) or nested >= _MOST_NESTED:
            return False
        return all(_is_geometry(part, nested=nested + 1) for part in parts)
    if not isinstance(kind, str) or kind not in _DEPTHS:
        return False
    return _is_array(value.get("coordinates"), _DEPTHS[kind], _FEWEST.get(kind, 0))


def _is_array(value: Any, depth: int, fewest: int) -> bool:
    """Return whether it is an array of positions of this depth, with at least `fewest` of them, in a ring four."""
    if not isinstance(value, list):
        return False
    if depth == 0:
        return len(value) >= 2 and set(map(type, value)) <= _NUMBERS  # noqa: PLR2004  RFC 7946, 3.1.1
    if depth == 1 and (len(value) < fewest or (fewest == _FEWEST["Polygon"] and value[0] != value[-1])):
        return False
    return all(_is_array(each, depth - 1, fewest) for each in value)
