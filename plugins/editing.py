"""Changes of items: what a client sends, checked against the schema of the collection, and made ready for a table."""

import json
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import blake2b
from typing import Any, Protocol, runtime_checkable

import numpy as np
import shapely
from jsonschema import Draft202012Validator, FormatChecker
from numpy.typing import NDArray

from plugins.crs import CRS84, Crs
from plugins.features import Feature
from plugins.geojson import transformed

_FORMATS = FormatChecker(())
_WRITTEN = ("title", "description", "oneOf")
"""Members of a property's schema that say nothing about its value, or say it again."""
_MANY = {"polygon": "multipolygon", "linestring": "multilinestring", "point": "multipoint"}
_MAKE = {"polygon": shapely.multipolygons, "linestring": shapely.multilinestrings, "point": shapely.multipoints}
_LONGEST = 200
LARGEST = 1 << 63
"""The least integer that is too large."""
_HALF, _QUARTER = 180, 90


Expected = Callable[[str], bool]


class InvalidItem(ValueError):
    """An item that the collection cannot have; the message names the member and what is allowed there."""


class ItemChanged(Exception):
    """The item is not, or no longer, in the state that the caller has seen."""


class ItemNotYours(Exception):
    """The change would make an item that the caller's rules do not cover."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be written: values by column, and if `placed` a geometry in the table's CRS, which may be None."""

    values: Mapping[str, Any]
    geometry: Any = None
    placed: bool = True
    id: Any = None


