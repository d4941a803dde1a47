"""The arguments of pygeoapi's handlers for feature providers, converted to the values of `plugins.features`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from pygeoapi.provider.base import ProviderConnectionError

from plugins.crs import CRS84, Box, Crs, boxes_of, crs_named, forms_of, interval_of, value_of
from plugins.features import ItemQuery
from plugins.refusals import invalid, refused
from products.vector.cql import Filter, matching_terms
from products.vector.query import Selection, SortKey, Times
from products.vector.times import TimeColumns

_RESULT_TYPES = ("results", "hits")
_ORDERS = ("+", "-")
_MOST = 1_000_000_000


class Transformation(Protocol):
    """The CRS of an answer as the handlers pass it: `pygeoapi.crs.CrsTransformSpec`."""

    target_crs_uri: str


class Coordinates:
    """The CRS that the handlers assume by the configuration of a provider.

    It is `storage_crs`, by default longitude and latitude: they transform a bbox to it, and request a transformation
    from it. With `always_xy` the coordinates of an answer have x before y in every CRS.
    """

    def __init__(self, provider_def: Mapping[str, Any]) -> None:
        name = provider_def.get("storage_crs")
        self._stated = CRS84 if name is None else crs_named(name)
        self.always_xy = bool(provider_def.get("always_xy"))

    def boxes(self, bbox: Sequence[float]) -> tuple[Box, ...] | None:
        """Return the box of a bbox, None without one. Raises ProviderInvalidQueryError."""
        if not len(bbox):
            return None
        with refused("bbox"):
            return boxes_of(bbox, self._stated)

    def target(self, transformation: Transformation | None) -> Crs:
        """Return the CRS of the answer. Raises ProviderInvalidQueryError."""
        with refused("crs"):
            crs = self._stated if transformation is None else crs_named(transformation.target_crs_uri)
        return self.ordered(crs)

    def ordered(self, crs: Crs) -> Crs:
        """Return the CRS with the axis order of answers."""
        return replace(crs, northing_first=False) if self.always_xy else crs


class OnlyLanguage:
    """The configured language of a provider's texts, if any: `language`, or one in `languages`."""

    def __init__(self, provider_def: Mapping[str, Any]) -> None:
        given = provider_def.get("languages", provider_def.get("language")) or []
        names = [str(name).replace("_", "-") for name in (given if isinstance(given, list) else [given])]
        if len(names) > 1:
            raise ProviderConnectionError(f"languages: {', '.join(names)}: the texts of a layer have one")
        self.name = names[0] if names else None

    def check(self, language: object | None) -> None:
        """Raise ProviderInvalidQueryError for another one."""
        if language is not None and str(language).replace("_", "-") != self.name:
            raise invalid(f"lang: {language}: allowed: {self.name or 'none'}")


def selection_of(
    fields: Mapping[str, Any],
    columns: TimeColumns | None,
    *,
    properties: Iterable[tuple[str, Any]],
    datetime_: str | None,
    sortby: Iterable[Mapping[str, str]],
    q: str | None,
    filterq: object | None,
) -> Selection:
    """Return the filters and the order of items. Raises ProviderInvalidQueryError."""
    return Selection(
        equal=_equal(properties, fields),
        times=_times(datetime_, columns),
        order=_order(sortby, fields),
        filters=_filters(q, filterq, fields),
    )


def page_of(query: ItemQuery, *, offset: int, limit: int, resulttype: str) -> ItemQuery:
    """Return the query of a page; of no item if only their number is requested. Raises ProviderInvalidQueryError."""
    for name, count in (("offset", offset), ("limit", limit)):
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < _MOST:
            raise invalid(f"{name}: allowed: whole numbers from 0 to {_MOST - 1}")
    if resulttype not in _RESULT_TYPES:
        raise invalid(f"resulttype: {resulttype!r}: allowed: {', '.join(_RESULT_TYPES)}")
    return replace(query, offset=offset, limit=0 if resulttype == "hits" else limit)


def names_of(select_properties: Sequence[str], fields: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the requested properties, None for all. Raises ProviderInvalidQueryError."""
    for name in select_properties:
        _require("properties", name, fields)
    return frozenset(select_properties) or None


def _filters(q: str | None, filterq: object | None, fields: Mapping[str, Any]) -> tuple[Filter, ...]:
    if filterq is not None:
        raise invalid("filter: CQL2 is not understood here; allowed: a property with its value, q, bbox, datetime")
    if q is None:
        return ()
    with refused("q"):
        return (Filter(matching_terms(q, fields)),)


def _equal(properties: Iterable[tuple[str, Any]], fields: Mapping[str, Any]) -> dict[str, Any]:
    equal: dict[str, Any] = {}
    for name, value in properties:
        _require("properties", name, fields)
        with refused(name):
            found = forms_of(value_of(value, fields[name])) if isinstance(value, str) else value
        if equal.setdefault(name, found) != found:
            raise invalid(f"{name}: {found!r}: allowed: one value")
    return equal


def _times(text: str | None, columns: TimeColumns | None) -> Times | None:
    if text is None:
        return None
    with refused("datetime"):
        asked = interval_of(text)
    return Times(columns, asked) if columns else None


def _order(sortby: Iterable[Mapping[str, str]], fields: Mapping[str, Any]) -> tuple[SortKey, ...]:
    keys = []
    for key in sortby:
        name, order = key["property"], key.get("order", "+")
        _require("sortby", name, fields)
        if order not in _ORDERS:
            raise invalid(f"sortby: {order!r}: allowed: {', '.join(_ORDERS)}")
        keys.append(SortKey(name, descending=order == "-"))
    return tuple(keys)


def _require(argument: str, name: str, fields: Mapping[str, Any]) -> None:
    if name not in fields:
        raise invalid(f"{argument}: {name!r}: allowed: {', '.join(fields)}")
