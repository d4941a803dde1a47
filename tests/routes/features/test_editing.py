"""Editing of items over HTTP, in a GeoPackage and in PostGIS: what is written, who may, and what is refused."""

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyogrio
import pytest
import shapely
from psycopg2.extensions import parse_dsn
from starlette.testclient import TestClient

from auth.access import Access, Action, Verdict
from products.area import Area
from products.catalogue import read_configuration
from products.vector.geopackage import write_geopackage
from products.vector.layer import Column, Layer
from tests.conftest import ROOT, application
from tests.postgres import Postgres

COLUMNS = (
    Column("name", "TEXT"), Column("size", "INTEGER"), Column("day", "DATE"), Column("open", "BOOLEAN"),
    Column("secret", "TEXT"),
)  # fmt: skip
TABLE = """
create table places (id integer generated always as identity primary key, name text, size integer check (size < 1000),
    day date, open boolean, secret text, geom geometry(Point, 2180));
insert into places (name, size, day, open, secret, geom) select 'n' || n, n, '2020-01-31', true, 's' || n,
    st_transform(st_setsrid(st_point(20 + n / 10.0, 50), 4326), 2180) from generate_series(1, 5) n;
create table "keyed" (code text primary key, name text not null, geom geometry(MultiPolygon, 4326));
create table arrays (id integer generated always as identity primary key, tags text[], counts integer[], more jsonb,
    geom geometry(Point, 4326));
create view seen as select * from places;
"""
GEOJSON = {"content-type": "application/geo+json"}
PATCH = {"content-type": "application/merge-patch+json"}
BOW = [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]
SHOWN = ["name", "size", "day", "open"]
NEW = {"name": "new", "size": 7, "day": "2021-02-03", "open": False}


def feature(properties: Any = None, geometry: Any = (20.5, 50.5), **more: Any) -> str:
    point = {"type": "Point", "coordinates": geometry} if isinstance(geometry, tuple) else geometry
    document = {"type": "Feature", "geometry": point, "properties": NEW if properties is None else properties}
    return json.dumps({**document, **more})


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> str:
    url = postgres.spatial()
    postgres.run(url, TABLE)
    return url


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[TestClient]:
    """Return a client of the same points from both providers, one collection of each that is not edited, and others."""
    folder = tmp_path_factory.mktemp("edited")
    points = [shapely.Point(20 + n / 10, 50) for n in range(1, 6)]
    rows = [(f"n{n}", n, "2020-01-31", 1, f"s{n}") for n in range(1, 6)]
    with write_geopackage(folder / "places.gpkg", Layer("places", 4326, COLUMNS, geometry_type="POINT")) as writer:
        writer.add(range(1, 6), shapely.points([each.coords[0] for each in points]), rows)
    nations = read_configuration(ROOT / "pygeoapi-config.yml")["resources"]["nations"]
    own = {"type": "feature", "name": "plugins.geopackage.GeoPackageProvider", "data": str(folder / "places.gpkg"),
           "properties": SHOWN}  # fmt: skip
    theirs = {"type": "feature", "name": "plugins.postgis.PostgisProvider", "data": parse_dsn(database),
              "table": "places", "properties": SHOWN}  # fmt: skip
    providers = {
        "geopackage": {**own, "editable": True}, "postgis": {**theirs, "editable": True}, "read": own,
        "arrays": {**theirs, "table": "arrays", "properties": ["tags", "counts", "more"], "editable": True},
        "keyed": {**theirs, "table": "keyed", "properties": ["name"], "editable": True},
    }  # fmt: skip
    entries = {name: {**nations, "providers": [each]} for name, each in providers.items()}
    rest = {
        name: value for name, value in read_configuration(ROOT / "pygeoapi-config.yml").items() if name != "products"
    }
    app = application({**rest, "resources": entries}, state={"dir": folder / "state"})
    with TestClient(app, base_url="http://inside.invalid", headers={"accept": "*/*"}) as made:
        yield made


@pytest.fixture(params=["geopackage", "postgis"])
def items(request: pytest.FixtureRequest) -> str:
    return f"/collections/{request.param}/items"


