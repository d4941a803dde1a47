"""Tiles of providers that are not ours, by pygeoapi's handlers, and the tile matrix sets."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from routes.guard import NOTHING, GuardedRoute
from routes.http.problem import bad_parameter
from routes.pygeoapi.ask import ask, handler_of
from routes.pygeoapi.handlers import allow, handle
from routes.query.parameters import allow_parameters, negotiate
from routes.resources import collection_of, resources_of

_DIGITS = 10
_VECTOR = "application/vnd.mapbox-vector-tile"
_JSON = {"json": "application/json"}


def get_tilesets(request: Request) -> Response:
    """Answer with the sets of tiles of the collection."""
    negotiate(request, _JSON)
    allow(request)
    return handle(request, "tiles.get_collection_tiles", form="json").response("application/json")


def get_tileset(request: Request) -> Response:
    """Answer with one set of tiles, also as TileJSON."""
    form = negotiate(request, {**_JSON, "tilejson": "application/json"})
    allow(request)
    matrix_set: str = request.path_params["matrix_set"]
    return handle(request, "tiles.get_collection_tiles_metadata", matrix_set, form=form).response("application/json")


def get_tile(request: Request) -> Response:
    """Answer with one tile; 204 for one without data."""
    tiled = collection_of(request).definition("tile")["format"]
    form = negotiate(request, tile_forms(tiled))
    allow(request)
    matrix_set: str = request.path_params["matrix_set"]
    place = [_whole(request, name) for name in ("matrix", "row", "column")]
    handled = handle(request, "tiles.get_collection_tiles_data", matrix_set, *place, form=form)
    return handled.response(tiled["mimetype"], headers={"Vary": "Accept", "Cache-Control": "public, max-age=3600"})


def tile_forms(tiled: Mapping[str, str]) -> dict[str, str]:
    """Return the media types of tiles by what `f` calls them; in pygeoapi's links vector tiles are `mvt`."""
    forms = {tiled["name"]: tiled["mimetype"]}
    return {**forms, "mvt": tiled["mimetype"]} if tiled["mimetype"] == _VECTOR else forms


def _whole(request: Request, name: str) -> str:
    """Return a part of the path that is a number, which providers put into names of files. Raises the 400 Problem."""
    text: str = request.path_params[name]
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise bad_parameter(name, text, "allowed: a whole number from 0")
    return text


def get_matrix_sets(request: Request) -> Response:
    """Answer with the tile matrix sets that providers of tiles may have."""
    allow_parameters(request)
    negotiate(request, _JSON)
    return JSONResponse(ask(resources_of(request).api, handler_of("tiles.tilematrixsets")))


def get_matrix_set(request: Request) -> Response:
    """Answer with one tile matrix set."""
    allow_parameters(request)
    negotiate(request, _JSON)
    name: str = request.path_params["matrix_set"]
    return JSONResponse(ask(resources_of(request).api, handler_of("tiles.tilematrixset"), name))


routes = [
    GuardedRoute("/TileMatrixSets", get_matrix_sets, needs=NOTHING, threads="light"),
    GuardedRoute("/TileMatrixSets/{matrix_set}", get_matrix_set, needs=NOTHING, threads="light"),
]
