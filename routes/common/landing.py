"""The landing page."""

from typing import Any

from pygeoapi.api import landing_page
from starlette.requests import Request
from starlette.responses import Response

from routes.features.edit import is_edited
from routes.guard import NOTHING, GuardedRoute
from routes.http.media_types import GEOJSON, OPENAPI
from routes.pages.respond import OGC, both_forms, link, respond
from routes.pages.translator import noted
from routes.pygeoapi.ask import ask
from routes.pygeoapi.asyncapi import CONFORMANCE as CONFORMANCE_OF_BROKER
from routes.pygeoapi.asyncapi import broker_links
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
    attribution = _attribution(resources)
    tiled = any("tile" in each.kinds for each in resources.listed_collections())
    drawn = any("coverage" in each.kinds - each.foreign for each in resources.listed_collections())
    return {
        "title": document["title"],
        "description": document["description"],
        **({"attribution": attribution} if attribution else {}),
        "links": [
            *both_forms(f"{resources.url}/"),
            *_entrances(resources.url),
            *(_entrances_of_map_tiles(resources.url) if drawn else ()),
            *(_entrances_of_tiles(resources.url) if tiled else ()),
            *broker_links(resources),
            *(_entrances_of_stac(resources.url) if resources.listed_stac() else ()),
            *(_entrances_of_stac_api(resources.url) if resources.listed_stac() or resources.catalogue.products else ()),
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
    return [
        link(f"{url}/openapi", "service-desc", OPENAPI, "The definition of this API"),
        link(f"{url}/openapi?f=html", "service-doc", "text/html", "The definition of this API as a page"),
        link(f"{url}/conformance", "conformance", json, "The standards that this server conforms to"),
        link(f"{url}/conformance", f"{OGC}/conformance", json, "The standards that this server conforms to"),
        link(f"{url}/collections", "data", json, "The collections"),
        link(f"{url}/collections", f"{OGC}/data", json, "The collections"),
        link(f"{url}/processes", f"{OGC}/processes", json, "What can be ordered"),
        link(f"{url}/jobs", f"{OGC}/job-list", json, "The orders"),
    ]


def _entrances_of_map_tiles(url: str) -> list[dict[str, Any]]:
    return [
        link(f"{url}/map/tiles", f"{OGC}/tilesets-map", "application/json", "The map tiles of all collections"),
        link(f"{url}/tileMatrixSets", f"{OGC}/tiling-schemes", "application/json", "Their tile matrix sets"),
        link(f"{url}/wmts?service=WMTS&request=GetCapabilities", "service-desc", "text/xml", "The map tiles as WMTS"),
    ]


def _entrances_of_tiles(url: str) -> list[dict[str, Any]]:
    return [link(f"{url}/TileMatrixSets", f"{OGC}/tiling-schemes", "application/json", "The tile matrix sets")]


def _entrances_of_stac(url: str) -> list[dict[str, Any]]:
    return [link(f"{url}/stac", "child", "application/json", "The catalog of files (STAC)")]


def _entrances_of_stac_api(url: str) -> list[dict[str, Any]]:
    return [
        link(f"{url}/stac-api", "related", "application/json", "The start of STAC API"),
        link(f"{url}/stac-api/search", "search", GEOJSON, "Search for items (STAC API)"),
    ]


_SPEC = "http://www.opengis.net/spec"

_CQL2 = (
    "cql2-text", "cql2-json", "basic-cql2", "advanced-comparison-operators", "case-insensitive-comparison",
    "accent-insensitive-comparison", "basic-spatial-functions", "basic-spatial-functions-plus", "spatial-functions",
    "temporal-functions", "property-property", "arithmetic",
)  # fmt: skip
_SCHEMAS = (
    "schemas", "core-roles-features", "returnables-and-receivables", "queryables", "sortables", "profile-parameter",
    "profile-codelists",
)  # fmt: skip
CONFORMANCE = (
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
    f"{_SPEC}/ogcapi-features-3/1.0/conf/queryables",
    f"{_SPEC}/ogcapi-features-3/1.0/conf/queryables-query-parameters",
    f"{_SPEC}/ogcapi-features-3/1.0/conf/filter",
    f"{_SPEC}/ogcapi-features-3/1.0/conf/features-filter",
    *(f"{_SPEC}/ogcapi-features-5/1.0/conf/{name}" for name in _SCHEMAS),
    *(f"{_SPEC}/cql2/1.0/conf/{name}" for name in _CQL2),
    f"{_SPEC}/ogcapi-coverages-1/1.0/conf/core",
    f"{_SPEC}/ogcapi-tiles-1/1.0/conf/core",
    f"{_SPEC}/ogcapi-tiles-1/1.0/conf/tileset",
    f"{_SPEC}/ogcapi-tiles-1/1.0/conf/tilesets-list",
    f"{_SPEC}/ogcapi-tiles-1/1.0/conf/dataset-tilesets",
    f"{_SPEC}/ogcapi-tiles-1/1.0/conf/geodata-tilesets",
    f"{_SPEC}/ogcapi-tiles-1/1.0/conf/collections-selection",
    f"{_SPEC}/ogcapi-tiles-1/1.0/conf/png",
    f"{_SPEC}/ogcapi-tiles-1/1.0/conf/mvt",
    f"{_SPEC}/ogcapi-coverages-1/1.0/conf/subsetting-spatial",
    f"{_SPEC}/ogcapi-coverages-1/1.0/conf/scaling-spatial",
    f"{_SPEC}/ogcapi-coverages-1/1.0/conf/position-query",
    f"{_SPEC}/ogcapi-coverages-1/1.0/conf/field-selection",
    f"{_SPEC}/ogcapi-coverages-1/1.0/conf/crs",
    f"{_SPEC}/ogcapi-coverages-1/1.0/conf/geotiff",
    f"{_SPEC}/ogcapi-coverages-1/1.0/conf/coveragejson",
    f"{_SPEC}/ogcapi-processes-1/1.0/conf/core",
    f"{_SPEC}/ogcapi-processes-1/1.0/conf/json",
    f"{_SPEC}/ogcapi-processes-1/1.0/conf/html",
    f"{_SPEC}/ogcapi-processes-1/1.0/conf/oas30",
    f"{_SPEC}/ogcapi-processes-1/1.0/conf/ogc-process-description",
    f"{_SPEC}/ogcapi-processes-1/1.0/conf/job-list",
    f"{_SPEC}/ogcapi-processes-1/1.0/conf/dismiss",
    f"{_SPEC}/ogcapi-processes-1/1.0/conf/callback",
)

_OF_RECORDS = "record-core", "record-core-query-parameters", "json", "html", "oas30"
_OF_EDITING = "create-replace-delete", "update", "optimistic-locking-etags", "features"
CONFORMANCE_OF_EDITING = tuple(f"{_SPEC}/ogcapi-features-4/1.0/conf/{name}" for name in _OF_EDITING)
CONFORMANCE_OF_RECORDS = tuple(f"{_SPEC}/ogcapi-records-1/1.0/conf/{name}" for name in _OF_RECORDS)


def _conformance(resources: Resources) -> tuple[str, ...]:
    records = any(each.has_records for each in resources.listed_collections())
    broker = CONFORMANCE_OF_BROKER if resources.broker else ()
    edited = any(is_edited(each) for each in resources.listed_collections())
    more = (CONFORMANCE_OF_RECORDS if records else ()) + (CONFORMANCE_OF_EDITING if edited else ())
    return CONFORMANCE + more + broker


async def get_conformance(request: Request) -> Response:
    """Answer with the list."""
    allow_parameters(request)
    document = {
        "title": noted("Conformance"),
        "links": both_forms(f"{resources_of(request).url}/conformance"),
        "conformsTo": _conformance(resources_of(request)),
    }
    return respond(request, document, page="conformance.html")


routes = [
    GuardedRoute("/", get_landing, needs=NOTHING),
    GuardedRoute("/conformance", get_conformance, needs=NOTHING),
]