@pytest.fixture
def new(client: TestClient, items: str) -> tuple[str, str]:
    """Return the address and the ETag of a new item."""
    made = client.post(items, content=feature(), headers=GEOJSON)
    assert made.status_code == 201, made.text
    return made.headers["location"].removeprefix("https://maps.example.org/land"), made.headers["etag"]


def test_an_item_is_created_replaced_updated_and_deleted(client: TestClient, items: str) -> None:
    before = client.get(items, params={"limit": 1}).json()["numberMatched"]
    made = client.post(items, content=feature(id="any"), headers=GEOJSON)
    assert (made.status_code, made.content) == (201, b"")
    address = made.headers["location"].removeprefix("https://maps.example.org/land")
    read = client.get(address)
    assert read.headers["etag"] == made.headers["etag"]
    assert read.json()["properties"] == NEW
    assert read.json()["geometry"]["coordinates"] == pytest.approx([20.5, 50.5], abs=1e-6)
    assert client.get(items, params={"limit": 1}).json()["numberMatched"] == before + 1
    assert client.get(items, params={"bbox": "20.4,50.4,20.6,50.6"}).json()["numberReturned"] == 1

    match = {"if-match": read.headers["etag"]}
    changed = client.put(address, content=feature({"name": "b"}, (21.5, 51.5)), headers={**GEOJSON, **match})
    assert changed.status_code == 204, changed.text
    read = client.get(address)
    assert read.json()["properties"] == {"name": "b", "size": None, "day": None, "open": None}
    assert (read.headers["etag"] == changed.headers["etag"], read.headers["etag"] != match["if-match"]) == (True, True)
    assert client.get(items, params={"bbox": "20.4,50.4,20.6,50.6"}).json()["numberReturned"] == 0

    part = json.dumps({"properties": {"size": 8, "open": True}})
    changed = client.patch(address, content=part, headers={**PATCH, "if-match": read.headers["etag"]})
    assert changed.status_code == 204, changed.text
    read = client.get(address)
    assert read.json()["properties"] == {"name": "b", "size": 8, "day": None, "open": True}
    assert read.json()["geometry"]["coordinates"] == pytest.approx([21.5, 51.5], abs=1e-6)

    assert client.delete(address, headers={"if-match": read.headers["etag"]}).status_code == 204
    assert client.get(address).status_code == 404
    assert client.delete(address, headers={"if-match": "*"}).status_code == 404
    assert client.get(items, params={"limit": 1}).json()["numberMatched"] == before


def test_a_column_that_nobody_sees_keeps_its_value(client: TestClient, database: str, postgres: Postgres) -> None:
    for name in ("geopackage", "postgis"):
        address = f"/collections/{name}/items/1"
        match = {"if-match": client.get(address).headers["etag"]}
        body = feature({**NEW, "name": "n1"}, (20.1, 50.0))
        assert client.put(address, content=body, headers={**GEOJSON, **match}).status_code == 204
    assert postgres.run(database, "select secret from places where id = 1") == [("s1",)]
    provider = client.app.state.resources.collections["geopackage"].definition("feature")  # type: ignore[attr-defined]
    meta, _, _, columns = pyogrio.raw.read(provider["data"], where="fid = 1")
    assert dict(zip(meta["fields"], columns, strict=True))["secret"].tolist() == ["s1"]


def test_only_the_state_that_was_seen_is_changed(client: TestClient, new: tuple[str, str]) -> None:
    address, tag = new
    for method, body, headers in (("PUT", feature(), GEOJSON), ("PATCH", "{}", PATCH), ("DELETE", None, {})):
        assert client.request(method, address, content=body, headers=headers).status_code == 428
        for other in ('"other"', f"W/{tag}", tag.strip('"')):
            refused = client.request(method, address, content=body, headers={**headers, "if-match": other})
            assert refused.status_code == 412, refused.text
    assert client.get(address).headers["etag"] == tag


