"""Styles: in which colours a coverage is drawn, as a list, one by one, as a legend, and changed by a query."""

import re
from dataclasses import replace
from http import HTTPStatus
from io import BytesIO
from typing import Any
from urllib.parse import quote

from PIL import Image, ImageDraw, ImageFont
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth.access import Action
from products.classes import Classes
from products.raster.picture import Rgb, Style
from routes.guard import GuardedRoute, for_foreign, on_collection
from routes.http.problem import NOT_FOUND, Problem
from routes.pages.respond import OGC, link
from routes.pygeoapi.handlers import no_such_part
from routes.query.parameters import FLAG, NAMES, TEXT, Parameter, allow_parameters, negotiate
from routes.resources import Collection, collection_of, note_language

DEFAULT_STYLE = "default"
"""The only style: the colours of the classes. `hide`, `isolate` and `recolour` change it for a request."""
_COLOUR = re.compile(r"(?:0x|#)?([0-9a-fA-F]{6})")
WHITE: Rgb = (255, 255, 255)
_VALUES = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 254}}


def _colour(text: str) -> Rgb:
    match = _COLOUR.fullmatch(text)
    if match is None:
        raise ValueError(text, "allowed: 0xRRGGBB")
    red, green, blue = bytes.fromhex(match[1])
    return red, green, blue


def _values(text: str) -> frozenset[int]:
    return frozenset(_value(part) for part in text.split(","))


def _value(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 4 and int(text) < 255):  # noqa: PLR2004 - 255: no data
        raise ValueError(text, "allowed: values of classes, as 1,2")
    return int(text)


def _colours(text: str) -> tuple[tuple[int, Rgb], ...]:
    pairs = [part.partition(":") for part in text.split(",")]
    return tuple(sorted({_value(value): _colour(colour) for value, _, colour in pairs}.items()))


TRANSPARENT = Parameter("transparent", "Whether pixels without data are transparent.", {**FLAG, "default": True})
BGCOLOR = Parameter(
    "bgcolor",
    "The colour without data: `0xRRGGBB`.",
    {**TEXT, "pattern": "^(0x|#)?[0-9A-Fa-f]{6}$"},
    _colour,
    "allowed: 0xRRGGBB",
)
HIDE = Parameter("hide", "Classes that are not drawn, by their values.", _VALUES, _values)
ISOLATE = Parameter("isolate", "The only classes that are drawn, by their values.", _VALUES, _values)
RECOLOUR = Parameter("recolour", "Other colours of classes: `value:0xRRGGBB`, several with commas.", NAMES, _colours)
DRAWING_PARAMETERS = (TRANSPARENT, BGCOLOR, HIDE, ISOLATE, RECOLOUR)


def read_drawing(request: Request, classes: Classes) -> Style:
    """Return how the request has classes drawn. Raises the 400 Problem, also for a value that is no class."""
    colour, transparent = BGCOLOR.of(request), TRANSPARENT.of(request)
    clear = transparent or (transparent is None and colour is None)
    hidden, only, colours = HIDE.of(request), ISOLATE.of(request), RECOLOUR.of(request)
    for parameter, named in ((HIDE, hidden), (ISOLATE, only), (RECOLOUR, dict(colours or ()))):
        _check_known(parameter, frozenset(named or ()), classes)
    return Style(classes, hidden or frozenset(), only, colours or (), None if clear else colour or WHITE)


def _check_known(parameter: Parameter, named: frozenset[int], classes: Classes) -> None:
    known = {each.value for each in classes}
    if unknown := sorted(named - known):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"parameter {parameter.name}: {', '.join(map(str, unknown))} is no class; "
            f"allowed: {', '.join(map(str, sorted(known)))}",
        )


def require_style(collection: Collection, style: str) -> None:
    """Raise Problem 404 for a style that the collection does not have."""
    if style != DEFAULT_STYLE:
        detail = f"collection {collection.id!r} has no style {style[:80]!r}; there is {DEFAULT_STYLE}"
        raise Problem(HTTPStatus.NOT_FOUND, detail, type_=NOT_FOUND)


def get_styles(request: Request) -> Response:
    """Answer with the styles of the collection."""
    allow_parameters(request)
    negotiate(request, {"json": "application/json"})
    collection = collection_of(request)
    collection.readable_coverage()
    style = {"id": DEFAULT_STYLE, "title": "The colours of the classes", "links": _links(collection)}
    self = link(f"{collection.url}/styles", "self", "application/json", "This document")
    return JSONResponse({"links": [self], "default": DEFAULT_STYLE, "styles": [style]})


