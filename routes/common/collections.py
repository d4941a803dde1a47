"""The collections: the list, each of them, its schema and queryables."""

from typing import Any

from pygeoapi.api import get_collection_schema
from starlette.requests import Request
from starlette.responses import Response

from auth.access import Action
from routes.collection import collection_of
from routes.common.collection_document import describe
from routes.features.query import queryable
from routes.guard import NOTHING, GuardedRoute, on_collection
from routes.http.links import both_forms, link
from routes.pages.respond import respond
from routes.pygeoapi.ask import ask
from routes.query.parameters import allow_parameters
from routes.resources import resources_of

_GEOMETRY = "geometry"
_SCHEMA = "application/schema+json"


def get_collections(request: Request) -> Response:
    """Answer with all collections; one that is broken is listed without links to data."""
    allow_parameters(request)
    resources = resources_of(request)
    document = {
        "title": "Collections",
        "links": [
            *both_forms(f"{resources.url}/collections"),
            link(f"{resources.url}/", "root", "application/json", "The start of this server"),
        ],
        "collections": [describe(resources, collection) for collection in resources.listed_collections()],
    }
    return respond(request, document, page="collections.html")


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
    return respond(request, document, page="schema.html", media_type=_SCHEMA)


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


_DISCOVER = on_collection(Action.DISCOVER)
routes = [
    GuardedRoute("/collections", get_collections, needs=NOTHING, threads="light"),
    GuardedRoute("/collections/{collection_id}", get_collection, needs=_DISCOVER, threads="light"),
    GuardedRoute("/collections/{collection_id}/schema", get_schema, needs=_DISCOVER, threads="light"),
    GuardedRoute("/collections/{collection_id}/queryables", get_queryables, needs=_DISCOVER, threads="light"),
]
