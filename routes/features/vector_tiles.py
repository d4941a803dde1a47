"""Vector tiles of a collection (OGC API Tiles): tilesets, TileJSON, and tiles as Mapbox Vector Tiles."""

import time
from collections.abc import Mapping
from functools import partial
from hashlib import blake2b
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth.access import Action, current_verdict
from plugins.crs import crs_of
from plugins.features import FeatureProvider, TileQuery
from products.tiling import TileMatrixSet
from products.vector.dissolving import CELLS, MOST_CLASSES, MOST_DISSOLVED
from products.vector.drawing import EXTENT
from routes.guard import GuardedRoute, Later, for_foreign, on_collection
from routes.http.preconditions import Validators, check_preconditions
from routes.http.problem import NOT_FOUND, Problem, bad_parameter
from routes.pages.respond import OGC, link
from routes.pygeoapi import tiles as of_others
from routes.query.parameters import allow_parameters, negotiate
from routes.resources import Collection, collection_of, note_language, resources_of
from routes.tiles.cache import TileCache
from routes.tiles.tile import matrix_set_of, read_place

VECTOR_FORMS = {"mvt": "application/vnd.mapbox-vector-tile"}
MOST_FEATURES = 20_000
"""Maximum features of a tile."""
_JSON = "application/json"
_MERCATOR = 3857
_FINEST = 16
_CACHE_SECONDS = 300
"""Seconds for which a tile of a database is cached."""
_CACHED = f"public, max-age={_CACHE_SECONDS}"
_MADE_BY = version("landcast")
_DETAILED = 550_000
"""The scale of zoom 10 in Web Mercator, from which on all features are drawn that have a size in units of a tile."""
_FEW = 70_000
"""The scale of zoom 13 in Web Mercator, from which on a tile of a file has few items."""
_LEAST = 1 / 512
"""The share of a tile's side below which a feature is left out at smaller scales."""
_LIMITS = (
    f"A tile has at most {MOST_FEATURES:,} features, the largest of a GeoPackage. Lines and polygons smaller than one "
    f"512th of its side are left out, from the scale 1:{_DETAILED:,} on those smaller than one 4,096th. Coordinates "
    "are rounded to one 4,096th of its side. At smaller scales than that, the polygons of a collection with classes "
    f"are one feature for each class, on a grid of {CELLS} x {CELLS} cells, in which each class keeps its area; "
    f"at most {MOST_DISSOLVED:,} polygons and {MOST_CLASSES} classes in a tile."
)


def get_tilesets(request: Request) -> Response:
    """Answer with the tilesets of vector tiles of the collection."""
    allow_parameters(request)
    negotiate(request, {"json": _JSON})
    note_language(request)
    collection, _ = _features(request)
    sets = [_tileset(request, collection, each) for each in resources_of(request).matrix_sets.values() if _fits(each)]
    self = link(f"{collection.url}/tiles", "self", _JSON, "This document")
    return JSONResponse({"links": [self], "tilesets": sets})


def get_tileset(request: Request) -> Response:
    """Answer with a tileset of vector tiles, also as TileJSON."""
    allow_parameters(request)
    form = negotiate(request, {"json": _JSON, "tilejson": _JSON})
    collection, provider = _features(request)
    tiles = _matrix_set(request)
    note_language(request)
    if form == "json":
        layer = {"id": collection.id, "title": collection.title, "dataType": "vector"}
        about = {"description": _LIMITS, "layers": [layer], "mediaTypes": list(VECTOR_FORMS.values())}
        return JSONResponse({**_tileset(request, collection, tiles), **about})
    if tiles.crs != _MERCATOR:
        raise bad_parameter("f", form, f"allowed for {tiles.id}: json, as TileJSON is in Web Mercator")
    return JSONResponse(_tilejson(collection, provider, tiles))


def get_tile(request: Request) -> Response | Later:
    """Answer with a tile of the visible items, or 204 if there are none; one that costs much is made later."""
    allow_parameters(request)
    form = negotiate(request, VECTOR_FORMS)
    collection, provider = _features(request)
    _matrix_set(request)
    place = read_place(request, request.path_params)
    verdict = current_verdict.get()
    seen = verdict.rows, None if verdict.area is None else verdict.area.geometry.wkb
    configured = collection.id, collection.definition("feature")
    at = place.tiles.id, place.matrix.id, place.row, place.column
    identity = repr((_MADE_BY, configured, collection.versions(), at, seen))
    key = blake2b(identity.encode(), digest_size=12).hexdigest()
    validators = Validators(f'"{key}"', 0)
    headers = {"Vary": "Accept", "Cache-Control": "no-cache" if provider.edited else _CACHED, "ETag": validators.etag}
    live = provider.edited and collection.asks_database
    if live:
        del headers["ETag"]
    elif (status := check_preconditions(request, validators)) is HTTPStatus.NOT_MODIFIED:
        return Response(status_code=status, headers=headers)
    detailed = place.matrix.scale_denominator <= _DETAILED
    crs, least = crs_of(int(place.tiles.crs)), 1 / EXTENT if detailed else _LEAST
    query = TileQuery(place.bounds, crs, collection.id, MOST_FEATURES, least, dissolved=not detailed)
    answer = partial(_answer, headers, VECTOR_FORMS[form])
    if detailed and (collection.asks_database or place.matrix.scale_denominator <= _FEW):
        return answer(provider.tile(query))
    if not detailed and (stored := provider.stored_tile(query)) is not None:
        return answer(stored)
    cache = None if detailed or live else resources_of(request).tile_cache
    if collection.asks_database:
        key += f"{int(time.time() // _CACHE_SECONDS):x}"
    content = None if cache is None else cache.get(key)
    if content is not None:
        return answer(content)
    return Later(lambda: answer(_cached(cache, key, provider.tile(query))), threads="heavy")


