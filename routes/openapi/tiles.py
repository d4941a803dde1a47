"""The operations of map tiles, styles and tile matrix sets."""

from collections.abc import Sequence
from typing import Any

from routes.features.vector_tiles import VECTOR_FORMS
from routes.openapi.operation import HTML, JSON, Value, binary, content, declared, form, headers, operation, path, ref
from routes.tiles.styles import STYLING_PARAMETERS
from routes.tiles.tile import COLLECTIONS, TILE_FORMS, TILE_PARAMETERS
from routes.tiles.wmts import WMTS_PARAMETERS

_BROKEN = (400, 404, 406, 503)
_SET = path("matrix_set", "The tile matrix set, such as WebMercatorQuad.")
_WHOLE: Value = {"type": "integer", "minimum": 0}
_PLACE = (
    _SET,
    path("matrix", "The tile matrix, which is the zoom."),
    path("row", "The row, from north.", _WHOLE),
    path("column", "The column, from west; `@2x` behind it gives twice the pixels along each side, up to `@4x`."),
)
_REPORT: Value = {
    "description": "An exception report of WMTS, or a problem.",
    "content": {"text/xml": {"schema": {}}, **content(ref("schemas", "problem"), "application/problem+json", HTML)},
}
STYLE = path("style", "A style of the collection, of which `default` is one.")


def tile_paths() -> Value:
    """Return the tile matrix sets, and the tiles of all collections together."""
    wmts = operation(
        "getWmts",
        "WMTS 1.0.0, by the parameters that it has",
        tag="server",
        parameters=declared(*WMTS_PARAMETERS),
        responses={
            "200": binary("The capabilities, or a tile.", "text/xml", *TILE_FORMS.values()),
            "400": _REPORT,
            "404": _REPORT,
        },
        errors=(503,),
    )
    capabilities = operation(
        "getWmtsCapabilities",
        "The capabilities of WMTS 1.0.0",
        tag="server",
        responses={"200": binary("The capabilities.", "text/xml")},
        errors=(400, 404, 503),
    )
    return {
        "/tileMatrixSets": _get("getTileMatrixSets", "The tile matrix sets", "server", [form("json")]),
        "/tileMatrixSets/{matrix_set}": _get(
            "getTileMatrixSet", "One tile matrix set", "server", [_SET, form("json")], (400, 404, 406)
        ),
        "/map/tiles": _get("dataset.map.getTileSetsList", "The sets of map tiles", "server", [form("json")], _BROKEN),
        "/map/tiles/{matrix_set}": _get(
            "dataset.map.getTileSet",
            "A set of map tiles",
            "server",
            [_SET, form("json", "tilejson"), *declared(COLLECTIONS)],
            _BROKEN,
        ),
        "/map/tiles/{matrix_set}/{matrix}/{row}/{column}": {"get": _tile("dataset.map.getTile", "server", COLLECTIONS)},
        "/wmts": {"get": wmts},
        "/wmts/1.0.0/WMTSCapabilities.xml": {"get": capabilities},
    }


def tile_paths_of(collection_id: str) -> Value:
    """Return the map tiles and the styles of a collection."""
    place = f"/collections/{collection_id}"
    legend = operation(
        f"getLegend.{collection_id}",
        "The legend of a style",
        tag=collection_id,
        parameters=[STYLE, *declared(*STYLING_PARAMETERS), form("png", "json")],
        responses={
            "200": {"description": "The legend.", "content": binary("", "image/png")["content"] | _object()["content"]}
        },
        errors=_BROKEN,
    )

    def get(name: str, summary: str, *parameters: Value) -> Value:
        return _get(f"{collection_id}.collection.{name}", summary, collection_id, list(parameters), _BROKEN)

    return {
        f"{place}/map/tiles": get("map.getTileSetsList", "Its sets of map tiles", form("json")),
        f"{place}/map/tiles/{{matrix_set}}": get(
            "map.getTileSet", "A set of its map tiles", _SET, form("json", "tilejson")
        ),
        f"{place}/map/tiles/{{matrix_set}}/{{matrix}}/{{row}}/{{column}}": {
            "get": _tile(f"{collection_id}.collection.map.getTile", collection_id)
        },
        f"{place}/styles": get("getStyles", "Its styles", form("json")),
        f"{place}/styles/{{style}}": get("getStyle", "A style of it", STYLE, form("json")),
        f"{place}/styles/{{style}}/map/tiles": get(
            "styledMap.getTileSetsList", "Its sets of map tiles in a style", STYLE, form("json")
        ),
        f"{place}/styles/{{style}}/map/tiles/{{matrix_set}}": get(
            "styledMap.getTileSet", "A set of its map tiles in a style", STYLE, _SET, form("json", "tilejson")
        ),
        f"{place}/styles/{{style}}/map/tiles/{{matrix_set}}/{{matrix}}/{{row}}/{{column}}": {
            "get": _tile(f"{collection_id}.collection.styledMap.getTile", collection_id, before=[STYLE])
        },
        f"{place}/styles/{{style}}/legend": {"get": legend},
    }


def vector_tile_paths_of(collection_id: str) -> Value:
    """Return the vector tiles of a collection."""
    place = f"/collections/{collection_id}/tiles"

    def get(name: str, summary: str, *parameters: Value) -> Value:
        return _get(f"{collection_id}.collection.vector.{name}", summary, collection_id, list(parameters), _BROKEN)

    tile = operation(
        f"{collection_id}.collection.vector.getTile",
        "A vector tile",
        tag=collection_id,
        parameters=[*_PLACE[:-1], path("column", "The column, from west.", _WHOLE), form(*VECTOR_FORMS)],
        responses={
            "200": {**binary("The tile.", *VECTOR_FORMS.values()), **headers("ETag")},
            "204": {"description": "It has no items."},
            "304": {"description": "Unchanged."},
        },
        errors=(*_BROKEN, 412, 413),
    )
    return {
        place: get("getTileSetsList", "Its sets of vector tiles", form("json")),
        f"{place}/{{matrix_set}}": get("getTileSet", "A set of its vector tiles", _SET, form("json", "tilejson")),
        f"{place}/{{matrix_set}}/{{matrix}}/{{row}}/{{column}}": {"get": tile},
    }


def _object() -> Value:
    return {"description": "The description.", "content": content({"type": "object"}, JSON)}


def _get(name: str, summary: str, tag: str, parameters: list[Value], errors: tuple[int, ...] = (400, 406)) -> Value:
    responses = {"200": _object()}
    return {"get": operation(name, summary, tag=tag, parameters=parameters, responses=responses, errors=errors)}


def _tile(name: str, tag: str, *parameters: Any, before: Sequence[Value] = ()) -> Value:
    described = headers("Content-Crs", "ETag")
    return operation(
        name,
        "A tile of a map",
        tag=tag,
        description="Outside of the limits of the tile matrix it is 404; within them, a tile without data is blank.",
        parameters=[*before, *_PLACE, *declared(*parameters, *TILE_PARAMETERS), form(*TILE_FORMS)],
        responses={
            "200": {**binary("The tile.", *TILE_FORMS.values()), **described},
            "304": {"description": "Unchanged."},
        },
        errors=(*_BROKEN, 412, 413),
    )
