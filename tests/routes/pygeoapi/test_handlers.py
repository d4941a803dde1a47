"""Collections of foreign providers: pygeoapi's, and one of an operator."""

import csv
import gc
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from rasterio.transform import from_bounds
from starlette.testclient import TestClient

from products.catalogue import read_configuration
from server.check import find_problems
from server.configuration import examine
from tests.auth.issuers import FakeIssuer
from tests.conftest import URL, MakeApp
from tests.routes.pygeoapi.plugins import TILED_AND_RETRIEVED

pytestmark = [
    pytest.mark.filterwarnings("ignore:Support for class-based `config`"),  # of pygeoapi's tile matrix sets
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),  # TinyDB
]

STATIONS = [
    ("371", 35, "2001-10-30T14:24:55Z", 89.9, 45, -75),
    ("377", 35, "2002-10-30T18:31:38Z", 93.9, 45, -75),
    ("238", 2147, "2007-10-30T08:57:29Z", 103.5, 43, -79),
]
PLUGIN = '''
import threading
from pygeoapi.provider.base import BaseProvider, ProviderConnectionError, ProviderItemNotFoundError, ProviderQueryError

GO_ON = threading.Event()


class Slow(BaseProvider):
    """Has one item; hangs where that is asked for, as a service does that does not answer."""

    made = 0
    known = {"name": {"type": "string"}}

    def __init__(self, definition):
        super().__init__(definition)
        Slow.made += 1

    def get_fields(self):
        return self.known

    @property
    def fields(self):
        return self.get_fields()

    def query(self, **asked):
        if ("name", "hang") in asked["properties"]:
            GO_ON.wait()
        if ("name", "fail") in asked["properties"]:
            raise ProviderQueryError(user_msg="the other server says no")
        if ("name", "crash") in asked["properties"]:
            raise RuntimeError("password=secret")
        feature = {"type": "Feature", "id": "a/b", "properties": {"name": "é"}, "geometry": None}
        return {"type": "FeatureCollection", "features": [feature]}

    def get(self, identifier, **_):
        if identifier != "a/b":
            raise ProviderItemNotFoundError(identifier)
        return {"type": "Feature", "id": "a/b", "properties": {"name": "é"}, "geometry": None}


class Drawn(BaseProvider):
    def query(self, **asked):
        if asked["width"] == 1:
            raise ConnectionError("http://user:password@elsewhere.invalid")
        if asked["width"] == 2:
            raise ProviderConnectionError("password")
        return f"{asked['style']} {asked['width']} x {asked['height']} {asked['bbox']}".encode()
'''
WORLD: dict[str, Any] = {"spatial": {"bbox": [-180, -90, 180, 90]}}


def _collection(title: str, *providers: dict[str, Any], **members: Any) -> dict[str, Any]:
    described = {"title": title, "description": "d", "keywords": ["k"], "extents": WORLD}
    return {"type": "collection", **described, "providers": list(providers), **members}


def _plugin(kind: str, plugin: str, media_type: str, name: str = "png") -> dict[str, Any]:
    written = {"name": name, "mimetype": media_type}
    options = {"zoom": {"min": 0, "max": 3}, "schemes": ["WebMercatorQuad"]}
    return {"type": kind, "name": f"an_operators_plugin.{plugin}", "data": ".", "format": written, "options": options}


def _features(name: str, data: str, **members: Any) -> dict[str, Any]:
    return {"type": "feature", "name": name, "data": data, **members}


def _values(path: Path) -> None:
    """Write a raster of two bands of floats, in degrees, with indivisible sides."""
    values = np.arange(97 * 131, dtype="float32").reshape(97, 131)
    size = {"width": 131, "height": 97, "count": 2, "dtype": "float32", "nodata": -1}
    place = {"crs": "EPSG:4326", "transform": from_bounds(-20, 30, 45.5, 78.5, 131, 97)}
    with rasterio.open(path, "w", driver="GTiff", **size, **place) as target:
        target.write(np.stack([values, values * 2]))


