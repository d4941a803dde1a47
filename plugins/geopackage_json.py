"""Rows of a GeoPackage as GeoJSON features, and ids as they are stored."""

import json
import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from plugins.features import Feature
from products.vector.times import written

_LARGEST = 1 << 63
_DATES = {"DATE": "date", "DATETIME": "date-time"}


class ItemRow(NamedTuple):
    """A feature whose geometry is JSON already; one that has no id has None."""

    id: Any
    geometry: str
    properties: Mapping[str, Any]


def whole_of(feature: ItemRow) -> Feature:
    """Return the feature, its geometry read."""
    id_, geometry, properties = feature
    shown = {} if id_ is None else {"id": id_}
    return {"type": "Feature", **shown, "geometry": json.loads(geometry), "properties": properties}


_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def text_of(feature: ItemRow) -> str:
    """Return the feature as JSON, its geometry as it is."""
    id_, geometry, properties = feature
    shown = "" if id_ is None else f'"id":{_json(id_)},'
    return f'{{"type":"Feature",{shown}"geometry":{geometry},"properties":{_json(properties)}}}'


def stored(identifier: str) -> tuple[Any, ...]:
    """Return the values that an id in an address may stand for: text, a number or bytes."""
    values: list[Any] = [identifier]
    with suppress(ValueError, OverflowError):
        number = int(identifier)
        values += [number] if -_LARGEST <= number < _LARGEST else []
    with suppress(ValueError, OverflowError):
        values.append(float(identifier))
    with suppress(ValueError):
        values.append(b64decode(identifier, validate=True))
    return tuple(values)


def json_type(kind: str) -> dict[str, Any]:
    """Return the JSON type of a column, by SQLite's own rules where GeoPackage does not know its type."""
    if kind in _DATES:
        return {"type": "string", "format": _DATES[kind]}
    if kind.startswith("BOOL"):
        return {"type": "boolean"}
    if "INT" in kind:
        return {"type": "integer"}
    if "BLOB" in kind:
        return {"type": "string", "contentEncoding": "base64"}
    if not any(word in kind for word in ("CHAR", "CLOB", "TEXT")) and any(word in kind for word in _NUMBERS):
        return {"type": "number"}
    return {"type": "string"}


_NUMBERS = ("REAL", "FLOA", "DOUB", "NUMERIC", "DECIMAL")


def plain(value: Any) -> Any:
    """Return a value as JSON has it: bytes in base64, None for a number that is none."""
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _truth(value: Any) -> Any:
    return bool(value) if value in (0, 1) else plain(value)


_CONVERTED: Mapping[str, Callable[[Any], Any]] = {
    "BOOLEAN": _truth,
    "BOOL": _truth,
    "DATE": lambda value: written(plain(value), "DATE"),
    "DATETIME": lambda value: written(plain(value), "DATETIME"),
}


def converted(kind: str) -> Callable[[Any], Any]:
    """Return what makes a value of a column of that type one of JSON."""
    return _CONVERTED.get(kind, plain)
