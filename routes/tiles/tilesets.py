"""Tile matrix sets and tilesets of map tiles: of a collection, or of all collections together."""

from collections.abc import Iterator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from plugins.coverages import CoverageProvider
from plugins.crs import CRS84
from plugins.styles import DEFAULT_STYLE
from products.operation import Bounds
from products.tiling import TileMatrixSet
from routes.guard import NOTHING, GuardedRoute
from routes.http.problem import bad_parameter
from routes.pages.respond import OGC, link
from routes.query.parameters import allow_parameters, negotiate
from routes.resources import Collection, collection_of, note_language, resources_of
from routes.tiles.styles import asked_style, place_of
from routes.tiles.tile import (
    COLLECTIONS,
    NO_TILES,
    ON_COLLECTION,
    ON_COLLECTIONS,
    STYLED,
    TILE_FORMS,
    chosen,
    matrix_set_of,
)

_JSON = "application/json"
_FORMS = {"json": _JSON, "tilejson": _JSON}
_MERCATOR = 3857


def get_matrix_sets(request: Request) -> Response:
    """Answer with the tile matrix sets of map tiles."""
    allow_parameters(request)
    negotiate(request, {"json": _JSON})
    resources = resources_of(request)
    sets = [
        {
            "id": each.id,
            "title": each.title,
            **({"uri": each.uri} if each.uri else {}),
            **({"crs": each.crs_uri} if each.crs_uri else {}),
            "links": [link(f"{resources.url}/tileMatrixSets/{each.id}", "self", _JSON, each.title)],
        }
        for each in resources.matrix_sets.values()
    ]
    return JSONResponse({"tileMatrixSets": sets})


def get_matrix_set(request: Request) -> Response:
    """Answer with one tile matrix set (OGC 17-083r4)."""
    allow_parameters(request)
    negotiate(request, {"json": _JSON})
    return JSONResponse(matrix_set_of(request, request.path_params["matrix_set"]).document)


def get_tilesets(request: Request) -> Response:
    """Answer with the tilesets of map tiles of the collection, in its default style or another."""
    allow_parameters(request)
    return _list(request, _place(request), [collection_of(request)])


def _place(request: Request) -> str:
    """Return the address of the map tiles of the collection in the style that the path names."""
    collection = collection_of(request)
    style = asked_style(request, collection)
    return f"{place_of(collection, style) if 'style' in request.path_params else collection.url}/map/tiles"


def get_dataset_tilesets(request: Request) -> Response:
    """Answer with the tilesets of map tiles of all collections together."""
    allow_parameters(request)
    return _list(request, f"{resources_of(request).url}/map/tiles", request.state.collections)


def _list(request: Request, place: str, collections: Sequence[Collection]) -> Response:
    negotiate(request, {"json": _JSON})
    note_language(request)
    sets = [_tileset(request, place, tiles, collections) for tiles in resources_of(request).matrix_sets.values()]
    self = link(place, "self", _JSON, "This document")
    return JSONResponse({"links": [self], "tilesets": [each for each in sets if each["tileMatrixSetLimits"]]})


def get_tileset(request: Request) -> Response:
    """Answer with a tileset of map tiles of the collection, also as TileJSON."""
    allow_parameters(request)
    return _one(request, _place(request), [collection_of(request)])


def get_dataset_tileset(request: Request) -> Response:
    """Answer with a tileset of map tiles of several collections, also as TileJSON."""
    allow_parameters(request, COLLECTIONS)
    return _one(request, f"{resources_of(request).url}/map/tiles", chosen(request))


def _one(request: Request, place: str, collections: Sequence[Collection]) -> Response:
    form = negotiate(request, _FORMS)
    tiles = matrix_set_of(request, request.path_params["matrix_set"])
    note_language(request)
    if form == "tilejson":
        if tiles.crs != _MERCATOR:
            raise bad_parameter("f", form, f"allowed for {tiles.id}: json, as TileJSON is in Web Mercator")
        return JSONResponse(_tilejson(request, place, tiles, collections))
    document = _tileset(request, place, tiles, collections)
    named = COLLECTIONS.text(request)
    if named is not None:
        for each in document["links"]:
            each["href"] += (
                f"{'&' if '?' in each['href'] else '?'}collections={named}" if "/map/tiles/" in each["href"] else ""
            )
    return JSONResponse({**document, **_about(request, tiles, collections)})


