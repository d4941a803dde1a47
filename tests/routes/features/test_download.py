"""All items in one answer: streamed as text, or as files that other programs read."""

import csv
import json
import zipfile
from collections.abc import Iterator
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from starlette.testclient import TestClient

from auth.access import Access, Action, Verdict
from plugins.features import ItemQuery
from products.catalogue import read_configuration
from products.vector.layer import Column
from routes.features import download
from tests.conftest import ROOT, URL, application
from tests.odd import geopackages as odd

NUMBER = 4_500
"""More than two pages."""
COLUMNS = (
    Column("a name that is long", "TEXT"), Column("size", "REAL"), Column("code", "INTEGER"), Column("day", "DATE"),
    Column("at", "DATETIME"), Column("open", "BOOLEAN"),
)  # fmt: skip
EPSG = "http://www.opengis.net/def/crs/EPSG/0"


def row(number: int) -> tuple[Any, ...]:
    size = None if number % 7 == 0 else number / 4
    return f'n "{number}", Łódź\n', size, number, "2020-01-31", "2020-01-31T10:00:00Z", number % 2


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Return a client of many points, and of nations."""
    folder = tmp_path_factory.mktemp("downloads")
    points = [shapely.Point(10 + number / 1_000, 50) for number in range(NUMBER)]
    odd.by_us(folder / "many.gpkg", COLUMNS, [row(number) for number in range(NUMBER)], points=points)
    configuration = read_configuration(ROOT / "pygeoapi-config.yml")
    provider = {"type": "feature", "name": "plugins.geopackage.GeoPackageProvider", "data": str(folder / "many.gpkg")}
    rest = {name: value for name, value in configuration.items() if name != "products"}
    nations = configuration["resources"]["nations"]
    entries = {"a/many": {**nations, "providers": [provider]}, "nations": nations}
    app = application({**rest, "resources": entries}, state={"dir": folder / "state"}, features={"filed": 1_000})
    with TestClient(app, base_url="http://inside.invalid", headers={"accept": "*/*"}) as made:
        yield made


def content(client: TestClient, collection: str = "a/many", **parameters: Any) -> bytes:
    answer = client.get(f"/collections/{collection}/items", params=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].startswith("attachment")
    return answer.content


def test_a_text_sequence_has_every_item_once(client: TestClient) -> None:
    answer = client.get("/collections/a/many/items", headers={"accept": "application/geo+json-seq"})
    assert answer.headers["content-type"] == "application/geo+json-seq"
    first, *records = answer.text.split("\x1e")
    assert first == ""
    assert all(record.endswith("\n") for record in records)
    assert [json.loads(record)["id"] for record in records] == list(range(1, NUMBER + 1))
    some = content(client, f="geojsonseq", filter="code < 10", sortby="-code", properties="code", skipGeometry="true")
    features = [json.loads(record) for record in some.decode().split("\x1e")[1:]]
    assert [each["properties"] for each in features] == [{"code": code} for code in range(9, -1, -1)]
    assert features[0]["geometry"] is None
    assert content(client, f="geojsonseq", limit=2_001).count(b"\x1e") == 2_001
    assert content(client, f="geojsonseq", filter="code < 0") == b""


def test_a_csv_file_is_read_by_other_programs(client: TestClient) -> None:
    rows = list(csv.DictReader(StringIO(content(client, f="csv").decode(), newline="")))
    assert len(rows) == NUMBER
    assert rows[7] == {
        "id": "8", "a name that is long": 'n "7", Łódź\n', "size": "", "code": "7", "day": "2020-01-31",
        "at": "2020-01-31T10:00:00Z", "open": "true", "x": "10.007", "y": "50.0",
    }  # fmt: skip
    nations = content(client, "nations", f="csv", limit=3, crs=f"{EPSG}/3857")
    outlines = [shapely.from_wkt(each["geometry"]) for each in csv.DictReader(StringIO(nations.decode()))]
    page = client.get("/collections/nations/items", params={"limit": 3, "crs": f"{EPSG}/3857"}).json()["features"]
    for outline, feature in zip(outlines, page, strict=True):
        assert outline.equals(shapely.geometry.shape(feature["geometry"]))
    assert "geometry" not in content(client, "nations", f="csv", skipGeometry="true").decode().splitlines()[0]


def test_a_download_has_only_the_rows_of_the_policy(client: TestClient) -> None:
    resources = client.app.state.resources  # type: ignore[attr-defined] # Starlette's
    policy, reading = resources.policy, Access(Action.READ_ITEMS, "a/many")
    rows = Verdict(allowed=True, rows=("code >= 2000",))
    resources.policy = lambda who, access: rows if access == reading else policy(who, access)
    try:
        for form, number in (("geojsonseq", NUMBER), ("csv", NUMBER)):
            text = content(client, f=form).decode()
            assert text.count("2020-01-31T10:00:00Z") == number - 2_000
        made = content(client, f="fgb", limit=5)
        assert content(client, f="fgb", filter="code < 2000") != made
    finally:
        resources.policy = policy
    assert pyogrio.raw.read(BytesIO(made), columns=["code"])[3][0].min() == 2_000


@pytest.mark.parametrize(
    ("form", "media_type"),
    [("fgb", "flatgeobuf"), ("gpkg", "geopackage+sqlite3"), ("shp", "zip"), ("parquet", "vnd.apache.parquet")],
)
def test_a_file_has_the_values_of_the_items(client: TestClient, tmp_path: Path, form: str, media_type: str) -> None:
    parameters = {"f": form, "filter": "code BETWEEN 10 AND 909", "crs": f"{EPSG}/3035"}
    answer = client.get("/collections/a/many/items", params=parameters)
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"application/{media_type}"), answer.text
    path = tmp_path / f"made.{'shp.zip' if form == 'shp' else form}"
    path.write_bytes(answer.content)
    if form == "parquet":
        table = pq.read_table(path)  # type: ignore[no-untyped-call] # pyarrow's
        said = json.loads(table.schema.metadata[b"geo"])
        column = said["columns"][said["primary_column"]]
        assert (said["version"], column["encoding"], column["geometry_types"]) == ("1.1.0", "WKB", ["Point"])
        assert column["crs"]["id"] == {"authority": "EPSG", "code": 3035}
        points = shapely.from_wkb(table["geometry"].to_numpy())
        names, codes = table["a name that is long"].to_pylist(), table["code"].to_pylist()
        assert table["bbox"][0].as_py()["xmin"] == points[0].x
    else:
        info = pyogrio.read_info(path)
        assert info["crs"] == "EPSG:3035"
        meta, _, wkb, columns = pyogrio.raw.read(path)
        found = dict(zip(meta["fields"], columns, strict=True))
        points, names = shapely.from_wkb(wkb), list(found["a name tha" if form == "shp" else "a name that is long"])
        codes = list(found["code"])
    order = sorted(range(len(codes)), key=lambda place: codes[place])
    assert [codes[place] for place in order] == list(range(10, 910))
    assert names[order[0]] == 'n "10", Łódź\n'
    page = client.get("/collections/a/many/items", params={**parameters, "f": "json", "limit": 1}).json()
    northing, easting = page["features"][0]["geometry"]["coordinates"]
    assert (points[order[0]].x, points[order[0]].y) == pytest.approx((easting, northing))
    if form == "fgb":
        assert len(pyogrio.raw.read(path, bbox=points[order[0]].buffer(1).bounds)[2]) == 1
    if form == "shp":
        with zipfile.ZipFile(path) as archive:
            lost = archive.read("what-is-lost.txt").decode().splitlines()
        assert lost == ["a name that is long is called a name tha", "at has lost its time of day"]


def test_polygons_are_multipolygons_in_a_file(client: TestClient) -> None:
    meta, _, wkb, _ = pyogrio.raw.read(BytesIO(content(client, "nations", f="fgb")))
    page = client.get("/collections/nations/items", params={"limit": 100}).json()
    assert len(wkb) == page["numberMatched"]
    assert {each.geom_type for each in shapely.from_wkb(wkb)} == {"MultiPolygon"}
    assert meta["geometry_type"] == "MultiPolygon"


def test_too_many_items_are_refused_with_alternatives(client: TestClient) -> None:
    answer = client.get("/collections/a/many/items", params={"f": "gpkg"})
    assert answer.status_code == 413
    assert "1,000" in answer.json()["detail"]
    assert client.get("/collections/a/many/items", params={"f": "gpkg", "limit": 1_001}).status_code == 413
    for form in ("csv", "fgb"):
        wrong = client.get("/collections/a/many/items", params={"f": form, "filter": "none = 1", "limit": 3})
        assert (wrong.status_code, wrong.json()["parameter"]) == (400, "filter")
    head = client.head("/collections/a/many/items", params={"f": "csv"})
    assert (head.status_code, head.content) == (200, b"")


def test_a_failed_stream_is_cut_off(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the stream would look complete after an error."""
    collection = client.app.state.resources.collections["a/many"]  # type: ignore[attr-defined] # Starlette's
    provider = collection.readable_features()
    texts, pages = type(provider).texts, iter(range(2))

    def broken(self: Any, query: ItemQuery) -> Any:
        if next(pages, None) is None:
            raise OSError("the disk is gone")
        return texts(self, query)

    monkeypatch.setattr(type(provider), "texts", broken)
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="gone"), flatten_subgroups=True, allow_unwrapped=True):
        client.get("/collections/a/many/items", params={"f": "geojsonseq"})