def test_of_changes_at_the_same_time_one_is_made(client: TestClient, new: tuple[str, str]) -> None:
    address, tag = new

    def change(number: int) -> int:
        body = json.dumps({"properties": {"size": number}})
        return client.patch(address, content=body, headers={**PATCH, "if-match": tag}).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(change, range(10, 14))) == [204, 412, 412, 412]
    assert client.get(address).json()["properties"]["size"] in range(10, 14)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("[]", "not a JSON object"), ("{", "not JSON"), (feature(type="Point"), "type: allowed"),
        ('{"type": "Feature", "geometry": null}', "properties: is missing"),
        ('{"type": "Feature", "properties": {}}', "geometry: is missing"),
        (feature({"other": 1}), "properties.other"), (feature({"secret": "x"}), "properties.secret"),
        (feature({"size": "7"}), "properties.size"), (feature({"size": 7.5}), "properties.size"),
        (feature({"day": "2021-02-30"}), "properties.day"), (feature({"open": 2}), "properties.open"),
        (feature({"name": "a\u0000b"}), "NUL"), (feature({"name": ["a"]}), "properties.name"),
        (feature(geometry={"type": "Point"}), "geometry"), (feature([1]), "properties"), (feature(0), "properties"),
        (feature(geometry={"type": "Point", "coordinates": ["a", 1]}), "geometry"), (feature(id=[]), "id: allowed"),
        (feature({"size": 1 << 63}), "64 bits"), (feature(id="a\0"), "id: allowed"),
        (feature(geometry={"type": "LineString", "coordinates": [[1, 2], [3, 4]]}), "geometry.type"),
        (feature(geometry={"type": "Polygon", "coordinates": BOW}), "geometry: Self-intersection"),
        (feature(geometry={"type": "Point", "coordinates": []}), "geometry"), (feature(geometry="x"), "geometry"),
        (feature(geometry=(20.0, 91.0)), "latitudes"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(client: TestClient, items: str, body: str, said: str) -> None:
    before = client.get(items, params={"resulttype": "hits"}).json()["numberMatched"]
    for method, place, headers in (("POST", items, GEOJSON), ("PUT", f"{items}/2", {**GEOJSON, "if-match": "*"})):
        refused = client.request(method, place, content=body, headers=headers)
        assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json"), refused.text
        assert said in refused.json()["detail"]
    assert client.get(items, params={"resulttype": "hits"}).json()["numberMatched"] == before
    assert client.get(f"{items}/2").json()["properties"]["name"] == "n2"


@pytest.mark.parametrize(("change", "status"), [
    ({"headers": {"content-type": "text/plain"}}, 415), ({"content": feature({"name": "x" * 2_100_000})}, 413),
    ({"params": {"x": "1"}}, 400), ({"headers": {**GEOJSON, "content-crs": "<http://x.invalid/1>"}}, 400),
    ({"content": '{"type":' + "[" * 100 + "]" * 100 + "}"}, 400), ({"content": feature({"size": 10**30})}, 400),
])  # fmt: skip
def test_a_bad_request_is_refused(client: TestClient, items: str, change: dict[str, Any], status: int) -> None:
    refused = client.post(items, **{"content": feature(), "headers": GEOJSON, **change})
    assert refused.status_code == status, refused.text


def test_constraints_of_the_table_hold(client: TestClient) -> None:
    refused = client.post("/collections/postgis/items", content=feature({"size": 1_000}), headers=GEOJSON)
    assert (refused.status_code, "does not take it" in refused.text) == (400, True)
    square = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    for body, status in (
        (feature({"name": "a"}, square, id="a/b"), 201), (feature({"name": "a"}, square, id="a/b"), 400),
        (feature({}, square, id="c"), 400), (feature({"name": "a"}, square), 400),
    ):  # fmt: skip
        made = client.post("/collections/keyed/items", content=body, headers=GEOJSON)
        assert made.status_code == status, made.text
        assert "'a/b'" not in made.text
    assert client.get("/collections/keyed/items/a%2Fb").json()["geometry"]["type"] == "MultiPolygon"


def test_arrays_and_objects_are_written(client: TestClient) -> None:
    whole = {"tags": ['a "b"', "c\\d", None, "{x,y}"], "counts": [1, -2], "more": {"a": [1, {"b": None}]}}
    items = "/collections/arrays/items"
    made = client.post(items, content=feature(whole, None), headers=GEOJSON)
    assert made.status_code == 201, made.text
    address = made.headers["location"].removeprefix("https://maps.example.org/land")
    assert client.get(address).json()["properties"] == whole
    wrongs: tuple[Any, ...] = (
        {"counts": ["a"]}, {"counts": [{}]}, {"tags": ["a\0"]}, {"more": {"a": "\0"}}, {"tags": [[1], 2]},
    )  # fmt: skip
    for wrong in wrongs:
        refused = client.post(items, content=feature(wrong, None), headers=GEOJSON)
        assert refused.status_code == 400, (wrong, refused.text)


def test_coordinates_may_be_in_another_system(client: TestClient, items: str) -> None:
    uri = "http://www.opengis.net/def/crs/EPSG/0/4326"
    made = client.post(items, content=feature(geometry=(52.5, 19.5)), headers={**GEOJSON, "content-crs": f"<{uri}>"})
    place = client.get(made.headers["location"].removeprefix("https://maps.example.org/land")).json()["geometry"]
    assert place["coordinates"] == pytest.approx([19.5, 52.5], abs=1e-6)


def test_other_collections_are_not_edited(client: TestClient) -> None:
    for name in ("read", "unknown"):
        for method, body, headers in (("PUT", feature(), GEOJSON), ("PATCH", "{}", PATCH), ("DELETE", None, {})):
            refused = client.request(
                method, f"/collections/{name}/items/1", content=body, headers={**headers, "if-match": "*"}
            )
            assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert client.post("/collections/read/items", content=feature(), headers=GEOJSON).status_code == 415
    found = client.post("/collections/postgis/items", json={"op": "=", "args": [{"property": "name"}, "n3"]})
    assert [each["properties"]["size"] for each in found.json()["features"]] == [3]
    assert "etag" not in client.get("/collections/read/items/1").headers


def test_tiles_show_a_change_at_once(client: TestClient, items: str) -> None:
    tile = items.replace("items", "tiles/WebMercatorQuad/3/2/4")
    client.delete(f"{items}/5", headers={"if-match": "*"})
    before = client.get(tile)
    assert before.headers["cache-control"] == "no-cache"
    client.post(items, content=feature(geometry=(10.0, 55.0)), headers=GEOJSON)
    tag = {"if-none-match": before.headers["etag"]} if "etag" in before.headers else {}
    after = client.get(tile, headers=tag)
    assert (after.status_code, after.content != before.content) == (200, True)


Rules = Callable[[dict[Action, Verdict]], None]


@pytest.fixture
def rules(client: TestClient, items: str) -> Iterator[Rules]:
    """Return what replaces the verdicts on actions on the collection."""
    resources = client.app.state.resources  # type: ignore[attr-defined] # Starlette's
    policy, name = resources.policy, items.split("/")[2]

    def replace(verdicts: dict[Action, Verdict]) -> None:
        chosen = {Access(action, name): verdict for action, verdict in verdicts.items()}
        resources.policy = lambda who, access: chosen.get(access) or policy(who, access)

    yield replace
    resources.policy = policy


ALL, NO = Verdict(allowed=True), Verdict(allowed=False, reason="no")
SMALL = Verdict(allowed=True, rows=("size < 100",))
NEAR = Verdict(allowed=True, area=Area(shapely.box(20.0, 49.0, 21.0, 51.0)))


@pytest.mark.parametrize(
    "verdicts",
    [
        {Action.UPDATE_ITEMS: SMALL, Action.CREATE_ITEMS: SMALL, Action.DELETE_ITEMS: SMALL},
        {Action.READ_ITEMS: SMALL}, {Action.READ_ITEMS: NEAR},
        {Action.UPDATE_ITEMS: NEAR, Action.CREATE_ITEMS: NEAR, Action.DELETE_ITEMS: NEAR, Action.READ_ITEMS: SMALL},
    ],
    ids=["rows of the change", "rows of reading", "area of reading", "area of the change, rows of reading"],
)  # fmt: skip
def test_nothing_is_written_outside_of_what_a_caller_sees(
    client: TestClient, items: str, rules: Rules, verdicts: dict[Action, Verdict]
) -> None:
    def make(properties: dict[str, Any], point: tuple[float, float]) -> str:
        made = client.post(items, content=feature(properties, point), headers=GEOJSON)
        return str(made.headers["location"]).removeprefix("https://maps.example.org/land")

    inside, outside = make({"size": 7}, (20.5, 50.5)), make({"size": 300}, (25.0, 55.0))
    count = client.get(items, params={"resulttype": "hits"}).json()["numberMatched"]
    rules(verdicts)
    any_ = {"if-match": "*"}
    far = feature({"size": 300}, (25.0, 55.0))
    assert client.post(items, content=far, headers=GEOJSON).status_code == 403
    for method, body, headers in (("PUT", feature({"size": 1}), GEOJSON), ("PATCH", "{}", PATCH), ("DELETE", None, {})):
        assert client.request(method, outside, content=body, headers={**headers, **any_}).status_code == 404
    assert client.put(inside, content=far, headers={**GEOJSON, **any_}).status_code == 403
    moved = json.dumps({"properties": {"size": 300}, "geometry": {"type": "Point", "coordinates": [25, 55]}})
    assert client.patch(inside, content=moved, headers={**PATCH, **any_}).status_code == 403
    rules({})
    assert client.get(items, params={"resulttype": "hits"}).json()["numberMatched"] == count
    assert client.get(inside).json()["properties"]["size"] == 7
    assert client.get(outside).json()["properties"]["size"] == 300
    rules(verdicts)
    assert client.put(inside, content=feature({"size": 8}), headers={**GEOJSON, **any_}).status_code == 204
    assert client.delete(inside, headers=any_).status_code == 204


def test_each_action_needs_its_right_and_that_to_read(client: TestClient, items: str, rules: Rules) -> None:
    any_ = {"if-match": "*"}
    asked = {
        Action.CREATE_ITEMS: ("POST", items, feature(), GEOJSON),
        Action.UPDATE_ITEMS: ("PUT", f"{items}/2", feature(), GEOJSON),
        Action.DELETE_ITEMS: ("DELETE", f"{items}/2", None, {}),
    }  # fmt: skip
    for action, (method, place, body, headers) in asked.items():
        for refused in (action, Action.READ_ITEMS):
            rules({refused: NO})
            answer = client.request(method, place, content=body, headers={**headers, **any_})
            assert answer.status_code in {401, 403}, answer.text
        rules({Action.DISCOVER: NO})
        answer = client.request(method, place, content=body, headers={**headers, **any_})
        assert answer.status_code == (404 if action is Action.CREATE_ITEMS else 405)
    rules({})
    assert client.get(f"{items}/2").json()["properties"]["name"] == "n2"


def test_changes_are_in_the_audit_log(
    client: TestClient, items: str, new: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    address, tag = new
    with caplog.at_level(logging.INFO, "landcast.audit"):
        client.delete(address, headers={"if-match": tag})
    [entry] = [each for each in caplog.records if getattr(each, "action", "") == "item-deleted"]
    assert vars(entry)["item"] == address.rpartition("/")[2]
    assert vars(entry)["resource"] == items.split("/")[2]


def test_editing_is_described(client: TestClient) -> None:
    paths = client.get("/openapi").json()["paths"]
    assert paths["/collections/postgis/items/{item_id}"].keys() >= {"get", "put", "patch", "delete"}
    assert "application/geo+json" in paths["/collections/geopackage/items"]["post"]["requestBody"]["content"]
    assert paths["/collections/read/items/{item_id}"].keys() == {"get"}
    spec = "http://www.opengis.net/spec/ogcapi-features-4/1.0/conf/"
    assert f"{spec}create-replace-delete" in client.get("/conformance").json()["conformsTo"]


def test_a_geopackage_that_was_edited_is_valid_for_gdal(client: TestClient) -> None:
    made = client.post("/collections/geopackage/items", content=feature(geometry=(20.25, 50.25)), headers=GEOJSON)
    provider = client.app.state.resources.collections["geopackage"].definition("feature")  # type: ignore[attr-defined]
    _, fids, wkb, _ = pyogrio.raw.read(provider["data"], bbox=(20.2, 50.2, 20.3, 50.3), return_fids=True)
    assert fids.tolist() == [int(made.headers["location"].rpartition("/")[2])]
    assert shapely.from_wkb(wkb)[0] == shapely.Point(20.25, 50.25)
