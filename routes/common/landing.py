"""The landing page."""

from typing import Any

from pygeoapi.api import landing_page
from starlette.requests import Request
from starlette.responses import Response

from routes.guard import NOTHING, GuardedRoute
from routes.http.links import OGC, both_forms, link
from routes.pages.respond import respond
from routes.pygeoapi.ask import ask
from routes.query.parameters import allow_parameters
from routes.resources import Resources, resources_of


async def get_landing(request: Request) -> Response:
    """Answer with what this server is and where everything begins."""
    allow_parameters(request)
    return respond(request, _document(resources_of(request)), page="landing.html")


def _document(resources: Resources) -> dict[str, Any]:
    """Take title, description and the `about` link from pygeoapi; its other links name what is not here."""
    document = ask(resources.api, landing_page)
    about = [entry for entry in document["links"] if entry["rel"] == "about"]
    metadata = resources.api.config["metadata"]
    return {
        "title": document["title"],
        "description": document["description"],
        "attribution": _attribution(resources),
        "links": [
            *both_forms(f"{resources.url}/"),
            *_entrances(resources.url),
            *about,
            link(metadata["license"]["url"], "license", "text/html", metadata["license"]["name"]),
        ],
        "collections": [
            {"id": each.id, "title": each.title, "description": each.configured["description"]}
            for each in resources.listed_collections()
        ],
    }


def _attribution(resources: Resources) -> str:
    """Return what must be said of the products that the caller sees."""
    seen = resources.catalogue.seen({each.id for each in resources.listed_collections()}).products
    return "; ".join(dict.fromkeys(product.attribution for product in seen))


def _entrances(url: str) -> list[dict[str, Any]]:
    json = "application/json"
    openapi = "application/vnd.oai.openapi+json;version=3.0"
    return [
        link(f"{url}/openapi", "service-desc", openapi, "The definition of this API"),
        link(f"{url}/openapi?f=html", "service-doc", "text/html", "The definition of this API as a page"),
        link(f"{url}/conformance", "conformance", json, "The standards that this server conforms to"),
        link(f"{url}/conformance", f"{OGC}/conformance", json, "The standards that this server conforms to"),
        link(f"{url}/collections", "data", json, "The collections"),
        link(f"{url}/collections", f"{OGC}/data", json, "The collections"),
        link(f"{url}/processes", f"{OGC}/processes", json, "What can be ordered"),
        link(f"{url}/jobs", f"{OGC}/job-list", json, "The orders"),
    ]


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


routes = [
    GuardedRoute("/", get_landing, needs=NOTHING),
    GuardedRoute("/conformance", get_conformance, needs=NOTHING),
]
