"""The operations of one collection."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from products.sources import is_one_file
from routes.common.collections import WITH_SCHEMA
from routes.coverages.coverage import COVERAGE_FORMS
from routes.coverages.map import STYLED_MAP_PARAMETERS
from routes.coverages.wanted import COVERAGE_PARAMETERS
from routes.features.edit import is_edited
from routes.features.foreign import FOREIGN_PARAMETERS, ITEM_FORMS, foreign_forms
from routes.features.items import PAGE_FORMS, queryable
from routes.features.parameters import ITEMS_PARAMETERS
from routes.features.schemas import PROFILE
from routes.http.media_types import COG, COVERAGE_JSON, GEOJSON, JSON_LD, SCHEMA
from routes.openapi.editing import edit_operations
from routes.openapi.operation import (
    BYTES,
    JSON,
    Value,
    binary,
    content,
    declared,
    document,
    file,
    form,
    header,
    headers,
    operation,
    path,
    query,
    ref,
)
from routes.openapi.schema import as_openapi
from routes.openapi.tiles import STYLE, tile_paths_of, vector_tile_paths_of
from routes.pygeoapi.edr import QUERIES
from routes.pygeoapi.handlers import formatters_of
from routes.pygeoapi.tiles import tile_forms
from routes.query.parameters import BBOX, BBOX_CRS, CRS, DATETIME, LIMIT, START_INDEX
from routes.records.items import RECORD_FORMS, RECORD_PARAMETERS
from routes.resources import Collection

_URI: Value = {"type": "string", "format": "uri"}
_NAMES: Value = {"type": "array", "items": {"type": "string"}}
_SIZE: Value = {"type": "integer", "minimum": 1}
_PLACED = ("Content-Bbox", "Content-Crs", "Content-Datetime")
_BROKEN = (400, 404, 406, 503)


def collection_paths(collection: Collection) -> Value:
    """Return the paths of one collection, as its providers make them."""
    collection_id = collection.id
    place = f"/collections/{collection_id}"
    paths = {
        place: {"get": _document(collection_id, "", "The collection", "collection")},
    }
    if collection.kinds & WITH_SCHEMA:
        schema = _document(collection_id, "Schema", "The schema of its data", "schema", SCHEMA)
        paths[f"{place}/schema"] = {"get": schema}
    if collection.has_records:
        paths |= _record_paths(collection.id, place)
    elif collection.kinds & {"feature", "record"}:
        paths |= _feature_paths(collection, place)
    if "coverage" in collection.kinds - collection.foreign:
        paths |= _coverage_paths(collection, place)
    for kind, paths_of in _FOREIGN.items():
        if kind in collection.foreign:
            paths |= paths_of(collection, place)
    return paths


def _name(what: str, collection_id: str) -> str:
    return f"{what}.{collection_id}"


def _document(collection_id: str, what: str, summary: str, schema: str, media_type: str = "application/json") -> Value:
    return operation(
        _name(f"describe{what}", collection_id),
        summary,
        tag=collection_id,
        parameters=[form("json", "html"), *(declared(PROFILE) if media_type == SCHEMA else ())],
        responses=document(schema, f"{summary}.", media_type),
        errors=_BROKEN,
    )


def _feature_paths(collection: Collection, place: str) -> Value:
    collection_id = collection.id
    is_ours = not collection.foreign & {"feature", "record"}
    queryables = "What its items can be asked for by"
    parameters = _own_parameters(collection) if is_ours else _foreign_parameters(collection)
    page = _in_forms("features", "One page of items.", PAGE_FORMS if is_ours else foreign_forms(collection))
    sortables = _document(collection_id, "Sortables", "What its items can be ordered by", "schema", SCHEMA)
    return {
        **({f"{place}/sortables": {"get": sortables}, **vector_tile_paths_of(collection_id)} if is_ours else {}),
        f"{place}/queryables": {"get": _document(collection_id, "Queryables", queryables, "schema", SCHEMA)},
        f"{place}/items": {
            "get": operation(
                _name("getItems", collection_id),
                "Its items",
                tag=collection_id,
                parameters=parameters,
                responses=page,
                errors=_BROKEN,
            ),
            **({"post": _posted(collection, parameters, page)} if is_ours else {}),
        },
        f"{place}/items/{{item_id}}": {
            "get": operation(
                _name("getItem", collection_id),
                "One item",
                tag=collection_id,
                parameters=[
                    path("item_id", "The item's identifier."),
                    form(*ITEM_FORMS),
                    *declared(CRS),
                ],
                responses=_in_forms("feature", "The item.", ITEM_FORMS),
                errors=_BROKEN,
            ),
            **(edit_operations(collection_id) if is_edited(collection) else {}),
        },
    }


def _record_paths(collection_id: str, place: str) -> Value:
    page = _in_forms("features", "One page of records.", RECORD_FORMS)
    one = _in_forms("feature", "The record.", RECORD_FORMS)
    for answer in (page["200"], one["200"]):
        answer["headers"] = {"Link": ref("headers", "Link")}
    return {
        f"{place}/items": {
            "get": operation(
                _name("getRecords", collection_id),
                "Its records: of products, and of collections that the operator names",
                tag=collection_id,
                parameters=[form(*RECORD_FORMS), *declared(*RECORD_PARAMETERS)],
                responses=page,
                errors=_BROKEN,
            )
        },
        f"{place}/items/{{item_id}}": {
            "get": operation(
                _name("getRecord", collection_id),
                "One record",
                tag=collection_id,
                parameters=[path("item_id", "The record's identifier."), form(*RECORD_FORMS)],
                responses=one,
                errors=_BROKEN,
            )
        },
    }


def _posted(collection: Collection, parameters: list[Value], page: Value) -> Value:
    """Return the operation that takes the filter as a body, or a new item."""
    collection_id = collection.id
    others = [each for each in parameters if each.get("name") not in {"filter", "filter-lang"}]
    cql2 = {"schema": {"type": "object", "example": {"op": "isNull", "args": [{"property": "geometry"}]}}}
    bodies: Value = {JSON: cql2}  # generators know no `application/query-cql-json`
    if is_edited(collection):
        bodies[GEOJSON] = {"schema": ref("schemas", "feature")}
        place = {"description": "The address of the new item.", "schema": {"type": "string"}}
        page = {**page, "201": {"description": "The item is created.", "headers": {"Location": place}}}
    return operation(
        _name("queryItems", collection_id),
        "Those of its items that a filter in CQL2 JSON selects",
        tag=collection_id,
        parameters=others,
        requestBody={"required": True, "content": bodies},
        responses=page,
        errors=(*_BROKEN, 413, 415),
    )


def _own_parameters(collection: Collection) -> list[Value]:
    return [form(*PAGE_FORMS), *declared(*ITEMS_PARAMETERS), *_filters(collection)]


def _foreign_parameters(collection: Collection) -> list[Value]:
    """Return what pygeoapi's handler reads; fields are not listed, as that would ask the provider."""
    text: Value = {"type": "string"}
    read = {*FOREIGN_PARAMETERS, START_INDEX.name}
    return [
        form(*foreign_forms(collection)),
        *declared(*(each for each in ITEMS_PARAMETERS if each.name in read)),
        query("fields", "Values of properties, by name.", {"type": "object", "additionalProperties": text}),
    ]


