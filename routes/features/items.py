"""The items of a collection, page by page and one by one."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from pygeoapi.linked_data import geojson2jsonld
from pygeoapi.provider.base import ProviderItemNotFoundError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth.access import Action
from plugins.crs import CRS84, Crs, forms_of, value_of
from plugins.editing import EditableProvider
from plugins.features import Counting, FeatureProvider, ItemPage, ItemQuery, PageSummary
from products.limits import MAX_FEATURES
from products.vector.cql import Filter, FilterError, matching_terms, read_json, read_text
from products.vector.query import Selection, SortKey, Times
from routes.features.cursor import CURSOR, Cursors
from routes.features.download import AS_FILES, STREAMED, get_all
from routes.features.edit import OnPosted, create_item, is_posted_item, read_item
from routes.features.foreign import ITEM_FORMS, address_of, get_foreign_item, get_foreign_items, linked, shown_of
from routes.features.forms import as_json_fg
from routes.features.parameters import (
    FILTER,
    FILTER_CRS,
    FILTER_LANG,
    ITEMS_PARAMETERS,
    PROPERTIES,
    RESERVED,
    RESULT_TYPE,
    SKIP_GEOMETRY,
    SORTBY,
    Q,
)
from routes.features.schemas import JSON_FG, PROFILE, asked_profiles, profile_header, sortable
from routes.features.table import table_of
from routes.guard import GuardedRoute, Later, for_foreign, on_collection
from routes.http.body import parse_object
from routes.http.body import read_json as read_json_body
from routes.http.media_types import GEOJSON
from routes.http.problem import NOT_FOUND, Problem, bad_parameter
from routes.pages.respond import both_forms, link, list_links, respond, response_file
from routes.query.parameters import (
    CRS,
    DATETIME,
    OFFSET,
    Page,
    Parameter,
    allow_parameters,
    negotiate,
    read_boxes,
    read_crs,
    read_page,
)
from routes.records.items import get_record, get_records
from routes.resources import Collection, collection_of, resources_of

Link = dict[str, Any]
PAGE_FORMS = {**ITEM_FORMS, **STREAMED, **AS_FILES}
"""The media types of one item and of a page of items, by value of `f`."""
_COLLECTION = ("collection", "application/json", "The collection")
"""Relation, media type and title of the link to an item's collection."""
_NO_HEADERS: Mapping[str, str] = {}
_SHOWN = 200
"""Characters of a filter that its refusal repeats."""
_LIMITS = {"default_items": 10, "max_items": 10_000}


def get_items(request: Request) -> Response | Later:
    """Answer with a page of items as GeoJSON, JSON-LD or HTML, or with all of them as a table or file.

    With `resulttype=hits` it has only their number.
    """
    collection, resources = collection_of(request), resources_of(request)
    if collection.has_records:
        return get_records(request)
    counted, provider = bool(collection.definition("feature").get("count", True)), collection.readable_features()
    limits = {
        **_LIMITS,
        **(resources.api.config["server"].get("limits") or {}),
        **(collection.configured.get("limits") or {}),
    }
    order = ",".join(request.query_params.getlist(SORTBY.name))
    cursors = Cursors(resources.page_key, collection.id, order)
    query, form = read_query(request, provider, limits), negotiate(request, PAGE_FORMS)
    query, first = _placed(request, query, cursors)
    query = replace(query, counting=_counting(query, counted=counted))
    links_of = partial(_page_links, request, collection, cursors, first)
    with refused_filter(request.query_params.get(FILTER.name, "")):
        if form == "json" and PROFILE.name in request.query_params and JSON_FG in asked_profiles(request):
            return _json_fg(request, provider, query, links_of)
        if form == "json":
            return _written(request, provider, query, links_of)
        if form in STREAMED or form in AS_FILES:
            return get_all(request, collection, provider, query, form)
        page = provider.find(replace(query, geometry=False))
    document = {**_described(page.summary, links_of(page.summary)), "features": page.features}
    if form == "jsonld":
        return _answer(linked(collection, page.features), form, query.crs)
    fields = provider.get_fields()
    shown = {**shown_of(collection), "names": _names(page), "first": first + 1, "address": address_of}
    shown |= table_of(request, queryables=queryable(fields), sortables=sortable(fields), forms=PAGE_FORMS)
    return _respond(request, document, query.crs, page="items.html", shown=shown)


