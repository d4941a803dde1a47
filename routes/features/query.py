"""What an items request asks for, checked against the collection."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from plugins.crs import CRS84
from plugins.features import FeatureProvider, ItemQuery
from plugins.literals import value_of
from products.limits import MAX_FEATURES
from products.vector.query import Selection, SortKey, Times
from products.vector.times import TimeColumns
from routes.http.problem import bad_parameter
from routes.query.bbox import read_boxes, read_crs
from routes.query.datetime import read_time
from routes.query.paging import read_page
from routes.query.parameters import allow_parameters, read_list

_LISTS = ("bbox", "properties", "sortby")
_SINGLE = ("bbox-crs", "crs", "datetime", "limit", "offset", "skipGeometry")
RESERVED = frozenset(
    name.lower()
    for name in (
        *_LISTS, *_SINGLE, "f", "filter", "filter-crs", "filter-lang", "ids", "lang", "profile", "q", "resulttype",
        "token",
    )
)  # fmt: skip
"""Names that the standards give to parameters, some of them not implemented here: a column of such a name is no filter.

They are compared in lower case, so that nobody who means the parameter gets the column.
"""
_FLAGS = {"true": True, "false": False}


def read_query(request: Request, provider: FeatureProvider, limits: Mapping[str, Any]) -> ItemQuery:
    """Return the query. Raises the 400 Problem for a parameter that is unknown, repeated or wrong.

    `limits` has `default_items` and `max_items`; a larger limit is cut to that (17-069r4 /req/core/fc-limit-response),
    or a 400 with `on_exceed: error`.
    """
    fields = provider.get_fields()
    asked_by = queryable(fields)
    allow_parameters(request, *_SINGLE, *asked_by, repeatable=_LISTS)
    page = read_page(request)
    asked = page.limit if "limit" in request.query_params else limits["default_items"]
    most = min(limits["max_items"], MAX_FEATURES)
    if asked > most and limits.get("on_exceed") == "error":
        raise bad_parameter("limit", str(asked), f"allowed: 1 to {most}")
    return ItemQuery(
        boxes=read_boxes(request, provider.systems),
        selection=Selection(
            equal=_equal(request, asked_by), times=_times(request, provider.times), order=_order(request, fields)
        ),
        limit=min(asked, most),
        offset=page.offset,
        crs=read_crs(request, "crs", provider.systems, CRS84),
        properties=_properties(request, fields),
        geometry=not _flag(request, "skipGeometry"),
    )


def queryable(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields that items can be filtered by: those whose name is none of a parameter."""
    return {name: field for name, field in fields.items() if name.lower() not in RESERVED}


def _equal(request: Request, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(name, text, fields[name]) for name, text in request.query_params.items() if name in fields}


def _value(name: str, text: str, field: Mapping[str, Any]) -> Any:
    try:
        return value_of(text, field)
    except ValueError as error:
        raise bad_parameter(name, text, str(error)) from error


def _times(request: Request, columns: TimeColumns | None) -> Times | None:
    asked = read_time(request)
    return Times(columns, asked) if asked and columns else None


def _order(request: Request, fields: Mapping[str, Any]) -> tuple[SortKey, ...]:
    """Return what `sortby` says; a `+` in a query arrives as a space."""
    words = [word.lstrip("+ ") for word in (read_list(request, "sortby") or "").split(",") if word]
    for word in words:
        _require(request, "sortby", word.removeprefix("-"), fields)
    return tuple(SortKey(word.removeprefix("-"), descending=word.startswith("-")) for word in words)


def _properties(request: Request, fields: Mapping[str, Any]) -> frozenset[str] | None:
    text = read_list(request, "properties")
    if text is None:
        return None
    names = frozenset(text.split(","))
    for name in sorted(names):
        _require(request, "properties", name, fields)
    return names


def _require(request: Request, parameter: str, name: str, fields: Mapping[str, Any]) -> None:
    if name not in fields:
        raise bad_parameter(parameter, read_list(request, parameter) or "", f"allowed: {', '.join(fields)}")


def _flag(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "false").lower()
    if text not in _FLAGS:
        raise bad_parameter(name, text, "allowed: true, false")
    return _FLAGS[text]
