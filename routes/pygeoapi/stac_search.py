"""STAC API: its landing page, and its search over features and records of STAC collections, by pygeoapi's handler."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth.access import Access, Action, Verdict
from auth.identity import ANONYMOUS, Identity, current_identity
from auth.policy import audit, refuse_restriction
from routes.guard import NOTHING, GuardedRoute, refusal
from routes.http.body import SMALL_BODY, parse_object, read_json
from routes.http.language import LANG
from routes.http.media_types import GEOJSON, OPENAPI
from routes.http.problem import bad_parameter
from routes.pages.respond import link
from routes.pygeoapi.handlers import handle_all, known_of
from routes.pygeoapi.stac import VERSION
from routes.query.parameters import DATETIME, LIMIT, OFFSET, allow_parameters, negotiate, overlaps
from routes.resources import Collection, Resources, note_language, resources_of

_JSON = "application/json"
_SPEC = "https://api.stacspec.org/v1.0.0"
CONFORMANCE = (f"{_SPEC}/core", f"{_SPEC}/item-search", f"{_SPEC}/item-search#sort")
_KINDS = "feature", "record"
PARAMETERS = ("bbox", "collections", "datetime", "limit", "offset", "q", "sortby")
"""The parameters of a search; a query may also have fields of the collections."""


@dataclass(frozen=True, slots=True)
class OnSearch:
    """Access to a search: it covers the collections whose items the caller may read."""

    async def admit(self, request: Request) -> Verdict:
        """Allow callers who may read one of them, and those who see none, as there is nothing to protect."""
        identity, verdicts = current_identity.get(), {}
        for collection in _searchable(resources_of(request)):
            access = Access(Action.READ_ITEMS, collection.id)
            verdicts[collection] = resources_of(request).policy(identity, access)
            audit(identity, access, verdicts[collection])
        readable = {collection: verdict for collection, verdict in verdicts.items() if verdict.allowed}
        if verdicts and not readable:
            raise refusal(request, identity, next(iter(verdicts.values())))
        request.state.searched = readable
        return Verdict(allowed=True)

    def is_public(self, resources: Resources, parameters: Mapping[str, str]) -> bool:
        """Return whether everybody may search: they may read a collection that they may discover, or discover none."""
        del parameters
        every = [each for each in resources.collections.values() if each.is_stac and set(_KINDS) & each.kinds]
        seen = [each for each in every if _may(resources, ANONYMOUS, Action.DISCOVER, each)]
        return not seen or any(_may(resources, ANONYMOUS, Action.READ_ITEMS, each) for each in seen)


def _may(resources: Resources, identity: Identity, action: Action, collection: Collection) -> bool:
    return resources.policy(identity, Access(action, collection.id)).allowed


def _searchable(resources: Resources) -> list[Collection]:
    return [each for each in resources.listed_stac() if set(_KINDS) & each.kinds]


def get_landing(request: Request) -> Response:
    """Answer with the landing page, where clients of STAC API begin."""
    allow_parameters(request)
    negotiate(request, {"json": _JSON})
    note_language(request)
    resources = resources_of(request)
    url, identification = resources.url, resources.api.config["metadata"]["identification"]
    place = f"{url}/stac-api"
    search = "Search for items", f"{place}/search"
    document = {
        "type": "Catalog",
        "stac_version": VERSION,
        "id": "landcast-stac-api",
        "title": identification["title"],
        "description": identification["description"],
        "conformsTo": CONFORMANCE,
        "links": [
            link(place, "self", _JSON, "This document"),
            link(place, "root", _JSON, "The start of STAC API"),
            link(f"{url}/openapi", "service-desc", OPENAPI, "The definition of this API"),
            link(f"{url}/openapi?f=html", "service-doc", "text/html", "The definition of this API as a page"),
            *(link(search[1], "search", GEOJSON, search[0], method=method) for method in ("GET", "POST")),
        ],
    }
    return JSONResponse(document)


async def search(request: Request) -> Response:
    """Answer with items of the collections, in threads for searches only, as any provider may hang."""
    body = await read_json(request, SMALL_BODY) if request.method == "POST" else b""
    return await resources_of(request).searching.run(partial(_search, request, body))


def _search(request: Request, body: bytes) -> Response:
    negotiate(request, {"json": GEOJSON})
    searched: Mapping[Collection, Verdict] = request.state.searched
    if body:
        allow_parameters(request)
        asked = _posted(parse_object(body, such_as='{"bbox": […], "limit": 10}'))
    else:
        _allow_query(request, searched)
        asked = {name: value for name, value in request.query_params.items() if name != "f"}
    for parameter in (LIMIT, OFFSET):
        if parameter.name in asked:
            parameter.value(asked[parameter.name])
    collections = list(_chosen(searched, asked))
    for collection in collections:
        refuse_restriction(searched[collection])
    place = f"{resources_of(request).url}/stac-api"
    if not collections:
        nothing = {"type": "FeatureCollection", "features": [], "numberMatched": 0, "numberReturned": 0}
        return JSONResponse({**nothing, "links": [link(place, "root", _JSON, "STAC API")]}, media_type=GEOJSON)
    return handle_all(request, "stac.search", collections, asked).response(GEOJSON)


def _chosen(searched: Iterable[Collection], asked: Mapping[str, str]) -> Iterator[Collection]:
    """Yield the requested collections whose time overlaps `datetime`. Raises the 400 Problem.

    pygeoapi fails the whole search if one does not overlap.
    """
    time = DATETIME.value(asked["datetime"]) if "datetime" in asked else None
    names = asked["collections"].split(",") if "collections" in asked else None
    for collection in searched:
        if (names is None or collection.id in names) and (time is None or overlaps(time, collection.configured)):
            yield collection


def _allow_query(request: Request, searched: Mapping[Collection, Verdict]) -> None:
    """Raise the 400 Problem for an unknown parameter; providers are asked for their fields only if necessary."""
    fields: set[str] = set()
    if not request.query_params.keys() <= {*PARAMETERS, "f", LANG}:
        fields = set(chain.from_iterable(known_of(each, _kind(each)).fields for each in searched))
    allow_parameters(request, *PARAMETERS, *fields)


def _kind(collection: Collection) -> str:
    return next(kind for kind in _KINDS if kind in collection.kinds)


def _posted(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the members of a posted search as parameters of a query. Raises the 400 Problem."""
    asked = {}
    for name, value in document.items():
        if name not in _MEMBERS:
            raise bad_parameter(name, str(value)[:80], f"unknown member; allowed: {', '.join(_MEMBERS)}")
        if value is None:
            continue
        text = _MEMBERS[name](value)
        if text is None:
            raise bad_parameter(name, str(value)[:80], _ALLOWED.get(name, "allowed: text"))
        asked[name] = text
    return asked


def _numbers(value: Any) -> str | None:
    known = isinstance(value, list) and all(type(each) in (int, float) for each in value)
    return ",".join(map(repr, value)) if known else _text(value)


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


_MEMBERS: Mapping[str, Callable[[Any], str | None]] = {
    "bbox": _numbers,
    "collections": _names,
    "datetime": _text,
    "limit": _whole,
    "offset": _whole,
    "q": _text,
    "sortby": _sorted,
}
_ALLOWED = {
    "bbox": "allowed: a list of four numbers, or six",
    "collections": "allowed: a list of ids",
    "limit": "allowed: whole numbers from 1",
    "offset": "allowed: whole numbers from 0",
    "sortby": 'allowed: a list such as [{"field": "title", "direction": "desc"}]',
}
routes = [
    GuardedRoute("/stac-api", get_landing, needs=NOTHING, threads="light"),
    GuardedRoute("/stac-api/search", search, needs=OnSearch(), methods=["GET", "POST"]),
]