@pytest.fixture(autouse=True)
def _close_what_providers_left() -> Iterator[None]:
    """Close files that pygeoapi's providers leave open, so that their warnings are in the test that expects them."""
    yield
    gc.collect()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an operator's folder: a configuration without products, files and a plugin."""
    folder = tmp_path / "an operator's"
    folder.mkdir()
    with (folder / "stations.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "station", "datetime", "value", "lat", "long"])
        writer.writerows(STATIONS)
    lakes = [
        {
            "type": "Feature",
            "id": str(number),
            "properties": {"name": f"Lake {number}", **({"depth": 2.5} if number == 3 else {})},
            "geometry": {"type": "Point", "coordinates": [number, 50]},
        }
        for number in range(25)
    ]
    (folder / "lakes.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": lakes}))
    _values(folder / "values.tif")
    record: dict[str, Any] = {"id": "r", "externalId": "r", "type": "Feature"}
    record["geometry"] = {"type": "Point", "coordinates": [1, 2]}
    record["properties"] = {"title": "Land cover", "externalId": "r"}
    (folder / "records.json").write_text(json.dumps({"_default": {"1": record}}))
    (folder / "an_operators_plugin.py").write_text(PLUGIN + TILED_AND_RETRIEVED)
    (folder / "an_operators_broken_plugin.py").write_text("raise RuntimeError('the database is away')")
    (folder / "an_operators_ending_plugin.py").write_text("raise SystemExit(7)")
    monkeypatch.syspath_prepend(str(folder))
    point = {"x_field": "long", "y_field": "lat"}
    tiff = {"name": "GTiff", "mimetype": "image/tiff; application=geotiff"}
    records = {**_features("TinyDBCatalogue", "records.json", id_field="externalId"), "type": "record"}
    stations = _features("CSV", "stations.csv", id_field="id", geometry=point)
    configuration = {
        "server": {"url": "http://localhost:5000", "languages": ["en-US", "fr-CA"], "limits": {"max_items": 20}},
        "metadata": {
            "identification": {
                "title": {"en": "Theirs", "fr": "Les leurs"},
                "description": "d",
                "keywords": ["k"],
                "terms_of_service": "https://example.org",
                "url": "https://example.org",
            },
            "license": {"name": "CC-BY 4.0", "url": "https://example.org"},
            "provider": {"name": "They", "url": "https://example.org"},
            "contact": {"name": "They"},
        },
        "resources": {
            "stations": _collection("Stations", stations),
            "lakes": _collection("Lakes", _features("GeoJSON", "lakes.geojson", id_field="id")),
            "values": _collection(
                "Values", {"type": "coverage", "name": "rasterio", "data": "values.tif", "format": tiff}
            ),
            "slow": _collection("Slow", _features("an_operators_plugin.Slow", "https://example.invalid/x")),
            "hidden": _collection("Hidden", stations, visibility="hidden"),
            "a/b": _collection("Slashes", stations),
            "c/items": _collection("More slashes", _features("GeoJSON", "lakes.geojson", id_field="id")),
            "drawn": _collection("Drawn", _plugin("map", "Drawn", "image/png")),
            "tiled": _collection("Tiled", _plugin("tile", "Tiled", "application/vnd.mapbox-vector-tile", name="pbf")),
            "retrieved": _collection("Retrieved", _plugin("edr", "Retrieved", "application/json")),
            "records": _collection("Records", records),
        },
    }
    (folder / "theirs.yml").write_text(yaml.safe_dump(configuration, sort_keys=False))
    return folder


def _get(client: TestClient, path: str, **headers: str) -> Any:
    return client.get(path, headers={"accept": "*/*", **headers})


