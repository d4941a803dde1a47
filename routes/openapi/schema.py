"""JSON schemas as OpenAPI 3.0 can say them."""

from collections.abc import Callable, Mapping
from typing import Any

_TYPES = ("string", "number", "integer", "boolean", "array", "object")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


_VALID: Mapping[str, Callable[[Any], bool]] = {
    "type": lambda value: value in _TYPES,
    "enum": _is_list,
    "required": _is_list,
    **dict.fromkeys(("default", "example"), lambda _value: True),
    **dict.fromkeys(("description", "format", "pattern"), _is_text),
    **dict.fromkeys(("nullable", "uniqueItems", "readOnly", "writeOnly", "deprecated"), _is_truth),
    **dict.fromkeys(("minimum", "maximum", "multipleOf"), _is_number),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _is_count),
}
"""The words that both have, each with what OpenAPI 3.0 allows of it; what else plugins write is left out."""


def as_openapi(schema: Any) -> Any:
    """Return the schema with `const`, type lists, numeric bounds and references said in OpenAPI 3.0's older words.

    What 3.0 has no word for is left out, so the result accepts no less than the schema. A title becomes part of the
    description: generators of clients name classes by titles, which need not differ.
    """
    if not isinstance(schema, Mapping):
        return {"not": {}} if schema is False else {}
    said: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _VALID and _VALID[name](value):
            said[name] = value
        elif name in _TRANSLATIONS:
            said |= _TRANSLATIONS[name](value)
    if said.get("type") == "array":
        said.setdefault("items", {})
    return {**said, **described(schema)}


def described(schema: Mapping[str, Any]) -> dict[str, str]:
    """Return the description of what has a title, too."""
    texts = [str(schema[name]) for name in ("title", "description") if schema.get(name)]
    return {"description": ". ".join(texts)} if texts else {}


def _const(value: Any) -> dict[str, Any]:
    return {"enum": [value]}


def _types(value: Any) -> dict[str, Any]:
    names = [name for name in value if name != "null"] if isinstance(value, list) else [value]
    nullable = {"nullable": True} if isinstance(value, list) and "null" in value else {}
    names = [name for name in names if name in _TYPES]
    if len(names) <= 1:
        return {"type": names[0], **nullable} if names else {}
    return {"anyOf": [{"type": name, **({"items": {}} if name == "array" else {}), **nullable} for name in names]}


def _each(name: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {name: [as_openapi(entry) for entry in value]}


def _items(value: Any) -> dict[str, Any]:
    return {"items": as_openapi(value) if isinstance(value, Mapping) else {}}


_TRANSLATIONS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "const": _const,
    "type": _types,
    "oneOf": _each("oneOf"),
    "anyOf": _each("anyOf"),
    "allOf": _each("allOf"),
    "items": _items,
    "not": lambda value: {"not": as_openapi(value)},
    "properties": lambda value: {"properties": {name: as_openapi(entry) for name, entry in value.items()}},
    "additionalProperties": lambda value: {
        "additionalProperties": value if isinstance(value, bool) else as_openapi(value)
    },
    "exclusiveMinimum": lambda value: {"minimum": value, "exclusiveMinimum": True},
    "exclusiveMaximum": lambda value: {"maximum": value, "exclusiveMaximum": True},
    "examples": lambda value: {"example": value[0]} if value else {},
}
