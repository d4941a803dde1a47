"""The items of a collection, page by page and one by one."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from pygeoapi.provider.base import ProviderItemNotFoundError
from starlette.requests import Request
from starlette.responses import Response

from auth.access import Action
from plugins.crs import CRS84, Crs
from plugins.features import FeatureProvider, ItemCount, ItemPage, ItemQuery
from routes.collection import Collection, collection_of
from routes.features.query import read_query
from routes.guard import GuardedRoute, for_foreign, on_collection
from routes.http.links import both_forms, link
from routes.http.media_types import GEOJSON, JSON_LD
from routes.http.problem import NOT_FOUND, Problem
from routes.pages.respond import negotiate, respond, response_file
from routes.pygeoapi.handlers import Handled, allow, formatters_of, handle, provider_of
from routes.query.bbox import read_crs
from routes.query.paging import Page, page_links, read_page
from routes.query.parameters import allow_parameters
from routes.resources import resources_of

_FORMS = {"json": GEOJSON, "html": "text/html"}
FOREIGN_PARAMETERS = (
    "bbox", "bbox-crs", "crs", "datetime", "filter", "filter-crs", "filter-lang", "limit", "offset", "properties", "q",
    "resulttype", "skipGeometry", "sortby",
)  # fmt: skip
"""What pygeoapi's handler of items reads."""
_LIMITS = {"default_items": 10, "max_items": 10_000}


def get_items(request: Request) -> Response:
    """Answer with a page of items as GeoJSON or for people."""
    provider = collection_of(request).readable_features()
    query = read_query(request, provider, _limits(request))
    if negotiate(request, _FORMS) == "json":
        return _written(request, provider, query)
    page = provider.find(replace(query, geometry=False))
    document = {
        **_described(request, query, ItemCount(len(page.features), page.matched)),
        "features": page.features,
    }
    shown = {**_collection(request), "names": _names(page), "first": query.offset + 1, "address": _address}
    return _respond(request, document, query.crs, page="items.html", shown=shown)


def _written(request: Request, provider: FeatureProvider, query: ItemQuery) -> Response:
    """Return the page as JSON, which is no more in memory at once than a few items."""
    with response_file() as file:
        count = provider.write(query, file)
        described = json.dumps(_described(request, query, count), ensure_ascii=False, separators=(",", ":"))
        head = f'{described.removesuffix("}")},"features":['
        headers = {"Vary": "Accept", **_crs_header(query.crs)}
        return file.response(head.encode(), b"]}", headers=headers, media_type=GEOJSON)


def _described(request: Request, query: ItemQuery, count: ItemCount) -> dict[str, Any]:
    return {
        "type": "FeatureCollection",
        "timeStamp": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "numberMatched": count.matched,
        "numberReturned": count.returned,
        "links": _page_links(request, query, count),
    }


def get_item(request: Request) -> Response:
    """Answer with one item; 404 for one that there is not."""
    provider = collection_of(request).readable_features()
    allow_parameters(request, "crs")
    negotiate(request, _FORMS)
    crs = read_crs(request, "crs", provider.systems, CRS84)
    item_id = request.path_params["item_id"]
    try:
        item = provider.get(item_id, crs=crs)
    except ProviderItemNotFoundError as error:
        raise Problem(
            HTTPStatus.NOT_FOUND,
            f"collection {collection_of(request).id!r} has no item {item_id!r}",
            type_=NOT_FOUND,
        ) from error
    place = f"{_place(request)}/items/{_address(item_id)}"
    document = {**item, "links": [*both_forms(place, media_type=GEOJSON), _collection_link(request)]}
    return _respond(request, document, crs, page="item.html", shown=_collection(request))


def _limits(request: Request) -> Mapping[str, Any]:
    server = resources_of(request).api.config["server"]
    return {**_LIMITS, **(server.get("limits") or {}), **(collection_of(request).configured.get("limits") or {})}


def _page_links(request: Request, query: ItemQuery, count: ItemCount) -> list[dict[str, Any]]:
    """Return the links; a page of very large items is shorter than its limit, the next one begins where it ends."""
    end = query.offset + count.returned
    limit = count.returned if count.returned and end < count.matched else query.limit
    links = page_links(request, Page(limit, query.offset), count.matched)
    types = {"application/json": GEOJSON}
    return [
        *({**entry, "type": types.get(entry["type"], entry["type"])} for entry in links),
        _collection_link(request),
    ]


