"""Each claimed class, and a request that shows it; other requirements are tested with their route."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

_SPEC = "http://www.opengis.net/spec"
_JSON = "application/json"
_GEOJSON = "application/geo+json"
_HTML = "text/html"
_OPENAPI = "application/vnd.oai.openapi+json;version=3.0"
_RASTER = "/collections/clcplus-raster"
SHOWN = {
    "ogcapi-common-1/1.0/conf/core": ("/", "application/json"),
    "ogcapi-common-1/1.0/conf/landing-page": ("/", _JSON),
    "ogcapi-common-1/1.0/conf/json": ("/conformance", _JSON),
    "ogcapi-common-1/1.0/conf/html": ("/?f=html", _HTML),
    "ogcapi-common-1/1.0/conf/oas30": ("/openapi", _OPENAPI),
    "ogcapi-common-2/1.0/conf/collections": ("/collections", _JSON),
    "ogcapi-features-1/1.0/conf/core": ("/collections/parks/items?limit=1&bbox=19,49,21,51", _GEOJSON),
    "ogcapi-features-1/1.0/conf/geojson": ("/collections/parks/items", _GEOJSON),
    "ogcapi-features-1/1.0/conf/html": ("/collections/parks/items?f=html", _HTML),
    "ogcapi-features-1/1.0/conf/oas30": ("/openapi", _OPENAPI),
    "ogcapi-features-2/1.0/conf/crs": (
        "/collections/parks/items?crs=http://www.opengis.net/def/crs/EPSG/0/3035",
        _GEOJSON,
    ),
    "ogcapi-coverages-1/1.0/conf/core": (f"{_RASTER}/coverage?scale-factor=64", "image/tiff; application=geotiff"),
    "ogcapi-tiles-1/1.0/conf/core": (f"{_RASTER}/map/tiles/WebMercatorQuad/6/21/35", "image/png"),
    "ogcapi-tiles-1/1.0/conf/tileset": (f"{_RASTER}/map/tiles/WebMercatorQuad", _JSON),
    "ogcapi-tiles-1/1.0/conf/tilesets-list": (f"{_RASTER}/map/tiles", _JSON),
    "ogcapi-tiles-1/1.0/conf/dataset-tilesets": ("/map/tiles", _JSON),
    "ogcapi-tiles-1/1.0/conf/geodata-tilesets": (f"{_RASTER}/map/tiles/EuropeanETRS89_LAEAQuad/6/30/46", "image/png"),
    "ogcapi-tiles-1/1.0/conf/collections-selection": (
        "/map/tiles/WebMercatorQuad/6/21/35?collections=clcplus-raster",
        "image/png",
    ),
    "ogcapi-tiles-1/1.0/conf/mvt": (
        "/collections/parks/tiles/WebMercatorQuad/6/21/35",
        "application/vnd.mapbox-vector-tile",
    ),
    "ogcapi-tiles-1/1.0/conf/png": ("/map/tiles/WebMercatorQuad/6/21/35?f=png", "image/png"),
    "ogcapi-processes-1/1.0/conf/core": ("/processes", _JSON),
    "ogcapi-processes-1/1.0/conf/json": ("/processes/echo", _JSON),
    "ogcapi-processes-1/1.0/conf/html": ("/processes/echo?f=html", _HTML),
    "ogcapi-processes-1/1.0/conf/oas30": ("/openapi", _OPENAPI),
    "ogcapi-processes-1/1.0/conf/ogc-process-description": ("/processes/extract-product", _JSON),
    "ogcapi-processes-1/1.0/conf/job-list": ("/jobs?status=successful&limit=1", _JSON),
}
_OF_COVERAGES = (
    "subsetting-spatial",
    "scaling-spatial",
    "position-query",
    "field-selection",
    "crs",
    "geotiff",
    "coveragejson",
)
_OF_FILTERS = (
    "cql2-text", "cql2-json", "basic-cql2", "advanced-comparison-operators", "case-insensitive-comparison",
    "accent-insensitive-comparison", "basic-spatial-functions", "basic-spatial-functions-plus", "spatial-functions",
    "temporal-functions", "property-property", "arithmetic",
)  # fmt: skip
_OF_SCHEMAS = (
    "schemas", "core-roles-features", "returnables-and-receivables", "queryables", "sortables", "profile-parameter",
    "profile-codelists",
)  # fmt: skip
_OF_QUERIES = ("queryables", "queryables-query-parameters", "filter", "features-filter")
ELSEWHERE = {
    "ogcapi-processes-1/1.0/conf/dismiss",
    "ogcapi-processes-1/1.0/conf/callback",
    *(f"ogcapi-coverages-1/1.0/conf/{name}" for name in _OF_COVERAGES),  # tests/routes/coverages/test_wanted.py
    *(f"ogcapi-features-3/1.0/conf/{name}" for name in _OF_QUERIES),  # tests/routes/features/test_items.py
    *(f"ogcapi-features-5/1.0/conf/{name}" for name in _OF_SCHEMAS),  # tests/routes/features/test_schemas.py
    *(
        f"cql2/1.0/conf/{name}" for name in _OF_FILTERS
    ),  # tests/products/test_cql.py, tests/routes/features/test_items.py
}


def test_claimed_conformance_classes_are_those_tested(client: TestClient) -> None:
    claimed = {name.removeprefix(f"{_SPEC}/") for name in client.get("/conformance").json()["conformsTo"]}
    assert claimed == set(SHOWN) | ELSEWHERE


@pytest.mark.parametrize("name", SHOWN)
def test_each_claimed_conformance_class_is_met(client: TestClient, name: str) -> None:
    path, media_type = SHOWN[name]
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].removesuffix("; charset=utf-8") == media_type


def test_a_job_can_be_dismissed(client: TestClient) -> None:
    order: Any = client.post(
        "/processes/echo/execution",
        content=json.dumps({"inputs": {"pause": 30}}),
        headers={"content-type": "application/json", "prefer": "respond-async"},
    )
    assert order.status_code == 201, order.text
    dismissed = client.delete(f"/jobs/{order.json()['jobID']}")
    assert dismissed.status_code == 200
    assert dismissed.json()["status"] == "dismissed"
