"""The standards that this server conforms to; a class is claimed when a test shows it.

Maps are not claimed: without `crs` theirs are in the storage CRS, ours in CRS84, as GDAL takes every map.
"""

from starlette.requests import Request
from starlette.responses import Response

from routes.guard import NOTHING, GuardedRoute
from routes.http.links import both_forms
from routes.pages.respond import respond
from routes.query.parameters import allow_parameters
from routes.resources import resources_of

_SPEC = "http://www.opengis.net/spec"

CLASSES = (
    f"{_SPEC}/ogcapi-common-1/1.0/conf/core",
    f"{_SPEC}/ogcapi-common-1/1.0/conf/landing-page",
    f"{_SPEC}/ogcapi-common-1/1.0/conf/json",
    f"{_SPEC}/ogcapi-common-1/1.0/conf/html",
    f"{_SPEC}/ogcapi-common-1/1.0/conf/oas30",
    f"{_SPEC}/ogcapi-common-2/1.0/conf/collections",
    f"{_SPEC}/ogcapi-features-1/1.0/conf/core",
    f"{_SPEC}/ogcapi-features-1/1.0/conf/geojson",
    f"{_SPEC}/ogcapi-features-1/1.0/conf/html",
    f"{_SPEC}/ogcapi-features-1/1.0/conf/oas30",
    f"{_SPEC}/ogcapi-features-2/1.0/conf/crs",
    f"{_SPEC}/ogcapi-coverages-1/1.0/conf/core",
    f"{_SPEC}/ogcapi-processes-1/1.0/conf/core",
    f"{_SPEC}/ogcapi-processes-1/1.0/conf/json",
    f"{_SPEC}/ogcapi-processes-1/1.0/conf/html",
    f"{_SPEC}/ogcapi-processes-1/1.0/conf/oas30",
    f"{_SPEC}/ogcapi-processes-1/1.0/conf/ogc-process-description",
    f"{_SPEC}/ogcapi-processes-1/1.0/conf/job-list",
    f"{_SPEC}/ogcapi-processes-1/1.0/conf/dismiss",
    f"{_SPEC}/ogcapi-processes-1/1.0/conf/callback",
)


async def get_conformance(request: Request) -> Response:
    """Answer with the list."""
    allow_parameters(request)
    document = {
        "title": "Conformance",
        "links": both_forms(f"{resources_of(request).url}/conformance"),
        "conformsTo": CLASSES,
    }
    return respond(request, document, page="conformance.html")


routes = [GuardedRoute("/conformance", get_conformance, needs=NOTHING)]
