"""The collections: the list, each of them, its schema and queryables."""

from functools import partial
from typing import Any

import anyio
from pygeoapi.api import get_collection_schema
from starlette.requests import Request
from starlette.responses import Response

from auth.access import Action
from routes.ask import ask
from routes.collection_document import describe
from routes.guard import NOTHING, GuardedRoute, on_collection
from routes.links import both_forms, link
from routes.parameters import allow_parameters
from routes.providers import collections_of, provider_of, require_readable
from routes.resources import Resources, resources_of
from routes.respond import respond

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
        "collections": [describe(resources, name) for name in collections_of(resources.api)],
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
    require_readable(resources.api, collection_id)
    return ask(resources.api, get_collection_schema, collection_id)


def _queryables_document(resources: Resources, collection_id: str) -> dict[str, Any]:
    """Every property of an item can be asked for, and nothing else; pygeoapi's own take 0.5 s to import."""
    provider_of(resources.api, collection_id, "feature")
    return {**_schema_document(resources, collection_id), "additionalProperties": False}


routes = [
    GuardedRoute("/collections", get_collections, needs=NOTHING),
    GuardedRoute("/collections/{collection_id}", get_collection, needs=on_collection(Action.DISCOVER)),
    GuardedRoute("/collections/{collection_id}/schema", get_schema, needs=on_collection(Action.DISCOVER)),
    GuardedRoute("/collections/{collection_id}/queryables", get_queryables, needs=on_collection(Action.DISCOVER)),
]
