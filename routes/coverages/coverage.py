"""The coverage: the requested box and its size in pixels, read by window and overview, never the whole."""

import json
import logging
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth.access import Action
from auth.policy import refuse_part
from plugins.coverage_formats import coverage_json, domain_set, position_json, range_type
from plugins.coverage_netcdf import HAS_NETCDF, write_netcdf
from plugins.coverage_query import MAX_VALUES_AS_TEXT, scaled_down
from plugins.coverages import CoverageProvider, Pixels, Size
from plugins.crs import CRS84, epsg_of
from products.limits import MAX_PIXELS
from products.raster.geotiff import geotiff, write_geotiff
from products.sources import is_one_file
from routes.coverages.wanted import CoverageRequest, read_wanted
from routes.guard import GuardedRoute, Later, for_foreign, on_collection
from routes.http.file_response import is_whole, send_file
from routes.http.media_types import COG, COVERAGE_JSON, GEOTIFF, NETCDF
from routes.http.problem import NOT_FOUND, Problem, bad_parameter
from routes.pages.render import render
from routes.pages.respond import response_file
from routes.pygeoapi.handlers import allow, handle, known_of, no_such_part
from routes.pygeoapi.size import refuse_large
from routes.query.parameters import BBOX_CRS, allow_parameters, at_time, negotiate, read_preferences, to_system
from routes.resources import collection_of, resources_of

COVERAGE_FORMS: dict[str, str] = {
    "tiff": GEOTIFF,
    **({"netcdf": NETCDF} if HAS_NETCDF else {}),
    "png": "image/png",
    "json": COVERAGE_JSON,
    "covjson": "application/vnd.cov+json",
    "html": "text/html",
}
"""The media types by value of `f`."""
_POSITION: dict[str, str] = {"value": "application/json"}
"""The further form of an answer for one place."""
_ENDINGS = {"netcdf": "nc"}
"""Endings of file names that differ from the value of `f`."""
_LARGE = 4_194_304
"""Values of an answer above which it waits for its turn and goes by way of a file."""
_LOGGER = logging.getLogger(__name__)
_ORDERED = "extract-product"


