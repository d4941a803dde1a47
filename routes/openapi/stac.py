"""The operations of the STAC catalog and of STAC API."""

from collections.abc import Iterator, Sequence

from routes.http.media_types import GEOJSON
from routes.openapi.operation import BYTES, HTML, JSON, Value, content, declared, form, operation, path, query, ref
from routes.resources import Collection
from routes.stac.search import FILTERS, ONLY_PRODUCTS, SEARCH_PARAMETERS

TAG: Value = {"name": "stac", "description": "The catalog of files, and the search of STAC API"}
_BROKEN = (400, 404, 406, 503)
_TEXT: Value = {"type": "string"}
_WHOLE: Value = {"type": "integer", "minimum": 0, "default": 0}
_FOUND: Value = {"200": {"description": "Items.", "content": content(ref("schemas", "features"), GEOJSON)}}


def stac_paths(collections: Sequence[Collection]) -> Value:
    """Return the paths of the catalog with these collections."""
    paths = {"/stac": {"get": _get("getStacCatalog", "The catalog of files", TAG["name"], [form("json", "html")])}}
    for collection in collections:
        paths |= dict(_entries(collection)) if "stac" in collection.foreign else {}
    return paths


def stac_api_paths(*, foreign: bool, products: bool) -> Value:
    """Return the paths of STAC API: with STAC collections (`foreign`) to search, with products, or both."""
    paths = {
        "/stac-api": _document("getStacLanding", "The start of STAC API"),
        "/stac-api/conformance": _document("getStacConformance", "What STAC API conforms to"),
        "/stac-api/search": {
            "get": _search(foreign=foreign, products=products),
            "post": _posted_search(products=products),
        },
    }
    return paths | (_of_products() if products else {})


def _of_products() -> Value:
    series, item = path("series", "A series of products."), path("item_id", "The id of the item.")
    one, items = "/stac-api/collections/{series}", "/stac-api/collections/{series}/items"
    page = operation(
        "getStacItems",
        "The items of a series, one for each product and year",
        tag=TAG["name"],
        parameters=[series, *declared(*FILTERS), form("json")],
        responses=_FOUND,
        errors=(400, 404, 406),
    )
    found = {"200": {"description": "The item.", "content": content(ref("schemas", "feature"), GEOJSON)}}
    single = operation(
        "getStacItem",
        "One item",
        tag=TAG["name"],
        parameters=[series, item, form("json")],
        responses=found,
        errors=(400, 404, 406),
    )
    return {
        "/stac-api/collections": _document("getStacCollections", "The series of products as collections of STAC"),
        one: _document("getStacCollection", "One of them", series, errors=(400, 404, 406)),
        items: {"get": page},
        f"{items}/{{item_id}}": {"get": single},
    }


def _document(name: str, summary: str, *parameters: Value, errors: Sequence[int] = (400, 406)) -> Value:
    return {"get": _get(name, summary, TAG["name"], [*parameters, form("json")], page=False, errors=errors)}


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


def _search(*, foreign: bool, products: bool) -> Value:
    fields = query("fields", "Values of properties, by name.", {"type": "object", "additionalProperties": _TEXT})
    return operation(
        "searchStac",
        "Items of the products, and of the collections of STAC that have features or records",
        tag=TAG["name"],
        parameters=[
            *declared(*SEARCH_PARAMETERS, *(ONLY_PRODUCTS if products else ())),
            *([fields] if foreign else []),
            form("json"),
        ],
        responses=_FOUND,
        errors=(400, 403, 406, 503),
    )


def _posted_search(*, products: bool) -> Value:
    only_products = {"ids": {"type": "array", "items": _TEXT}, "intersects": {"type": "object"}}
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
            **(only_products if products else {}),
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