def _cached(cache: TileCache | None, key: str, content: bytes) -> bytes:
    if cache is not None:
        cache.put(key, content)
    return content


def _answer(headers: Mapping[str, str], media_type: str, content: bytes) -> Response:
    if not content:
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
    return Response(content, headers=headers, media_type=media_type)


def _features(request: Request) -> tuple[Collection, FeatureProvider]:
    """Return the collection and its provider. Raises Problem 404 unless it has one of our feature providers."""
    collection = collection_of(request)
    if "feature" not in collection.kinds - collection.foreign:
        raise Problem(HTTPStatus.NOT_FOUND, f"collection {collection.id!r} has no vector tiles", type_=NOT_FOUND)
    return collection, collection.readable_features()


def _fits(tiles: TileMatrixSet) -> bool:
    """Return whether there are vector tiles of a set: its CRS has an EPSG code."""
    return isinstance(tiles.crs, int)


def _matrix_set(request: Request) -> TileMatrixSet:
    tiles = matrix_set_of(request, request.path_params["matrix_set"])
    if not _fits(tiles):
        raise Problem(HTTPStatus.NOT_FOUND, f"there are no vector tiles of {tiles.id}", type_=NOT_FOUND)
    return tiles


def _tileset(request: Request, collection: Collection, tiles: TileMatrixSet) -> dict[str, Any]:
    place = f"{collection.url}/tiles/{tiles.id}"
    template = f"{place}/{{tileMatrix}}/{{tileRow}}/{{tileCol}}?f=mvt"
    links = [
        link(place, "self", _JSON, "This set of tiles"),
        link(f"{resources_of(request).url}/tileMatrixSets/{tiles.id}", f"{OGC}/tiling-scheme", _JSON, tiles.title),
        link(template, "item", VECTOR_FORMS["mvt"], "A tile", templated=True),
        link(collection.url, f"{OGC}/geodata", _JSON, "The collection"),
    ]
    if tiles.crs == _MERCATOR:
        links.append(link(f"{place}?f=tilejson", "alternate", _JSON, "This set of tiles as TileJSON"))
    return {
        "title": f"{collection.title} ({tiles.id})",
        "dataType": "vector",
        "crs": tiles.crs_uri,
        "tileMatrixSetId": tiles.id,
        **({"tileMatrixSetURI": tiles.uri} if tiles.uri else {}),
        "links": links,
    }


def _tilejson(collection: Collection, provider: FeatureProvider, tiles: TileMatrixSet) -> dict[str, Any]:
    """Return TileJSON 3.0.0."""
    fields = {name: str(field.get("title") or field.get("type", "")) for name, field in provider.get_fields().items()}
    return {
        "tilejson": "3.0.0",
        "name": collection.title,
        "description": _LIMITS,
        "scheme": "xyz",
        "tiles": [f"{collection.url}/tiles/{tiles.id}/{{z}}/{{y}}/{{x}}?f=mvt"],
        "minzoom": 0,
        "maxzoom": _FINEST,
        "vector_layers": [{"id": collection.id, "fields": fields, "minzoom": 0, "maxzoom": _FINEST}],
    }


_READ = on_collection(Action.READ_TILES)
_TILES = "/collections/{collection_id}/tiles"
_TILE = f"{_TILES}/{{matrix_set}}/{{matrix}}/{{row}}/{{column}}"
_SETS, _SET, _ONE = (
    for_foreign(each, "tile") for each in (of_others.get_tilesets, of_others.get_tileset, of_others.get_tile)
)
routes = [
    GuardedRoute(_TILES, get_tilesets, needs=_READ, threads="light", foreign=_SETS),
    GuardedRoute(f"{_TILES}/{{matrix_set}}", get_tileset, needs=_READ, threads="light", foreign=_SET),
    GuardedRoute(
        f"{_TILES}/{{matrix_set}}/metadata",  # as pygeoapi calls it, too
        get_tileset,
        needs=_READ,
        threads="light",
        foreign=_SET,
        include_in_schema=False,
    ),
    GuardedRoute(_TILE, get_tile, needs=_READ, threads="light", foreign=_ONE),
]