def post_items(request: Request) -> Response | Later:
    """Answer with a page of the items that the body, a filter in CQL2 JSON, selects; other parameters are in the query.

    The body becomes the parameter `filter`, so that the links of the page are those of a request by GET. A body of
    GeoJSON is a new item of a collection that is edited.
    """
    if is_posted_item(request):
        return create_item(request)
    for name in (FILTER.name, FILTER_LANG.name):
        if name in request.query_params:
            raise bad_parameter(name, request.query_params[name], "allowed: the filter in the body")
    body = json.dumps(parse_object(request.state.body, such_as=_FILTER_EXAMPLE), ensure_ascii=False)
    more = urlencode([*request.query_params.multi_items(), (FILTER.name, body), (FILTER_LANG.name, "cql2-json")])
    return get_items(Request({**request.scope, "query_string": more.encode()}))


async def _read_filter(request: Request) -> bytes:
    """Return the body of a search; records take none."""
    if collection_of(request).has_records:
        _refuse_post(request)
    if is_posted_item(request):
        return await read_item(request)
    return await read_json_body(request, 200_000, also=("application/query-cql-json",))


def _refuse_post(request: Request) -> Response:
    detail = f"collection {collection_of(request).id!r} is asked by GET, with parameters"
    raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"Allow": "GET, HEAD, OPTIONS"})


_FILTER_EXAMPLE = '{"op": "=", "args": [{"property": "name"}, "a"]}'


def _counting(query: ItemQuery, *, counted: bool) -> Counting:
    """Return how `numberMatched` is counted: exactly unless otherwise requested, not at all if so configured."""
    if not query.limit:
        return "exact"
    return "cheap" if counted else "none"


def _placed(request: Request, query: ItemQuery, cursors: Cursors) -> tuple[ItemQuery, int]:
    """Return the query of the page of `cursor`, and the number of items before it. Raises the 400 Problem."""
    text = request.query_params.get(CURSOR.name)
    if text is None:
        return query, query.offset
    if query.offset:
        raise bad_parameter(OFFSET.name, str(query.offset), f"allowed: {OFFSET.name} or {CURSOR.name}")
    after, first = cursors.read(text)
    return replace(query, after=after), first


def _written(
    request: Request, provider: FeatureProvider, query: ItemQuery, links_of: Callable[[PageSummary], list[Link]]
) -> Response:
    """Return the page as JSON; only a few items are in memory at once."""
    with response_file() as file:
        summary = provider.write(query, file)
        described = json.dumps(_described(summary, links_of(summary)), ensure_ascii=False, separators=(",", ":"))
        head = f'{described.removesuffix("}")},"features":['
        headers = {"Vary": "Accept", **_crs_header(query.crs), **_language_header(request)}
        return file.response(head.encode(), b"]}", headers=headers, media_type=GEOJSON)


def _json_fg(
    request: Request, provider: FeatureProvider, query: ItemQuery, links_of: Callable[[PageSummary], list[Link]]
) -> Response:
    items, summary = provider.texts(query)
    described = _described(summary, links_of(summary))
    document = as_json_fg(items, described, collection_of(request).id, query.crs, provider.times)
    headers = {"Vary": "Accept", **_crs_header(query.crs), **_language_header(request), **profile_header(JSON_FG)}
    return JSONResponse(document, headers=headers, media_type=GEOJSON)


def _answer(content: str | bytes, form: str, crs: Crs) -> Response:
    return Response(content, headers={"Vary": "Accept", **_crs_header(crs)}, media_type=PAGE_FORMS[form])


