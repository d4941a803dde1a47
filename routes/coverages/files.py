"""The files of a collection, as they are, by range."""

from http import HTTPStatus
from pathlib import Path

import anyio
from starlette.requests import Request
from starlette.responses import Response

from auth.access import Action
from plugins.restriction import refuse_restriction
from routes.common.collection_document import COG
from routes.guard import GuardedRoute, on_collection
from routes.http.file_response import send_file
from routes.http.problem import NOT_FOUND, Problem
from routes.providers import coverage_of, require_readable
from routes.query.parameters import allow_parameters
from routes.resources import resources_of


async def get_file(request: Request) -> Response:
    """Answer with the Cloud-Optimized GeoTIFF that the coverage is read from; no other name leads to a file."""
    allow_parameters(request, one_form=True)
    collection_id, name = request.path_params["collection_id"], request.path_params["name"]
    resources = resources_of(request)
    refuse_restriction()
    source = Path(coverage_of(resources.api, collection_id).data)
    if name != source.name:
        raise Problem(HTTPStatus.NOT_FOUND, f"collection {collection_id!r} has no file {name!r}", type_=NOT_FOUND)
    if "range" not in request.headers:
        await anyio.to_thread.run_sync(require_readable, resources.api, collection_id, limiter=resources.light)
    return send_file(request, source, media_type=COG, filename=name)


routes = [GuardedRoute("/collections/{collection_id}/files/{name}", get_file, needs=on_collection(Action.DOWNLOAD))]
