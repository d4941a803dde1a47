"""The schemas of features (OGC 23-058r2): properties, queryables and sortables."""

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.requests import Request

from auth.access import Access, Action, current_verdict
from plugins.features import FeatureProvider
from routes.guard import permit
from routes.query.parameters import NAMES, Parameter
from routes.resources import Collection

PROFILE = Parameter(
    "profile",
    "The requested forms of the answer, by name or URI; unknown ones are ignored.",
    NAMES,
)
JSON_FG = "jsonfg"
INLINE, VALID, ACTUAL = "codelist-inline", "valid-domain", "actual-domain"
"""The profiles of schemas: classes with their names, all possible values, the values of the items."""
_PROFILES = "http://www.opengis.net/def/profile/OGC/0/"
_GEOMETRY = "geometry"
_FORMATS = {
    **dict.fromkeys(("point", "multipoint"), "geometry-point-or-multipoint"),
    **dict.fromkeys(("linestring", "multilinestring"), "geometry-linestring-or-multilinestring"),
    **dict.fromkeys(("polygon", "multipolygon"), "geometry-polygon-or-multipolygon"),
}
"""The formats of geometries by the declared type: files that declare single or multiple geometries often have both."""
_UNSORTED = {"object", "array"}


def asked_profiles(request: Request) -> frozenset[str]:
    """Return the names of the requested profiles, given by name, URI or safe CURIE."""
    names = PROFILE.of(request) or ()
    return frozenset(name.strip("[]").removeprefix("ogc-profile:").removeprefix(_PROFILES) for name in names)


def profile_header(*names: str) -> dict[str, str]:
    """Return the header with the profiles of an answer (RFC 6906)."""
    return {"Link": ", ".join(f'<{_PROFILES}{name}>; rel="profile"' for name in names)}


def geometry_name_of(provider: FeatureProvider) -> str:
    """Return the name of the geometry in filters and schemas: its column's if an attribute is named `geometry`."""
    return provider.geometry_name if _GEOMETRY in provider.get_fields() else _GEOMETRY


def id_name_of(provider: FeatureProvider) -> str:
    """Return the name of the id in schemas and tables; no attribute has it."""
    fields = provider.get_fields()
    return next(each for each in ("id", "fid", "feature_id", "the id") if each not in fields)


def schema_of(collection: Collection, provider: FeatureProvider) -> dict[str, Any]:
    """Return the schema of the items: id, geometry and attributes, in this order."""
    fields, shape = provider.get_fields(), provider.geometry_type
    described = {
        id_name_of(provider): {"title": "Id", "type": provider.id_type, "readOnly": True, "x-ogc-role": "id"},
        geometry_name_of(provider): {
            "title": "Geometry",
            "format": _FORMATS.get(shape, "geometry-any"),
            "x-ogc-role": "primary-geometry",
        },
        **fields,
    }
    return _document(collection, described)


def queryables_of(collection: Collection, provider: FeatureProvider, names: Iterable[str]) -> dict[str, Any]:
    """Return the schema of queryables: geometry and attributes; filters can name no others."""
    schema = schema_of(collection, provider)
    allowed = {geometry_name_of(provider), *names}
    return {**schema, "properties": _only(schema, allowed), "additionalProperties": False}


def sortables_of(collection: Collection, provider: FeatureProvider) -> dict[str, Any]:
    """Return the schema of sortables; `sortby` can name no others."""
    schema = schema_of(collection, provider)
    return {**schema, "properties": _only(schema, sortable(provider.get_fields())), "additionalProperties": False}


def sortable(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the attributes that have an order: neither objects nor arrays."""
    return tuple(name for name, field in fields.items() if field.get("type") not in _UNSORTED)


def with_actual_values(request: Request, schema: dict[str, Any], provider: FeatureProvider, id_: str) -> dict[str, Any]:
    """Return the schema with the values of the items that the caller may read. Raises the refusal."""
    reset = current_verdict.set(permit(request, Access(Action.READ_ITEMS, id_)))
    try:
        values, _ = provider.get_domains([name for name in schema["properties"] if name in provider.get_fields()])
    finally:
        current_verdict.reset(reset)
    properties = {name: _actual(each, values.get(name)) for name, each in schema["properties"].items()}
    return {**schema, "properties": properties}


def _actual(schema: Mapping[str, Any], values: list[Any] | None) -> dict[str, Any]:
    """Return the schema of a property with its values; without them if there are too many or none."""
    rest = {name: member for name, member in schema.items() if name not in {"enum", "oneOf"}}
    if not values or schema.get("type") not in {"string", "integer"}:
        return rest
    named = [each for each in schema.get("oneOf", ()) if each["const"] in values]
    return {**rest, "enum": values, **({"oneOf": named} if len(named) == len(values) else {})}


def _document(collection: Collection, properties: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    numbered = {
        name: {**_with_temporal_role(each), "x-ogc-propertySeq": place}
        for place, (name, each) in enumerate(properties.items(), start=1)
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "title": collection.title,
        "description": str(collection.configured.get("description", "")),
        "properties": numbered,
    }


def _with_temporal_role(field: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema; a number, such as a year, has no role of time, which is for texts (23-058r2, 8.3)."""
    if field.get("type") == "string" or not str(field.get("x-ogc-role", "")).startswith("primary-in"):
        return field
    return {name: member for name, member in field.items() if name != "x-ogc-role"}


def _only(schema: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    allowed = frozenset(names)
    return {name: each for name, each in schema["properties"].items() if name in allowed}
