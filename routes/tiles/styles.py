"""Styles of a coverage: their list, one style, its legend, and changes by query parameters."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from io import BytesIO
from typing import Any
from urllib.parse import quote

from PIL import Image, ImageDraw, ImageFont
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth.access import Action
from plugins.coverages import Band, CoverageProvider, NamedStyle
from plugins.crs import number
from plugins.styles import DEFAULT_STYLE
from products.classes import Classes, LandCoverClass, Rgb
from products.raster.picture import RED_GREEN_BLUE, Style
from products.raster.ramps import VIRIDIS, Ramp, shades
from routes.guard import GuardedRoute, for_foreign, on_collection
from routes.http.problem import NOT_FOUND, Problem, bad_parameter
from routes.pages.respond import OGC, link
from routes.pygeoapi.handlers import no_such_part
from routes.query.parameters import FLAG, NAMES, TEXT, Parameter, allow_parameters, negotiate
from routes.resources import Collection, collection_of, note_language

_COLOUR = re.compile(r"(?:0x|#)?([0-9a-fA-F]{6})")
WHITE: Rgb = (255, 255, 255)
_COLOURS = 3
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


def _limits(text: str) -> tuple[float, float]:
    low, high = map(number, text.split(","))
    if not (low < high and math.isfinite(high - low)):
        raise ValueError(text)
    return low, high


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
FIELDS = Parameter(
    "properties",
    "The field of a raster of values that is drawn as a ramp, or three drawn as red, green and blue; without it what "
    "the style says.",
    {**NAMES, "maxItems": 3},
)
RESCALE = Parameter(
    "rescale",
    "The values that the ramp, or each of red, green and blue, begins and ends with: `low,high`.",
    {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
    _limits,
    "allowed: low,high, low below",
)
RAMP = Parameter("colormap_name", "The ramp of colours in which values are drawn, such as `viridis`, `gray_r`.")
_OF_CLASSES, _OF_VALUES = (HIDE, ISOLATE, RECOLOUR), (FIELDS, RESCALE, RAMP)
STYLING_PARAMETERS = (*_OF_CLASSES, *_OF_VALUES)
"""The parameters that change a style for a request: of classes, or of values."""
DRAWING_PARAMETERS = (TRANSPARENT, BGCOLOR, *STYLING_PARAMETERS)


def read_drawing(request: Request, provider: CoverageProvider, style: Style) -> Style:
    """Return the requested drawing of a coverage in a style. Raises the 400 Problem, also for an unknown class."""
    colour, transparent = BGCOLOR.of(request), TRANSPARENT.of(request)
    clear = transparent or (transparent is None and colour is None)
    background = None if clear else colour or WHITE
    for each in _OF_CLASSES if style.is_of_values else _OF_VALUES:
        if (text := each.text(request)) is not None:
            raise bad_parameter(each.name, text, f"allowed for {'classes' if style.is_of_values else 'values'} only")
    if style.is_of_values:
        return replace(_of_values(request, provider, style), background=background)
    hidden, only, colours = HIDE.of(request), ISOLATE.of(request), RECOLOUR.of(request)
    for parameter, named in ((HIDE, hidden), (ISOLATE, only), (RECOLOUR, dict(colours or ()))):
        _check_known(parameter, frozenset(named or ()), provider.classes)
    return replace(
        style,
        hidden=style.hidden if hidden is None else hidden,
        only=style.only if only is None else only,
        colours=tuple(sorted({**dict(style.colours), **dict(colours or ())}.items())),
        background=background,
    )


def _of_values(request: Request, provider: CoverageProvider, style: Style) -> Style:
    """Return the style with the requested fields, limits and ramp; other bands than its own have their own limits."""
    fields, limits, colours = _fields(request, provider.bands), RESCALE.of(request), RAMP.of(request)
    if colours is not None and colours not in provider.ramps:
        raise bad_parameter(RAMP.name, colours, f"allowed: {', '.join(provider.ramps)}")
    if len(fields) == _COLOURS or (style.channels and not fields):
        if colours is not None:
            raise bad_parameter(RAMP.name, colours, "allowed for one field, not for red, green and blue")
        return replace(style, ramp=None, channels=_channels(provider, style, fields, limits))
    ramp = style.ramp
    if fields and (ramp is None or fields[0].number != ramp.band):
        ramp = Ramp(fields[0].number, *fields[0].limits, VIRIDIS if ramp is None else ramp.colours)
    if ramp is not None and limits is not None:
        ramp = replace(ramp, low=limits[0], high=limits[1])
    if ramp is not None and colours is not None:
        ramp = replace(ramp, colours=provider.ramps[colours])
    return replace(style, ramp=ramp, channels=())


def _fields(request: Request, bands: Sequence[Band]) -> list[Band]:
    """Return the requested fields: none, one or three. Raises the 400 Problem."""
    known, names = {each.name: each for each in bands}, FIELDS.of(request) or ()
    for name in names:
        if name not in known:
            raise bad_parameter(FIELDS.name, name, f"allowed: one or three of {', '.join(known)}")
    if len(names) not in {0, 1, _COLOURS}:
        raise bad_parameter(FIELDS.name, ",".join(names), "allowed: one field, or three as red, green and blue")
    return [known[name] for name in names]


def _channels(
    provider: CoverageProvider, style: Style, fields: Sequence[Band], limits: tuple[float, float] | None
) -> tuple[Ramp, ...]:
    if fields:
        return provider.channels(fields, limits)
    if limits is None:
        return style.channels
    colours = (replace(each, low=limits[0], high=limits[1]) for each in style.channels[:_COLOURS])
    return *colours, *style.channels[_COLOURS:]


def _check_known(parameter: Parameter, named: frozenset[int], classes: Classes) -> None:
    known = {each.value for each in classes}
    if unknown := sorted(named - known):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"parameter {parameter.name}: {', '.join(map(str, unknown))} is no class; "
            f"allowed: {', '.join(map(str, sorted(known)))}",
        )


def style_of(collection: Collection, name: str) -> NamedStyle:
    """Return a style of the collection. Raises Problem: 404, 503."""
    styles = {each.id: each for each in collection.readable_coverage().styles}
    if name not in styles:
        detail = f"collection {collection.id!r} has no style {name[:80]!r}; there is {', '.join(styles)}"
        raise Problem(HTTPStatus.NOT_FOUND, detail, type_=NOT_FOUND)
    return styles[name]


def asked_style(request: Request, collection: Collection) -> NamedStyle:
    """Return the style that the path names, else the default one. Raises Problem: 404, 503."""
    return style_of(collection, request.path_params.get("style", DEFAULT_STYLE))


def get_styles(request: Request) -> Response:
    """Answer with the styles of the collection."""
    allow_parameters(request)
    negotiate(request, {"json": "application/json"})
    note_language(request)
    collection = collection_of(request)
    styles = [_about(collection, each) for each in collection.readable_coverage().styles]
    self = link(f"{collection.url}/styles", "self", "application/json", "This document")
    return JSONResponse({"links": [self], "default": DEFAULT_STYLE, "styles": styles})


def get_style(request: Request) -> Response:
    """Answer with one style: its classes, their values, names and colours, or its ramp."""
    allow_parameters(request)
    negotiate(request, {"json": "application/json"})
    note_language(request)
    collection = collection_of(request)
    style = asked_style(request, collection)
    return JSONResponse({**_about(collection, style), **legend_of(style.drawing, collection.readable_coverage())})


def _about(collection: Collection, style: NamedStyle) -> dict[str, Any]:
    return {"id": style.id, "title": style.title, "links": _links(collection, style)}


def _links(collection: Collection, style: NamedStyle) -> list[dict[str, Any]]:
    place = place_of(collection, style)
    return [
        link(place, "self", "application/json", "This style"),
        link(f"{place}/map?f=png", f"{OGC}/map", "image/png", "A map in this style"),
        link(f"{place}/map/tiles", f"{OGC}/tilesets-map", "application/json", "Map tiles in this style"),
        link(f"{place}/legend?f=png", f"{OGC}/legend", "image/png", "The legend"),
        link(f"{place}/legend?f=json", f"{OGC}/legend", "application/json", "The legend as JSON"),
    ]


def place_of(collection: Collection, style: NamedStyle) -> str:
    """Return the address of a style."""
    return f"{collection.url}/styles/{quote(style.id)}"


def get_legend(request: Request) -> Response:
    """Answer with the legend of the drawn classes or of the ramp, as an image or as JSON."""
    allow_parameters(request, *STYLING_PARAMETERS)
    form = negotiate(request, {"png": "image/png", "json": "application/json"})
    collection = collection_of(request)
    provider = collection.readable_coverage()
    drawing = read_drawing(request, provider, asked_style(request, collection).drawing)
    headers = {"Vary": "Accept", "Cache-Control": "public, max-age=3600"}
    if form == "json":
        note_language(request)
        return JSONResponse({"title": collection.title, **legend_of(drawing, provider)}, headers=headers)
    return Response(legend_image(drawing, provider), headers=headers, media_type="image/png")


def legend_of(drawing: Style, provider: CoverageProvider) -> dict[str, Any]:
    """Return the drawn classes in their order: value, name and colour; or the ramp, from its lowest value.

    Of bands as red, green and blue it has the field and the limits of each.
    """
    classes = [{"value": each.value, "name": each.name, "colour": each.hex} for each in _drawn(drawing)]
    if drawing.channels:
        channels = [
            {"colour": colour, "property": band.name, "title": band.title, "rescale": [each.low, each.high]}
            for colour, each, band in _coloured(drawing, provider)
        ]
        return {"classes": classes, "channels": channels}
    if drawing.ramp is None:
        return {"classes": classes}
    ramp, last = drawing.ramp, len(drawing.ramp.colours) - 1
    band = provider.bands[ramp.band - 1]
    colours = [
        {"value": ramp.low + (ramp.high - ramp.low) * place / last, "colour": "#{:02x}{:02x}{:02x}".format(*colour)}
        for place, colour in enumerate(ramp.colours)
    ]
    about = {"property": band.name, "title": band.title, **({"unit": band.unit} if band.unit else {})}
    return {"classes": classes, "ramp": {**about, "rescale": [ramp.low, ramp.high], "colours": colours}}


def _coloured(drawing: Style, provider: CoverageProvider) -> list[tuple[str, Ramp, Band]]:
    """Return red, green and blue with their bands."""
    known = {each.number: each for each in provider.bands}
    return [(colour, each, known[each.band]) for colour, each in zip(RED_GREEN_BLUE, drawing.channels, strict=False)]


def _drawn(drawing: Style) -> Classes:
    colours = dict(drawing.colours)
    return tuple(
        replace(each, rgb=colours.get(each.value, each.rgb)) for each in drawing.classes if drawing.shows(each.value)
    )


_LINE, _PATCH, _GAP = 20, 24, 8
_TEXT_SIZE = 13
_GREY = (96, 96, 96)
_RAMP_WIDTH, _MARKS = 254, 3
_PRIMARY: Sequence[Rgb] = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def legend_image(drawing: Style, provider: CoverageProvider) -> bytes:
    """Return a PNG with a line for each drawn class or band, its colour and its name; or of the ramp."""
    lines = _drawn(drawing)
    if drawing.channels:
        named = zip(_coloured(drawing, provider), _PRIMARY, strict=True)
        lines = tuple(LandCoverClass(each.band, band.title, rgb) for (_, each, band), rgb in named)
    image = _ramp_image(drawing.ramp, provider) if drawing.ramp else _classes_image(lines)
    content = BytesIO()
    image.save(content, "PNG", optimize=True)
    return content.getvalue()


def _ramp_image(ramp: Ramp, provider: CoverageProvider) -> Image.Image:
    """Return the ramp from left to right below the name of its band, with its lowest, middle and highest value."""
    font, band = ImageFont.load_default(_TEXT_SIZE), provider.bands[ramp.band - 1]
    title = f"{band.title} ({band.unit})" if band.unit else band.title
    width = max(_RAMP_WIDTH + 1, round(font.getlength(title))) + 2 * _GAP
    image = Image.new("RGB", (width, 3 * _LINE + _GAP), "white")
    pen = ImageDraw.Draw(image)
    pen.text((_GAP, _GAP // 2 + 2), title, fill="black", font=font)
    top = _GAP // 2 + _LINE
    for step, colour in enumerate(shades(ramp.colours)):
        pen.line((_GAP + step, top, _GAP + step, top + _LINE - 4), fill=colour)
    for mark in range(_MARKS):
        part = mark / (_MARKS - 1)
        text = f"{ramp.low + (ramp.high - ramp.low) * part:.6g}"
        left = _GAP + part * (_RAMP_WIDTH - font.getlength(text))
        pen.text((left, top + _LINE), text, fill="black", font=font)
    return image


def _classes_image(classes: Classes) -> Image.Image:
    font = ImageFont.load_default(_TEXT_SIZE)
    width = max((round(font.getlength(each.name)) for each in classes), default=0) + _PATCH + 3 * _GAP
    image = Image.new("RGB", (width, max(1, len(classes)) * _LINE + _GAP), "white")
    pen = ImageDraw.Draw(image)
    for row, each in enumerate(classes):
        top = _GAP // 2 + row * _LINE
        pen.rectangle((_GAP, top + 3, _GAP + _PATCH, top + _LINE - 3), fill=each.rgb, outline=_GREY)
        pen.text((2 * _GAP + _PATCH, top + 2), each.name, fill="black", font=font)
    return image


_READ = on_collection(Action.READ_MAP)
_NONE = for_foreign(no_such_part, "coverage")
_STYLES = "/collections/{collection_id}/styles"
routes = [
    GuardedRoute(_STYLES, get_styles, needs=_READ, threads="light", foreign=_NONE),
    GuardedRoute(f"{_STYLES}/{{style}}", get_style, needs=_READ, threads="light", foreign=_NONE),
    GuardedRoute(f"{_STYLES}/{{style}}/legend", get_legend, needs=_READ, threads="light", foreign=_NONE),
]