def _foreign_map_paths(collection: Collection, place: str) -> Value:
    drawn = collection.definition("map")["format"]
    get = operation(
        _name("getMap", collection.id),
        "A map of it",
        tag=collection.id,
        parameters=[
            *declared(BBOX, BBOX_CRS, DATETIME),
            query("crs", "The coordinate reference system of the map.", _URI),
            query("width", "Pixels across.", {**_SIZE, "default": 500}),
            query("height", "Pixels down.", {**_SIZE, "default": 300}),
            query("transparent", "Whether what has no data is transparent.", {"type": "boolean", "default": True}),
            form(drawn["name"]),
        ],
        responses={"200": binary("The map.", drawn["mimetype"])},
        errors=(*_BROKEN, 413),
    )
    return {f"{place}/map": {"get": get}}


def _foreign_tile_paths(collection: Collection, place: str) -> Value:
    tiled, whole = collection.definition("tile")["format"], {"type": "integer", "minimum": 0}
    matrix_set = path("matrix_set", "The tile matrix set, such as WebMercatorQuad.")
    matrix, row, column = (path(name, f"The {name}.", whole) for name in ("matrix", "row", "column"))
    json = {"200": {"description": "The description.", "content": content({"type": "object"}, JSON)}}

    def get(what: str, summary: str, parameters: list[Value], responses: Value) -> Value:
        name = _name(what, collection.id)
        return {
            "get": operation(
                name, summary, tag=collection.id, parameters=parameters, responses=responses, errors=_BROKEN
            )
        }

    tile = {"200": binary("The tile.", tiled["mimetype"]), "204": {"description": "It has no data."}}
    return {
        f"{place}/tiles": get("getTileSets", "Its tile sets", [form("json")], json),
        f"{place}/tiles/{{matrix_set}}": get("getTileSet", "A tile set", [matrix_set, form("json", "tilejson")], json),
        f"{place}/tiles/{{matrix_set}}/{{matrix}}/{{row}}/{{column}}": get(
            "getTile", "A tile", [matrix_set, matrix, row, column, form(*tile_forms(tiled))], tile
        ),
    }