def _tileset(request: Request, place: str, tiles: TileMatrixSet, collections: Sequence[Collection]) -> dict[str, Any]:
    """Return the members of a tileset in a list."""
    url = resources_of(request).url
    providers = [each.readable_coverage() for each in collections]
    template = f"{place}/{tiles.id}/{{tileMatrix}}/{{tileRow}}/{{tileCol}}"
    links = [
        link(f"{place}/{tiles.id}", "self", _JSON, "This set of tiles"),
        link(f"{url}/tileMatrixSets/{tiles.id}", f"{OGC}/tiling-scheme", _JSON, "The tile matrix set"),
        *(
            link(f"{template}?f={form}", "item", media_type, f"A tile as {form.upper()}", templated=True)
            for form, media_type in TILE_FORMS.items()
        ),
    ]
    if tiles.crs == _MERCATOR:
        links.append(link(f"{place}/{tiles.id}?f=tilejson", "alternate", _JSON, "This set of tiles as TileJSON"))
    if len(collections) == 1:
        [collection] = collections
        legend = f"{place_of(collection, asked_style(request, collection))}/legend?f=png"
        links += [
            link(collection.url, f"{OGC}/geodata", _JSON, "The collection"),
            link(legend, f"{OGC}/legend", "image/png", "The legend"),
        ]
    return {
        "title": f"{', '.join(each.title for each in collections)} ({tiles.id})",
        "dataType": "map",
        "crs": tiles.crs_uri,
        "tileMatrixSetId": tiles.id,
        **({"tileMatrixSetURI": tiles.uri} if tiles.uri else {}),
        "tileMatrixSetLimits": list(matrix_limits(tiles, providers)),
        "links": links,
    }


def matrix_limits(tiles: TileMatrixSet, providers: Sequence[CoverageProvider]) -> Iterator[dict[str, Any]]:
    """Yield for each matrix the rows and columns that may have data of any of the coverages."""
    extent = whole(tiles, providers)
    for matrix in tiles.matrices.values() if extent else ():
        if extent and (found := matrix.limits(extent)) is not None:
            yield {
                "tileMatrix": matrix.id,
                "minTileRow": found.top,
                "maxTileRow": found.bottom,
                "minTileCol": found.left,
                "maxTileCol": found.right,
            }


def whole(tiles: TileMatrixSet, providers: Sequence[CoverageProvider]) -> Bounds | None:
    """Return the box around the coverages in the CRS of the set, None if none can be transformed to it."""
    boxes = [box for each in providers if (box := tiles.extent(each.whole.bbox, each.native.epsg))]
    if not boxes:
        return None
    west, south, east, north = zip(*boxes, strict=True)
    return min(west), min(south), max(east), max(north)


def _about(request: Request, tiles: TileMatrixSet, collections: Sequence[Collection]) -> dict[str, Any]:
    """Return the members of a tileset in addition to those in a list."""
    providers = [each.readable_coverage() for each in collections]
    style = {"id": DEFAULT_STYLE, "title": "The default style of each collection"}
    if len(collections) == 1:
        asked = asked_style(request, collections[0])
        style = {"id": asked.id, "title": asked.title}
    about: dict[str, Any] = {
        "description": " ".join(str(each.configured["description"]) for each in collections),
        "style": style,
        "layers": [{"id": each.id, "title": each.title, "dataType": "map"} for each in collections],
        "mediaTypes": list(TILE_FORMS.values()),
    }
    if (box := whole(tiles, providers)) is not None:
        low, high = (box[1::-1], box[:1:-1]) if tiles.northing_first else (box[:2], box[2:])
        about["boundingBox"] = {"lowerLeft": list(low), "upperRight": list(high), "crs": tiles.crs_uri}
    return about


def _tilejson(request: Request, place: str, tiles: TileMatrixSet, collections: Sequence[Collection]) -> dict[str, Any]:
    """Return TileJSON 3.0.0, in which the finest zoom is the first that has every pixel."""
    providers = [each.readable_coverage() for each in collections]
    boxes = [each.whole.to(CRS84).bbox for each in providers]
    west, south, east, north = zip(*boxes, strict=True)
    bounds = [max(-180.0, min(west)), min(south), min(180.0, max(east)), max(north)]
    finest = max((tiles.finest(each.grid.nominal) for each in providers), key=list(tiles.matrices).index)
    named = COLLECTIONS.text(request)
    more = f"&collections={named}" if named else ""
    products = resources_of(request).catalogue.seen({each.id for each in collections}).products
    attribution = "; ".join(dict.fromkeys(each.attribution for each in products))
    return {
        "tilejson": "3.0.0",
        "name": ", ".join(each.title for each in collections),
        **({"attribution": attribution} if attribution else {}),
        "scheme": "xyz",
        "tiles": [f"{place}/{tiles.id}/{{z}}/{{y}}/{{x}}?f=png{more}"],
        "minzoom": 0,
        "maxzoom": int(finest),
        "bounds": bounds,
        "center": [(bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2, max(0, int(finest) - 4)],
    }


routes = [
    GuardedRoute("/tileMatrixSets", get_matrix_sets, needs=NOTHING, threads="light"),
    GuardedRoute("/tileMatrixSets/{matrix_set}", get_matrix_set, needs=NOTHING, threads="light"),
    GuardedRoute("/map/tiles", get_dataset_tilesets, needs=ON_COLLECTIONS, threads="light"),
    GuardedRoute("/map/tiles/{matrix_set}", get_dataset_tileset, needs=ON_COLLECTIONS, threads="light"),
    *(
        GuardedRoute(f"{place}/map/tiles{path}", answer, needs=ON_COLLECTION, threads="light", foreign=NO_TILES)
        for place in STYLED
        for path, answer in (("", get_tilesets), ("/{matrix_set}", get_tileset))
    ),
]
