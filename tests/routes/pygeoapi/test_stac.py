"""The STAC catalog and STAC API: an operator's folder of files, a catalog of catalogs, features to search."""

import gc
import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
import yaml
from openapi_spec_validator import OpenAPIV30SpecValidator, validate
from rasterio.transform import from_bounds
from starlette.testclient import TestClient

from server.check import find_problems
from server.configuration import examine
from tests.auth.issuers import FakeIssuer
from tests.conftest import URL, MakeApp

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
"""TinyDB leaves its files open."""
METADATA: dict[str, Any] = {
    "identification": {
        "title": "Theirs",
        "description": "d",
        "keywords": ["k"],
        "terms_of_service": "https://example.org",
        "url": "https://example.org",
    },
    "license": {"name": "CC-BY 4.0", "url": "https://example.org"},
    "provider": {"name": "They", "url": "https://example.org"},
    "contact": {"name": "They"},
}
OLD = {"spatial": {"bbox": [-180, -90, 180, 90]}, "temporal": {"begin": date(1990, 1, 1), "end": date(1999, 1, 1)}}
SCENES = [("a", "2019-05-01T00:00:00Z", 19.5, 50.5), ("b", "2020-05-01T00:00:00Z", 20.5, 51.5)]


def _collection(title: str, *providers: dict[str, Any], **members: Any) -> dict[str, Any]:
    described = {"title": title, "description": f"{title}.", "keywords": ["k"]}
    extents = {"spatial": {"bbox": [-180, -90, 180, 90]}}
    return {"type": "stac-collection", **described, "extents": extents, "providers": list(providers), **members}


def _scenes(path: Path, prefix: str) -> dict[str, Any]:
    features = [
        {
            "type": "Feature",
            "id": f"{prefix}{name}",
            "properties": {"name": f"{prefix}{name}", "created": time},
            "geometry": {"type": "Point", "coordinates": [x, y]},
        }
        for name, time, x, y in SCENES
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return {"type": "feature", "name": "GeoJSON", "data": path.name, "id_field": "id", "time_field": "created"}


def _records(path: Path, prefix: str) -> dict[str, Any]:
    records = {
        str(number): {
            "type": "Feature",
            "id": f"{prefix}{name}",
            "properties": {"externalId": f"{prefix}{name}", "title": name, "created": time},
            "geometry": {"type": "Point", "coordinates": [x, y]},
        }
        for number, (name, time, x, y) in enumerate(SCENES)
    }
    path.write_text(json.dumps({"_default": records}))
    described = {"id_field": "externalId", "time_field": "created", "title_field": "title"}
    return {"type": "record", "name": "TinyDBCatalogue", "data": path.name, **described}


def _catalogs(folder: Path) -> None:
    """Write a catalog as pygeoapi's Hateoas provider reads it: one collection with one item."""
    (folder / "forests" / "one").mkdir(parents=True)
    child = {"rel": "child", "href": "./forests/collection.json", "type": "application/json"}
    (folder / "catalog.json").write_text(json.dumps({"links": [child]}))
    item_link = {"rel": "item", "href": "./one/one.json", "type": "application/json"}
    extent = {"spatial": {"bbox": [[19, 50, 21, 52]]}, "temporal": {"interval": [["2020-01-01T00:00:00Z", None]]}}
    described = {"id": "forests", "license": "CC-BY-4.0", "extent": extent, "links": [item_link]}
    (folder / "forests" / "collection.json").write_text(json.dumps(described))
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "one",
        "collection": "forests",
        "geometry": {"type": "Point", "coordinates": [20, 51]},
        "bbox": [20, 51, 20, 51],
        "properties": {"datetime": "2020-06-01T00:00:00Z"},
        "links": [{"rel": "collection", "href": "../collection.json"}],
        "assets": {"image": {"href": "https://example.org/one.tif", "type": "image/tiff"}},
    }
    (folder / "forests" / "one" / "one.json").write_text(json.dumps(item))


