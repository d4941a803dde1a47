"""The coverage: its pixels by window and scale, never the whole raster."""

import json
import math
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth.access import Action
from plugins.coverage_formats import coverage_json, domain_set, geotiff, range_type
from plugins.coverage_query import MAX_VALUES_AS_TEXT, scaled_down
from plugins.coverages import CoverageProvider, Pixels, Size
from plugins.crs import Box, epsg_of
from plugins.restriction import refuse_restriction
from products.limits import MAX_PIXELS
from products.raster.picture import picture
from routes.collection import collection_of
from routes.coverages.query import LISTS, PARAMETERS, CoverageRequest, read_wanted
from routes.guard import GuardedRoute, for_foreign, on_collection
from routes.http.file_response import send_file
from routes.http.media_types import COG, COVERAGE_JSON, GEOTIFF
from routes.http.prefer import read_preferences
from routes.http.problem import NOT_FOUND, Problem, bad_parameter
from routes.pages.render import render
from routes.pages.respond import negotiate
from routes.pygeoapi.handlers import allow, handle, no_such_part, provider_of
from routes.query.datetime import extent_of, meets_time
from routes.query.parameters import allow_parameters
from routes.resources import resources_of

_FORMS = {"tiff": GEOTIFF, "png": "image/png", "json": COVERAGE_JSON, "html": "text/html"}


def get_coverage(request: Request) -> Response:
    """Answer with the pixels asked for; where no size is asked for and it would be too large, scaled down.

    204 outside of the coverage (Requirement 6 I of OGC API Coverages, 19-087); 413 above the bound of pixels, and with
    `Prefer: handling=strict` wherever it would be scaled down.
    """
    allow_parameters(request, *PARAMETERS, repeatable=LISTS)
    form = negotiate(request, _FORMS)
    collection = collection_of(request)
    provider = collection.readable_coverage()
    in_time = meets_time(request, collection.configured)
    wanted = read_wanted(request, provider)
    if wanted is None or not in_time:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    size = _bounded(request, wanted, MAX_VALUES_AS_TEXT if form == "json" else MAX_PIXELS)
    headers = {
        "Vary": "Accept, Prefer",
        **content_headers(wanted.box, collection.configured),
        **_scaled(request, wanted, size),
    }
    if form == "html":
        return Response(_page(request, wanted, size), headers=headers, media_type="text/html")
    pixels = provider.read(wanted.box, size)
    name = f"{collection.id.replace('/', '_')}.{form}"
    return Response(
        _written(pixels, form),
        headers={**headers, "Content-Disposition": f'inline; filename="{name}"'},
        media_type=_FORMS[form],
    )


def _written(pixels: Pixels, form: str) -> bytes:
    match form:
        case "tiff":
            return geotiff(pixels)
        case "png":
            return picture(pixels.values, pixels.classes)
        case _:
            return json.dumps(coverage_json(pixels)).encode()


def _bounded(request: Request, wanted: CoverageRequest, bound: int) -> Size:
    """Return the size to answer with. Raises Problem 413."""
    size = wanted.size or wanted.full
    if size[0] * size[1] <= bound:
        return size
    if wanted.size is not None or read_preferences(request).strict:
        raise _too_large(request, size, bound)
    return scaled_down(size, bound)


def _too_large(request: Request, size: Size, bound: int) -> Problem:
    step = math.ceil(math.sqrt(size[0] * size[1] / bound))
    place = f"{resources_of(request).url}/collections/{quote(collection_of(request).id)}"
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"{size[0]} x {size[1]} pixels were asked for, at most {bound} are answered: ask for a smaller bbox or fewer "
        f"pixels (such as scale-factor={step}), read the whole as one file in place (the enclosure link of {place}), "
        "or order the area with the process extract-product",
        headers={"Link": f'<{place}>; rel="collection"'},
        pixels=size[0] * size[1],
        bound=bound,
    )


def _scaled(request: Request, wanted: CoverageRequest, size: Size) -> dict[str, str]:
    """Say that, and how much, the answer is scaled down where the caller has not asked for it."""
    if wanted.size is not None or size == wanted.full:
        return {}
    collection = collection_of(request)
    place = f"{resources_of(request).url}/collections/{quote(collection.id)}"
    source = quote(Path(collection.coverage().data).name)
    return {
        "Link": f'<{place}/files/{source}>; rel="enclosure"; title="every pixel"',
        "Scale-Factor": f"{wanted.full[0] / size[0]:.0f}",
    }


def _page(request: Request, wanted: CoverageRequest, size: Size) -> str:
    collection = collection_of(request)
    query = "&".join(part for part in request.url.query.split("&") if part and not part.startswith("f="))
    return render(
        request,
        "coverage.html",
        {
            "id": collection.id,
            "title": collection.title,
            "query": query,
            "size": size,
            "full": wanted.full,
            "box": wanted.box,
        },
    )


