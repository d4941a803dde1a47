"""The collections: the list, each of them, its schema and queryables."""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from http import HTTPStatus
from typing import Any

from pygeoapi.api import get_collection_schema
from starlette.requests import Request
from starlette.responses import Response

from auth.access import Access, Action
from auth.policy import refuse_restriction
from plugins.features import FeatureProvider
from routes.common.about import product_of
from routes.common.collection_document import describe, described
from routes.features.items import queryable
from routes.features.schemas import (
    ACTUAL,
    INLINE,
    PROFILE,
    VALID,
    asked_profiles,
    profile_header,
    queryables_of,
    schema_of,
    sortables_of,
    with_actual_values,
)
from routes.guard import NOTHING, GuardedRoute, for_foreign, on_collection, permit
from routes.http.media_types import GEOJSON, SCHEMA
from routes.http.problem import NOT_FOUND, Problem
from routes.pages.respond import link, page_links, respond
from routes.pages.translator import noted
from routes.pygeoapi.ask import ask
from routes.pygeoapi.handlers import allow, handle, no_such_part
from routes.query.parameters import LIMIT, OFFSET, allow_parameters, negotiate, read_page
from routes.resources import Collection, collection_of, note_language, resources_of

WITH_SCHEMA = frozenset({"feature", "record", "coverage", "edr"})
"""The kinds of providers with a schema; maps and tiles have none."""


def get_collections(request: Request) -> Response:
    """Answer with all collections, or a page of them; one that is broken is listed without links to data."""
    allow_parameters(request, LIMIT, OFFSET)
    resources = resources_of(request)
    listed = resources.listed_collections()
    page = read_page(request, default=max(1, len(listed)))
    collections = [described(resources, each) for each in listed[page.offset : page.offset + page.limit]]
    document = {
        "title": noted("Collections"),
        "numberMatched": len(listed),
        "numberReturned": len(collections),
        "links": [
            *page_links(request, f"{resources.url}/collections", page, len(listed)),
            link(f"{resources.url}/", "root", "application/json", "The start of this server"),
        ],
    }
    if negotiate(request) == "html":
        documents = [each for each, _ in collections]
        return respond(request, {**document, "collections": documents}, page="collections.html")
    note_language(request)
    head = json.dumps(document, ensure_ascii=False, separators=(",", ":")).removesuffix("}").encode()
    body = b"".join((head, b',"collections":[', b",".join(encoded for _, encoded in collections), b"]}"))
    return Response(body, headers={"Vary": "Accept"}, media_type="application/json")


def get_collection(request: Request) -> Response:
    """Answer with one collection; 503 while it is broken."""
    allow_parameters(request)
    collection = collection_of(request)
    collection.require_readable()
    resources = resources_of(request)
    only_page = {"product": product_of(resources, collection.id)}
    return respond(request, describe(resources, collection), page="collection.html", only_page=only_page)


def get_schema(request: Request) -> Response:
    """Answer with the JSON schema of the collection's items or pixels."""
    if "feature" in collection_of(request).kinds:
        return _of_features(request, "schema", schema_of)
    return _respond(request, "schema", _schema_of_pixels(request))


def get_queryables(request: Request) -> Response:
    """Answer with the JSON schema of what items can be asked for by; 404 for a coverage."""

    def queryables(collection: Collection, provider: FeatureProvider) -> dict[str, Any]:
        return queryables_of(collection, provider, queryable(provider.get_fields()))

    return _of_features(request, "queryables", queryables)


def get_sortables(request: Request) -> Response:
    """Answer with the JSON schema of what items can be ordered by; 404 for a coverage."""
    return _of_features(request, "sortables", sortables_of)


def _of_features(
    request: Request, name: str, document_of: Callable[[Collection, FeatureProvider], dict[str, Any]]
) -> Response:
    """Answer with a schema of features, with `profile=actual-domain` with the values that the caller may see."""
    allow_parameters(request, PROFILE)
    collection, asked = collection_of(request), asked_profiles(request)
    provider = collection.readable_features()
    document = document_of(collection, provider)
    if ACTUAL in asked:
        document = with_actual_values(request, document, provider, collection.id)
    return _respond(request, name, document, profile_header(INLINE, ACTUAL if ACTUAL in asked else VALID))