def get_style(request: Request) -> Response:
    """Answer with one style: its classes, their values, names and colours."""
    allow_parameters(request)
    negotiate(request, {"json": "application/json"})
    collection = collection_of(request)
    require_style(collection, request.path_params["style"])
    provider = collection.readable_coverage()
    document = {"id": DEFAULT_STYLE, "title": "The colours of the classes", "links": _links(collection)}
    return JSONResponse({**document, "classes": legend_of(Style(provider.classes))})


def _links(collection: Collection) -> list[dict[str, Any]]:
    place = f"{collection.url}/styles/{DEFAULT_STYLE}"
    return [
        link(place, "self", "application/json", "This style"),
        link(f"{collection.url}/map?f=png", f"{OGC}/map", "image/png", "A map in this style"),
        link(f"{collection.url}/map/tiles", f"{OGC}/tilesets-map", "application/json", "Map tiles in this style"),
        link(f"{place}/legend?f=png", f"{OGC}/legend", "image/png", "The legend"),
        link(f"{place}/legend?f=json", f"{OGC}/legend", "application/json", "The legend as JSON"),
    ]


def get_legend(request: Request) -> Response:
    """Answer with the legend, as an image or as JSON, of what a query leaves of the classes."""
    allow_parameters(request, HIDE, ISOLATE, RECOLOUR)
    form = negotiate(request, {"png": "image/png", "json": "application/json"})
    collection = collection_of(request)
    require_style(collection, request.path_params["style"])
    provider = collection.readable_coverage()
    drawing = read_drawing(request, provider.classes)
    headers = {"Vary": "Accept", "Cache-Control": "public, max-age=3600"}
    if form == "json":
        note_language(request)
        return JSONResponse({"title": collection.title, "classes": legend_of(drawing)}, headers=headers)
    return Response(legend_image(drawing), headers=headers, media_type="image/png")


def legend_of(drawing: Style) -> list[dict[str, Any]]:
    """Return the classes that are drawn, in their order: value, name and colour."""
    return [{"value": each.value, "name": each.name, "colour": each.hex} for each in _drawn(drawing)]


def _drawn(drawing: Style) -> Classes:
    colours = dict(drawing.colours)
    return tuple(
        replace(each, rgb=colours.get(each.value, each.rgb)) for each in drawing.classes if drawing.shows(each.value)
    )


_LINE, _PATCH, _GAP = 20, 24, 8
_TEXT_SIZE = 13


def legend_image(drawing: Style) -> bytes:
    """Return a PNG with a line for each class that is drawn: a patch of its colour and its name."""
    font = ImageFont.load_default(_TEXT_SIZE)
    classes = _drawn(drawing)
    width = max((round(font.getlength(each.name)) for each in classes), default=0) + _PATCH + 3 * _GAP
    image = Image.new("RGB", (width, max(1, len(classes)) * _LINE + _GAP), "white")
    pen = ImageDraw.Draw(image)
    for number, each in enumerate(classes):
        top = _GAP // 2 + number * _LINE
        pen.rectangle((_GAP, top + 3, _GAP + _PATCH, top + _LINE - 3), fill=each.rgb, outline=(96, 96, 96))
        pen.text((2 * _GAP + _PATCH, top + 2), each.name, fill="black", font=font)
    content = BytesIO()
    image.save(content, "PNG", optimize=True)
    return content.getvalue()


def legend_url(collection: Collection) -> str:
    """Return the address of the legend as an image."""
    return f"{collection.url}/styles/{quote(DEFAULT_STYLE)}/legend?f=png"


_READ = on_collection(Action.READ_MAP)
_NONE = for_foreign(no_such_part, "coverage")
_STYLES = "/collections/{collection_id}/styles"
routes = [
    GuardedRoute(_STYLES, get_styles, needs=_READ, threads="light", foreign=_NONE),
    GuardedRoute(f"{_STYLES}/{{style}}", get_style, needs=_READ, threads="light", foreign=_NONE),
    GuardedRoute(f"{_STYLES}/{{style}}/legend", get_legend, needs=_READ, threads="light", foreign=_NONE),
]
