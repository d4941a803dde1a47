"""WMTS 1.0.0 (OGC 07-057r7): capabilities, and tiles by KVP; the RESTful addresses are those of OGC API Tiles."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from xml.etree.ElementTree import Element, SubElement, register_namespace, tostring

from starlette.requests import Request
from starlette.responses import Response

from plugins.crs import CRS84
from plugins.styles import DEFAULT_STYLE
from products.tiling import TileMatrixSet
from routes.guard import GuardedRoute
from routes.http.language import LANG
from routes.http.problem import Problem, bad_parameter
from routes.query.parameters import Parameter, allow_parameters, allowed_names
from routes.resources import Collection, note_language, resources_of
from routes.tiles.styles import place_of
from routes.tiles.tile import ON_COLLECTIONS, TILE_FORMS, answer_tile, read_place
from routes.tiles.tilesets import matrix_limits

_WMTS, _OWS, _XLINK = (
    "http://www.opengis.net/wmts/1.0",
    "http://www.opengis.net/ows/1.1",
    "http://www.w3.org/1999/xlink",
)
for _prefix, _space in (("", _WMTS), ("ows", _OWS), ("xlink", _XLINK)):
    register_namespace(_prefix, _space)
_URI = re.compile(r"https?://www\.opengis\.net/def/crs/([^/]+)/([^/]+)/([^/]+)")
_VERSION = "1.0.0"
_XML = "text/xml"

WMTS_PARAMETERS = (
    Parameter("service", "`WMTS`; names of parameters are the same in capitals."),
    Parameter("request", "`GetCapabilities` or `GetTile`."),
    Parameter("version", "`1.0.0`."),
    Parameter("acceptversions", "The versions that the caller reads."),
    Parameter("layer", "A collection."),
    Parameter("style", "A style of the collection; `default` without it."),
    Parameter("format", "`image/png` or `image/webp`."),
    Parameter("tilematrixset", "The tile matrix set."),
    Parameter("tilematrix", "The tile matrix."),
    Parameter("tilerow", "The row."),
    Parameter("tilecol", "The column."),
)
_NAMES = tuple(each.name for each in WMTS_PARAMETERS)
_PLACE = {"matrix_set": "tilematrixset", "matrix": "tilematrix", "row": "tilerow", "column": "tilecol"}


class _Refused(Exception):
    """A request that WMTS answers with an ExceptionReport: its code, the parameter, and the reason."""

    def __init__(self, code: str, locator: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.locator = code, locator


def get_wmts(request: Request) -> Response:
    """Answer GetCapabilities and GetTile; an error is an ExceptionReport of OWS 1.1.0."""
    given = _read(request)
    try:
        match _allowed(given, "request", ("GetCapabilities", "GetTile")):
            case "GetCapabilities":
                _allowed(given, "service", ("WMTS",))
                return _capabilities(request)
            case _:
                return _tile(request, given)
    except _Refused as error:
        return _report(HTTPStatus.BAD_REQUEST, error.code, error.locator, str(error))
    except Problem as error:
        if error.status not in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}:
            raise
        code = "TileOutOfRange" if error.status is HTTPStatus.NOT_FOUND else "InvalidParameterValue"
        return _report(HTTPStatus.BAD_REQUEST, code, "", error.detail)


def _read(request: Request) -> dict[str, str]:
    """Return the parameters by name in lower case. Raises the 400 Problem for an unknown one."""
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name != LANG and name.lower() not in _NAMES:
            raise bad_parameter(name, value, f"unknown parameter; allowed: {allowed_names(request, _NAMES)}")
        if name.lower() in given:
            raise bad_parameter(name, value, "allowed once")
        given[name.lower()] = value
    return given


def _needed(given: Mapping[str, str], name: str) -> str:
    if not given.get(name):
        raise _Refused("MissingParameterValue", name, f"{name.upper()} is missing")
    return given[name]


def _allowed(given: Mapping[str, str], name: str, allowed: Sequence[str]) -> str:
    value = _needed(given, name)
    found = next((each for each in allowed if each.lower() == value.lower()), None)
    if found is None:
        raise _Refused("InvalidParameterValue", name, f"{name.upper()}={value[:80]}: allowed: {', '.join(allowed)}")
    return found


def _tile(request: Request, given: Mapping[str, str]) -> Response:
    collections: dict[str, Collection] = {each.id: each for each in request.state.collections}
    layer = _allowed(given, "layer", tuple(collections))
    style = DEFAULT_STYLE
    if given.get("style"):
        styles = collections[layer].readable_coverage().styles
        style = _allowed(given, "style", [each.id for each in styles])
    media_type = _allowed(given, "format", tuple(TILE_FORMS.values()))
    form = next(form for form, each in TILE_FORMS.items() if each == media_type)
    place = read_place(request, {part: _needed(given, name) for part, name in _PLACE.items()})
    return answer_tile(request, [collections[layer]], place, form=form, style=style)


def get_capabilities(request: Request) -> Response:
    """Answer with the capabilities at the address of the RESTful binding."""
    allow_parameters(request, one_form=True)
    return _capabilities(request)


def _report(status: HTTPStatus, code: str, locator: str, reason: str) -> Response:
    root = Element(f"{{{_OWS}}}ExceptionReport", version="1.1.0")
    about = {"exceptionCode": code} | ({"locator": locator} if locator else {})
    exception = SubElement(root, f"{{{_OWS}}}Exception", about)
    SubElement(exception, f"{{{_OWS}}}ExceptionText").text = reason
    return Response(_written(root), status, {"Cache-Control": "no-store"}, media_type=_XML)


def _written(root: Element) -> bytes:
    content: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return content


def _capabilities(request: Request) -> Response:
    note_language(request)
    resources = resources_of(request)
    root = Element(f"{{{_WMTS}}}Capabilities", version=_VERSION)
    about = resources.api.config["metadata"]["identification"]
    service = _below(root, _OWS, "ServiceIdentification")
    _below(service, _OWS, "Title", str(about["title"]))
    _below(service, _OWS, "Abstract", str(about["description"]))
    _below(service, _OWS, "ServiceType", "OGC WMTS")
    _below(service, _OWS, "ServiceTypeVersion", _VERSION)
    _add_operations(root, f"{resources.url}/wmts?")
    contents = _below(root, _WMTS, "Contents")
    sets = [each for each in resources.matrix_sets.values() if _is_written(each)]
    for collection in request.state.collections:
        if collection.failure() is None:
            _add_layer(contents, collection, sets)
    for tiles in sets:
        _add_set(contents, tiles)
    address = {f"{{{_XLINK}}}href": f"{resources.url}/wmts/1.0.0/WMTSCapabilities.xml"}
    SubElement(root, f"{{{_WMTS}}}ServiceMetadataURL", address)
    return Response(_written(root), headers={"Cache-Control": "public, max-age=60"}, media_type=_XML)


def _below(parent: Element, space: str, name: str, text: str | None = None) -> Element:
    found = SubElement(parent, f"{{{space}}}{name}")
    found.text = text
    return found


def _is_written(tiles: TileMatrixSet) -> bool:
    """Return whether WMTS 1.0.0 can describe the set: rows from the north, and a CRS with a name."""
    return _urn(tiles) != "" and all(each.down for each in tiles.matrices.values())


def _urn(tiles: TileMatrixSet) -> str:
    if tiles.crs_uri.startswith("urn:"):
        return tiles.crs_uri
    match = _URI.fullmatch(tiles.crs_uri)
    return f"urn:ogc:def:crs:{match[1]}:{'' if match[2] == '0' else match[2]}:{match[3]}" if match else ""


def _add_operations(root: Element, address: str) -> None:
    metadata = _below(root, _OWS, "OperationsMetadata")
    for name in ("GetCapabilities", "GetTile"):
        each = SubElement(metadata, f"{{{_OWS}}}Operation", name=name)
        http = _below(_below(each, _OWS, "DCP"), _OWS, "HTTP")
        get = SubElement(http, f"{{{_OWS}}}Get", {f"{{{_XLINK}}}href": address})
        constraint = SubElement(get, f"{{{_OWS}}}Constraint", name="GetEncoding")
        _below(_below(constraint, _OWS, "AllowedValues"), _OWS, "Value", "KVP")


def _add_layer(contents: Element, collection: Collection, sets: Sequence[TileMatrixSet]) -> None:
    provider = collection.readable_coverage()
    layer = _below(contents, _WMTS, "Layer")
    _below(layer, _OWS, "Title", collection.title)
    _below(layer, _OWS, "Abstract", str(collection.configured["description"]))
    west, south, east, north = provider.whole.to(CRS84).bbox
    box = _below(layer, _OWS, "WGS84BoundingBox")
    _below(box, _OWS, "LowerCorner", f"{max(west, -180)} {south}")
    _below(box, _OWS, "UpperCorner", f"{min(east, 180)} {north}")
    _below(layer, _OWS, "Identifier", collection.id)
    for each in provider.styles:
        is_default = {"isDefault": "true"} if each.id == DEFAULT_STYLE else {}
        style = SubElement(layer, f"{{{_WMTS}}}Style", is_default)
        _below(style, _OWS, "Title", each.title)
        _below(style, _OWS, "Identifier", each.id)
        legend = {"format": "image/png", f"{{{_XLINK}}}href": f"{place_of(collection, each)}/legend?f=png"}
        SubElement(style, f"{{{_WMTS}}}LegendURL", legend)
    for media_type in TILE_FORMS.values():
        _below(layer, _WMTS, "Format", media_type)
    for tiles in sets:
        limits = list(matrix_limits(tiles, [provider]))
        if not limits:
            continue
        linked = _below(layer, _WMTS, "TileMatrixSetLink")
        _below(linked, _WMTS, "TileMatrixSet", tiles.id)
        all_limits = _below(linked, _WMTS, "TileMatrixSetLimits")
        for limit in limits:
            one = _below(all_limits, _WMTS, "TileMatrixLimits")
            _below(one, _WMTS, "TileMatrix", limit["tileMatrix"])
            for name in ("minTileRow", "maxTileRow", "minTileCol", "maxTileCol"):
                _below(one, _WMTS, name[0].upper() + name[1:], str(limit[name]))
    styled = f"{collection.url}/styles/{{style}}" if len(provider.styles) > 1 else collection.url
    place = f"{styled}/map/tiles/{{TileMatrixSet}}/{{TileMatrix}}/{{TileRow}}/{{TileCol}}"
    for form, media_type in TILE_FORMS.items():
        template = {"format": media_type, "resourceType": "tile", "template": f"{place}?f={form}"}
        SubElement(layer, f"{{{_WMTS}}}ResourceURL", template)


def _add_set(contents: Element, tiles: TileMatrixSet) -> None:
    written = _below(contents, _WMTS, "TileMatrixSet")
    _below(written, _OWS, "Title", tiles.title)
    _below(written, _OWS, "Identifier", tiles.id)
    _below(written, _OWS, "SupportedCRS", _urn(tiles))
    for matrix in tiles.matrices.values():
        one = _below(written, _WMTS, "TileMatrix")
        corner = reversed(matrix.begin) if tiles.northing_first else matrix.begin
        _below(one, _OWS, "Identifier", matrix.id)
        _below(one, _WMTS, "ScaleDenominator", repr(matrix.scale_denominator))
        _below(one, _WMTS, "TopLeftCorner", " ".join(map(repr, corner)))
        for name, number in zip(("TileWidth", "TileHeight"), matrix.size, strict=True):
            _below(one, _WMTS, name, str(number))
        _below(one, _WMTS, "MatrixWidth", str(matrix.columns))
        _below(one, _WMTS, "MatrixHeight", str(matrix.rows))


routes = [
    GuardedRoute("/wmts", get_wmts, needs=ON_COLLECTIONS, threads="light"),
    GuardedRoute("/wmts/1.0.0/WMTSCapabilities.xml", get_capabilities, needs=ON_COLLECTIONS, threads="light"),
]
