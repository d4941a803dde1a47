"""STAC API 1.0.0: its start, the collections and items of products, and the search over these and STAC collections."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import chain
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth.access import Access, Action, Verdict
from auth.identity import ANONYMOUS, Identity, current_identity
from auth.policy import audit, refuse_restriction
from routes.guard import NOTHING, GuardedRoute, refusal
from routes.http.body import SMALL_BODY, parse_object, read_json
from routes.http.language import LANG
from routes.http.media_types import GEOJSON, OPENAPI
from routes.http.problem import NOT_FOUND, Problem, bad_parameter
from routes.pages.respond import link
from routes.pygeoapi import stac
from routes.pygeoapi.handlers import handle_all, known_of
from routes.query.parameters import DATETIME, Page, allow_parameters, negotiate, overlaps
from routes.resources import Collection, Resources, note_language, resources_of
from routes.stac.documents import VERSION, StacItem, collection_document, item_document, items_of
from routes.stac.search import (
    COLLECTIONS,
    FILTERS,
    ONLY_PRODUCTS,
    SEARCH_PARAMETERS,
    check_page,
    posted,
    read_search,
    window,
)

_JSON = "application/json"
_SPEC = "https://api.stacspec.org/v1.0.0"
_FEATURES = "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf"
CONFORMANCE = (f"{_SPEC}/core", f"{_SPEC}/item-search", f"{_SPEC}/item-search#sort")
CONFORMANCE_OF_PRODUCTS = (
    f"{_SPEC}/collections",
    f"{_SPEC}/ogcapi-features",
    f"{_FEATURES}/core",
    f"{_FEATURES}/geojson",
)
"""What is claimed besides, where there are products."""
_KINDS = "feature", "record"
_ROOT = "STAC API"


@dataclass(frozen=True, slots=True)
class OnSearch:
    """Access to a search: it covers the products and the STAC collections whose items the caller may read."""

    async def admit(self, request: Request) -> Verdict:
        """Allow callers who may read one of them, and those who see none, as there is nothing to protect."""
        identity, resources, verdicts = current_identity.get(), resources_of(request), {}
        for collection in _searchable(resources):
            access = Access(Action.READ_ITEMS, collection.id)
            verdicts[collection] = resources.policy(identity, access)
            audit(identity, access, verdicts[collection])
        readable = {collection: verdict for collection, verdict in verdicts.items() if verdict.allowed}
        if verdicts and not readable and not _sees_products(resources, identity):
            raise refusal(request, identity, next(iter(verdicts.values())))
        request.state.searched = readable
        return Verdict(allowed=True)

    def is_public(self, resources: Resources, parameters: Mapping[str, str]) -> bool:
        """Return whether everybody may search: they may read something that they may discover, or discover nothing."""
        del parameters
        every = [each for each in resources.collections.values() if each.is_stac and set(_KINDS) & each.kinds]
        seen = [each for each in every if _is_allowed(resources, ANONYMOUS, Action.DISCOVER, each.id)]
        readable = any(_is_allowed(resources, ANONYMOUS, Action.READ_ITEMS, each.id) for each in seen)
        return not seen or readable or _sees_products(resources, ANONYMOUS)


def _is_allowed(resources: Resources, identity: Identity, action: Action, name: str) -> bool:
    return resources.policy(identity, Access(action, name)).allowed


def _sees_products(resources: Resources, identity: Identity) -> bool:
    shown = (each.collections[0] for each in resources.shown.products if each.listed)
    return any(_is_allowed(resources, identity, Action.DISCOVER, name) for name in shown)


def _searchable(resources: Resources) -> list[Collection]:
    return [each for each in resources.listed_stac() if set(_KINDS) & each.kinds]


def _conformance(resources: Resources) -> tuple[str, ...]:
    return CONFORMANCE + (CONFORMANCE_OF_PRODUCTS if resources.catalogue.products else ())


def get_landing(request: Request) -> Response:
    """Answer with the landing page, where clients of STAC API begin."""
    _begin(request)
    resources = resources_of(request)
    url, identification = resources.url, resources.api.config["metadata"]["identification"]
    place = f"{url}/stac-api"
    document = {
        "type": "Catalog",
        "stac_version": VERSION if resources.catalogue.products else stac.VERSION,
        "id": "landcast-stac-api",
        "title": identification["title"],
        "description": identification["description"],
        "conformsTo": _conformance(resources),
        "links": [
            link(place, "self", _JSON, "This document"),
            link(place, "root", _JSON, "The start of STAC API"),
            link(f"{url}/openapi", "service-desc", OPENAPI, "The definition of this API"),
            link(f"{url}/openapi?f=html", "service-doc", "text/html", "The definition of this API as a page"),
            link(f"{place}/conformance", "conformance", _JSON, "What it conforms to"),
            *(link(f"{place}/search", "search", GEOJSON, "Search for items", method=each) for each in ("GET", "POST")),
            *(_links_to_products(place, resources) if resources.catalogue.products else ()),
        ],
    }
    return JSONResponse(document)


def _links_to_products(place: str, resources: Resources) -> Iterator[dict[str, Any]]:
    yield link(f"{place}/collections", "data", _JSON, "The collections")
    for name, items in _by_series(items_of(resources)).items():
        yield link(f"{place}/collections/{quote(name)}", "child", _JSON, items[0].product.title)


def _begin(request: Request) -> None:
    """Read the parameters of a document of JSON without any."""
    allow_parameters(request)
    negotiate(request, {"json": _JSON})
    note_language(request)


def get_conformance(request: Request) -> Response:
    """Answer with the conformance classes of STAC API."""
    _begin(request)
    return JSONResponse({"conformsTo": _conformance(resources_of(request))})


def _by_series(items: Iterable[StacItem]) -> dict[str, list[StacItem]]:
    found: dict[str, list[StacItem]] = {}
    for each in items:
        found.setdefault(each.series, []).append(each)
    return found


def get_collections(request: Request) -> Response:
    """Answer with a collection for each series of products."""
    _begin(request)
    resources = resources_of(request)
    place = f"{resources.url}/stac-api"
    collections = [collection_document(resources, each) for each in _by_series(items_of(resources)).values()]
    links = [link(f"{place}/collections", "self", _JSON, "This document"), link(place, "root", _JSON, _ROOT)]
    return JSONResponse({"collections": collections, "links": links})


def get_collection(request: Request) -> Response:
    """Answer with the collection of a series. Raises Problem 404."""
    _begin(request)
    return JSONResponse(collection_document(resources_of(request), _asked_series(request)))


def _asked_series(request: Request) -> list[StacItem]:
    name: str = request.path_params["series"]
    found = _by_series(items_of(resources_of(request))).get(name)
    if found is None:
        raise Problem(HTTPStatus.NOT_FOUND, f"there is no collection {name[:80]!r}", type_=NOT_FOUND)
    return found


def get_items(request: Request) -> Response:
    """Answer with a page of the items of a series."""
    allow_parameters(request, *FILTERS)
    negotiate(request, {"json": GEOJSON})
    note_language(request)
    resources, items = resources_of(request), _asked_series(request)
    asked = _query(request)
    search = read_search(asked)
    found = search.among(items)
    here = f"{resources.url}/stac-api/collections/{quote(items[0].series)}"
    more = search.page.offset + search.page.limit < len(found)
    document = _page(
        [item_document(resources, each) for each in window(found, search.page)],
        len(found),
        [
            *_paging(f"{here}/items", asked, search.page, more=more),
            link(f"{resources.url}/stac-api", "root", _JSON, _ROOT),
            link(here, "collection", _JSON, "The collection"),
        ],
    )
    return JSONResponse(document, media_type=GEOJSON)


def get_item(request: Request) -> Response:
    """Answer with one item. Raises Problem 404."""
    allow_parameters(request)
    negotiate(request, {"json": GEOJSON})
    note_language(request)
    name = request.path_params["item_id"]
    found = next((each for each in _asked_series(request) if each.id == name), None)
    if found is None:
        raise Problem(HTTPStatus.NOT_FOUND, f"there is no item {name[:80]!r}", type_=NOT_FOUND)
    return JSONResponse(item_document(resources_of(request), found), media_type=GEOJSON)


def _page(features: list[dict[str, Any]], matched: int, links: list[dict[str, Any]]) -> dict[str, Any]:
    numbers = {"numberMatched": matched, "numberReturned": len(features)}
    return {"type": "FeatureCollection", **numbers, "features": features, "links": links}


def _paging(
    place: str, asked: Mapping[str, str], page: Page, *, more: bool, body: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the links to this page, the next and the previous one; those of a posted search are posted too."""
    parameters = {name: value for name, value in asked.items() if name != "offset"}
    places = {"self": page.offset, **({"next": page.offset + page.limit} if more else {})}
    places |= {"prev": max(0, page.offset - page.limit)} if page.offset else {}
    for rel, offset in places.items():
        query = urlencode({**parameters, **({"offset": offset} if offset else {})})
        if body is None:
            yield link(f"{place}?{query}".rstrip("?"), rel, GEOJSON, f"{rel} page")
        elif rel != "self":
            yield link(place, rel, GEOJSON, f"{rel} page", method="POST", body={**body, "offset": offset})


