"""The collections: the list, each of them, its schema and queryables."""

from functools import partial
from typing import Any

import anyio
from pygeoapi.api import get_collection_schema
from starlette.requests import Request
from starlette.responses import Response

from auth.access import Action
from routes.common.collection_document import describe
from routes.features.query import queryable
from routes.guard import NOTHING, GuardedRoute, on_collection
from routes.http.links import both_forms, link
from routes.pages.respond import respond
from routes.providers import collection_of, features_of, kinds_of, listed_collections, require_readable
from routes.pygeoapi.ask import ask
from routes.query.parameters import allow_parameters
from routes.resources import Resources, resources_of

_GEOMETRY = "geometry"
_SCHEMA = "application/schema+json"


async def get_collections(request: Request) -> Response:
    """Answer with all collections; one that is broken is listed without links to data."""
    allow_parameters(request)
    resources = resources_of(request)
    document = await anyio.to_thread.run_sync(_all, resources, limiter=resources.light)
    return respond(request, document, page="collections.html")


async def get_collection(request: Request) -> Response:
    """Answer with one collection; 503 while it is broken."""
    allow_parameters(request)
    resources = resources_of(request)
    document = await anyio.to_thread.run_sync(
        _one, resources, request.path_params["collection_id"], limiter=resources.light
    )
    return respond(request, document, page="collection.html")


async def get_schema(request: Request) -> Response:
    """Answer with the JSON schema of the collection's items or pixels."""
    return await _schema(request, "schema")


async def get_queryables(request: Request) -> Response:
    """Answer with the JSON schema of what items can be asked for by; 404 for a coverage."""
    return await _schema(request, "queryables")


def _all(resources: Resources) -> dict[str, Any]:
    return {
        "title": "Collections",
        "links": [
            *both_forms(f"{resources.url}/collections"),
            link(f"{resources.url}/", "root", "application/json", "The start of this server"),
        ],
        "collections": [describe(resources, name) for name in listed_collections(resources.api)],
    }


def _one(resources: Resources, collection_id: str) -> dict[str, Any]:
    require_readable(resources.api, collection_id)
    return describe(resources, collection_id)


async def _schema(request: Request, name: str) -> Response:
    allow_parameters(request)
    resources = resources_of(request)
    collection_id = request.path_params["collection_id"]
    make = {"schema": _schema_document, "queryables": _queryables_document}[name]
    document = await anyio.to_thread.run_sync(partial(make, resources, collection_id), limiter=resources.light)
    document["$id"] = f"{resources.url}/collections/{collection_id}/{name}"
    return respond(request, document, page="schema.html", media_type=_SCHEMA)


def _schema_document(resources: Resources, collection_id: str) -> dict[str, Any]:
    """Return the schema; where an attribute is called `geometry`, the geometry has the name of its column."""
    require_readable(resources.api, collection_id)
    document = ask(resources.api, get_collection_schema, collection_id)
    if "feature" in kinds_of(collection_of(resources.api, collection_id)):
        provider = features_of(resources.api, collection_id)
        fields = provider.get_fields()
        name = provider.geometry_name if _GEOMETRY in fields else _GEOMETRY
        document["properties"] = {name: {"format": "geometry-any", "x-ogc-role": "primary-geometry"}, **fields}
    return document


def _queryables_document(resources: Resources, collection_id: str) -> dict[str, Any]:
    """Nothing else can be asked for than the properties of an item that have no parameter's name.

    pygeoapi's own queryables take 0.5 s to import.
    """
    provider = features_of(resources.api, collection_id)
    schema = _schema_document(resources, collection_id)
    fields = provider.get_fields()
    clashing = fields.keys() - queryable(fields).keys()
    properties = {name: field for name, field in schema["properties"].items() if name not in clashing}
    return {**schema, "properties": properties, "additionalProperties": False}


routes = [
    GuardedRoute("/collections", get_collections, needs=NOTHING),
    GuardedRoute("/collections/{collection_id}", get_collection, needs=on_collection(Action.DISCOVER)),
    GuardedRoute("/collections/{collection_id}/schema", get_schema, needs=on_collection(Action.DISCOVER)),
    GuardedRoute("/collections/{collection_id}/queryables", get_queryables, needs=on_collection(Action.DISCOVER)),
]