def test_the_configuration_is_valid_without_products(theirs: dict[str, Any]) -> None:
    assert examine(theirs).flaws == ()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("no.such.Provider", "No module named 'no'"),
        ("an_operators_plugin.Missing", "no attribute 'Missing'"),
        ("Nonsense", "there is no provider Nonsense; allowed: "),
        ("an_operators_broken_plugin.Slow", "the database is away"),
        ("an_operators_ending_plugin.Slow", "7"),
        ("os.path", "is not a subclass of a base class"),
    ],
)
def test_an_invalid_plugin_is_named_and_breaks_no_list(
    make_app: MakeApp, folder: Path, name: str, problem: str
) -> None:
    path = folder / "theirs.yml"
    document = yaml.safe_load(path.read_text())
    document["resources"]["lakes"]["providers"][0]["name"] = name
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    assert [each for each in find_problems(path) if problem in each] != []
    with TestClient(make_app(read_configuration(path))) as client:
        assert client.get("/collections/lakes/items").status_code == 503
        listed = client.get("/collections").json()["collections"]
    assert [each["id"] for each in listed][:4] == ["stations", "lakes", "values", "slow"]
    assert "cannot be read at present" in listed[1]["description"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("no.such.Formatter", "No module named 'no'"),
        ("an_operators_broken_plugin.Formatter", "RuntimeError: the database is away"),
        ("an_operators_plugin.Slow", "is not a subclass of pygeoapi.formatter.base.BaseFormatter"),
        ("Nonsense", "there is no formatter Nonsense; allowed: a dotted name, or CSV"),
    ],
)
def test_an_invalid_formatter_is_named_and_the_others_are_offered(
    make_app: MakeApp, folder: Path, name: str, problem: str
) -> None:
    path = folder / "theirs.yml"
    document = yaml.safe_load(path.read_text())
    document["resources"]["lakes"]["formatters"] = [{"name": name}, {"name": "CSV", "geom": True}]
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    assert [each for each in find_problems(path) if each.startswith("resources.lakes.formatters[0].name: ")] != []
    assert [each for each in find_problems(path) if problem in each] != []
    with TestClient(make_app(read_configuration(path))) as client:
        assert "Lake 0" in client.get("/collections/lakes/items?f=csv&limit=1").text
        for at in ("/collections", "/collections/lakes", "/collections/lakes/items", "/openapi?f=json"):
            assert client.get(at).status_code == 200, at


def test_a_provider_without_a_schema_is_404(client: TestClient) -> None:
    paths = _get(client, "/openapi?f=json").json()["paths"]
    for name, status in {"drawn": 404, "tiled": 404, "retrieved": 200, "records": 200, "values": 200}.items():
        assert (_get(client, f"/collections/{name}/schema").status_code, name) == (status, name)
        assert (f"/collections/{name}/schema" in paths) == (status == 200)


def test_a_provider_that_finds_no_file_is_503(make_app: MakeApp, theirs: dict[str, Any]) -> None:
    """SQLiteGPKG reports a missing file as an invalid plugin."""
    missing = _features("SQLiteGPKG", "/a-secret/missing.sqlite", id_field="id", table="t")
    theirs["resources"]["lakes"] = _collection("Lakes", missing)
    with TestClient(make_app(theirs), raise_server_exceptions=False) as client:
        for path in ("items", "items/1", "queryables", "schema"):
            answer = _get(client, f"/collections/lakes/{path}")
            assert (answer.status_code, "a-secret" in answer.text, path) == (503, False, path)


def test_items_are_those_of_the_provider(client: TestClient) -> None:
    answer = _get(client, "/collections/stations/items?limit=2")
    page = answer.json()
    assert answer.headers["content-type"] == "application/geo+json"
    assert answer.headers["content-crs"] == "<http://www.opengis.net/def/crs/OGC/1.3/CRS84>"
    assert (page["numberMatched"], page["numberReturned"]) == (3, 2)
    assert [each["id"] for each in page["features"]] == ["371", "377"]
    assert page["features"][0]["geometry"] == {"type": "Point", "coordinates": [-75, 45]}
    links = {each["rel"]: each["href"] for each in page["links"] if "f=json" in each["href"] or each["rel"] == "next"}
    assert links["self"] == f"{URL}/collections/stations/items?f=json&limit=2"
    following = client.get(links["next"].removeprefix(URL)).json()
    assert [each["id"] for each in following["features"]] == ["238"]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("station=35", ["371", "377"]),
        ("resulttype=hits", []),
        ("offset=2", ["238"]),
        ("limit=1&offset=1", ["377"]),
    ],
)
def test_items_are_filtered_as_the_provider_does(client: TestClient, query: str, ids: list[str]) -> None:
    page = _get(client, f"/collections/stations/items?{query}").json()
    assert [each["id"] for each in page["features"]] == ids


