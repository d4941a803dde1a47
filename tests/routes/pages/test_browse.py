"""The landing page, the collections and their descriptions."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

URL = "https://maps.example.org/land"
OGC = "http://www.opengis.net/def/rel/ogc/1.0"
COLLECTIONS = ["clcplus-raster", "clcplus-vector", "parks", "nations"]
LARGE = f"{URL}/collections/clcplus-vector/items?f="
"""Files of a whole layer of 148,000 polygons; those of the other layers are made by the same means."""


def links_of(document: dict[str, Any], rel: str) -> list[dict[str, Any]]:
    return [link for link in document["links"] if link["rel"] == rel]


def ours(node: Any) -> list[str]:
    """Return every `href` in a document except those to the next page."""
    if isinstance(node, dict):
        own = [node["href"]] if isinstance(node.get("href"), str) and node.get("rel") != "next" else []
        return own + [href for value in node.values() for href in ours(value)]
    return [href for entry in node for href in ours(entry)] if isinstance(node, list) else []


def test_the_landing_page_leads_everywhere(client: TestClient) -> None:
    document = client.get("/").json()
    assert document["title"] == "Landcast sample"
    rels = {link["rel"] for link in document["links"]}
    wanted = {"self", "alternate", "service-desc", "service-doc", "conformance", "data", "license"}
    assert wanted | {f"{OGC}/processes", f"{OGC}/job-list"} <= rels


def test_every_link_of_this_server_works(client: TestClient) -> None:
    """Starting at the landing page, each address with the public prefix answers 200 in the media type of its link."""
    seen: dict[str, str] = {}
    waiting = [f"{URL}/?f=json"]
    while waiting:
        href = waiting.pop()
        if href in seen or "{" in href or not href.startswith(URL) or href.endswith(("/execution", ".tif")):
            continue
        if href.startswith(LARGE) and not href.endswith(("=json", "=html")):
            continue
        answer = client.get(href.removeprefix(URL))
        assert answer.status_code == 200, (href, answer.text)
        seen[href] = answer.headers["content-type"]
        if seen[href].endswith("json"):
            document = answer.json()
            waiting += ours(document)
            for link in document.get("links", []):
                if link["href"].startswith(URL) and "type" in link and link["rel"] == "self":
                    assert link["type"] == seen[href]
    assert len(seen) > 30


def test_no_address_is_derived_from_the_request(client: TestClient) -> None:
    headers = {"host": "evil.example", "x-forwarded-host": "evil.example", "forwarded": "host=evil.example"}
    for path in (
        "/",
        "/conformance",
        "/collections",
        "/processes",
        "/jobs",
        "/openapi",
        "/collections?f=html",
        "/?f=html",
    ):
        text = client.get(path, headers=headers).text
        assert "evil.example" not in text
        assert "inside.invalid" not in text
        assert "127.0.0.1" not in text


def test_the_prefix_makes_no_difference(client: TestClient) -> None:
    for path in ("/", "/collections", "/collections/parks", "/openapi", "/conformance"):
        assert client.get(path).json() == client.get(f"/land{path}").json()


def test_conformance_is_a_list_of_classes(client: TestClient) -> None:
    classes = client.get("/conformance").json()["conformsTo"]
    assert len(classes) == len(set(classes)) > 10
    assert all(re.fullmatch(r"http://www\.opengis\.net/spec/[\w-]+/1\.0/conf/[\w-]+", name) for name in classes)


def test_the_collections_are_listed(client: TestClient) -> None:
    document = client.get("/collections").json()
    assert [entry["id"] for entry in document["collections"]] == COLLECTIONS
    for entry in document["collections"]:
        assert entry == client.get(f"/collections/{entry['id']}").json()


def test_items_are_linked_without_a_query_since_gdal_puts_the_id_behind(client: TestClient) -> None:
    [items] = [
        link
        for link in links_of(client.get("/collections/parks").json(), "items")
        if link["type"] == "application/geo+json"
    ]
    assert items["href"] == f"{URL}/collections/parks/items"


def test_collections_of_features_have_their_systems(client: TestClient) -> None:
    vector = client.get("/collections/clcplus-vector").json()
    assert vector["itemType"] == "feature"
    assert vector["storageCrs"] == "http://www.opengis.net/def/crs/EPSG/0/3035"
    assert vector["storageCrs"] in vector["crs"]
    assert "http://www.opengis.net/def/crs/OGC/1.3/CRS84" in vector["crs"]


def test_the_coverage_has_the_metadata_for_gdal(client: TestClient) -> None:
    document = client.get("/collections/clcplus-raster").json()
    assert document["layerDataType"] == "Coverage"
    assert document["storageCrs"] == "http://www.opengis.net/def/crs/EPSG/0/3035"
    assert document["scaleDenominator"] == pytest.approx(10 / 0.00028)
    assert [cells["cellsCount"] for cells in document["extent"]["spatial"]["grid"]] == [58_880, 47_104]
    types = {link["type"] for link in links_of(document, f"{OGC}/coverage")}
    assert "image/tiff; application=geotiff" in types
    assert links_of(document, f"{OGC}/coverage-domainset")
    assert links_of(document, f"{OGC}/coverage-rangetype")
    assert links_of(document, f"{OGC}/map")[0]["type"] == "image/png"
    assert links_of(document, "preview")
    assert not links_of(document, "items")


def test_times_are_taken_from_the_configuration(client: TestClient) -> None:
    extent = client.get("/collections/clcplus-raster").json()["extent"]
    assert extent["temporal"]["interval"] == [["2023-01-01T00:00:00Z", "2023-12-31T23:59:59Z"]]


def test_the_whole_file_is_linked_with_its_length(client: TestClient) -> None:
    [link] = links_of(client.get("/collections/clcplus-raster").json(), "enclosure")
    source = Path(__file__).parents[3] / "sample" / "clcplus_2023_parks.tif"
    assert link["length"] == source.stat().st_size
    assert link["type"] == "image/tiff; application=geotiff; profile=cloud-optimized"


def test_only_what_exists_is_linked(client: TestClient) -> None:
    for collection in client.get("/collections").json()["collections"]:
        linked = links_of(collection, f"{OGC}/tilesets-vector")
        assert bool(linked) == bool(links_of(collection, "items")), "features have vector tiles"
    as_linked_data = [
        link["href"]
        for collection in client.get("/collections").json()["collections"]
        for link in collection["links"]
        if link.get("type") == "application/ld+json"
    ]
    assert as_linked_data
    for href in as_linked_data:
        answer = client.get(href.removeprefix(URL))
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/ld+json"), href


def test_the_schema_has_codes_and_classes(client: TestClient) -> None:
    answer = client.get("/collections/clcplus-raster/schema")
    assert answer.headers["content-type"] == "application/schema+json"
    assert answer.json()["$id"] == f"{URL}/collections/clcplus-raster/schema"
    assert {"const": 10, "title": "Water"} in answer.json()["properties"]["class"]["oneOf"]


def test_queryables_are_those_of_the_items(client: TestClient) -> None:
    document = client.get("/collections/clcplus-vector/queryables").json()
    assert document["$id"] == f"{URL}/collections/clcplus-vector/queryables"
    assert document["additionalProperties"] is False
    assert len(document["properties"]) > 2


@pytest.mark.parametrize(
    "path", ["/collections/nowhere", "/collections/extract-product", "/collections/parks/coverage"]
)
def test_missing_resources_are_404(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "http://www.opengis.net/def/exceptions/ogcapi-common-1/1.0/not-found"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/conformance",
        "/openapi",
        "/collections",
        "/collections/parks",
        "/collections/parks/schema",
        "/collections/parks/queryables",
        "/collections/parks/items",
        "/collections/clcplus-raster/coverage",
        "/collections/clcplus-raster/coverage/domainset",
        "/collections/clcplus-raster/coverage/rangetype",
        "/collections/clcplus-raster/map",
        "/collections/clcplus-raster/files/clcplus_2023_parks.tif",
        "/processes",
        "/processes/echo",
        "/jobs",
        "/health/live",
        "/health/ready",
        "/health/orders",
    ],
)
def test_an_unknown_parameter_is_400_everywhere(client: TestClient, path: str) -> None:
    answer = client.get(path, params={"no-such-thing": "1"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert "no-such-thing" in answer.json()["detail"]


def test_json_answers_are_not_html_escaped(make_app: Any, configuration: dict[str, Any]) -> None:
    title = 'a < b & "c" > d: Größe <script>'
    configuration["metadata"]["identification"]["title"] = title
    configuration["resources"]["parks"]["title"] = title
    with TestClient(make_app(configuration)) as client:
        for path in ("/", "/collections/parks", "/collections/parks/schema"):
            answer = client.get(path)
            assert answer.json()["title"] == title
            assert "&lt;" not in answer.text
        assert json.loads(client.get("/openapi").text)["info"]["title"] == title
        page = client.get("/?f=html").text
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def _broken(configuration: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    malformed = tmp_path / "malformed.tif"
    malformed.write_bytes(b"this is no GeoTIFF")
    configuration["resources"]["parks"]["providers"][0]["data"] = str(tmp_path / "missing.gpkg")
    configuration["resources"]["clcplus-raster"]["providers"][0]["data"] = str(malformed)
    return configuration


@pytest.fixture
def half_broken(make_app: Any, configuration: dict[str, Any], tmp_path: Path) -> Starlette:
    app: Starlette = make_app(_broken(configuration, tmp_path))
    return app


def test_a_broken_collection_is_named_in_the_log(half_broken: Starlette, caplog: pytest.LogCaptureFixture) -> None:
    with TestClient(half_broken):
        pass
    assert "collection parks is broken" in caplog.text
    assert "collection clcplus-raster is broken" in caplog.text
    assert "collection nations" not in caplog.text


def test_a_broken_collection_is_503_and_others_are_served(half_broken: Starlette, tmp_path: Path) -> None:
    with TestClient(half_broken) as client:
        for path in (
            "/collections/parks",
            "/collections/parks/schema",
            "/collections/parks/items",
            "/collections/clcplus-raster",
            "/collections/clcplus-raster/coverage",
            "/collections/clcplus-raster/map",
            "/collections/clcplus-raster/files/malformed.tif",
        ):
            answer = client.get(path)
            assert answer.status_code == 503, path
            assert answer.headers["content-type"] == "application/problem+json"
            assert str(tmp_path) not in answer.text
        assert client.get("/collections/nations").status_code == 200
        listed = {entry["id"]: entry for entry in client.get("/collections").json()["collections"]}
        assert list(listed) == COLLECTIONS
        assert links_of(listed["nations"], "items")
        assert not links_of(listed["parks"], "items")
        ready = client.get("/health/ready").json()
        assert ready["status"] == "degraded"
        assert ready["checks"]["collection:parks"]["status"] == "unavailable"
        assert ready["checks"]["collection:nations"]["status"] == "ok"
        assert client.get("/collections?f=html").status_code == 200


def test_a_repaired_collection_is_served_again(
    make_app: Any, configuration: dict[str, Any], tmp_path: Path, sample: Path
) -> None:
    with TestClient(make_app(_broken(configuration, tmp_path))) as client:
        assert client.get("/collections/parks").status_code == 503
        (tmp_path / "missing.gpkg").write_bytes((sample / "sample" / "parks.gpkg").read_bytes())
        assert client.get("/collections/parks").status_code == 200


@pytest.mark.parametrize(
    "provider",
    [
        {"name": "plugins.cog.CogProvider"},
        {"type": "coverage"},
        {"name": "plugins.nowhere.Provider"},
        {"name": "plugins.geopackage.Nobody"},
    ],
)
def test_a_collection_with_an_unsuitable_provider_is_broken(
    make_app: Any, configuration: dict[str, Any], provider: dict[str, str]
) -> None:
    configuration["resources"]["parks"]["providers"][0].update(provider)
    with TestClient(make_app(configuration)) as client:
        assert client.get("/collections").status_code == 200
        assert client.get("/collections/parks").status_code == 503
        assert client.get("/collections/parks/items").status_code in {404, 503}
        assert client.get("/collections/parks/coverage").status_code in {404, 503}
        assert client.get("/collections/nations/items").status_code == 200
        assert client.get("/health/ready").json()["checks"]["collection:parks"]["status"] == "unavailable"