@pytest.fixture(autouse=True)
def _close_what_providers_left() -> Iterator[None]:
    """Close files that pygeoapi's providers leave open, so that their warnings are in the test that expects them."""
    yield
    gc.collect()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an operator's folder: its configuration, public files and private files."""
    folder = tmp_path / "theirs"
    (folder / "files" / "sub #1?").mkdir(parents=True)
    for path in ("files/raster.tif", "files/sub #1?/höhe 100%.tif"):
        size = {"width": 20, "height": 10, "count": 1, "dtype": "uint8"}
        place = {"crs": "EPSG:4326", "transform": from_bounds(19, 50, 21, 51, 20, 10)}
        with rasterio.open(folder / path, "w", driver="GTiff", **size, **place) as target:
            target.write(np.arange(200, dtype="uint8").reshape(10, 20), 1)
    (folder / "files" / "secret.key").write_text("a secret")
    (folder / "outside.tif").write_text("outside")
    (folder / "catalogs").mkdir()
    _catalogs(folder / "catalogs")
    files = {"type": "stac", "name": "FileSystem", "data": "files", "file_types": [".tif"]}
    catalogs = {"type": "stac", "name": "Hateoas", "data": "catalogs", "file_types": "catalog.json"}
    external = {"type": "text/html", "rel": "canonical", "title": "More", "href": "https://example.org/more"}
    configuration = {
        "metadata": METADATA,
        "resources": {
            "files": _collection("Files", files, links=[external]),
            "a/b": _collection("Catalogs", catalogs),
            "scenes": _collection("Scenes", _scenes(folder / "scenes.geojson", "")),
            "more": _collection("More scenes", _records(folder / "more.json", "more-")),
            "old": _collection("Old scenes", _records(folder / "old.json", "old-"), extents=OLD),
            "hidden": _collection("Hidden", _scenes(folder / "hidden.geojson", "hidden-"), visibility="hidden"),
            "plain": {**_collection("Plain", _scenes(folder / "plain.geojson", "plain-")), "type": "collection"},
        },
    }
    (folder / "theirs.yml").write_text(yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True))
    return folder


def _get(client: TestClient, path: str, **headers: str) -> Any:
    return client.get(path.removeprefix(URL), headers={"accept": "*/*", **headers})


def _hrefs(document: dict[str, Any], rel: str) -> list[str]:
    return [each["href"] for each in document["links"] if each["rel"] == rel]


def test_the_stac_configuration_is_valid(folder: Path, theirs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDCAST_AUTH_OPEN", "yes")
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(folder / "state"))
    assert examine(theirs).flaws == ()
    assert find_problems(folder / "theirs.yml") == []


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("files", {"data": "/nowhere"}, "resources.files.providers[0].data: no such folder: /nowhere"),
        ("files", {"file_types": ".tif"}, "file_types: must be a list"),
        ("files", {"file_types": [""]}, "file_types[0]: missing"),
        ("files", {"file_types": ["f"]}, "file_types[0]: 'f': must be the end of the names of files"),
        ("files", {"type": "tile"}, "'tile' is none of stac, feature, record"),
        ("plain", {"type": "stac"}, "'stac' is none of feature, coverage, record, map, tile, edr"),
    ],
)
def test_mistakes_are_named(folder: Path, name: str, changed: dict[str, Any], said: str) -> None:
    path = folder / "theirs.yml"
    document = yaml.safe_load(path.read_text())
    document["resources"][name]["providers"][0] |= changed
    path.write_text(yaml.safe_dump(document))
    assert [problem for problem in find_problems(path) if said in problem] != []


def test_a_stac_client_reads_the_whole_catalog(client: TestClient) -> None:
    """Every document is valid for pystac, every link of ours refers to a document, every file exists."""
    root = _get(client, "/stac").json()
    assert _hrefs(root, "child") == [f"{URL}/stac/files", f"{URL}/stac/a/b"]
    seen, kinds = {f"{URL}/stac"}, []
    waiting = [root]
    while waiting:
        document = waiting.pop()
        kinds.append(document["type"])
        reader: dict[str, Any] = {"Catalog": pystac.Catalog, "Collection": pystac.Collection, "Feature": pystac.Item}
        reader[document["type"]].from_dict(deepcopy(document), preserve_dict=False)
        assert document["stac_version"] == "1.0.0"
        for entry in document["links"]:
            if not entry["href"].startswith(f"{URL}/") or entry["href"] in seen:
                continue
            seen.add(entry["href"])
            answer = _get(client, entry["href"])
            assert (answer.status_code, entry["href"]) == (200, entry["href"])
            assert answer.headers["content-type"].startswith(entry["type"]), entry
            if entry["rel"] in ("child", "item"):
                waiting.append(answer.json())
        for asset in document.get("assets", {}).values():
            if asset["href"].startswith(URL):
                assert _get(client, asset["href"]).status_code == 200
    assert sorted(kinds) == ["Catalog"] * 4 + ["Collection"] + ["Feature"] * 3