def _query(request: Request) -> dict[str, str]:
    """Return the parameters by name; of a list that is repeated the values are joined."""
    given = request.query_params
    return {name: ",".join(given.getlist(name)) for name in given if name != "f"}


async def search(request: Request) -> Response:
    """Answer with items; those of STAC collections in threads for searches only, as any provider may hang."""
    body = await read_json(request, SMALL_BODY) if request.method == "POST" else b""
    resources, call = resources_of(request), partial(_search, request, body)
    return await (resources.searching.run(call) if request.state.searched else resources.in_light(call))


def _search(request: Request, body: bytes) -> Response:
    negotiate(request, {"json": GEOJSON})
    resources, searched = resources_of(request), request.state.searched
    has_products = bool(resources.catalogue.products)
    document = None
    if body:
        allow_parameters(request)
        document = parse_object(body, such_as='{"bbox": […], "limit": 10}')
        asked = posted(document, products=has_products)
    else:
        _allow_query(request, searched, products=has_products)
        asked = _query(request)
    check_page(asked)
    chosen = list(_chosen(searched, asked))
    for collection in chosen:
        refuse_restriction(searched[collection])
    if has_products:
        note_language(request)
        return JSONResponse(_of_all(request, asked, chosen, document), media_type=GEOJSON)
    if not chosen:
        place = f"{resources.url}/stac-api"
        return JSONResponse(_page([], 0, [link(place, "root", _JSON, _ROOT)]), media_type=GEOJSON)
    return handle_all(request, "stac.search", chosen, asked).response(GEOJSON)


