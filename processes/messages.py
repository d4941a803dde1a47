"""The parts of error messages: what a schema allows, and the value that was sent."""

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

_KINDS = {
    "string": "a string",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
_ANY = "any value"
_FORMATS = {
    "date-time": "a date and time as in 2026-11-23T12:00:00Z",
    "date": "a date as in 2026-11-23",
    "byte": "base64",
}
_LONGEST, _MOST = 80, 6


def allowed(schema: Any) -> str:
    """Return what a valid schema allows, as text; its `title` if it has one."""
    if not isinstance(schema, Mapping):
        return "nothing" if schema is False else _ANY
    if "title" in schema:
        return str(schema["title"])
    for name in ("oneOf", "anyOf"):
        if name in schema and "type" not in schema:
            return " or ".join(allowed(alternative) for alternative in schema[name])
    if "enum" in schema or "const" in schema:
        return ", ".join(json.dumps(value) for value in schema.get("enum", [schema.get("const")]))
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    types = schema["type"] if isinstance(schema.get("type"), list) else [schema.get("type")]
    return " or ".join(_KINDS.get(str(each), _ANY) for each in types) + _bounds(schema) + _members(schema)


def _bounds(schema: Mapping[str, Any]) -> str:
    items = f" of {schema.get('minItems', 0)} to {schema['maxItems']} items" if "maxItems" in schema else ""
    length = f" of at most {schema['maxLength']} characters" if "maxLength" in schema else ""
    both = "maximum" in schema and "minimum" in schema
    numbers = f" from {schema['minimum']} to {schema['maximum']}" if both else ""
    return items + length + numbers


def _members(schema: Mapping[str, Any]) -> str:
    if "properties" in schema:
        members = (f"{name} ({allowed(member)})" for name, member in schema["properties"].items())
        return f" with {', '.join(members)}"
    return f", each {allowed(schema['items'])}" if schema.get("items") else ""


def in_language(texts: Any, language: str) -> Any:
    """Return the text in the language, or in a variant of it, or the first one; a text without languages unchanged."""
    if not isinstance(texts, dict) or not texts:
        return texts or None
    names = {name.replace("_", "-").lower(): name for name in texts}
    wanted = language.replace("_", "-").lower()
    near = [names[name] for name in names if name.partition("-")[0] == wanted.partition("-")[0]]
    return texts[names.get(wanted) or next(iter((*near, *texts)))]


def shown(value: object) -> str:
    """Return a value as JSON, cut short."""
    text = json.dumps(_cut(value), ensure_ascii=False, default=repr)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _cut(value: object, depth: int = 6) -> object:
    """Return the part of a value that can be shown, at a cost that does not depend on its size."""
    if isinstance(value, str):
        return value[: _LONGEST + 1]
    if isinstance(value, list | dict) and not depth:
        return "…"
    if isinstance(value, list):
        return [_cut(item, depth - 1) for item in value[:_MOST]] + ["…"] * (len(value) > _MOST)
    if isinstance(value, dict):
        return {key[:_LONGEST]: _cut(item, depth - 1) for key, item in islice(value.items(), _MOST)}
    return value