def test_a_page_is_no_longer_than_the_configuration_says(client: TestClient) -> None:
    page = _get(client, "/collections/lakes/items?limit=1000").json()
    assert len(page["features"]) == 20


def test_items_come_as_csv_json_ld_and_as_a_page(client: TestClient) -> None:
    answer = _get(client, "/collections/stations/items?f=csv&station=2147")
    assert answer.headers["content-type"].startswith("text/csv")
    assert next(csv.DictReader(StringIO(answer.text)))["value"] == "103.5"
    answer = _get(client, "/collections/lakes/items?f=jsonld&limit=1")
    assert answer.headers["content-type"].startswith("application/ld+json")
    assert answer.json()["features"] == [{"@type": "schema:Place", "@id": f"{URL}/collections/lakes/items/0"}]
    assert _get(client, "/collections/lakes/items?f=jsonld&offset=99").json()["features"] == []
    answer = _get(client, "/collections/lakes/items?limit=2&offset=2", accept="text/html")
    assert answer.headers["content-type"].startswith("text/html")
    assert "Lake 3" in answer.text
    assert "Items 3 to 4" in answer.text
    assert 'rel="next"' in answer.text
    assert "https://" not in answer.text.replace(URL, "")
    item = _get(client, "/collections/lakes/items/3?f=html")
    assert "2.5" in item.text


def test_one_item_is_found_and_a_missing_one_is_404(client: TestClient) -> None:
    item = _get(client, "/collections/lakes/items/7")
    assert (item.json()["properties"]["name"], item.headers["content-type"]) == ("Lake 7", "application/geo+json")
    missing = _get(client, "/collections/lakes/items/99")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
    assert _get(client, "/collections/slow/items/a%2Fb").json()["properties"] == {"name": "é"}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/collections/stations/items?bogus=1", "unknown parameter; allowed: bbox"),
        ("/collections/stations/items?limit=-1", "limit"),
        ("/collections/stations/items?bbox=1,2,3", "bbox"),
        ("/collections/stations/items?sortby=bogus", "bad sortby property"),
        ("/collections/stations/items?crs=nonsense", "nonsense"),
        ("/collections/stations/items?f=xml", "allowed: json, html, jsonld, csv"),
        ("/collections/stations/items?filter=(", "Bad CQL text"),
        ("/collections/values/coverage?bbox=a", "bbox should be"),
        ("/collections/values/coverage?bbox-crs=a", "allowed: a system of the EPSG"),
        ("/collections/values/coverage?subset=z(1:2)", "Invalid axis name"),
        ("/collections/values/coverage?width=3", "unknown parameter"),
    ],
)
def test_invalid_requests_are_400_with_a_reason(client: TestClient, path: str, said: str) -> None:
    answer = _get(client, path)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert said in answer.json()["detail"]