def get_coverage(request: Request) -> Response | Later:
    """Answer with the requested pixels, scaled down if no size is requested and they would be too many.

    204 outside of the coverage (Requirement 6 I of OGC API Coverages, 19-087); 413 above the bound of pixels, and with
    `Prefer: handling=strict` wherever it would be scaled down.
    """
    collection = collection_of(request)
    provider = collection.readable_coverage()
    wanted = read_wanted(request, provider)
    there = at_time(request, collection.configured, provider)
    form = negotiate(request, _POSITION | COVERAGE_FORMS if wanted and wanted.is_position else COVERAGE_FORMS)
    if wanted is None or there is None:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    size = _bounded(request, wanted, form, there.year)
    asked = _Asked(there, wanted, size, resources_of(request).most_values)
    headers = {
        "Vary": "Accept, Prefer",
        **collection.headers_of(wanted.box, there.year),
        **_scaled(request, there, wanted, size),
        **({"Preference-Applied": wanted.applied} if wanted.applied else {}),
    }
    if form == "html":
        return Response(_page(request, wanted, size), headers=headers, media_type="text/html")
    headers["Content-Disposition"] = f'inline; filename="{collection.id.replace("/", "_")}.{_ENDINGS.get(form, form)}"'
    if form in _FILES and size[0] * size[1] * len(wanted.bands) > _LARGE:
        return Later(partial(_large, request, asked, form, headers))
    with asked.pixels() as pixels:
        content = geotiff(pixels.tiff, pixels.rows) if form == "tiff" else _WRITERS[form](pixels)
        return Response(content, headers=headers, media_type=(COVERAGE_FORMS | _POSITION)[form])


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is read of a provider."""

    provider: CoverageProvider
    wanted: CoverageRequest
    size: Size
    limit: int

    def pixels(self) -> AbstractContextManager[Pixels]:
        wanted = self.wanted
        method = wanted.method or self.provider.methods[0]
        return self.provider.open(wanted.box, self.size, bands=wanted.bands, method=method, limit=self.limit)


def _large(request: Request, asked: _Asked, form: str, headers: Mapping[str, str]) -> Response:
    """Return what is written to a file without a name, then sent. Raises Problem 503 where it cannot be."""
    folder = resources_of(request).results.root
    with asked.pixels() as pixels:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with response_file(folder) as file:
                _FILES[form](file, pixels)
                resources_of(request).note_download(collection_of(request).id)
                return file.response(b"", b"", headers=headers, media_type=COVERAGE_FORMS[form])
        except OSError as error:
            _LOGGER.exception("a coverage cannot be written in %s", folder)
            detail = "the answer cannot be written at present"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "60"}) from error


def _netcdf(pixels: Pixels) -> bytes:
    content = BytesIO()
    write_netcdf(content, pixels)
    return content.getvalue()


def _json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


_FILES: Mapping[str, Callable[[IO[bytes], Pixels], None]] = {
    "tiff": lambda file, pixels: write_geotiff(file, pixels.tiff, pixels.rows),
    "netcdf": write_netcdf,
}
"""The forms of large answers, written row by row."""
_WRITERS: Mapping[str, Callable[[Pixels], bytes]] = {
    "netcdf": _netcdf,
    "png": lambda pixels: pixels.picture(),
    "json": lambda pixels: _json(coverage_json(pixels)),
    "covjson": lambda pixels: _json(coverage_json(pixels)),
    "value": lambda pixels: _json(position_json(pixels)),
}


def _bounded(request: Request, wanted: CoverageRequest, form: str, year: int | None) -> Size:
    """Return the size to answer with. Raises Problem 413, before a pixel is read."""
    most = _most(request, form) // len(wanted.bands)
    size = wanted.size or wanted.full
    if size[0] * size[1] <= most:
        return size
    if wanted.size is not None or read_preferences(request).strict:
        raise _too_large(request, size, most, _order(request, wanted, year))
    return scaled_down(size, most)


def _most(request: Request, form: str) -> int:
    match form:
        case "json" | "covjson" | "value":
            return MAX_VALUES_AS_TEXT
        case "tiff" | "netcdf":
            return resources_of(request).most_values
        case _:
            return MAX_PIXELS


def _too_large(request: Request, size: Size, most: int, order: Mapping[str, Any]) -> Problem:
    step = math.ceil(math.sqrt(size[0] * size[1] / most))
    place = collection_of(request).url
    advice = " (`order` is the request)" if order else ""
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"{size[0]} x {size[1]} pixels were asked for, at most {most} are answered: ask for a smaller bbox or fewer "
        f"pixels (such as scale-factor={step}), read the whole as one file in place (the enclosure link of {place}), "
        f"or order the area with the process extract-product{advice}",
        headers={"Link": f'<{place}>; rel="collection"'},
        pixels=size[0] * size[1],
        bound=most,
        **order,
    )


def _order(request: Request, wanted: CoverageRequest, year: int | None) -> dict[str, Any]:
    """Return the order that delivers the box, with its address, if the collection shows a product of the year."""
    resources, collection = resources_of(request), collection_of(request)
    if _ORDERED not in resources.api.config["resources"]:
        return {}
    shown = (each for each in resources.shown.products if collection.id in each.collections)
    product = next((each for each in shown if year is None or each.year == year), None)
    if product is None:
        return {}
    bbox = [round(edge, 7) for edge in to_system(wanted.box, CRS84).bbox]
    inputs = {"product": "Raster", "series": product.series, "year": product.year, "aoi": {"bbox": bbox}}
    href = f"{resources.url}/processes/{_ORDERED}/execution"
    return {"order": {"href": href, "method": "POST", "type": "application/json", "body": {"inputs": inputs}}}


def _scaled(request: Request, provider: CoverageProvider, wanted: CoverageRequest, size: Size) -> dict[str, str]:
    """Return the headers for an answer that is scaled down without a request for it."""
    if wanted.size is not None or size == wanted.full:
        return {}
    collection = collection_of(request)
    place = collection.url
    whole = {}
    if is_one_file(provider.data):
        file = f"{place}/files/{quote(Path(provider.data).name)}"
        whole = {"Link": f'<{file}>; rel="enclosure"; title="every pixel"'}
    return {**whole, "Scale-Factor": f"{wanted.full[0] / size[0]:.0f}"}


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


def get_file(request: Request) -> Response:
    """Answer with the Cloud-Optimized GeoTIFF that the coverage is read from; no other name leads to a file."""
    allow_parameters(request, one_form=True)
    collection, name = collection_of(request), request.path_params["name"]
    refuse_part(f"the file is not cut to it, but the coverage and orders of the process {_ORDERED} are")
    provider = collection.coverage()
    files = (each for each in (provider.data, *provider.years.values()) if is_one_file(each))
    sources = {Path(each).name: Path(each) for each in files}
    if name not in sources:
        raise Problem(HTTPStatus.NOT_FOUND, f"collection {collection.id!r} has no file {name!r}", type_=NOT_FOUND)
    if "range" not in request.headers:
        collection.require_readable()
    sent = send_file(request, sources[name], media_type=COG, filename=name)
    if is_whole(sent) and request.method != "HEAD":
        resources_of(request).note_download(collection.id)
    return sent


def get_foreign_coverage(request: Request) -> Response:
    """Answer with the pixels of a foreign provider: CoverageJSON or the provider's own format."""
    collection = collection_of(request)
    definition = collection.definition("coverage")
    native = definition.get("format") or {}
    forms = {"json": COVERAGE_JSON, **({native["name"]: native["mimetype"]} if native else {})}
    form = negotiate(request, forms)
    known = known_of(collection, "coverage")
    allow(request, "bbox", "bbox-crs", "datetime", "properties", "subset")
    system = _bbox_crs(request)
    count = known.size.of_coverage({**request.query_params, **system}, native=form != "json")
    refuse_large(count, as_json=form == "json")
    handled = handle(request, "coverages.get_collection_coverage", form=form, **system)
    return handled.response(forms[form], headers={"Vary": "Accept"})


