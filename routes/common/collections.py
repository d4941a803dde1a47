"""The collections: the list, each of them, its schema and queryables."""

import json
from copy import deepcopy
from typing import Any

from pygeoapi.api import get_collection_schema
from starlette.requests import Request
from starlette.responses import Response

from auth.access import Access, Action
from plugins.restriction import refuse_restriction
from routes.collection import collection_of
from routes.common.collection_document import describe, described
from routes.features.query import queryable
from routes.guard import NOTHING, GuardedRoute, for_foreign, on_collection, permit
from routes.http.links import both_forms, link
from routes.http.media_types import SCHEMA
from routes.pages.respond import negotiate, respond
from routes.pygeoapi.ask import ask
from routes.pygeoapi.handlers import allow, handle
from routes.query.parameters import allow_parameters
from routes.resources import resources_of

_GEOMETRY = "geometry"


def get_collections(request: Request) -> Response:
    """Answer with all collections; one that is broken is listed without links to data."""
    allow_parameters(request)
    resources = resources_of(request)
    collections = [described(resources, collection) for collection in resources.listed_collections()]
    document = {
        "title": "Collections",
        "links": [
            *both_forms(f"{resources.url}/collections"),
            link(f"{resources.url}/", "root", "application/json", "The start of this server"),
        ],
    }
    if negotiate(request) == "html":
        documents = [each for each, _ in collections]
        return respond(request, {**document, "collections": documents}, page="collections.html")
    head = json.dumps(document, ensure_ascii=False, separators=(",", ":")).removesuffix("}").encode()
    body = b"".join((head, b',"collections":[', b",".join(encoded for _, encoded in collections), b"]}"))
    return Response(body, headers={"Vary": "Accept"}, media_type="application/json")


def get_collection(request: Request) -> Response:
    """Answer with one collection; 503 while it is broken."""
    allow_parameters(request)
    collection = collection_of(request)
    collection.require_readable()
    return respond(request, describe(resources_of(request), collection), page="collection.html")


def get_schema(request: Request) -> Response:
    """Answer with the JSON schema of the collection's items or pixels."""
    return _respond(request, "schema", _schema(request))


def get_queryables(request: Request) -> Response:
    """Answer with the JSON schema of what items can be asked for by; 404 for a coverage."""
    return _respond(request, "queryables", _queryables(request))


def _respond(request: Request, name: str, document: dict[str, Any]) -> Response:
    document["$id"] = f"{resources_of(request).url}/collections/{collection_of(request).id}/{name}"
    return respond(request, document, page="schema.html", media_type=SCHEMA)


def _schema(request: Request) -> dict[str, Any]:
    """Return the schema; where an attribute is called `geometry`, the geometry has the name of its column."""
    allow_parameters(request)
    collection = collection_of(request)
    collection.require_readable()
    document = ask(resources_of(request).api, get_collection_schema, collection.id)
    if "feature" in collection.kinds:
        provider = collection.features()
        fields = provider.get_fields()
        name = provider.geometry_name if _GEOMETRY in fields else _GEOMETRY
        document["properties"] = {name: {"format": "geometry-any", "x-ogc-role": "primary-geometry"}, **fields}
    return document


def _queryables(request: Request) -> dict[str, Any]:
    """Nothing else can be asked for than the properties of an item that have no parameter's name.

    pygeoapi's own queryables take 0.5 s to import.
    """
    fields = collection_of(request).features().get_fields()
    schema = _schema(request)
    clashing = fields.keys() - queryable(fields).keys()
    properties = {name: field for name, field in schema["properties"].items() if name not in clashing}
    return {**schema, "properties": properties, "additionalProperties": False}


def get_foreign_collection(request: Request) -> Response:
    """Answer with one collection and what only its provider knows: the grid of a coverage, the queries of EDR."""
    allow_parameters(request)
    found = handle(request, "describe_collections", form="json").document()
    document = deepcopy(describe(resources_of(request), collection_of(request)))
    document |= {name: found[name] for name in ("data_queries", "parameter_names") if name in found}
    document["extent"] = found["extent"]
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
_FOREIGN_SCHEMA = for_foreign(get_foreign_schema, "feature", "record", "coverage")
_FOREIGN_QUERYABLES = for_foreign(get_foreign_queryables, "feature", "record")
_ONE = "/collections/{collection_id}"
routes = [
    GuardedRoute("/collections", get_collections, needs=NOTHING, threads="light"),
    GuardedRoute(_ONE, get_collection, needs=_DISCOVER, threads="light", foreign=_FOREIGN_COLLECTION),
    GuardedRoute(f"{_ONE}/schema", get_schema, needs=_DISCOVER, threads="light", foreign=_FOREIGN_SCHEMA),
    GuardedRoute(f"{_ONE}/queryables", get_queryables, needs=_DISCOVER, threads="light", foreign=_FOREIGN_QUERYABLES),
]
