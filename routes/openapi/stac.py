"""The operations of the STAC catalog and of STAC API."""

from collections.abc import Iterator, Sequence

from routes.http.media_types import GEOJSON
from routes.openapi.operation import BYTES, HTML, JSON, Value, content, declared, form, operation, path, query, ref
from routes.query.parameters import BBOX, DATETIME, LIMIT
from routes.resources import Collection

TAG: Value = {"name": "stac", "description": "The catalog of files, and the search of STAC API"}
_BROKEN = (400, 404, 406, 503)
_TEXT: Value = {"type": "string"}
_WHOLE: Value = {"type": "integer", "minimum": 0, "default": 0}
_FOUND: Value = {"200": {"description": "Items.", "content": content(ref("schemas", "features"), GEOJSON)}}


def stac_paths(collections: Sequence[Collection]) -> Value:
    """Return the paths of the catalog with these collections, and of STAC API."""
    paths = {
        "/stac": {"get": _get("getStacCatalog", "The catalog of files", TAG["name"], [form("json", "html")])},
        "/stac-api": {"get": _get("getStacLanding", "The start of STAC API", TAG["name"], [form("json")], page=False)},
        "/stac-api/search": {"get": _search(), "post": _posted_search()},
    }
    for collection in collections:
        paths |= dict(_entries(collection)) if "stac" in collection.foreign else {}
    return paths


def _entries(collection: Collection) -> Iterator[tuple[str, Value]]:
    place, forms = f"/stac/{collection.id}", [form("json", "html")]
    name = collection.id
    yield place, {"get": _get(f"getStac.{name}", "The top of this part of the catalog", name, forms, errors=_BROKEN)}
    below = _get(
        f"getStacEntry.{name}",
        "A folder, an item or a file",
        name,
        [path("path", "Where it is, below the collection."), *forms],
        errors=(*_BROKEN, 412, 416),
    )
    below["responses"]["200"]["content"] |= {GEOJSON: {"schema": {"type": "object"}}, "*/*": {"schema": BYTES}}
    below["responses"]["206"] = {"description": "A part of a file.", "content": {"*/*": {"schema": BYTES}}}
    yield f"{place}/{{path}}", {"get": below}


def _get(
    name: str, summary: str, tag: str, parameters: list[Value], *, page: bool = True, errors: Sequence[int] = (400, 406)
) -> Value:
    media_types = (JSON, HTML) if page else (JSON,)
    answer = {"200": {"description": f"{summary}.", "content": content({"type": "object"}, *media_types)}}
    return operation(name, summary, tag=tag, parameters=parameters, responses=answer, errors=errors)


def _search() -> Value:
    return operation(
        "searchStac",
        "Items of all collections of STAC that have features or records",
        tag=TAG["name"],
        parameters=[
            *declared(BBOX, DATETIME, LIMIT),
            query("collections", "The collections to search.", {"type": "array", "items": _TEXT}),
            query("offset", "How many items of each collection to leave out first.", _WHOLE),
            query("q", "Words that items have.", _TEXT),
            query("sortby", "Properties to order by, `-` in front for the other way.", _TEXT),
            query("fields", "Values of properties, by name.", {"type": "object", "additionalProperties": _TEXT}),
            form("json"),
        ],
        responses=_FOUND,
        errors=(400, 403, 406, 503),
    )


def _posted_search() -> Value:
    body = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "bbox": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6},
            "collections": {"type": "array", "items": _TEXT},
            "datetime": _TEXT,
            "limit": {"type": "integer", "minimum": 1},
            "offset": _WHOLE,
            "q": _TEXT,
            "sortby": {"type": "array", "items": {"type": "object"}},
        },
    }
    example = {"bbox": [19, 50, 21, 51], "limit": 10}
    return operation(
        "postStacSearch",
        "The same, asked for by a document",
        tag=TAG["name"],
        parameters=[form("json")],
        requestBody={"required": True, "content": {JSON: {"schema": body, "example": example}}},
        responses=_FOUND,
        errors=(400, 403, 406, 415, 503),
    )