def test_a_download_of_a_changing_file_is_cut_off(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = client.app.state.resources.collections["a/many"]  # type: ignore[attr-defined] # Starlette's
    versions = iter(range(1_000))
    monkeypatch.setattr(type(collection), "require_readable", lambda _self: None)
    monkeypatch.setattr(type(collection), "versions", lambda _self: next(versions))
    broken = pytest.RaisesExc(download.BrokenDownload, match="changed")
    with pytest.RaisesGroup(broken, flatten_subgroups=True, allow_unwrapped=True):
        client.get("/collections/a/many/items", params={"f": "csv"})


def test_json_fg_has_times_and_places(client: TestClient) -> None:
    answer = client.get("/collections/a/many/items", params={"profile": "jsonfg", "limit": 1, "crs": f"{EPSG}/3035"})
    assert answer.headers["content-type"] == "application/geo+json"
    assert 'OGC/0/jsonfg>; rel="profile"' in answer.headers["link"]
    document = answer.json()
    assert document["conformsTo"] == ["http://www.opengis.net/spec/json-fg-1/1.0/conf/core"]
    assert (document["featureType"], document["coordRefSys"]) == ("a/many", f"{EPSG}/3035")
    [feature] = document["features"]
    assert (feature["geometry"], feature["place"]["type"]) == (None, "Point")
    plain = client.get("/collections/a/many/items", params={"profile": "[ogc-profile:jsonfg]", "limit": 1}).json()
    assert plain["features"][0]["place"] is None
    assert plain["features"][0]["geometry"]["coordinates"] == [10, 50]
    assert "coordRefSys" not in plain
    [following] = [each["href"] for each in plain["links"] if each["rel"] == "next"]
    assert "jsonfg" in following
    assert client.get(following.removeprefix(URL)).json()["features"][0]["id"] == 2