def _respond(
    request: Request, name: str, document: dict[str, Any], headers: Mapping[str, str] | None = None
) -> Response:
    document["$id"] = f"{collection_of(request).url}/{name}"
    return respond(request, document, page="schema.html", media_type=SCHEMA, headers=headers)


def _schema_of_pixels(request: Request) -> dict[str, Any]:
    allow_parameters(request, PROFILE)
    collection = collection_of(request)
    collection.require_readable()
    if not collection.kinds & WITH_SCHEMA:
        raise Problem(HTTPStatus.NOT_FOUND, f"collection {collection.id!r} has no schema", type_=NOT_FOUND)
    return ask(resources_of(request).api, get_collection_schema, collection.id)


_KNOWN_BY_PROVIDER = ("data_queries", "parameter_names", "crs", "storageCrs")
_COVERAGE = "application/vnd.cov+json"
"""The media type of pygeoapi's CoverageJSON."""


def get_foreign_collection(request: Request) -> Response:
    """Answer with one collection and what only its provider knows: the grid of a coverage, the queries of EDR."""
    allow_parameters(request)
    found = handle(request, "describe_collections", form="json").document()
    document = deepcopy(describe(resources_of(request), collection_of(request)))
    document |= {name: found[name] for name in _KNOWN_BY_PROVIDER if name in found and name not in document}
    document["extent"] = found["extent"]
    document["links"] += [
        link(query["link"]["href"], "data", GEOJSON if name == "locations" else _COVERAGE, f"The data by {name}")
        for name, query in found.get("data_queries", {}).items()
        if name != "instances"
    ]
    return respond(request, document, page="collection.html")


def get_foreign_schema(request: Request) -> Response:
    """Answer with the schema of the data of a provider that has no faster interface."""
    allow(request, "properties")
    _permit_values(request)
    return _respond(request, "schema", handle(request, "get_collection_schema", form="json").document())


def get_foreign_queryables(request: Request) -> Response:
    """Answer with what the items of a provider that has no faster interface can be asked for by."""
    allow(request, "properties")
    _permit_values(request)
    document = handle(request, "itemtypes.get_collection_queryables", form="json").document()
    return _respond(request, "queryables", document)


def _permit_values(request: Request) -> None:
    """Raise the refusal where the values that there are (`profile=actual-domain`) are not all the caller's to see."""
    if request.query_params.get("profile") == "actual-domain":
        collection = collection_of(request)
        reading = Action.READ_ITEMS if collection.kinds & {"feature", "record"} else Action.READ_COVERAGE
        refuse_restriction(permit(request, Access(reading, collection.id)))


_DISCOVER = on_collection(Action.DISCOVER)
_FOREIGN_COLLECTION = for_foreign(get_foreign_collection, "coverage", "edr")
_FOREIGN_SCHEMA = for_foreign(get_foreign_schema, *WITH_SCHEMA)
_FOREIGN_QUERYABLES = for_foreign(get_foreign_queryables, "feature", "record")
_NO_SORTABLES = for_foreign(no_such_part, "feature", "record")
_ONE = "/collections/{collection_id}"
routes = [
    GuardedRoute("/collections", get_collections, needs=NOTHING, threads="light"),
    GuardedRoute(_ONE, get_collection, needs=_DISCOVER, threads="light", foreign=_FOREIGN_COLLECTION),
    GuardedRoute(f"{_ONE}/schema", get_schema, needs=_DISCOVER, threads="light", foreign=_FOREIGN_SCHEMA),
    GuardedRoute(f"{_ONE}/sortables", get_sortables, needs=_DISCOVER, threads="light", foreign=_NO_SORTABLES),
    GuardedRoute(f"{_ONE}/queryables", get_queryables, needs=_DISCOVER, threads="light", foreign=_FOREIGN_QUERYABLES),
]