def test_an_item_of_a_file_has_place_time_and_asset(client: TestClient, folder: Path) -> None:
    item = _get(client, "/stac/files/raster").json()
    asset = item["assets"]["default"]
    assert item["properties"]["datetime"] == asset["created"]
    assert item["bbox"] == [19, 50, 21, 51]
    assert item["geometry"]["coordinates"][0][0] == [19, 50]
    (folder / "files" / "text.tif").write_text("no raster")
    text = _get(client, "/stac/files/text").json()
    assert ("bbox" in text, text["geometry"]) == (False, None)
    assert (asset["href"], asset["type"]) == (f"{URL}/stac/files/raster.tif", "image/tiff; application=geotiff")
    whole = (folder / "files" / "raster.tif").read_bytes()
    assert asset["file:size"] == len(whole)
    answer = _get(client, asset["href"])
    assert (answer.content, answer.headers["content-type"]) == (whole, asset["type"])
    part = _get(client, asset["href"], range="bytes=2-9")
    assert (part.status_code, part.content) == (206, whole[2:10])
    again = _get(client, asset["href"], **{"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


def test_names_are_percent_encoded(client: TestClient) -> None:
    top = _get(client, "/stac/files").json()
    assert _hrefs(top, "child") == [f"{URL}/stac/files/sub%20%231%3F"]
    assert _hrefs(top, "canonical") == ["https://example.org/more"]
    below = _get(client, _hrefs(top, "child")[0]).json()
    assert _hrefs(below, "parent") == [f"{URL}/stac/files"]
    assert _hrefs(below, "item") == [f"{URL}/stac/files/sub%20%231%3F/h%C3%B6he%20100%25"]


OUTSIDE = [
    *("files/secret", "files/secret.key", "files/nothing", "files/nothing.tif", "nothing", "scenes", "plain"),
    *("files/../outside.tif", "files/%2e%2e/outside.tif", "files/sub/%2e%2e%2f%2e%2e/outside.tif", "files/%2e"),
    *("files//raster", "files/raster.tif/x", "a/b/..%2ffiles", "a/b/%2e%2e", "a", "files/%00.tif", "files/x%00"),
    *("files/~", "files/" + "x" * 5000),
]


def test_other_files_are_hidden(client: TestClient) -> None:
    """Attack: read files beside the published ones."""
    for path in OUTSIDE:
        answer = _get(client, f"/stac/{path}")
        assert (answer.status_code, path) == (404, path)
        assert "secret" not in answer.text.replace(path, "")


def test_a_folder_named_like_a_file_type_is_a_folder(client: TestClient, folder: Path) -> None:
    (folder / "files" / "tiles.tif").mkdir()
    assert _get(client, "/stac/files/tiles.tif").status_code == 404
    assert _get(client, "/stac/files").status_code == 200


def test_a_source_that_breaks_is_503_and_breaks_no_list(client: TestClient, folder: Path) -> None:
    (folder / "files" / "gone.tif").symlink_to(folder / "nowhere")
    assert _get(client, "/stac/files").status_code == 503
    (folder / "catalogs" / "catalog.json").write_text('{"links": [{"rel": "child", "href": "x"}]}')
    assert _get(client, "/stac/a/b").status_code == 503
    assert _get(client, "/stac").status_code == 200
    assert _get(client, "/stac/files/raster").status_code == 200


def test_stac_pages_use_our_templates(client: TestClient) -> None:
    for path, said in {
        "": "Files",
        "/files": "raster",
        "/files/raster": "raster.tif",
        "/a/b/forests": "one",
        "/a/b/forests/one": "2020-06-01",
    }.items():
        answer = _get(client, f"/stac{path}", accept="text/html")
        assert answer.headers["content-type"].startswith("text/html")
        assert said in answer.text
        assert "unpkg" not in answer.text


def test_stac_is_linked_from_the_landing_page_and_in_openapi(client: TestClient, make_app: MakeApp) -> None:
    start = _get(client, "/?f=json").json()
    for href in (*_hrefs(start, "child"), *_hrefs(start, "related"), *_hrefs(start, "search")):
        assert _get(client, href).status_code == 200
    document = _get(client, "/openapi?f=json").json()
    validate(document, cls=OpenAPIV30SpecValidator)
    there = {path for path in document["paths"] if path.startswith("/stac")}
    below = {"/stac/files", "/stac/files/{path}", "/stac/a/b", "/stac/a/b/{path}"}
    assert there == {"/stac", "/stac-api", "/stac-api/conformance", "/stac-api/search", *below}
    assert "hidden" not in json.dumps(document)
    assert [each["id"] for each in _get(client, "/collections").json()["collections"]] == ["plain"]
    for path in ("/collections/files", "/collections/scenes/items"):
        assert _get(client, path).status_code == 404
    with TestClient(make_app()) as without:
        assert _get(without, "/stac").status_code == 404
        assert _hrefs(_get(without, "/?f=json").json(), "child") == []


SEARCHES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("", {}, ["a", "b", "more-a", "more-b", "old-a", "old-b"]),
    (
        "bbox=19,50,20,51&collections=scenes,more",
        {"bbox": [19, 50, 20, 51.0], "collections": ["scenes", "more"]},
        ["a", "more-a"],
    ),
    (
        "datetime=2020-01-01T00:00:00Z/..&collections=more,old",
        {"datetime": "2020-01-01T00:00:00Z/..", "collections": ["more", "old"]},
        ["more-b"],
    ),
    ("collections=more", {"collections": ["more"]}, ["more-a", "more-b"]),
    ("collections=hidden,nothing", {"collections": ["hidden", "nothing"]}, []),
    ("limit=1&offset=1", {"limit": 1, "offset": 1}, ["b", "more-b", "old-b"]),
]


def test_a_search_works_by_get_and_post(client: TestClient) -> None:
    asked = [(_get(client, f"/stac-api/search?{query}"), ids) for query, _, ids in SEARCHES]
    posted = [(client.post("/stac-api/search", json=body), ids) for _, body, ids in SEARCHES]
    for answer, ids in asked + posted:
        assert answer.headers["content-type"] == "application/geo+json", answer.text
        assert [each["id"] for each in answer.json()["features"]] == ids
        assert all(each["stac_version"] == "1.0.0" and each["assets"] == {} for each in answer.json()["features"])


def test_a_search_is_read_page_by_page(client: TestClient) -> None:
    page = client.post("/stac-api/search", json={"limit": 1, "collections": ["scenes"]}).json()
    assert page["numberMatched"] == 2
    (following,) = _hrefs(page, "next")
    assert [each["id"] for each in _get(client, following).json()["features"]] == ["b"]
    landing = _get(client, "/stac-api").json()
    assert pystac.Catalog.from_dict(deepcopy(landing)).id == "landcast-stac-api"
    assert "https://api.stacspec.org/v1.0.0/item-search" in landing["conformsTo"]
    assert [each["method"] for each in landing["links"] if each["rel"] == "search"] == ["GET", "POST"]


WRONG = [
    ("bogus=1", "unknown parameter; allowed: bbox, collections"),
    ("ids=a", "unknown parameter"),
    ("limit=0", "allowed: whole numbers from 1"),
    ("limit=" + "9" * 30, "allowed: whole numbers from 1"),
    ("offset=-1", "allowed: whole numbers from 0"),
    ("bbox=1,2", "bbox"),
    ("datetime=yesterday", "datetime"),
    ("f=csv", "allowed: json"),
]


def test_an_invalid_search_is_400(client: TestClient) -> None:
    for query, said in WRONG:
        answer = _get(client, f"/stac-api/search?{query}")
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), query
        assert said in answer.json()["detail"]


