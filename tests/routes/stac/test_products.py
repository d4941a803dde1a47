"""STAC API of products: valid documents, a search, and what a caller without a right does not get."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pystac
import pytest
import yaml
from openapi_spec_validator import OpenAPIV30SpecValidator, validate
from owslib.etree import etree
from owslib.iso import MD_Metadata
from pystac.extensions.classification import ClassificationExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.validation import validate_dict
from starlette.testclient import TestClient

from tests.auth.issuers import FakeIssuer
from tests.conftest import URL, application
from tests.routes.catalogued import HEIGHT, WHERE, WIDTH, catalogued, get, ids

STAC = "/stac-api"
SEARCH = f"{STAC}/search"
POLYGON = '{"type":"Polygon","coordinates":[[[16,41],[18,41],[18,43],[16,41]]]}'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stac")


@pytest.fixture(scope="module")
def ours(folder: Path) -> dict[str, Any]:
    return catalogued(folder)


@pytest.fixture(scope="module")
def client(ours: dict[str, Any], folder: Path) -> Iterator[TestClient]:
    with TestClient(application(ours, state={"dir": folder / "state"}), base_url="http://inside.invalid") as made:
        yield made


def hrefs(document: dict[str, Any], rel: str) -> list[str]:
    return [each["href"] for each in document["links"] if each["rel"] == rel]


def test_every_document_is_valid_and_every_link_leads_somewhere(client: TestClient) -> None:
    """pystac has the schemas of the core with it; those of the extensions are on the internet only, and left out."""
    seen, waiting = set[str](), [f"{URL}{STAC}"]
    counted = []
    while waiting:
        if (href := waiting.pop()) in seen:
            continue
        seen.add(href)
        answer = client.get(href.removeprefix(URL))
        assert (answer.status_code, href) == (200, href)
        if "json" not in answer.headers["content-type"]:
            continue
        document = answer.json()
        for each in document.get("features", [document]):
            if each.get("stac_version"):
                assert each["stac_version"] == "1.1.0"
                validate_dict({**each, "stac_extensions": []})
                counted.append(each["type"])
            links = [*each.get("links", ()), *each.get("assets", {}).values()]
            waiting += [entry["href"] for entry in links if entry["href"].startswith(f"{URL}{STAC}")]
            for asset in each.get("assets", {}).values():
                got = client.get(asset["href"].removeprefix(URL))
                kind = got.headers["content-type"].removesuffix("; charset=utf-8")
                assert (got.status_code, kind) == (200, asset["type"]), asset
    assert set(counted) == {"Catalog", "Collection", "Feature"}


def test_the_landing_page_leads_to_the_collections(client: TestClient) -> None:
    landing = get(client, STAC)
    (data,) = hrefs(landing, "data")
    assert [each["id"] for each in get(client, data)["collections"]] == ["cover", "forest"]
    assert hrefs(landing, "child") == [f"{URL}{STAC}/collections/cover", f"{URL}{STAC}/collections/forest"]
    claimed = {each.rpartition("/")[2] for each in landing["conformsTo"]}
    assert claimed == {"core", "collections", "ogcapi-features", "item-search", "item-search#sort", "geojson"}
    assert get(client, f"{STAC}/conformance")["conformsTo"] == landing["conformsTo"]
    assert hrefs(get(client, "/?f=json"), "search") == [f"{URL}{SEARCH}"]


def test_a_collection_is_a_series(client: TestClient) -> None:
    cover = get(client, f"{STAC}/collections/cover")
    assert cover["extent"]["temporal"] == {"interval": [["2018-01-01T00:00:00Z", "2021-12-31T23:59:59Z"]]}
    assert cover["description"] == "Classes of  the ground, from Sentinel-2. Contains <data> of the Survey"
    assert cover["providers"] == [{"name": "The Survey", "roles": ["host"], "url": "https://survey.example"}]
    assert hrefs(cover, "license") == ["https://survey.example/licence"]
    items = get(client, f"{STAC}/collections/cover/items")
    assert (ids(items), items["numberMatched"]) == (["cover-18", "cover-21"], 2)
    assert ids(get(client, f"{STAC}/collections/cover/items?datetime=2018-05-05T00:00:00Z")) == ["cover-18"]
    assert ids(get(client, f"{STAC}/collections/cover/items?bbox=0,0,1,1")) == []


def test_an_item_has_grid_classes_and_assets(client: TestClient, folder: Path) -> None:
    document = get(client, f"{STAC}/collections/forest/items/forest")
    item = pystac.Item.from_dict({**document, "links": []})
    west, north = WHERE["south"]
    projection = ProjectionExtension.ext(item)
    assert (projection.code, projection.shape) == ("EPSG:3035", [HEIGHT, WIDTH])
    assert projection.bbox == [west, north - 10 * HEIGHT, west + 10 * WIDTH, north]
    assert projection.transform == [10, 0, west, 0, -10, north]
    classes = ClassificationExtension.ext(item).classes
    assert classes is not None
    assert [(each.value, each.name, each.color_hint) for each in classes] == [
        (1, "dense-forest", "008800"),
        (2, "open--with-grass", "88CC00"),
    ]
    assert [each["title"] for each in document["properties"]["classification:classes"]] == [
        "Dense forest",
        "Open, with grass",
    ]
    assert document["properties"]["start_datetime"] == "2021-01-01T00:00:00Z"
    data = item.assets["data"]
    assert data.href == f"{URL}/collections/south/files/south.tif"
    assert data.extra_fields["file:size"] == (folder / "south.tif").stat().st_size
    assert set(item.assets) == {"data", "legend", "thumbnail", "iso-19139"}
    bbox = document["bbox"]
    assert bbox == pytest.approx([16.940206, 41.694814, 17.019003, 41.762779], abs=1e-6)


def test_the_metadata_is_iso_19139(client: TestClient) -> None:
    answer = client.get("/products/cover-21/iso")
    assert answer.headers["content-type"] == "text/xml; charset=utf-8"
    read = MD_Metadata(etree.fromstring(answer.content))  # type: ignore[no-untyped-call]
    assert (read.identifier, read.identification[0].title) == ("cover_2021_V2", "Land cover 2021")
    assert read.referencesystem is not None
    assert read.referencesystem.code == "http://www.opengis.net/def/crs/EPSG/0/3035"
    assert read.identification[0].distance == ["10"]
    assert read.identification[0].supplementalinformation is None
    assert client.get("/products/nothing/iso").status_code == 404
    assert client.get("/products/cover-21/iso?f=xml").status_code == 400


SEARCHES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("", {}, ["cover-18", "cover-21", "forest"]),
    ("collections=forest", {"collections": ["forest"]}, ["forest"]),
    ("collections=forest,nothing,cover", {"collections": ["forest", "cover"]}, ["cover-18", "cover-21", "forest"]),
    ("ids=cover-21,x", {"ids": ["cover-21", "x"]}, ["cover-21"]),
    ("bbox=16,41,18,42", {"bbox": [16, 41, 18, 42]}, ["forest"]),
    ("bbox=16,41,0,18,42,9", {"bbox": [16, 41, 0, 18, 42, 9]}, ["forest"]),
    ("bbox=16,41,18,42&ids=cover-21", {"bbox": [16, 41, 18, 42], "ids": ["cover-21"]}, []),
    (
        "datetime=2019-01-01T00:00:00Z/..",
        {"datetime": "2019-01-01T00:00:00Z/.."},
        ["cover-21", "forest"],
    ),
    (
        f"intersects={POLYGON}",
        {"intersects": json.loads(POLYGON)},
        ["forest"],
    ),
    (
        "intersects={'type':'Point','coordinates':[0,0]}".replace("'", '"'),
        {"intersects": {"type": "Point", "coordinates": [0, 0]}},
        [],
    ),
    ("q=sentinel-2,FORESTS", {"q": "sentinel-2,FORESTS"}, ["cover-21", "forest"]),
    (
        "sortby=-datetime,id",
        {"sortby": [{"field": "datetime", "direction": "desc"}, {"field": "id"}]},
        ["cover-21", "forest", "cover-18"],
    ),
    (
        "sortby=-properties.title",
        {"sortby": [{"field": "title", "direction": "desc"}]},
        ["cover-21", "cover-18", "forest"],
    ),
    ("limit=1&offset=1", {"limit": 1, "offset": 1}, ["cover-21"]),
    ("limit=100000", {"limit": 100_000}, ["cover-18", "cover-21", "forest"]),
    ("datetime=2018-06-01T00:00:00%2B01:00", {"datetime": "2018-06-01T00:00:00.5+01:00"}, ["cover-18"]),
]


def test_a_search_finds_items_by_get_and_post(client: TestClient) -> None:
    asked = [client.get(f"{SEARCH}?{query}") for query, _, _ in SEARCHES]
    posted = [client.post(SEARCH, json=body) for _, body, _ in SEARCHES]
    for answers in (asked, posted):
        assert {each.headers["content-type"] for each in answers} == {"application/geo+json"}
        assert [ids(each.json()) for each in answers] == [each for _, _, each in SEARCHES]


def test_a_search_is_read_page_by_page(client: TestClient) -> None:
    page = get(client, f"{SEARCH}?limit=2&sortby=id")
    assert (page["numberMatched"], page["numberReturned"]) == (3, 2)
    (following,) = hrefs(page, "next")
    last = get(client, following)
    assert (ids(last), hrefs(last, "next")) == (["forest"], [])
    page = client.post(SEARCH, json={"limit": 2, "collections": ["cover", "forest"]}).json()
    (following,) = [each for each in page["links"] if each["rel"] == "next"]
    assert (following["method"], following["href"]) == ("POST", f"{URL}{SEARCH}")
    assert following["body"] == {"limit": 2, "collections": ["cover", "forest"], "offset": 2}
    assert ids(client.post(SEARCH, json=following["body"]).json()) == ["forest"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (
            "bogus=1",
            "unknown parameter; allowed: bbox, collections, datetime, f, ids, intersects, limit, offset, q, sortby",
        ),
        ("limit=0", "allowed: whole numbers from 1"),
        ("limit=9999999999", "allowed: whole numbers from 1"),
        ("offset=x", "allowed: whole numbers from 0"),
        ("bbox=[1,2,3,4]", "four numbers"),
        ("bbox=1,4,3,2", "four numbers"),
        ("bbox=1,2,inf,4", "four numbers"),
        ("datetime=2020-13-01T00:00:00Z", "RFC 3339"),
        ("datetime=2020-12-01", "RFC 3339 time"),
        ("datetime=2020-12-01T00:00:00", "RFC 3339 time"),
        ("datetime=2020-12-01T00:00:00%2B0100", "RFC 3339 time"),
        (f"bbox=1,2,3,4&intersects={POLYGON}", "allowed: bbox or intersects"),
        ("intersects=POINT(1 2)", "allowed: a GeoJSON geometry"),
        ("intersects=[1]", "allowed: a GeoJSON geometry"),
        ("intersects={}", "allowed: a GeoJSON geometry"),
        ('intersects={"type":"Feature","geometry":null}', "allowed: a GeoJSON geometry"),
        ('intersects={"type":"Polygon","coordinates":[]}', "not empty"),
        ('intersects={"type":"Polygon","coordinates":[[[0,0],[1,1],[0,1],[1,0],[0,0]]]}', "valid"),
        ('intersects={"type":"Point","coordinates":"x"}', "allowed: a GeoJSON geometry"),
        ('intersects={"type":"Polygon","coordinates":' + "[" * 3000, "allowed: a GeoJSON geometry"),
        ("sortby=colour", "allowed: id, collection, datetime"),
        ("q=", "1 to 32 terms"),
        ("f=csv", "allowed: json"),
    ],
)
def test_an_invalid_search_is_400(client: TestClient, query: str, said: str) -> None:
    answer = client.get(f"{SEARCH}?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), answer.text
    assert said in answer.json()["detail"]


BODIES = [
    *('{"bbox": "1,2,3,4"}', '{"ids": "a"}', '{"ids": [1]}', '{"intersects": "x"}', '{"intersects": {"type": "x"}}'),
    *('{"bogus": 1}', '{"limit": 0}', '{"limit": 1.5}', '{"offset": -1}', '{"sortby": [{"field": "colour"}]}'),
    *("[]", "{", f'{{"bbox": [1, 2, 3, 4], "intersects": {POLYGON}}}', '{"fields": {}}', '{"filter": {}}'),
]


def test_an_invalid_posted_search_is_400(client: TestClient) -> None:
    for body in BODIES:
        answer = client.post(SEARCH, content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, body) == (400, body)
        assert answer.json()["detail"]


def test_what_is_not_there_is_404(client: TestClient) -> None:
    for path in ("collections/x", "collections/x/items", "collections/cover/items/forest"):
        assert client.get(f"{STAC}/{path}").status_code == 404
    for path in (
        "",
        "/collections",
        "/collections/cover",
        "/collections/cover/items",
        "/collections/cover/items/cover-21",
    ):
        assert client.get(f"{STAC}{path}?bogus=1").status_code == 400


def test_openapi_has_stac_api(client: TestClient) -> None:
    document = get(client, "/openapi")
    validate(document, cls=OpenAPIV30SpecValidator)
    one = f"{STAC}/collections/{{series}}"
    assert {path for path in document["paths"] if path.startswith("/stac")} == {
        *(STAC, SEARCH, f"{STAC}/conformance", f"{STAC}/collections", one, f"{one}/items", f"{one}/items/{{item_id}}")
    }


def test_each_year_of_a_raster_is_an_item(ours: dict[str, Any], tmp_path: Path) -> None:
    resources = deepcopy(ours["resources"])
    provider, earlier = resources["cover-2021"]["providers"][0], resources["cover-2018"]["providers"][0]
    provider["years"] = [{"year": 2015, "data": earlier["data"]}, {"year": 2021, "data": provider["data"]}]
    products = {"cover-21": ours["products"]["cover-21"]}
    with TestClient(
        application({**ours, "resources": resources, "products": products}, state={"dir": tmp_path})
    ) as client:
        items = get(client, f"{STAC}/collections/cover/items")
        assert ids(items) == ["cover-21", "cover-21-2015"]
        assert [each["properties"]["title"] for each in items["features"]] == [
            "Land cover 2021",
            "Land cover 2015",
        ]
        assert [each["assets"]["data"]["href"] for each in items["features"]] == [
            f"{URL}/collections/cover-2021/files/cover-2021.tif",
            f"{URL}/collections/cover-2021/files/cover%202018.tif",
        ]
        for each in items["features"]:
            assert client.get(each["assets"]["data"]["href"].removeprefix(URL)).status_code == 200
            assert client.get(each["assets"]["thumbnail"]["href"].removeprefix(URL)).status_code == 200
        assert ids(get(client, f"{SEARCH}?datetime=2015-01-01T00:00:00Z/2016-01-01T00:00:00Z")) == ["cover-21-2015"]
        records = get(client, "/collections/records/items?datetime=2015-05-05", accept="application/json")
        assert ids(records) == ["cover-21-2015", "wet/lakes"]


def test_a_broken_raster_has_an_item_without_data(ours: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    resources = deepcopy(ours["resources"])
    resources["south"]["providers"][0]["data"] = str(tmp_path / "broken.tif")
    with TestClient(application({**ours, "resources": resources}, state={"dir": tmp_path})) as client:
        item = get(client, f"{STAC}/collections/forest/items/forest")
        assert (item["bbox"], set(item["assets"])) == ([16.94, 41.69, 17.02, 41.77], {"iso-19139"})
        validate_dict({**item, "stac_extensions": []})
        assert client.get("/products/forest/iso").status_code == 503
        assert ids(get(client, SEARCH)) == ["cover-18", "cover-21", "forest"]


def test_stac_collections_of_others_are_searched_too(ours: dict[str, Any], tmp_path: Path) -> None:
    point = {"type": "Point", "coordinates": [17.55, 41.85]}
    scene = {"type": "Feature", "id": "scene", "properties": {"name": "scene"}, "geometry": point}
    (tmp_path / "scenes.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [scene]}))
    provider = {"type": "feature", "name": "GeoJSON", "data": str(tmp_path / "scenes.geojson"), "id_field": "id"}
    scenes = {"type": "stac-collection", "title": "Scenes", "description": "Scenes.", "providers": [provider]}
    with TestClient(
        application({**ours, "resources": {**ours["resources"], "scenes": scenes}}, state={"dir": tmp_path})
    ) as client:
        assert ids(get(client, f"{SEARCH}?bbox=16,41,18,42")) == ["forest", "scene"]
        assert ids(get(client, f"{SEARCH}?collections=scenes")) == ["scene"]
        assert ids(get(client, f"{SEARCH}?name=scene")) == ["scene"]
        assert ids(get(client, f"{SEARCH}?collections=cover&ids=cover-21")) == ["cover-21"]
        answer = client.get(f"{SEARCH}?ids=scene")
        assert answer.status_code == 400
        assert "scenes is not" in answer.json()["detail"]


ROLE = {"role": "user"}
GRANTS: list[tuple[str, dict[str, Any], set[str] | None]] = [
    ("nothing", {"who": ROLE, "may": "discover", "collections": "wet/lakes"}, None),
    ("to know of it", {"who": ROLE, "may": "discover", "collections": "south"}, {"iso-19139"}),
    ("the map", {"who": ROLE, "may": "read-map", "collections": "south"}, {"iso-19139", "legend", "thumbnail"}),
    ("the file", {"who": ROLE, "may": "download", "collections": "south"}, {"iso-19139", "data"}),
    (
        "the file in a part, which no file is cut to",
        {
            "who": ROLE,
            "may": "download",
            "collections": "south",
            "area": {"polygon": "POLYGON ((17 41, 18 41, 18 42, 17 41))"},
        },
        {"iso-19139"},
    ),
]


@pytest.mark.parametrize(("grant", "assets"), [each[1:] for each in GRANTS], ids=[each[0] for each in GRANTS])
def test_a_caller_gets_assets_by_their_rights(
    ours: dict[str, Any],
    issuer: FakeIssuer,
    *,
    tmp_path: Path,
    grant: dict[str, Any],
    assets: set[str] | None,
) -> None:
    policy = tmp_path / "policy.yml"
    policy.write_text(yaml.safe_dump({"grants": {"a": grant}}))
    app = application(ours, state={"dir": tmp_path}, auth={"open": False, "issuer": issuer.url, "policy": policy})
    token = issuer.token(sub="r", realm_access={"roles": ["user"]}, resource_access=None, scope="openid")
    bearer = {"authorization": f"Bearer {token}"}
    with TestClient(app, base_url="http://inside.invalid") as client:
        for headers, found in (({}, None), (bearer, assets)):
            expected = [] if found is None else ["forest"]
            assert ids(get(client, SEARCH, **headers)) == expected
            assert ids(client.post(SEARCH, json={}, headers=headers).json()) == expected
            listed = get(client, f"{STAC}/collections", **headers)["collections"]
            assert [each["id"] for each in listed] == expected
            assert hrefs(get(client, STAC, **headers), "child") == [
                f"{URL}{STAC}/collections/{each}" for each in expected
            ]
            for path in ("collections/forest", "collections/forest/items", "collections/forest/items/forest"):
                assert client.get(f"{STAC}/{path}", headers=headers).status_code == (404 if found is None else 200)
            assert client.get("/products/forest/iso", headers=headers).status_code == (404 if found is None else 200)
            assert client.get(f"{STAC}/collections/cover", headers=headers).status_code == 404
            if found is None:
                continue
            item = get(client, f"{STAC}/collections/forest/items/forest", **headers)
            assert set(item["assets"]) == found
            assert ("files/" in str(item)) == ("data" in found)
            for asset in item["assets"].values():
                assert client.get(asset["href"].removeprefix(URL), headers=headers).status_code == 200
