"""A picture of the coverage in the colours of its classes, by itself or on a page."""

import re
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from auth.access import Action
from plugins.coverages import Size
from plugins.crs import CRS84, Box
from products.limits import MAX_PIXELS
from products.raster.picture import picture
from routes.collection import Collection, collection_of
from routes.coverages.coverage import content_headers
from routes.coverages.query import read_side, side_by_aspect, to_system
from routes.guard import GuardedRoute, for_foreign, on_collection
from routes.http.problem import Problem, bad_parameter
from routes.pages.render import render
from routes.pages.respond import negotiate
from routes.pygeoapi.handlers import allow, handle, no_such_part
from routes.query.bbox import read_box, read_crs
from routes.query.datetime import meets_time
from routes.query.parameters import allow_parameters

_WIDTH = 800
_COLOUR = re.compile(r"(?:0x|#)?([0-9a-fA-F]{6})")
_FORMS = {"png": "image/png", "html": "text/html"}
_PARAMETERS = ("bbox-crs", "crs", "width", "height", "datetime", "transparent", "bgcolor")


def get_map(request: Request) -> Response:
    """Answer with a PNG of exactly the box and size asked for: 800 pixels wide, longitude and latitude without them."""
    allow_parameters(request, *_PARAMETERS, repeatable=("bbox",))
    form = negotiate(request, _FORMS)
    collection = collection_of(request)
    provider = collection.readable_coverage()
    crs = read_crs(request, "crs", provider.systems, CRS84)
    box = to_system(read_box(request, provider.systems) or provider.whole, crs)
    size = _size(request, provider.size_of(box))
    background = _background(request)
    if not meets_time(request, collection.configured):
        return Response(status_code=HTTPStatus.NO_CONTENT)
    if form == "html":
        page = _page(request, box, size, collection)
        return Response(
            page, headers={**content_headers(box, collection.configured), "Vary": "Accept"}, media_type="text/html"
        )
    image = picture(provider.read(box, size).values, provider.classes, background=background)
    headers = {**content_headers(box, collection.configured), "Cache-Control": "public, max-age=3600", "Vary": "Accept"}
    return Response(image, headers=headers, media_type="image/png")


def _page(request: Request, box: Box, size: Size, collection: Collection) -> str:
    """Return the page with the picture, which asks for it by the same parameters."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "f"]
    picture_of = {"id": collection.id, "title": collection.title, "box": box, "size": size}
    return render(request, "map.html", {**picture_of, "query": urlencode([*kept, ("f", "png")])})


def _size(request: Request, full: Size) -> Size:
    size = side_by_aspect(full, read_side(request, "width"), read_side(request, "height")) or (
        _WIDTH,
        max(1, min(4 * _WIDTH, round(_WIDTH * full[1] / full[0]))),
    )
    if size[0] * size[1] > MAX_PIXELS:
        raise _too_large(*size)
    return size


def _background(request: Request) -> tuple[int, int, int] | None:
    """Return the colour of what has no data, None for transparent: the default, unless there is a bgcolor."""
    colour = request.query_params.get("bgcolor")
    match = _COLOUR.fullmatch(colour) if colour is not None else None
    if colour is not None and match is None:
        raise bad_parameter("bgcolor", colour, "allowed: 0xRRGGBB")
    transparent = request.query_params.get("transparent", "false" if match else "true").lower()
    if transparent not in {"true", "false"}:
        raise bad_parameter("transparent", transparent, "allowed: true, false")
    if transparent == "true":
        return None
    red, green, blue = bytes.fromhex(match[1]) if match else (255, 255, 255)
    return red, green, blue


def get_foreign_map(request: Request) -> Response:
    """Answer with a map of a provider of maps that is not ours, also in one of its styles."""
    collection = collection_of(request)
    if "map" not in collection.foreign:
        return no_such_part(request)
    drawn = collection.definition("map")["format"]
    form = negotiate(request, {drawn["name"]: drawn["mimetype"]})
    allow(request, *_PARAMETERS, "bbox", "subset", "properties")
    _refuse_large(request)
    style = request.path_params.get("style")
    handled = handle(request, "maps.get_collection_map", *([] if style is None else [style]), form=form)
    headers = {"Vary": "Accept", "Cache-Control": "public, max-age=3600"}
    return handled.response(drawn["mimetype"], headers=headers)


def _refuse_large(request: Request) -> None:
    """Raise Problem: 413 for more pixels than are drawn, 400 for a side that is none."""
    width, height = read_side(request, "width") or 500, read_side(request, "height") or 300
    if width * height > MAX_PIXELS:
        raise _too_large(width, height)


def _too_large(width: int, height: int) -> Problem:
    detail = f"width x height: {width} x {height}: at most {MAX_PIXELS} pixels are drawn"
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)


_READ = on_collection(Action.READ_MAP)
_FOREIGN = for_foreign(get_foreign_map, "map", "coverage")
_PLACE = "/collections/{collection_id}"
routes = [GuardedRoute(f"{_PLACE}/map", get_map, needs=_READ, threads="heavy", foreign=_FOREIGN)]
style_routes = [
    GuardedRoute(f"{_PLACE}/styles/{{style}}/map", no_such_part, needs=_READ, threads="light", foreign=_FOREIGN)
]