def _of_all(
    request: Request, asked: Mapping[str, str], chosen: list[Collection], body: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return a page of products' items, and of those of STAC collections, each from the same offset."""
    resources = resources_of(request)
    if chosen and (only := [each for each in ONLY_PRODUCTS if each.name in asked]):
        names = f"allowed: with {COLLECTIONS.name} that are of products; {chosen[0].id} is not"
        raise bad_parameter(only[0].name, asked[only[0].name][:80], names)
    wanted = read_search(asked, orders=not chosen)
    of_products = {LANG, *(each.name for each in (*SEARCH_PARAMETERS, *ONLY_PRODUCTS))}
    found = wanted.among(items_of(resources)) if asked.keys() <= of_products else []
    features = [item_document(resources, each) for each in window(found, wanted.page)]
    matched, more = len(found), wanted.page.offset + wanted.page.limit < len(found)
    if chosen:
        others = handle_all(request, "stac.search", chosen, asked).document()
        features += others["features"]
        matched += others["numberMatched"]
        more = more or any(each["rel"] == "next" for each in others["links"])
    place = f"{resources.url}/stac-api"
    links = _paging(f"{place}/search", asked, wanted.page, more=more, body=body)
    return _page(features, matched, [link(place, "root", _JSON, _ROOT), *links])


def _chosen(searched: Iterable[Collection], asked: Mapping[str, str]) -> Iterator[Collection]:
    """Yield the requested collections whose time overlaps `datetime`. Raises the 400 Problem.

    pygeoapi fails the whole search if one does not overlap.
    """
    time = DATETIME.value(asked["datetime"]) if "datetime" in asked else None
    names = asked["collections"].split(",") if "collections" in asked else None
    for collection in searched:
        if (names is None or collection.id in names) and (time is None or overlaps(time, collection.configured)):
            yield collection


def _allow_query(request: Request, searched: Mapping[Collection, Verdict], *, products: bool) -> None:
    """Raise the 400 Problem for an unknown parameter; providers are asked for their fields only if necessary."""
    allowed = (*SEARCH_PARAMETERS, *(ONLY_PRODUCTS if products else ()))
    fields: set[str] = set()
    if not request.query_params.keys() <= {*(each.name for each in allowed), "f", LANG}:
        fields = set(chain.from_iterable(known_of(each, _kind(each)).fields for each in searched))
    allow_parameters(request, *allowed, *fields)


def _kind(collection: Collection) -> str:
    return next(kind for kind in _KINDS if kind in collection.kinds)


_SERIES = "/stac-api/collections/{series}"
SEARCH = (
    GuardedRoute("/stac-api", get_landing, needs=NOTHING, threads="light"),
    GuardedRoute("/stac-api/conformance", get_conformance, needs=NOTHING, threads="light"),
    GuardedRoute("/stac-api/search", search, needs=OnSearch(), methods=["GET", "POST"]),
)
"""Served where there are products or STAC collections."""
OF_PRODUCTS = (
    GuardedRoute("/stac-api/collections", get_collections, needs=NOTHING, threads="light"),
    GuardedRoute(_SERIES, get_collection, needs=NOTHING, threads="light"),
    GuardedRoute(f"{_SERIES}/items", get_items, needs=NOTHING, threads="light"),
    GuardedRoute(f"{_SERIES}/items/{{item_id}}", get_item, needs=NOTHING, threads="light"),
)
"""Served where there are products."""