BODIES = [
    *(('{"ids": ["a"]}', 400), ('{"bbox": [1, "2", 3, 4]}', 400), ('{"bbox": [true, 2, 3, 4]}', 400), ("[]", 400)),
    *(('{"limit": 1.5}', 400), ('{"limit": true}', 400), ('{"collections": "a"}', 400), ('{"datetime": 1}', 400)),
    *(('{"sortby": [1]}', 400), ('{"sortby": [{"field": 1}]}', 400), ('{"sortby": [{"field": "bogus"}]}', 400)),
    *(("{", 400), ('{"limit": 1, "limit": 2}', 400), ('{"bbox": [1e999, 2, 3, 4]}', 400), ("x" * 20_000, 413)),
    *(('{"bbox": [1, 2, 3]}', 400), ('{"limit": -1}', 400), ('{"datetime": null}', 200), ("", 200)),
]


def test_unusual_bodies_are_answered(client: TestClient) -> None:
    for body, status in BODIES:
        answer = client.post("/stac-api/search", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, body) == (status, body), answer.text


def test_fields_filter_and_sortby_apply(client: TestClient) -> None:
    page = _get(client, "/stac-api/search?name=b&collections=scenes").json()
    assert [each["id"] for each in page["features"]] == ["b"]
    other = client.post("/stac-api/search", content="{}", headers={"content-type": "text/plain"})
    assert other.status_code == 415


