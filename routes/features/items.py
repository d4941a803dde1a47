"""The items of a collection, page by page and one by one."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import anyio
from pygeoapi.provider.base import ProviderItemNotFoundError
from starlette.requests import Request
from starlette.responses import Response

from auth.access import Action
from plugins.crs import CRS84, Crs
from plugins.features import FeatureProvider, ItemCount, ItemPage, ItemQuery
from routes.features.query import read_query
from routes.guard import GuardedRoute, on_collection
from routes.http.links import both_forms, link
from routes.http.problem import NOT_FOUND, Problem
from routes.pages.respond import negotiate, respond, response_file
from routes.providers import collection_of, features_of, require_readable
from routes.query.bbox import read_crs
from routes.query.paging import Page, page_links
from routes.query.parameters import allow_parameters
from routes.resources import resources_of

_GEOJSON = "application/geo+json"
_FORMS = {"json": _GEOJSON, "html": "text/html"}
_LIMITS = {"default_items": 10, "max_items": 10_000}


async def get_items(request: Request) -> Response:
    """Answer with a page of items as GeoJSON or for people."""
    return await _in_thread(_items, request)


async def get_item(request: Request) -> Response:
    """Answer with one item; 404 for one that there is not."""
    return await _in_thread(_item, request)


async def _in_thread(answer: Callable[[Request], Response], request: Request) -> Response:
    return await anyio.to_thread.run_sync(answer, request, limiter=resources_of(request).light)


def _items(request: Request) -> Response:
    provider = _provider(request)
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
        return file.response(head.encode(), b"]}", headers=headers, media_type=_GEOJSON)


def _described(request: Request, query: ItemQuery, count: ItemCount) -> dict[str, Any]:
    return {
        "type": "FeatureCollection",
        "timeStamp": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "numberMatched": count.matched,
        "numberReturned": count.returned,
        "links": _page_links(request, query, count),
    }


def _item(request: Request) -> Response:
    provider = _provider(request)
    allow_parameters(request, "crs")
    negotiate(request, _FORMS)
    crs = read_crs(request, "crs", provider.systems, CRS84)
    item_id = request.path_params["item_id"]
    try:
        item = provider.get(item_id, crs=crs)
    except ProviderItemNotFoundError as error:
        raise Problem(
            HTTPStatus.NOT_FOUND,
            f"collection {request.path_params['collection_id']!r} has no item {item_id!r}",
            type_=NOT_FOUND,
        ) from error
    place = f"{_place(request)}/items/{_address(item_id)}"
    document = {**item, "links": [*both_forms(place, media_type=_GEOJSON), _collection_link(request)]}
    return _respond(request, document, crs, page="item.html", shown=_collection(request))


def _provider(request: Request) -> FeatureProvider:
    api, collection_id = resources_of(request).api, request.path_params["collection_id"]
    provider = features_of(api, collection_id)
    require_readable(api, collection_id)
    return provider


def _limits(request: Request) -> Mapping[str, int]:
    api = resources_of(request).api
    collection = collection_of(api, request.path_params["collection_id"])
    return {**_LIMITS, **(api.config["server"].get("limits") or {}), **(collection.get("limits") or {})}


def _page_links(request: Request, query: ItemQuery, count: ItemCount) -> list[dict[str, Any]]:
    """Return the links; a page of very large items is shorter than its limit, the next one begins where it ends."""
    end = query.offset + count.returned
    limit = count.returned if count.returned and end < count.matched else query.limit
    links = page_links(request, Page(limit, query.offset), count.matched)
    types = {"application/json": _GEOJSON}
    return [
        *({**entry, "type": types.get(entry["type"], entry["type"])} for entry in links),
        _collection_link(request),
    ]


def _address(item_id: Any) -> str:
    """Return the id as it stands in an address: one that has a slash stays one part of it."""
    return quote(str(item_id), safe="")


def _place(request: Request) -> str:
    return f"{resources_of(request).url}/collections/{quote(request.path_params['collection_id'])}"


def _collection_link(request: Request) -> dict[str, Any]:
    return link(_place(request), "collection", "application/json", "The collection")


def _collection(request: Request) -> dict[str, Any]:
    """Return what the pages say of the collection."""
    collection = collection_of(resources_of(request).api, request.path_params["collection_id"])
    return {"collection": collection["title"], "place": _place(request)}


def _names(page: ItemPage) -> list[str]:
    return list(page.features[0]["properties"]) if page.features else []


def _respond(
    request: Request, document: Mapping[str, Any], crs: Crs, *, page: str, shown: Mapping[str, Any]
) -> Response:
    return respond(request, document, page=page, media_type=_GEOJSON, headers=_crs_header(crs), only_page=shown)


def _crs_header(crs: Crs) -> dict[str, str]:
    return {"Content-Crs": f"<{crs.uri}>"}


routes = [
    GuardedRoute("/collections/{collection_id}/items", get_items, needs=on_collection(Action.READ_ITEMS)),
    GuardedRoute("/collections/{collection_id}/items/{item_id:path}", get_item, needs=on_collection(Action.READ_ITEMS)),
]
