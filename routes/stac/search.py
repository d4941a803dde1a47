"""The search over the items of products: its parameters, by query or as a document, and what it finds."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import shapely

from plugins.crs import BOX_ALLOWED, CRS84, Box, Interval, boxes_meet, boxes_of, intervals_meet, number
from routes.http.problem import bad_parameter
from routes.query.parameters import BBOX, DATETIME, LIMIT, MAX_LIMIT, NAMES, OFFSET, TEXT, Page, Parameter
from routes.records.items import Q, has_terms
from routes.stac.documents import StacItem, description_of

_GEOMETRIES = "Point, MultiPoint, LineString, MultiLineString, Polygon, MultiPolygon, GeometryCollection"
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[-+ ]\d\d:\d\d)", re.ASCII)
"""A `+` in a query arrives as a space."""
_SORTABLE: Mapping[str, Callable[[StacItem], Any]] = {
    "id": lambda item: item.id,
    "collection": lambda item: item.series,
    "datetime": lambda item: item.year,
    "start_datetime": lambda item: item.year,
    "end_datetime": lambda item: item.year,
    "title": lambda item: item.product.title,
}


def _geometry(text: str) -> shapely.Geometry:
    """Return a GeoJSON geometry in longitude and latitude. Raises ValueError."""
    allowed = f"allowed: a GeoJSON geometry of type {_GEOMETRIES}"
    try:
        document = json.loads(text)
        found = shapely.from_geojson(text)
    except (ValueError, RecursionError, shapely.errors.GEOSException) as error:
        raise ValueError(text[:80], allowed) from error
    if not isinstance(document, dict) or document.get("type") not in _GEOMETRIES.split(", "):
        raise ValueError(text[:80], allowed)
    if found.is_empty or not found.is_valid:
        raise ValueError(text[:80], "allowed: a geometry that is valid and not empty")
    return found


COLLECTIONS = Parameter("collections", "The collections to search.", NAMES)
IDS = Parameter("ids", "The ids of items.", NAMES)
INTERSECTS = Parameter("intersects", "A GeoJSON geometry that items meet; not with `bbox`.", TEXT, _geometry)
SORTBY = Parameter("sortby", "Properties to order by, `-` in front for the other way.", NAMES)
FILTERS = (BBOX, DATETIME, LIMIT, OFFSET, COLLECTIONS)
"""The parameters of the items of one collection, which pystac-client names again in `collections`."""
SEARCH_PARAMETERS = (*FILTERS, Q, SORTBY)
"""The parameters of every search."""
ONLY_PRODUCTS = (IDS, INTERSECTS)
"""Further parameters of a search of products."""


@dataclass(frozen=True, slots=True)
class ItemSearch:
    """What is searched for; None is no condition."""

    boxes: tuple[Box, ...] | None
    area: shapely.Geometry | None
    time: Interval | None
    terms: tuple[str, ...] | None
    ids: tuple[str, ...] | None
    collections: tuple[str, ...] | None
    order: tuple[str, ...]
    page: Page

    def among(self, items: Iterable[StacItem]) -> list[StacItem]:
        """Return the items that meet all conditions, in the wanted order."""
        found = [each for each in items if self._meets(each)]
        for key in reversed(self.order):
            found.sort(key=_SORTABLE[key.removeprefix("-")], reverse=key.startswith("-"))
        return found

    def _meets(self, item: StacItem) -> bool:
        return (
            (self.ids is None or item.id in self.ids)
            and (self.collections is None or item.series in self.collections)
            and (self.time is None or intervals_meet(self.time, item.time))
            and (self.boxes is None or boxes_meet(self.boxes, item.boxes))
            and (self.area is None or bool(shapely.intersects(self.area, item.geometry)))
            and (self.terms is None or has_terms(self.terms, item.product.title, description_of(item)))
        )


def read_search(asked: Mapping[str, str], *, orders: bool = True) -> ItemSearch:
    """Return the search of these parameters. Raises the 400 Problem; without `orders` for an unknown order not."""
    if BBOX.name in asked and INTERSECTS.name in asked:
        raise bad_parameter(INTERSECTS.name, asked[INTERSECTS.name][:80], f"allowed: {BBOX.name} or {INTERSECTS.name}")
    check_page(asked)
    return ItemSearch(
        _boxes(asked),
        _value(asked, INTERSECTS),
        _time(asked),
        _value(asked, Q),
        _value(asked, IDS),
        _value(asked, COLLECTIONS),
        _order(asked, known=orders),
        Page(min(_value(asked, LIMIT) or 10, MAX_LIMIT), _value(asked, OFFSET) or 0),
    )


def check_page(asked: Mapping[str, str]) -> None:
    """Raise the 400 Problem for a wrong `limit` or `offset`."""
    _value(asked, OFFSET)
    _value(asked, LIMIT)


def _value(asked: Mapping[str, str], parameter: Parameter) -> Any:
    return parameter.value(asked[parameter.name]) if parameter.name in asked else None


def _time(asked: Mapping[str, str]) -> Interval | None:
    """Return the instant or the interval of `datetime`: STAC API has whole times of RFC 3339, no days."""
    text = asked.get(DATETIME.name)
    if text is not None and not all(each in {"", ".."} or _INSTANT.fullmatch(each) for each in text.split("/")):
        raise bad_parameter(DATETIME.name, text[:80], "allowed: an RFC 3339 time, or two as 2023-01-01T00:00:00Z/..")
    return _value(asked, DATETIME)  # type: ignore[no-any-return] # its reader says so


def _boxes(asked: Mapping[str, str]) -> tuple[Box, ...] | None:
    if BBOX.name not in asked:
        return None
    try:
        return boxes_of([number(part) for part in asked[BBOX.name].split(",")], CRS84)
    except ValueError as error:
        raise bad_parameter(BBOX.name, asked[BBOX.name][:80], BOX_ALLOWED) from error


def _order(asked: Mapping[str, str], *, known: bool) -> tuple[str, ...]:
    """Return the keys of `sortby`; a `+` in a query arrives as a space."""
    keys = [key.lstrip("+ ") for key in asked.get(SORTBY.name, "").split(",") if key]
    signs = ["-" if key.startswith("-") else "" for key in keys]
    names = [key.removeprefix("-").removeprefix("properties.") for key in keys]
    if unknown := [name for name in names if name not in _SORTABLE]:
        if known:
            raise bad_parameter(SORTBY.name, unknown[0][:80], f"allowed: {', '.join(_SORTABLE)}")
        return ()
    return tuple(sign + name for sign, name in zip(signs, names, strict=True))


def posted(document: Mapping[str, Any], *, products: bool) -> dict[str, str]:
    """Return the members of a posted search as parameters of a query. Raises the 400 Problem."""
    members = {**_MEMBERS, **(_OF_PRODUCTS if products else {})}
    asked = {}
    for name, value in document.items():
        if name not in members:
            raise bad_parameter(name, str(value)[:80], f"unknown member; allowed: {', '.join(members)}")
        if value is None:
            continue
        text = members[name](value)
        if text is None:
            raise bad_parameter(name, str(value)[:80], _ALLOWED.get(name, "allowed: text"))
        asked[name] = text
    return asked


def _numbers(value: Any) -> str | None:
    known = isinstance(value, list) and all(type(each) in (int, float) for each in value)
    return ",".join(map(repr, value)) if known else None


def _names(value: Any) -> str | None:
    known = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return ",".join(value) if known else None


def _sorted(value: Any) -> str | None:
    """Return the order of STAC (`[{"field": "a", "direction": "desc"}]`) as in a query (`-a`)."""
    if not isinstance(value, list):
        return _text(value)
    try:
        return ",".join({"asc": "", "desc": "-"}[each.get("direction", "asc")] + each["field"] for each in value)
    except (AttributeError, KeyError, TypeError):
        return None


def _whole(value: Any) -> str | None:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _object(value: Any) -> str | None:
    return json.dumps(value) if isinstance(value, dict) else None


_MEMBERS: Mapping[str, Callable[[Any], str | None]] = {
    "bbox": _numbers,
    "collections": _names,
    "datetime": _text,
    "limit": _whole,
    "offset": _whole,
    "q": _text,
    "sortby": _sorted,
}
_OF_PRODUCTS: Mapping[str, Callable[[Any], str | None]] = {"ids": _names, "intersects": _object}
_ALLOWED = {
    "bbox": "allowed: a list of four numbers, or six",
    "collections": "allowed: a list of ids",
    "ids": "allowed: a list of ids",
    "intersects": "allowed: a GeoJSON geometry",
    "limit": "allowed: whole numbers from 1",
    "offset": "allowed: whole numbers from 0",
    "sortby": 'allowed: a list such as [{"field": "title", "direction": "desc"}]',
}


def window(found: Sequence[StacItem], page: Page) -> Sequence[StacItem]:
    """Return the items of a page."""
    return found[page.offset : page.offset + page.limit]