READER = {"role": "user"}
EVERY = ("/stac/files", "/stac/files/raster", "/stac/files/raster.tif", "/stac-api/search")


@pytest.mark.parametrize(
    ("grant", "anonymous", "reader"),
    [
        ({"who": READER, "may": ["read-items", "download"]}, [404, 404, 404, 200], [200, 200, 200, 200]),
        ({"who": READER, "may": "discover"}, [404, 404, 404, 200], [403, 403, 403, 403]),
        ({"who": "public", "may": "discover"}, [401, 401, 401, 401], [403, 403, 403, 403]),
        ({"who": "public", "may": "read-items"}, [200, 200, 401, 200], [200, 200, 403, 200]),
        ({"who": "public", "may": "download"}, [401, 401, 200, 401], [403, 403, 200, 403]),
        ({"who": READER, "may": "read-items", "rows": "name = 'a'"}, [404, 404, 404, 200], [403, 403, 403, 403]),
        (
            {
                "who": READER,
                "may": ["read-items", "download"],
                "area": {"polygon": "POLYGON ((19 50, 20 50, 20 51, 19 50))"},
            },
            [404, 404, 404, 200],
            [403, 403, 403, 403],
        ),
    ],
)
def test_the_guard_protects_stac(
    make_app: MakeApp,
    theirs: dict[str, Any],
    issuer: FakeIssuer,
    *,
    tmp_path: Path,
    grant: dict[str, Any],
    anonymous: list[int],
    reader: list[int],
) -> None:
    policy = tmp_path / "policy.yml"
    policy.write_text(yaml.safe_dump({"grants": {"theirs": {**grant, "collections": ["files", "scenes"]}}}))
    app = make_app(theirs, auth={"open": False, "issuer": issuer.url, "policy": policy})
    token = issuer.token(sub="r", realm_access={"roles": ["user"]}, resource_access=None, scope="openid")
    with TestClient(app, base_url="http://inside.invalid") as client:
        for headers, expected in (({}, anonymous), ({"authorization": f"Bearer {token}"}, reader)):
            assert [_get(client, path, **headers).status_code for path in EVERY] == expected
            sees = expected[0] != 404
            assert (_hrefs(_get(client, "/stac", **headers).json(), "child") != []) == sees
            assert ("/stac/files" in _get(client, "/openapi?f=json", **headers).json()["paths"]) == sees
            if expected[-1] == 200:
                found = {each["id"] for each in _get(client, "/stac-api/search", **headers).json()["features"]}
                assert found == ({"a", "b"} if sees else set())
            assert client.post("/stac-api/search", json={}, headers=headers).status_code == expected[-1]
            assert _get(client, "/stac/a/b", **headers).status_code == 404


def test_a_search_does_not_change_the_collections(client: TestClient) -> None:
    """pygeoapi's search changes the type of its collections, permanently if it fails."""
    assert _get(client, "/stac-api/search?bbox=1").status_code == 400
    assert _get(client, "/collections/scenes").status_code == 404
    assert len(_get(client, "/stac-api/search").json()["features"]) == 6