def _address(item_id: Any) -> str:
    """Return the id as it stands in an address: one that has a slash stays one part of it."""
    return quote(str(item_id), safe="")


def _place(request: Request) -> str:
    return f"{resources_of(request).url}/collections/{quote(collection_of(request).id)}"


def _collection_link(request: Request) -> dict[str, Any]:
    return link(_place(request), "collection", "application/json", "The collection")


def _collection(request: Request) -> dict[str, Any]:
    """Return what the pages say of the collection."""
    return {"collection": collection_of(request).title, "place": _place(request)}


def _names(page: ItemPage) -> list[str]:
    return list(page.features[0]["properties"]) if page.features else []


def _respond(
    request: Request, document: Mapping[str, Any], crs: Crs, *, page: str, shown: Mapping[str, Any]
) -> Response:
    return respond(request, document, page=page, media_type=GEOJSON, headers=_crs_header(crs), only_page=shown)


def _crs_header(crs: Crs) -> dict[str, str]:
    return {"Content-Crs": f"<{crs.uri}>"}


def get_foreign_items(request: Request) -> Response:
    """Answer with a page of items of a provider that has no faster interface: GeoJSON, JSON-LD, CSV or a page."""
    collection = collection_of(request)
    form = negotiate(request, foreign_forms(collection))
    provider = provider_of(collection, "feature" if "feature" in collection.foreign else "record")
    extra = bool(getattr(provider, "include_extra_query_parameters", False))
    allow(request, *FOREIGN_PARAMETERS, fields=provider.get_fields(), extra=extra)
    page = read_page(request)
    if form != "html":
        return _foreign(handle(request, "itemtypes.get_collection_items", form=form), form)
    handled = handle(request, "itemtypes.get_collection_items", form="json")
    document = {"numberMatched": "an unknown number", **handled.document()}
    document.setdefault("numberReturned", len(document["features"]))
    names = dict.fromkeys(name for each in document["features"] for name in each.get("properties") or {})
    for feature in document["features"]:
        feature["properties"] = {**dict.fromkeys(names), **(feature.get("properties") or {})}
    shown = {**_collection(request), "names": list(names), "first": page.offset + 1, "address": _address}
    return _foreign_page(request, document, handled, page="items.html", shown=shown)


def get_foreign_item(request: Request) -> Response:
    """Answer with one item of a provider that has no faster interface."""
    form = negotiate(request, {**_FORMS, "jsonld": JSON_LD})
    allow(request, "crs")
    item_id: str = request.path_params["item_id"]
    asked = "json" if form == "html" else form
    handled = handle(request, "itemtypes.get_collection_item", item_id, form=asked)
    if form != "html":
        return _foreign(handled, form)
    return _foreign_page(request, handled.document(), handled, page="item.html", shown=_collection(request))


def foreign_forms(collection: Collection) -> dict[str, str]:
    """Return the media types of items by what `f` calls them, of features those of pygeoapi's formatters too.

    Its handler passes formatters the provider of features, which records have none of.
    """
    formatters = formatters_of(collection) if "feature" in collection.foreign else {}
    return {**_FORMS, "jsonld": JSON_LD, **formatters}


def _foreign(handled: Handled, form: str) -> Response:
    return handled.response(GEOJSON if form == "json" else None, headers={"Vary": "Accept"})


def _foreign_page(
    request: Request, document: dict[str, Any], handled: Handled, *, page: str, shown: Mapping[str, Any]
) -> Response:
    for entry in document["links"]:
        entry["href"] = entry["href"].replace("?f=json", "?f=html")
    return respond(request, document, page=page, media_type=GEOJSON, headers=handled.headers, only_page=shown)


_READ = on_collection(Action.READ_ITEMS)
_PLACE = "/collections/{collection_id}/items"
_KINDS = "feature", "record"
_FOREIGN_ITEMS, _FOREIGN_ITEM = for_foreign(get_foreign_items, *_KINDS), for_foreign(get_foreign_item, *_KINDS)
routes = [
    GuardedRoute(_PLACE, get_items, needs=_READ, threads="light", foreign=_FOREIGN_ITEMS),
    GuardedRoute(f"{_PLACE}/{{item_id:path}}", get_item, needs=_READ, threads="light", foreign=_FOREIGN_ITEM),
]