def _foreign_edr_paths(collection: Collection, place: str) -> Value:
    """Return the queries of EDR: which of them there are only the provider knows; of others it answers 400."""
    text: Value = {"type": "string"}
    formatters = formatters_of(collection)
    parameters = [
        *declared(BBOX, DATETIME, LIMIT),
        *(query(name, f"`{name}` of OGC API EDR.", text) for name in _EDR),
        form("json", *formatters),
    ]
    return {
        f"{place}/{asked}": {
            "get": operation(
                _name(f"get{asked.capitalize()}", collection.id),
                f"Its data by {asked}",
                tag=collection.id,
                parameters=parameters,
                responses={"200": binary("The data.", COVERAGE_JSON, *formatters.values())},
                errors=_BROKEN,
            )
        }
        for asked in QUERIES
    }


_EDR = ("coords", "crs", "parameter-name", "within", "within-units", "z")


def _foreign_coverage_paths(collection: Collection, place: str) -> Value:
    native = collection.definition("coverage").get("format") or {}
    forms = ["json", *([native["name"]] if native else [])]
    media_types = [COVERAGE_JSON, *([native["mimetype"]] if native else [])]
    text: Value = {"type": "string"}
    return {
        f"{place}/coverage": {
            "get": operation(
                _name("getCoverage", collection.id),
                "Its values",
                tag=collection.id,
                parameters=[
                    *declared(BBOX, BBOX_CRS, DATETIME),
                    query("subset", "An interval of each axis, such as `x(10:20)`.", text),
                    query("properties", "The fields to answer with.", _NAMES),
                    form(*forms),
                ],
                responses={"200": binary("The values.", *media_types)},
                errors=(*_BROKEN, 413),
            )
        }
    }


_FOREIGN = {
    "coverage": _foreign_coverage_paths,
    "map": _foreign_map_paths,
    "tile": _foreign_tile_paths,
    "edr": _foreign_edr_paths,
}


def _in_forms(schema: str, description: str, forms: Mapping[str, str]) -> Value:
    """Return the answer with features in these media types, and its system."""
    answer = document(schema, description, GEOJSON)["200"]
    others = {each: {"schema": {"type": "object"} if each == JSON_LD else BYTES} for each in forms.values()}
    return {"200": {**answer, "content": others | answer["content"], **headers("Content-Crs")}}