def test_metadata_of_a_provider_are_cached_and_refreshed_in_the_background(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _get(client, "/collections/slow/items").status_code == 200
    slow = sys.modules["an_operators_plugin"].Slow
    made = slow.made
    assert _get(client, "/collections/slow/items").status_code == 200
    assert slow.made == made + 1  # by the handler alone
    monkeypatch.setitem(slow.known, "depth", {"type": "number"})
    assert _get(client, "/collections/slow/items?depth=1").status_code == 400
    app: Any = client.app
    app.state.resources.collections["slow"].known["feature"].since -= 61
    assert _get(client, "/collections/slow/items?depth=1").status_code == 400
    end = time.monotonic() + 15
    while _get(client, "/collections/slow/items?depth=1").status_code == 400:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_failing_plugin_reveals_only_its_own_message(client: TestClient) -> None:
    answer = _get(client, "/collections/slow/items?name=fail")
    assert (answer.status_code, answer.json()["detail"]) == (500, "the other server says no")
    answer = _get(client, "/collections/slow/items?name=crash")
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_schema_and_queryables_are_served(client: TestClient) -> None:
    schema = _get(client, "/collections/stations/schema").json()
    assert schema["$id"] == f"{URL}/collections/stations/schema"
    assert schema["properties"]["station"]["type"] == "integer"
    queryables = _get(client, "/collections/stations/queryables").json()
    assert queryables["properties"]["value"]["type"] == "number"
    assert "1" in _get(client, "/collections/values/schema").json()["properties"]


def test_a_coverage_has_the_pixels_of_its_file(client: TestClient, folder: Path) -> None:
    answer = _get(client, "/collections/values/coverage?f=GTiff&bbox=-20,60,0,75")
    assert answer.headers["content-type"] == "image/tiff; application=geotiff"
    with rasterio.open(folder / "values.tif") as source, rasterio.open(BytesIO(answer.content)) as cut:
        window = source.window(*cut.bounds).round()
        assert cut.shape == (window.height, window.width)
        np.testing.assert_array_equal(cut.read(), source.read(window=window))
    answer = _get(client, "/collections/values/coverage?f=json&bbox=0,40,5,45&properties=1")
    assert answer.headers["content-type"] == "application/prs.coverage+json"
    assert answer.json()["domain"]["axes"]["x"]["num"] > 5
    for path in ("coverage/domainset", "coverage/rangetype", "map", "files/values.tif"):
        assert _get(client, f"/collections/values/{path}").status_code == 404


def test_a_too_large_coverage_is_refused(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routes.pygeoapi.size.MAX_PIXELS", 2 * 97 * 131 - 1)
    answer = _get(client, "/collections/values/coverage?f=json")
    assert (answer.status_code, "25414 values" in answer.json()["detail"]) == (413, True)
    assert _get(client, "/collections/values/coverage?bbox=0,40,5,45").status_code == 200


def test_documents_link_existing_resources(client: TestClient) -> None:
    listed = _get(client, "/collections").json()["collections"]
    assert [each["id"] for each in listed] == [
        *("stations", "lakes", "values", "slow", "a/b", "c/items", "drawn", "tiled", "retrieved", "records"),
    ]
    for collection in listed:
        document = _get(client, f"/collections/{collection['id']}").json()
        links = [each for each in document["links"] if each["rel"] != "data"]
        assert links == collection["links"], "a query of EDR needs a place, and only its provider knows it"
        for link in links:
            if link["rel"] != "license":
                answer = _get(client, link["href"].removeprefix(URL))
                assert (answer.status_code, link["href"]) == (200, link["href"])
                assert answer.headers["content-type"].startswith(link["type"].partition(";")[0]), link
    assert _get(client, "/collections/hidden/items").status_code == 200
    assert _get(client, "/?f=html").status_code == 200


def test_openapi_has_the_served_resources(client: TestClient) -> None:
    paths = _get(client, "/openapi?f=json").json()["paths"]
    items = paths["/collections/stations/items"]["get"]
    assert {"q", "filter", "resulttype", "fields"} <= {each.get("name") for each in items["parameters"]}
    assert "text/csv; charset=utf-8" in items["responses"]["200"]["content"]
    assert "/collections/values/coverage" in paths
    assert "/collections/values/map" not in paths
    assert not [path for path in paths if "hidden" in path]


def test_a_hanging_provider_delays_no_other(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routes.pygeoapi.threads._PATIENCE", 0.3)
    plugin = sys.modules.get("an_operators_plugin")
    assert plugin is not None
    with ThreadPoolExecutor(4) as threads:
        hanging = [threads.submit(_get, client, "/collections/slow/items?name=hang") for _ in range(4)]
        try:
            _wait_for(lambda: _get(client, "/collections/slow/items").status_code == HTTPStatus.SERVICE_UNAVAILABLE)
            busy = _get(client, "/collections/slow/items")
            assert "collection 'slow' is busy" in busy.json()["detail"]
            assert busy.headers["retry-after"] == "10"
            for path in ("/collections/lakes/items", "/collections", "/collections/slow", "/health/ready"):
                assert _get(client, path).status_code == 200, path
        finally:
            plugin.GO_ON.set()
        assert [each.result().status_code for each in hanging] == [200] * 4
    assert _get(client, "/collections/slow/items").status_code == 200


def _wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


ITEMS, COVERAGE = "/collections/lakes/items", "/collections/values/coverage?bbox=0,40,5,45"
DOCUMENTS = "/collections/lakes/schema", "/collections/lakes/queryables?profile=actual-domain"
EVERY = (ITEMS, f"{ITEMS}/3", f"{ITEMS}?f=csv", COVERAGE, *DOCUMENTS)
READER = {"role": "user"}


@pytest.mark.parametrize(
    ("grant", "anonymous", "reader"),
    [
        (None, [404] * 6, [404] * 6),
        ({"who": READER, "may": ["read-items", "read-coverage"]}, [404] * 6, [200] * 6),
        ({"who": READER, "may": "discover"}, [404] * 6, [403, 403, 403, 403, 200, 403]),
        ({"who": READER, "may": "read-coverage"}, [404] * 6, [403, 403, 403, 200, 200, 403]),
        ({"who": "public", "may": "discover"}, [401, 401, 401, 401, 200, 401], [403, 403, 403, 403, 200, 403]),
        ({"who": READER, "may": "read-items", "rows": "name = 'Lake 3'"}, [404] * 6, [403, 403, 403, 403, 200, 403]),
    ],
)
def test_the_guard_protects_foreign_providers(
    make_app: MakeApp,
    theirs: dict[str, Any],
    issuer: FakeIssuer,
    *,
    tmp_path: Path,
    grant: dict[str, Any] | None,
    anonymous: list[int],
    reader: list[int],
) -> None:
    policy = tmp_path / "policy.yml"
    other = {"who": "public", "may": "read-items", "collections": "stations"}
    ours = {} if grant is None else {"ours": {**grant, "collections": ["lakes", "values"]}}
    policy.write_text(yaml.safe_dump({"grants": {"other": other, **ours}}))
    app = make_app(theirs, auth={"open": False, "issuer": issuer.url, "policy": policy})
    token = issuer.token(sub="r", realm_access={"roles": ["user"]}, resource_access=None, scope="openid")
    with TestClient(app, base_url="http://inside.invalid") as client:
        for headers, expected in (({}, anonymous), ({"authorization": f"Bearer {token}"}, reader)):
            assert [_get(client, path, **headers).status_code for path in EVERY] == expected
            assert _get(client, "/collections/stations/items", **headers).status_code == 200
            seen = "lakes" in _get(client, "/collections", **headers).text
            assert seen == (expected[-2] == 200)


@pytest.mark.parametrize(
    ("path", "status", "title"),
    [
        ("a/b", 200, "Slashes"),
        ("a%2Fb", 200, "Slashes"),
        ("c/items", 200, "More slashes"),
        ("c", 404, None),
        ("a", 404, None),
        ("a/b/c", 404, None),
    ],
)
def test_ids_with_slashes_match_the_longest_first(
    client: TestClient, path: str, status: int, title: str | None
) -> None:
    answer = _get(client, f"/collections/{path}")
    assert (answer.status_code, answer.json().get("title") if title else None) == (status, title)


def test_items_are_served_for_ids_with_slashes(client: TestClient) -> None:
    assert _get(client, "/collections/c/items/items/7").json()["properties"]["name"] == "Lake 7"
    assert _get(client, "/collections/a/b/schema").json()["title"] == "Slashes"
    page = _get(client, "/collections/c/items/items?limit=2").json()
    following = {each["rel"]: each["href"] for each in page["links"]}["next"]
    assert following == f"{URL}/collections/c/items/items?f=json&offset=2&limit=2"
    assert _get(client, "/collections/a/b/items/371").status_code == 200
    assert _get(client, "/collections/c/items/371").status_code == 404, (
        "c/items is matched, so no item of a collection c"
    )


def test_an_id_that_hides_a_part_of_another_collection_is_refused(theirs: dict[str, Any]) -> None:
    theirs["resources"]["a/b/items"] = theirs["resources"]["lakes"]
    (flaw,) = examine(theirs).flaws
    assert flaw.startswith("resources.a/b/items: lies below the address of a/b")


def test_pygeoapis_handler_serves_our_map(make_app: MakeApp, theirs: dict[str, Any], folder: Path) -> None:
    classes = np.full((97, 131), 2, dtype="uint8")
    size = {"width": 131, "height": 97, "count": 1, "dtype": "uint8", "nodata": 255}
    place = {"crs": "EPSG:4326", "transform": from_bounds(-20, 30, 45.5, 78.5, 131, 97)}
    with rasterio.open(folder / "classes.tif", "w", driver="COG", **size, **place) as target:
        target.write(classes, 1)
    png = {"name": "png", "mimetype": "image/png"}
    drawn = {"name": "plugins.cog_map.CogMapProvider", "data": str(folder / "classes.tif"), "format": png}
    theirs["resources"]["ours"] = _collection("Ours", {"type": "map", **drawn})
    with TestClient(make_app(theirs)) as client:
        answer = _get(client, "/collections/ours/map?bbox=0,40,10,50&width=7&height=5")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png"), answer.text
        assert [int.from_bytes(answer.content[place : place + 4]) for place in (16, 20)] == [7, 5], "the size in a PNG"


def test_a_foreign_map_is_served(client: TestClient) -> None:
    answer = _get(client, "/collections/drawn/map?width=20&height=10&bbox=1,2,3,4")
    assert (answer.text, answer.headers["content-type"]) == ("None 20 x 10 [1.0, 2.0, 3.0, 4.0]", "image/png")
    assert _get(client, "/collections/drawn/styles/dark/map?height=3").text.startswith("dark 500 x 3")
    wrong = {"width=0": 400, "width=x": 400, "bbox=1": 400, "f=jpeg": 400, "width=99999&height=9999": 413}
    for query, status in wrong.items():
        answer = _get(client, f"/collections/drawn/map?{query}")
        assert (answer.status_code, query) == (status, query)
    for width in (1, 2):
        answer = _get(client, f"/collections/drawn/map?width={width}")
        assert (answer.status_code, "password" in answer.text) == (503, False)
    assert _get(client, "/collections/lakes/map").status_code == 404


def test_foreign_tiles_are_served(client: TestClient) -> None:
    tilesets = _get(client, "/collections/tiled/tiles").json()
    assert tilesets["tilesets"][0]["tileMatrixSetURI"].endswith("/WebMercatorQuad")
    assert _get(client, "/collections/tiled/tiles/WebMercatorQuad").json() == {"tileset": "WebMercatorQuad"}
    tile = _get(client, "/collections/tiled/tiles/WebMercatorQuad/2/1/3")
    assert (tile.text, tile.headers["content-type"]) == ("WebMercatorQuad 2 1 3", "application/vnd.mapbox-vector-tile")
    assert _get(client, "/collections/tiled/tiles/WebMercatorQuad/2/1/3?f=mvt").text == tile.text
    assert _get(client, "/collections/tiled/tiles/WebMercatorQuad/2/1/9").status_code == 204
    sets = [each["href"] for each in _get(client, "/").json()["links"] if each["rel"].endswith("/tiling-schemes")]
    assert sets == [f"{URL}/TileMatrixSets"]
    for place in ("..", "1.5", "-1", "9" * 11):
        assert _get(client, f"/collections/tiled/tiles/WebMercatorQuad/2/1/{place}").status_code in (400, 404), place
    assert _get(client, "/collections/lakes/tiles").status_code == 404
    assert _get(client, "/TileMatrixSets").json()["tileMatrixSets"]
    assert _get(client, "/TileMatrixSets/WebMercatorQuad").json()["tileMatrices"]
    assert _get(client, "/TileMatrixSets/Nonsense").status_code in (400, 404)


def test_foreign_edr_is_served(client: TestClient) -> None:
    document = _get(client, "/collections/retrieved").json()
    assert "position" in document["data_queries"]
    assert document["parameter_names"]["t"]
    assert document["crs"] == ["http://www.opengis.net/def/crs/OGC/1.3/CRS84"]
    [data] = [each for each in document["links"] if each["rel"] == "data"]
    assert data["href"].endswith("/collections/retrieved/position")
    answer = _get(client, "/collections/retrieved/position?coords=POINT(1 2)&parameter-name=t")
    assert answer.headers["content-type"] == data["type"]
    assert answer.json() == {"type": "Coverage", "at": "POINT (1 2)", "parameters": ["t"]}
    for path, status in {
        "position": 400,
        "position?coords=nonsense": 400,
        "area?coords=POINT(1 2)": 400,
        "position?coords=POINT(1 2)&bogus=1": 400,
        "instances": 404,
        "nonsense": 404,
    }.items():
        assert (_get(client, f"/collections/retrieved/{path}").status_code, path) == (status, path)
    assert _get(client, "/collections/lakes/position?coords=POINT(1 2)").status_code == 404


def test_an_edr_query_calls_the_plugin_once(client: TestClient) -> None:
    retrieved = sys.modules["an_operators_plugin"].Retrieved
    made = retrieved.made
    assert [_get(client, "/collections/retrieved/instances").status_code for _ in range(3)] == [404] * 3
    assert retrieved.made == made + 1


def test_foreign_records_are_served(client: TestClient) -> None:
    page = _get(client, "/collections/records/items").json()
    assert [each["properties"]["title"] for each in page["features"]] == ["Land cover"]
    assert _get(client, "/collections/records/items/r").json()["id"] == "r"
    assert _get(client, "/collections/records").json()["itemType"] == "record"
    assert "Land cover" in _get(client, "/collections/records/items?f=html").text


@pytest.mark.parametrize(
    ("action", "path"),
    [
        ("read-map", "drawn/map"),
        ("read-tiles", "tiled/tiles/WebMercatorQuad/0/0/0"),
        ("read-tiles", "tiled/tiles"),
        ("read-coverage", "retrieved/position?coords=POINT(1 2)"),
        ("read-items", "records/items"),
        ("read-items", "c/items/items"),
    ],
)
def test_each_type_of_provider_needs_its_action(
    make_app: MakeApp, theirs: dict[str, Any], issuer: FakeIssuer, *, tmp_path: Path, action: str, path: str
) -> None:
    actions = {"read-map", "read-tiles", "read-coverage", "read-items", "download"}
    id_ = "c/items" if path.startswith("c/") else path.partition("/")[0]
    for allowed, status in ((action, 200), (sorted(actions - {action}), 401)):
        policy = tmp_path / "policy.yml"
        policy.write_text(yaml.safe_dump({"grants": {"g": {"who": "public", "may": allowed, "collections": id_}}}))
        app = make_app(theirs, auth={"open": False, "issuer": issuer.url, "policy": policy})
        with TestClient(app, base_url="http://inside.invalid") as client:
            assert _get(client, f"/collections/{path}").status_code == status
            others = [each["id"] for each in _get(client, "/collections").json()["collections"]]
            assert others == [id_]


def test_threads_are_released(client: TestClient) -> None:
    before = threading.active_count()
    for _ in range(20):
        assert _get(client, "/collections/lakes/items?limit=1").status_code == 200
    assert threading.active_count() <= before + 5
