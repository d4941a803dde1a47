"""A picture of the coverage in the colours of its classes, by itself or on a page."""

from http import HTTPStatus
from urllib.parse import urlencode

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from auth.access import Action
from plugins.coverages import CoverageProvider, Size
from plugins.crs import CRS84, Box
from plugins.styles import DEFAULT_STYLE
from products.classes import NODATA
from products.limits import MAX_PIXELS
from products.raster.picture import Layer, Style, encoded, over, palette_of
from routes.guard import GuardedRoute, for_foreign, on_collection
from routes.http.problem import Problem
from routes.pages.render import render
from routes.pygeoapi.handlers import allow, handle, no_such_part
from routes.query.parameters import (
    BBOX,
    BBOX_CRS,
    CRS,
    DATETIME,
    HEIGHT,
    WIDTH,
    at_time,
    negotiate,
    read_parameters,
    side_by_aspect,
    to_system,
)
from routes.resources import Collection, collection_of
from routes.tiles.styles import (
    BGCOLOR,
    DRAWING_PARAMETERS,
    STYLING_PARAMETERS,
    TRANSPARENT,
    asked_style,
    place_of,
    read_drawing,
)

_WIDTH = 800
_FORMS = {"png": "image/png", "html": "text/html"}
MAP_PARAMETERS = (BBOX, BBOX_CRS, CRS, DATETIME, WIDTH, HEIGHT, TRANSPARENT, BGCOLOR)
STYLED_MAP_PARAMETERS = (*MAP_PARAMETERS, *STYLING_PARAMETERS)
"""The parameters of our own maps, including those for classes, colours and ramps."""


_DRAWING = frozenset(each.name for each in DRAWING_PARAMETERS)


def get_map(request: Request) -> Response:
    """Answer with a PNG of exactly the requested box and size, by default 800 pixels wide and in CRS84."""
    collection = collection_of(request)
    provider = collection.readable_coverage()
    asked = read_parameters(request, STYLED_MAP_PARAMETERS, provider.systems)
    form, there = negotiate(request, _FORMS), at_time(request, collection.configured, provider)
    box = to_system(asked.get(BBOX.name) or provider.whole, asked.get(CRS.name) or CRS84)
    full = provider.size_of(box)
    wanted = side_by_aspect(full, asked.get(WIDTH.name), asked.get(HEIGHT.name))
    size = wanted or (_WIDTH, max(1, min(4 * _WIDTH, round(_WIDTH * full[1] / full[0]))))
    if size[0] * size[1] > MAX_PIXELS:
        raise _too_large(*size)
    drawing = provider.styles[0].drawing
    if "style" in request.path_params or not _DRAWING.isdisjoint(asked):
        drawing = read_drawing(request, provider, asked_style(request, collection).drawing)
    if there is None:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    headers = {**collection.headers_of(box, there.year), "Vary": "Accept"}
    if form == "html":
        return Response(_page(request, box, size, collection), headers=headers, media_type="text/html")
    image = encoded(_layer(there, box, size, drawing))
    return Response(image, headers={**headers, "Cache-Control": "public, max-age=3600"}, media_type="image/png")


def _layer(provider: CoverageProvider, box: Box, size: Size, drawing: Style) -> Layer:
    """Return the classes, the steps of the style's ramp, or its red, green and blue."""
    if drawing.channels:
        found = provider.read_colours(box.bbox, box.crs.epsg, size, drawing.channels)
        return over(np.zeros((*size[::-1], 4), np.uint8) if found is None else found, drawing.background)
    if drawing.ramp is None:
        return provider.read(box, size).codes, palette_of(drawing)
    steps = provider.read_steps(box.bbox, box.crs.epsg, size, drawing.ramp)
    return np.full(size[::-1], NODATA, np.uint8) if steps is None else steps, palette_of(drawing)


def _page(request: Request, box: Box, size: Size, collection: Collection) -> str:
    """Return the page with the picture, which it requests with the same parameters."""
    parameters = [(name, value) for name, value in request.query_params.multi_items() if name != "f"]
    style = asked_style(request, collection)
    styled = place_of(collection, style)
    asked = [(name, value) for name, value in parameters if name in {each.name for each in STYLING_PARAMETERS}]
    is_plain = style.id == DEFAULT_STYLE and not style.drawing.is_of_values and not asked
    picture_of = {
        "id": collection.id,
        "title": collection.title,
        "box": box,
        "size": size,
        "address": f"{collection.url if style.id == DEFAULT_STYLE else styled}/map",
        "query": urlencode([*parameters, ("f", "png")]),
        "legend": None if is_plain else f"{styled}/legend?{urlencode([*asked, ('f', 'png')])}",
    }
    return render(request, "map.html", picture_of)


def get_foreign_map(request: Request) -> Response:
    """Answer with a map of a foreign map provider, also in one of its styles."""
    collection = collection_of(request)
    if "map" not in collection.foreign:
        return no_such_part(request)
    drawn = collection.definition("map")["format"]
    form = negotiate(request, {drawn["name"]: drawn["mimetype"]})
    allow(request, *(each.name for each in MAP_PARAMETERS), "subset", "properties")
    _refuse_large(request)
    style = request.path_params.get("style")
    handled = handle(request, "maps.get_collection_map", *([] if style is None else [style]), form=form)
    headers = {"Vary": "Accept", "Cache-Control": "public, max-age=3600"}
    return handled.response(drawn["mimetype"], headers=headers)


def _refuse_large(request: Request) -> None:
    """Raise Problem: 413 for too many pixels, 400 for an invalid side."""
    width, height = WIDTH.of(request) or 500, HEIGHT.of(request) or 300
    if width * height > MAX_PIXELS:
        raise _too_large(width, height)


def _too_large(width: int, height: int) -> Problem:
    detail = f"width x height: {width} x {height}: at most {MAX_PIXELS} pixels are drawn"
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)


_READ = on_collection(Action.READ_MAP)
_FOREIGN = for_foreign(get_foreign_map, "map", "coverage")
_PLACE = "/collections/{collection_id}"
routes = [
    GuardedRoute(f"{_PLACE}{style}/map", get_map, needs=_READ, threads="heavy", foreign=_FOREIGN)
    for style in ("", "/styles/{style}")
]
