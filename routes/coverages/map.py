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
from routes.coverages.coverage import NO_PART, content_headers
from routes.coverages.query import read_side, side_by_aspect, to_system
from routes.guard import GuardedRoute, on_collection
from routes.http.problem import Problem, bad_parameter
from routes.pages.render import render
from routes.pages.respond import negotiate
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
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"width x height: {size[0]} x {size[1]}: at most {MAX_PIXELS} pixels are drawn",
        )
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


_READ = on_collection(Action.READ_MAP)
routes = [GuardedRoute("/collections/{collection_id}/map", get_map, needs=_READ, threads="heavy", foreign=NO_PART)]