@dataclass(frozen=True, slots=True)
class EditedLayer:
    """What a draft has to fit: the schemas of the attributes, the type of the geometries, and their CRS."""

    fields: Mapping[str, Mapping[str, Any]]
    shape: str
    native: Crs

    def whole(self, document: Any, crs: Crs = CRS84) -> Draft:
        """Return the draft of a complete feature; attributes that it lacks have no value. Raises InvalidItem."""
        self._require_feature(document)
        given = self._given(document)
        values = {name: given.get(name) for name in self.fields}
        return Draft(self._stored(values), self._geometry(document.get("geometry"), crs), id=_id_of(document))

    def part(self, document: Any, crs: Crs = CRS84) -> Draft:
        """Return the draft of a change (RFC 7396): attributes and, if given, the geometry. Raises InvalidItem."""
        if not isinstance(document, Mapping):
            raise InvalidItem("the body: allowed: an object with properties, geometry or both")
        unknown = document.keys() - {"type", "id", "links", "properties", "geometry"}
        if unknown or document.get("type", "Feature") != "Feature":
            raise InvalidItem(f"{min(unknown, default='type')}: allowed: properties, geometry")
        given = self._given(document)
        placed = "geometry" in document
        outline = self._geometry(document["geometry"], crs) if placed else None
        return Draft(self._stored(given), outline, placed=placed)

    def _require_feature(self, document: Any) -> None:
        if not isinstance(document, Mapping) or document.get("type") != "Feature":
            raise InvalidItem("type: allowed: 'Feature'")
        for member in ("properties", "geometry"):
            if member not in document:
                raise InvalidItem(f"{member}: is missing; allowed: an object or null")

    def _given(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the properties that fit the schema. Raises InvalidItem."""
        given = document.get("properties")
        if given is None:
            return {}
        self._check(given)
        found: Mapping[str, Any] = given
        return found

    def _check(self, given: Any) -> None:
        schema = {
            "type": "object",
            "properties": {name: _schema(field) for name, field in self.fields.items()},
            "additionalProperties": False,
        }
        error = next(Draft202012Validator(schema, format_checker=_FORMATS).iter_errors(given), None)
        if error is None:
            return
        place = ".".join(["properties", *map(str, error.absolute_path)])
        if error.validator == "additionalProperties":
            name = min(given.keys() - self.fields.keys())
            raise InvalidItem(f"{place}.{name[:_LONGEST]}: allowed: {', '.join(self.fields)}")
        raise InvalidItem(f"{place}: {str(error.message)[:_LONGEST]}")

    def _stored(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values as a table has them: bytes instead of base64. Raises InvalidItem."""
        stored = dict(values)
        for name, value in values.items():
            too_large = isinstance(value, int) and not -LARGEST <= value < LARGEST
            if too_large and self.fields[name].get("type") == "integer":
                raise InvalidItem(f"properties.{name}: allowed: integers of 64 bits")
            if not _is_plain(value):
                raise InvalidItem(f"properties.{name}: allowed: texts without NUL, in arrays no objects")
            if isinstance(value, str) and "contentEncoding" in self.fields[name]:
                try:
                    stored[name] = b64decode(value, validate=True)
                except ValueError as error:
                    raise InvalidItem(f"properties.{name}: allowed: base64") from error
        return stored

    def _geometry(self, document: Any, crs: Crs) -> Any:
        """Return the geometry in the table's CRS and of its type, None for null. Raises InvalidItem."""
        if document is None:
            return None
        try:
            found = shapely.from_geojson(json.dumps(document))
        except (shapely.errors.GEOSException, TypeError, ValueError) as error:
            raise InvalidItem(f"geometry: {str(error).partition(chr(10))[0][:_LONGEST]}") from error
        points = shapely.get_coordinates(found)
        if found is None or found.is_empty or not np.isfinite(points).all():
            raise InvalidItem("geometry: allowed: a geometry of GeoJSON that is not empty, or null")
        if not shapely.is_valid(found):
            raise InvalidItem(f"geometry: {shapely.is_valid_reason(found)}")
        if crs.northing_first:
            found = shapely.transform(found, lambda xy: xy[:, ::-1])
            points = points[:, ::-1]
        if crs.geographic and (np.abs(points) > (_HALF, _QUARTER)).any():
            raise InvalidItem("geometry: allowed: longitudes from -180 to 180 and latitudes from -90 to 90")
        [moved] = transformed(_one(found), crs, self.native)
        if not np.isfinite(shapely.get_coordinates(moved)).all():
            raise InvalidItem("geometry: it has no place in the CRS of the collection")
        return self._fitting(moved)

    def _fitting(self, geometry: Any) -> Any:
        kind = geometry.geom_type.lower()
        if self.shape in {"geometry", kind}:
            return geometry
        if _MANY.get(kind) == self.shape:
            return _MAKE[kind]([geometry])
        raise InvalidItem(f"geometry.type: {geometry.geom_type!r}; allowed: {self.shape}")


def _schema(field: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a value: null is allowed, as a table refuses it itself where it may not be."""
    schema = {name: value for name, value in field.items() if name not in _WRITTEN}
    if isinstance(kind := schema.get("type"), str):
        schema["type"] = [kind, "null"]
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    return schema


@_FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@_FORMATS.checks("date", raises=ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or bool(date.fromisoformat(value))


def _is_plain(value: object) -> bool:
    """Return whether there is no NUL in texts, and no object in an array."""
    if isinstance(value, list):
        return all(not isinstance(each, dict) and _is_plain(each) for each in value)
    return not isinstance(value, str) or "\0" not in value


def _id_of(document: Mapping[str, Any]) -> Any:
    """Return the id that a feature brings. Raises InvalidItem."""
    found = document.get("id")
    if isinstance(found, bool) or not isinstance(found, str | int | float | None) or not _is_plain(found):
        raise InvalidItem("id: allowed: a text without NUL or a number")
    return found


def _one(geometry: Any) -> NDArray[Any]:
    return np.array([geometry], dtype=object)


def tag_of(state: Any) -> str:
    """Return the entity tag of the state of an item."""
    return f'"{blake2b(repr(state).encode(), digest_size=12).hexdigest()}"'


@runtime_checkable
class EditableProvider(Protocol):
    """A provider whose items can be changed; `edited` is whether the configuration allows it.

    `expected` says of the entity tag of an item whether it is in the state that the caller has seen. The rules of the
    current verdict say which items may be changed, and how they may be afterwards. The methods raise InvalidItem,
    ItemChanged, ItemNotYours, ProviderItemNotFoundError.
    """

    edited: bool

    def seen(self, identifier: str, *, crs: Crs) -> tuple[Feature, str]:
        """Return an item and its entity tag."""

    def drafts(self) -> EditedLayer:
        """Return what a draft has to fit."""

    def insert(self, draft: Draft) -> tuple[str, str]:
        """Add an item, and return its id and entity tag."""

    def change(self, identifier: str, draft: Draft, expected: Expected) -> str:
        """Write a draft into an item, and return its new entity tag."""

    def remove(self, identifier: str, expected: Expected) -> None:
        """Delete an item."""