def _described(summary: PageSummary, links: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the members of a page except its items.

    `numberMatched` has to be exact (17-069r4 /req/core/fc-numberMatched): an estimate is a member of its own.
    """
    name = "numberMatchedEstimated" if summary.estimated else "numberMatched"
    return {
        "type": "FeatureCollection",
        "timeStamp": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        **({} if summary.matched is None else {name: summary.matched}),
        "numberReturned": summary.returned,
        "links": links,
    }


def get_item(request: Request) -> Response:
    """Answer with one item, or 404."""
    collection = collection_of(request)
    if collection.has_records:
        return get_record(request)
    provider = collection.readable_features()
    allow_parameters(request, CRS)
    form = negotiate(request, ITEM_FORMS)
    crs = read_crs(request, CRS, provider.systems, CRS84)
    item_id = request.path_params["item_id"]
    headers: dict[str, str] = {}
    try:
        if provider.edited and isinstance(provider, EditableProvider):
            item, etag = provider.seen(item_id, crs=crs)
            headers = {"Cache-Control": "no-cache", **({"ETag": etag} if form == "json" else {})}
        else:
            item = provider.get(item_id, crs=crs)
    except ProviderItemNotFoundError as error:
        raise Problem(
            HTTPStatus.NOT_FOUND,
            f"collection {collection.id!r} has no item {item_id!r}",
            type_=NOT_FOUND,
        ) from error
    place = f"{collection.url}/items/{quote(item_id, safe='')}"
    document = {**item, "links": [*both_forms(place, media_type=GEOJSON), _link_to(collection)]}
    if form == "jsonld":
        return _answer(geojson2jsonld(resources_of(request).api, document, collection.id, place), form, crs)
    shown = {"collection": collection.title, "place": collection.url}
    return _respond(request, document, crs, page="item.html", shown=shown, headers=headers)


def _page_links(
    request: Request, collection: Collection, cursors: Cursors, first: int, summary: PageSummary
) -> list[Link]:
    """Return the links; `first` is the number of items before the page. A page may be smaller than its limit."""
    end, before = first + summary.returned, max(0, first - summary.returned)
    following = {"offset": str(end)} if summary.more and summary.returned else None
    if summary.next is not None:
        following = {CURSOR.name: cursors.write(summary.next, end)}
    previous = None
    if summary.previous is not None:
        previous = {CURSOR.name: cursors.write(summary.previous, before)}
    links = list_links(request, f"{collection.url}/items", following=following, previous=previous)
    types = {"application/json": GEOJSON}
    links = [{**entry, "type": types.get(entry["type"], entry["type"])} for entry in links]
    return [*links, link(collection.url, *_COLLECTION)]


def _link_to(collection: Collection) -> dict[str, Any]:
    return link(collection.url, *_COLLECTION)


def _names(page: ItemPage) -> list[str]:
    return list(page.features[0]["properties"]) if page.features else []


def _respond(
    request: Request,
    document: Mapping[str, Any],
    crs: Crs,
    *,
    page: str,
    shown: Mapping[str, Any],
    headers: Mapping[str, str] = _NO_HEADERS,
) -> Response:
    headers = {**headers, **_crs_header(crs), **_language_header(request)}
    return respond(request, document, page=page, media_type=GEOJSON, headers=headers, only_page=shown)


def _language_header(request: Request) -> dict[str, str]:
    """Return Content-Language if the provider names the language of its data: this one and that of the other texts."""
    definition = collection_of(request).definition("feature")
    of_data = definition.get("languages", [definition["language"]] if "language" in definition else [])
    languages = dict.fromkeys([*of_data, resources_of(request).language])
    return {"Content-Language": ", ".join(languages)} if of_data else {}


def _crs_header(crs: Crs) -> dict[str, str]:
    return {"Content-Crs": f"<{crs.uri}>"}


def read_query(request: Request, provider: FeatureProvider, limits: Mapping[str, Any]) -> ItemQuery:
    """Return the query, of no item with `resulttype=hits`, and without `cursor`. Raises the 400 Problem.

    `limits` has `default_items` and `max_items`; a larger one is reduced to it (17-069r4 /req/core/fc-limit-response),
    or a 400 with `on_exceed: error`.
    """
    fields, systems, columns = provider.get_fields(), provider.systems, provider.times
    asked_by = queryable(fields)
    allow_parameters(request, *ITEMS_PARAMETERS, *asked_by)
    page, boxes, time = read_page(request), read_boxes(request, systems), DATETIME.of(request)
    crs = read_crs(request, CRS, systems, CRS84)
    sortby, names = SORTBY.text(request), PROPERTIES.of(request)
    filters = (*_filters(request, systems), *_terms(request, fields))
    only_hits, without_geometry = RESULT_TYPE.of(request) == "hits", SKIP_GEOMETRY.of(request)
    return ItemQuery(
        boxes=boxes,
        selection=Selection(
            equal=_equal(request, asked_by),
            times=Times(columns, time) if time and columns else None,
            order=_order(sortby, fields),
            filters=filters,
        ),
        limit=0 if only_hits else _limit(request, page, limits),
        offset=page.offset,
        crs=crs,
        properties=_properties(names, fields),
        geometry=not without_geometry,
    )


def _filters(request: Request, systems: Sequence[Crs]) -> tuple[Filter, ...]:
    """Return the condition of `filter`, or None. Raises the 400 Problem with the position of the error."""
    text, language, crs = FILTER.text(request), FILTER_LANG.of(request), read_crs(request, FILTER_CRS, systems, CRS84)
    if text is None:
        return ()
    with refused_filter(text):
        tree = read_json(text) if language == "cql2-json" else read_text(text)
    return (Filter(tree, crs.name, northing_first=crs.northing_first),)


def _terms(request: Request, fields: Mapping[str, Any]) -> tuple[Filter, ...]:
    """Return the condition of `q`, or None. Raises the 400 Problem."""
    if Q.name not in request.query_params:
        return ()
    text = request.query_params[Q.name]
    try:
        return (Filter(matching_terms(text, fields)),)
    except FilterError as error:
        raise bad_parameter(Q.name, text[:_SHOWN], str(error)) from error


@contextmanager
def refused_filter(text: str) -> Iterator[None]:
    """Raise the 400 Problem for an error of a filter."""
    try:
        yield
    except FilterError as error:
        raise bad_parameter(FILTER.name, text[:_SHOWN], str(error)) from error


def _limit(request: Request, page: Page, limits: Mapping[str, Any]) -> int:
    asked = page.limit if "limit" in request.query_params else limits["default_items"]
    most = min(limits["max_items"], MAX_FEATURES)
    if asked > most and limits.get("on_exceed") == "error":
        raise bad_parameter("limit", str(asked), f"allowed: 1 to {most}")
    return int(min(asked, most))


def queryable(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields for filters by parameter: those without the name of a standard parameter."""
    return {name: field for name, field in fields.items() if name.lower() not in RESERVED}


def _equal(request: Request, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(name, text, fields[name]) for name, text in request.query_params.items() if name in fields}


def _value(name: str, text: str, field: Mapping[str, Any]) -> Any:
    try:
        return forms_of(value_of(text, field))
    except ValueError as error:
        raise bad_parameter(name, text, str(error)) from error


def _order(text: str | None, fields: Mapping[str, Any]) -> tuple[SortKey, ...]:
    """Return the order of `sortby`; a `+` in a query arrives as a space."""
    keys = [key.lstrip("+ ") for key in (text or "").split(",") if key]
    allowed = sortable(fields) if keys else ()
    for key in keys:
        _require(SORTBY, text, key.removeprefix("-"), allowed)
    return tuple(SortKey(key.removeprefix("-"), descending=key.startswith("-")) for key in keys)


def _properties(names: Sequence[str] | None, fields: Mapping[str, Any]) -> frozenset[str] | None:
    text = ",".join(names or ())
    for name in sorted(names or ()):
        _require(PROPERTIES, text, name, fields)
    return None if names is None else frozenset(names)


def _require(parameter: Parameter, text: str | None, name: str, fields: Iterable[str]) -> None:
    if name not in fields:
        raise bad_parameter(parameter.name, text or "", f"allowed: {', '.join(fields)}")


_READ = on_collection(Action.READ_ITEMS)
_POST = OnPosted(Action.READ_ITEMS, "collection_id")
_PLACE = "/collections/{collection_id}/items"
_KINDS = "feature", "record"
_NOT_POSTED = for_foreign(_refuse_post, *_KINDS)
_FOREIGN_ITEMS, _FOREIGN_ITEM = for_foreign(get_foreign_items, *_KINDS), for_foreign(get_foreign_item, *_KINDS)
routes = [
    GuardedRoute(_PLACE, get_items, needs=_READ, threads="light", foreign=_FOREIGN_ITEMS),
    GuardedRoute(
        _PLACE, post_items, needs=_POST, threads="light", body=_read_filter, foreign=_NOT_POSTED, methods=["POST"]
    ),
    GuardedRoute(f"{_PLACE}/{{item_id:path}}", get_item, needs=_READ, threads="light", foreign=_FOREIGN_ITEM),
]