def _bbox_crs(request: Request) -> dict[str, str]:
    """Return `bbox-crs` as the EPSG code, which pygeoapi's coverages expect. Raises the 400 Problem."""
    name = BBOX_CRS.text(request)
    if name is None:
        return {}
    if not (epsg := epsg_of(name)):
        raise bad_parameter(
            "bbox-crs", name, "allowed: a system of the EPSG, as http://www.opengis.net/def/crs/EPSG/0/4326"
        )
    return {"bbox-crs": str(epsg)}


_READ, _DOWNLOAD = on_collection(Action.READ_COVERAGE), on_collection(Action.DOWNLOAD)
_PLACE = "/collections/{collection_id}"
_FOREIGN, NO_PART = for_foreign(get_foreign_coverage, "coverage"), for_foreign(no_such_part, "coverage")

routes = [
    GuardedRoute(f"{_PLACE}/coverage", get_coverage, needs=_READ, threads="heavy", foreign=_FOREIGN),
    GuardedRoute(f"{_PLACE}/coverage/domainset", get_domain_set, needs=_READ, threads="light", foreign=NO_PART),
    GuardedRoute(f"{_PLACE}/coverage/rangetype", get_range_type, needs=_READ, threads="light", foreign=NO_PART),
    GuardedRoute(f"{_PLACE}/files/{{name}}", get_file, needs=_DOWNLOAD, threads="light", foreign=NO_PART),
]