def _filters(collection: Collection) -> Iterator[Value]:
    if collection.failure() is not None:
        return
    for name, field in queryable(collection.features().get_fields()).items():
        schema = {key: value for key, value in field.items() if key not in {"title", "x-ogc-role"}}
        yield query(name, f"Only items whose {name} is this.", as_openapi(schema))


def _coverage_paths(collection: Collection, place: str) -> Value:
    collection_id = collection.id
    definition = collection.definition("coverage")
    years = {str(each["data"]): f"getFile.{each['year']}" for each in definition.get("years") or ()}
    files = years | {str(definition["data"]): "getFile"}
    operations = {Path(data).name: each for data, each in files.items() if is_one_file(data)}
    return {
        f"{place}/coverage": {"get": _coverage(collection_id)},
        f"{place}/coverage/domainset": {"get": _part(collection_id, "domainset", "The grid of its pixels")},
        f"{place}/coverage/rangetype": {"get": _part(collection_id, "rangetype", "The values of its pixels")},
        f"{place}/map": {"get": _map("getMap", collection_id)},
        f"{place}/styles/{{style}}/map": {"get": _map("getStyledMap", collection_id, STYLE)},
        **tile_paths_of(collection_id),
        **{f"{place}/files/{name}": {"get": _file(each, collection_id)} for name, each in operations.items()},
    }


def _coverage(collection_id: str) -> Value:
    files = (each for name, each in COVERAGE_FORMS.items() if name in {"tiff", "netcdf", "png"})
    forms = binary("", *files)["content"] | content(ref("schemas", "coverage"), COVERAGE_JSON, "text/html")
    return operation(
        _name("getCoverage", collection_id),
        "Its pixels, by window and scale",
        tag=collection_id,
        description="Where no size is asked for and it would be too large, it is scaled down: `Scale-Factor` tells by "
        "how much, and `Link` where every pixel is. Of a place alone `application/json` is its value.",
        parameters=[
            *declared(*COVERAGE_PARAMETERS),
            form(*COVERAGE_FORMS, "value"),
            header(
                "Prefer",
                "`interpolation=[ogc-interpolation:modal]`: how it is scaled. `handling=strict`: 413 instead of fewer "
                "pixels than asked for, 400 instead of another interpolation.",
                {"type": "string"},
            ),
        ],
        responses={
            "200": {"description": "The coverage.", "content": forms, **headers("Link", "Scale-Factor", *_PLACED)},
            "204": {"description": "There is nothing inside of what was asked for."},
        },
        errors=(*_BROKEN, 413),
    )


def _map(name: str, collection_id: str, *style: Value) -> Value:
    return operation(
        _name(name, collection_id),
        "A picture of it",
        tag=collection_id,
        parameters=[*style, *declared(*STYLED_MAP_PARAMETERS), form("png", "html")],
        responses={
            "200": {
                "description": "A map in the colours of the classes, or of a ramp.",
                "content": binary("", "image/png")["content"] | content({"type": "string"}, "text/html"),
                **headers(*_PLACED),
            },
            "204": {"description": "There is nothing at the time that was asked for."},
        },
        errors=(*_BROKEN, 413),
    )


def _file(name: str, collection_id: str) -> Value:
    return operation(
        _name(name, collection_id),
        "The whole as one file, by range",
        tag=collection_id,
        responses=file(COG),
        errors=(400, 404, 412, 416, 503),
    )


def _part(collection_id: str, name: str, summary: str) -> Value:
    answer = {"200": {"description": f"{summary}.", "content": content(ref("schemas", name), "application/json")}}
    return operation(
        _name(f"get{name.capitalize()}", collection_id),
        summary,
        tag=collection_id,
        parameters=[form("json")],
        responses=answer,
        errors=_BROKEN,
    )