def get_domain_set(request: Request) -> Response:
    """Answer with the grid, in longitude and latitude, as GDAL's OGCAPI driver reads it."""
    return _part(request, domain_set)


def get_range_type(request: Request) -> Response:
    """Answer with the type of the values, as GDAL's OGCAPI driver reads it."""
    return _part(request, range_type)


def _part(request: Request, make: Callable[[CoverageProvider], dict[str, Any]]) -> Response:
    allow_parameters(request)
    negotiate(request, {"json": "application/json"})
    return JSONResponse(make(collection_of(request).readable_coverage()))


def content_headers(box: Box, collection: Mapping[str, Any]) -> dict[str, str]:
    """Return Content-Crs, Content-Bbox in the order of its axes and, where it is known, Content-Datetime.

    OGC API Coverages /req/core/response-headers, OGC API Maps /req/core/map-response.
    """
    headers = {"Content-Crs": f"<{box.crs.uri}>", "Content-Bbox": ",".join(map(str, box.as_written))}
    begin, end = extent_of(collection)
    return {**headers, "Content-Datetime": f"{_instant(begin)}/{_instant(end)}"} if begin or end else headers


def _instant(instant: Any) -> str:
    return instant.isoformat().replace("+00:00", "Z") if instant else ".."


def get_file(request: Request) -> Response:
    """Answer with the Cloud-Optimized GeoTIFF that the coverage is read from; no other name leads to a file."""
    allow_parameters(request, one_form=True)
    collection, name = collection_of(request), request.path_params["name"]
    refuse_restriction()
    source = Path(collection.coverage().data)
    if name != source.name:
        raise Problem(HTTPStatus.NOT_FOUND, f"collection {collection.id!r} has no file {name!r}", type_=NOT_FOUND)
    if "range" not in request.headers:
        collection.require_readable()
    return send_file(request, source, media_type=COG, filename=name)


def get_foreign_coverage(request: Request) -> Response:
    """Answer with the pixels of a provider that has no faster interface: CoverageJSON or the provider's own format."""
    collection = collection_of(request)
    definition = collection.definition("coverage")
    native = definition.get("format") or {}
    offered = {"json": COVERAGE_JSON, **({native["name"]: native["mimetype"]} if native else {})}
    form = negotiate(request, offered)
    provider = provider_of(collection, "coverage")
    allow(request, "bbox", "bbox-crs", "datetime", "properties", "subset")
    _refuse_large(request, provider)
    handled = handle(request, "coverages.get_collection_coverage", form=form, **_bbox_crs(request))
    return handled.response(offered[form], headers={"Vary": "Accept"})


def _bbox_crs(request: Request) -> dict[str, str]:
    """Return `bbox-crs` as pygeoapi's coverages take it, which is by the EPSG's code. Raises the 400 Problem."""
    name = request.query_params.get("bbox-crs")
    if name is None:
        return {}
    if not (epsg := epsg_of(name)):
        raise bad_parameter(
            "bbox-crs", name, "allowed: a system of the EPSG, as http://www.opengis.net/def/crs/EPSG/0/4326"
        )
    return {"bbox-crs": str(epsg)}


def _refuse_large(request: Request, provider: Any) -> None:
    """Raise Problem 413 where all of a coverage is asked for that is too large to be read at once."""
    found = getattr(provider, "_coverage_properties", {})
    count = math.prod(int(found.get(name) or 1) for name in ("width", "height", "time"))
    if not request.query_params.keys() & {"bbox", "subset", "datetime"} and count > MAX_PIXELS:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"{count} values were asked for, at most {MAX_PIXELS} are answered: ask for a part with bbox or subset",
        )


_READ, _DOWNLOAD = on_collection(Action.READ_COVERAGE), on_collection(Action.DOWNLOAD)
_PLACE = "/collections/{collection_id}"
_FOREIGN, NO_PART = for_foreign(get_foreign_coverage, "coverage"), for_foreign(no_such_part, "coverage")
routes = [
    GuardedRoute(f"{_PLACE}/coverage", get_coverage, needs=_READ, threads="heavy", foreign=_FOREIGN),
    GuardedRoute(f"{_PLACE}/coverage/domainset", get_domain_set, needs=_READ, threads="light", foreign=NO_PART),
    GuardedRoute(f"{_PLACE}/coverage/rangetype", get_range_type, needs=_READ, threads="light", foreign=NO_PART),
    GuardedRoute(
        f"{_PLACE}/files/{{name}}", get_file, needs=on_collection(Action.DOWNLOAD), threads="light", foreign=NO_PART
    ),
]
