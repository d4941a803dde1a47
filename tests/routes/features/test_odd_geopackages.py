"""GeoPackages of many programs, through every path of a collection."""

import copy
import csv
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any, Literal
from unicodedata import normalize
from urllib.parse import quote, urlsplit

import pytest
import shapely
from pygeoapi.provider.base import ProviderConnectionError
from pyproj import Transformer
from starlette.applications import Starlette
from starlette.testclient import TestClient

from plugins.crs import CRS84, Box
from plugins.features import ItemQuery
from plugins.geopackage import GeoPackageProvider
from products.catalogue import read_configuration
from products.vector.layer import Column
from server.app import create_app
from server.check import find_ignored
from server.settings import CONCERNS, Settings
from tests.odd import geopackages as odd

ROOT = Path(__file__).parents[3]
WARSAW_BOX, KRAKOW_BOX = "20.9,52.1,21.1,52.3", "19.8,50,20,50.2"
DAY = [
    ("2023-06-01", "day"), ("2023/06/01", "old form"), ("2023-06-01T12:00:00Z", "instant"), (None, "none"),
    ("some day", "word"), ("2024-01-01T00:30:00+01:00", "offset"),
]  # fmt: skip
SPANS = [("2023-01-01", "2023-03-31"), ("2023-06-01", None), (None, "2022-12-31"), (None, None)]


def app_of(state: Path, definitions: dict[str, dict[str, Any]], **extra: Any) -> Starlette:
    """Return the application with the committed collections and these, to which `extra` members are added."""
    os.environ["LANDCAST_STATE_DIR"] = str(state)
    try:
        configuration = read_configuration(ROOT / "pygeoapi-config.yml")
    finally:
        del os.environ["LANDCAST_STATE_DIR"]
    model = configuration["resources"].pop("parks")
    for name, definition in definitions.items():
        entry = copy.deepcopy(model)
        entry["providers"][0] |= definition
        configuration["resources"][name] = {**entry, **extra.get(name, {})}
    chosen: dict[str, Any] = {
        "server": {"url": "https://maps.example.org/land"},
        "state": {"dir": state / "state"},
        "auth": {"open": True},
    }
    kinds = {kind.__name__.removesuffix("Settings").lower(): kind for kind in CONCERNS}
    values: Any = {name: kind(**chosen.get(name, {})) for name, kind in kinds.items()}
    return create_app(configuration, Settings(**values))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Return a client of a server with every unusual file."""
    folder = tmp_path_factory.mktemp("odd")
    definitions: dict[str, dict[str, Any]] = {}
    for make in odd.ALL:
        make(folder / f"{make.__name__}.gpkg")
        definitions[make.__name__] = {"data": str(folder / f"{make.__name__}.gpkg")}
    for name, (body, _) in odd.CURVES.items():
        odd.by_hand(folder / f"{name}.gpkg", odd.ONE, [(1, name, odd.blob(body))])
        definitions[name.replace(" ", "-")] = {"data": str(folder / f"{name}.gpkg")}
    definitions |= {name: odd.written(folder, name) for name in odd.WRITTEN}
    definitions["told_system"] = {**definitions["no_system"], "storage_crs": odd.EPSG_4326}
    definitions["null_ids"]["id_field"] = "code"
    definitions["view_by_id"] = {"data": str(folder / "view.gpkg"), "id_field": "name"}
    definitions["others"] = {"data": str(folder / "several.gpkg"), "table": "others"}
    definitions["told"] = {"data": str(folder / "geographic.gpkg"), "storage_crs": odd.EPSG_4326}
    odd.by_us(folder / "days.gpkg", [Column("day", "DATETIME"), Column("name", "TEXT")], DAY)
    odd.by_us(folder / "spans.gpkg", [Column("begin", "DATE"), Column("end", "DATE")], SPANS)
    odd.by_us(
        folder / "years.gpkg", [Column("year", "INTEGER"), Column("day", "DATE")], [(2023, "1999-01-01"), (None, None)]
    )
    definitions["days"] = {"data": str(folder / "days.gpkg")}
    definitions["spans"] = {"data": str(folder / "spans.gpkg"), "time_field": ["begin", "end"]}
    definitions["two_dates"] = {"data": str(folder / "spans.gpkg")}
    definitions["years"] = {"data": str(folder / "years.gpkg")}
    definitions["by_day"] = {"data": str(folder / "years.gpkg"), "time_field": "day"}
    definitions["no_such_time"] = {"data": str(folder / "years.gpkg"), "time_field": "when"}
    definitions["hidden"] = {"data": str(folder / "years.gpkg")}
    app = app_of(folder, definitions, hidden={"visibility": "hidden"})
    with TestClient(app, base_url="http://inside.invalid", headers={"accept": "*/*"}) as made:
        yield made


def get(client: TestClient, path: str, **parameters: Any) -> Any:
    answer = client.get(f"/collections{path}", params=parameters or None)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(client: TestClient, name: str, /, **parameters: Any) -> list[Any]:
    document = get(client, f"/{name}/items", **parameters)
    assert document["numberMatched"] >= document["numberReturned"] == len(document["features"])
    return [feature.get("id") for feature in document["features"]]


NAMES = [
    *(make.__name__ for make in odd.ALL), *(name.replace(" ", "-") for name in odd.CURVES), "view_by_id",
    "others", "told", "days", "spans", "two_dates", "years", "by_day", *odd.WRITTEN, "told_system",
]  # fmt: skip
BROKEN = {"cartesian", "several", "no_system"}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in BROKEN])
def test_every_address_of_a_collection_answers(client: TestClient, name: str) -> None:
    document = get(client, f"/{name}")
    assert "cannot be read" not in document["description"]
    fields = get(client, f"/{name}/schema")["properties"]
    roles = [field.get("x-ogc-role") for field in fields.values()]
    assert roles.count("primary-geometry") == 1
    queryables = get(client, f"/{name}/queryables")["properties"]
    assert queryables.items() <= fields.items()
    everything = get(client, f"/{name}/items", limit=50)
    for path in (f"/{name}?f=html", f"/{name}/schema?f=html", f"/{name}/items?f=html"):
        assert client.get(f"/collections{path}").status_code == 200
    linked = get(client, f"/{name}/items", limit=50, f="jsonld")
    assert [each.get("@id") is None for each in linked["features"]] == [
        each.get("id") is None for each in everything["features"]
    ]
    rows = csv.DictReader(StringIO(client.get(f"/collections/{name}/items?f=csv&limit=50").text))
    assert not rows.fieldnames or len(list(rows)) == everything["numberReturned"]
    hits = get(client, f"/{name}/items", resulttype="hits")
    assert (hits["features"], hits["numberMatched"]) == ([], everything["numberMatched"])
    assert "next" not in {each["rel"] for each in hits["links"]}
    seen: list[Any] = []
    address = f"/collections/{name}/items?limit=1"
    while address and len(seen) < 50:
        page = client.get(address).json()
        seen += page["features"]
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        address = following[0].removeprefix("https://maps.example.org/land") if following else ""
    assert seen == everything["features"]
    assert everything["numberMatched"] == len(seen)
    for feature in seen:
        geometry = feature["geometry"]
        assert geometry is None or shapely.from_geojson(json.dumps(geometry)).is_empty is False
    everywhere = get(client, f"/{name}/items", bbox="-180,-90,180,90", limit=50)
    assert everywhere["features"] == everything["features"]


def test_a_broken_collection_breaks_no_list(client: TestClient) -> None:
    found = {entry["id"]: entry["description"] for entry in get(client, "")["collections"]}
    assert {name for name in found if "cannot be read" in found[name]} == {*BROKEN, "clcplus-vector", "no_such_time"}
    for name in BROKEN:
        assert client.get(f"/collections/{name}/items").status_code == 503
    checks = client.get("/health/ready").json()["checks"]
    assert checks["collection:laea"] == {"status": "ok"}
    assert "places, others" in checks["collection:several"]["detail"]
    assert "storage_crs" in checks["collection:cartesian"]["detail"]
    assert "there are year, day" in checks["collection:no_such_time"]["detail"]


@pytest.mark.parametrize(
    "name",
    [
        "laea", "esri", "false_epsg", "geographic", "told", "text_key", "real_key", "two_keys", "no_key", "view",
        "view_of_numbers", "old_index",
    ],
)  # fmt: skip
def test_features_are_found_at_their_places(client: TestClient, name: str) -> None:
    found = get(client, f"/{name}/items")["features"]
    assert [feature["geometry"]["coordinates"] for feature in found] == [list(odd.WARSAW), list(odd.KRAKOW)]
    assert ids(client, name, bbox=WARSAW_BOX) == [found[0]["id"]]
    assert ids(client, name, bbox=KRAKOW_BOX) == [found[1]["id"]]
    assert ids(client, name, bbox="0,0,1,1") == []


def test_foreign_systems_are_named_if_they_have_a_code(client: TestClient) -> None:
    esri = "http://www.opengis.net/def/crs/ESRI/0/102014"
    assert get(client, "/esri")["storageCrs"] == esri
    assert esri in get(client, "/esri")["crs"]
    assert "storageCrs" not in get(client, "/laea")
    metres = get(client, "/esri/items", crs=esri)["features"][0]["geometry"]["coordinates"]
    assert metres == pytest.approx(
        Transformer.from_crs(4326, "ESRI:102014", always_xy=True).transform(*odd.WARSAW), abs=0.01
    )
    box = f"{metres[0] - 1},{metres[1] - 1},{metres[0] + 1},{metres[1] + 1}"
    assert ids(client, "esri", **{"bbox": box, "bbox-crs": esri}) == [1]


@pytest.mark.parametrize("name", odd.CURVES)
def test_arcs_become_chords(client: TestClient, name: str) -> None:
    (feature,) = get(client, f"/{name.replace(' ', '-')}/items")["features"]
    assert feature["geometry"]["type"] == odd.CURVES[name][1]
    shape = shapely.from_geojson(json.dumps(feature["geometry"]))
    expected = {"circular string": 3.1416, "big endian": 3.1416, "compound curve": 5.1416}
    if name in expected:
        assert shape.length == pytest.approx(expected[name], rel=1e-3)
    areas = {"curve polygon": 1.5708, "circle": 3.1416, "multi surface": 4.1416, "tin": 0.5, "triangle": 0.5}
    if name in areas:
        assert shape.is_valid
        assert shape.area == pytest.approx(areas[name], rel=1e-3)
    where = shape.representative_point()
    assert ids(client, name.replace(" ", "-"), bbox=f"{where.x},{where.y},{where.x},{where.y}") in ([1], [])
    west, south, east, north = shape.bounds
    assert ids(client, name.replace(" ", "-"), bbox=f"{west},{south},{east},{north}") == [1]


def test_values_are_json(client: TestClient) -> None:
    one, two = (feature["properties"] for feature in get(client, "/values/items")["features"])
    assert one == {
        "bytes": "AP8=", "truth": True, "big": 2**53 + 1, "much": None, "day": "2023-05-01",
        "moment": "2023-05-01T10:00:00Z", "broken": "\ufffda", "twice": 2**54 + 2,
    }  # fmt: skip
    assert (two["bytes"], two["truth"], two["day"], two["moment"]) == (
        None,
        False,
        "2023-05-02",
        "2023-05-02T10:00:00Z",
    )
    fields = get(client, "/values/schema")["properties"]
    for field in fields.values():
        del field["x-ogc-propertySeq"]
    assert fields["bytes"] == {"type": "string", "contentEncoding": "base64"}
    assert (fields["truth"], fields["day"]) == ({"type": "boolean"}, {"type": "string", "format": "date"})
    assert ids(client, "values", truth="true") == ids(client, "values", bytes="AP8=") == [1]
    assert ids(client, "values", big=str(2**53 + 1)) == ids(client, "values", twice=str(2**54 + 2)) == [1]
    assert client.get("/collections/values/items?bytes=*").json()["parameter"] == "bytes"


def test_heights_are_kept_and_measures_dropped(client: TestClient) -> None:
    found = [feature["geometry"]["coordinates"] for feature in get(client, "/heights/items")["features"]]
    assert found == [[21, 52.2, 100.5], [21, 52.2], [21, 52.2, 100.5], [21, 52.2]]
    mercator = get(client, "/heights/items/1", crs="http://www.opengis.net/def/crs/EPSG/0/3857")
    assert mercator["geometry"]["coordinates"][2] == 100.5


def test_features_without_coordinates_are_null_and_match_every_box(client: TestClient) -> None:
    found = {feature["id"]: feature["geometry"] for feature in get(client, "/empty/items")["features"]}
    assert {id_ for id_, geometry in found.items() if geometry is None} == {1, 2, 3, 5, 6, 7, 8}
    assert len(found[4]["coordinates"]) == 1
    assert ids(client, "empty", bbox="0,0,1,1") == [1, 2, 3, 5, 6, 7, 8]
    assert len(ids(client, "empty", bbox="19.5,50.2,19.6,50.3")) == 8


def test_a_layer_at_one_point_is_found(client: TestClient) -> None:
    assert ids(client, "one_point", bbox=WARSAW_BOX) == ids(client, "one_point", bbox="21,52.2,21,52.2") == [1, 2]
    assert ids(client, "one_point", bbox=KRAKOW_BOX) == []


def test_every_id_has_an_address(client: TestClient) -> None:
    features = get(client, "/null_ids/items", limit=50)["features"]
    assert "id" not in features[0]
    for feature in features[1:]:
        if feature["id"] in {"", "../x", "a%2Fb", "same"}:  # those that HTTP clients, not servers, make others of
            continue
        item = get(client, f"/null_ids/items/{quote(feature['id'], safe='')}")
        assert (item["id"], item["properties"]) == (feature["id"], feature["properties"])
        itself = urlsplit(item["links"][0]["href"])
        assert itself.path == f"/land/collections/null_ids/items/{quote(feature['id'], safe='')}"
    page = client.get("/collections/null_ids/items?f=html").text
    assert 'items/a%2Fb?f=html"' in page
    assert client.get("/collections/null_ids/items/None").status_code == 404
    assert client.get("/collections/text_key/items/a/b").json()["id"] == "a/b"
    assert client.get("/collections/text_key/items/x/items/b").status_code == 404
    assert get(client, "/real_key/items/1.5")["id"] == 1.5
    for wrong in ("01", "1.0", "1e0", " 1", "+1", "9" * 30):
        assert client.get(f"/collections/esri/items/{quote(wrong)}").status_code == 404


@pytest.mark.parametrize(
    ("query", "given", "expected"),
    [
        ("SELECT name, geom, id FROM places", None, "begins with no column of whole numbers"),
        ("SELECT geom, name FROM places", None, "begins with no column of whole numbers"),
        ("SELECT max(id) AS id, name, geom FROM places GROUP BY name", None, "begins with no column of whole numbers"),
        ("SELECT name, geom, id FROM places", "id", {1, 2}),
        ("SELECT name, geom FROM places", "name", {"Warsaw", "Kraków"}),
        ("SELECT id, name, geom FROM places", None, {1, 2}),
        ("SELECT id, name, geom FROM places", "name", {"Warsaw", "Kraków"}),
        ("SELECT name, id AS OGC_FID, geom FROM places", None, {1, 2}),
        ("SELECT id + 7 AS OGC_FID, name, geom FROM places", None, {8, 9}),
    ],
)
def test_a_view_is_numbered_or_refused_and_never_empty(
    tmp_path: Path, query: str, given: str | None, expected: str | set[Any]
) -> None:
    """SQLite has a rowid in each view, which is NULL: without another number the view would appear empty."""
    odd.by_hand(tmp_path / "a.gpkg", odd.ONE, odd.TWO)
    odd.as_view(tmp_path / "a.gpkg", query)
    provider = GeoPackageProvider(
        {"name": "x", "type": "feature", "data": str(tmp_path / "a.gpkg"), **({"id_field": given} if given else {})}
    )
    if isinstance(expected, str):
        with pytest.raises(ProviderConnectionError, match=expected):
            provider.find(ItemQuery())
        return
    page = provider.find(ItemQuery())
    assert ({feature["id"] for feature in page.features}, page.summary.matched) == (expected, 2)
    for id_ in expected:
        assert provider.get(str(id_))["id"] == id_


def test_points_number_no_view(tmp_path: Path) -> None:
    """The type of the first column, `POINT`, has `INT` in it."""
    odd.one_point(tmp_path / "a.gpkg")
    odd.as_view(tmp_path / "a.gpkg", "SELECT geometry, name FROM places")
    provider = GeoPackageProvider({"name": "x", "type": "feature", "data": str(tmp_path / "a.gpkg")})
    with pytest.raises(ProviderConnectionError, match="begins with no column of whole numbers"):
        provider.find(ItemQuery())


@pytest.mark.parametrize("node", [b"", b"\0", b"\0\0\xff\xff", b"\0\0\0\1", None, "text", 7, "gone"])
def test_a_damaged_index_is_named(tmp_path: Path, node: bytes | str | int | None) -> None:
    odd.one_point(tmp_path / "a.gpkg")
    with closing(sqlite3.connect(tmp_path / "a.gpkg", autocommit=True)) as connection:
        connection.execute("UPDATE rtree_places_geometry_node SET data = ?", (node,))
        connection.execute("DELETE FROM rtree_places_geometry_node WHERE data = 'gone'")
    provider = GeoPackageProvider({"name": "x", "type": "feature", "data": str(tmp_path / "a.gpkg")})
    with pytest.raises(ProviderConnectionError, match="its spatial index is damaged"):
        provider.find(ItemQuery(boxes=[Box((20, 52, 22, 53), CRS84)]))


def test_two_columns_of_geometry_are_named(tmp_path: Path) -> None:
    odd.by_hand(tmp_path / "a.gpkg", odd.ONE, odd.TWO)
    with closing(sqlite3.connect(tmp_path / "a.gpkg", autocommit=True)) as connection:
        connection.executescript(
            "ALTER TABLE places ADD COLUMN other GEOMETRY;"
            "INSERT INTO gpkg_geometry_columns VALUES ('places', 'other', 'GEOMETRY', 4326, 0, 0)"
        )
    provider = GeoPackageProvider({"name": "x", "type": "feature", "data": str(tmp_path / "a.gpkg")})
    with pytest.raises(ProviderConnectionError, match="places has several columns of geometry, geom, other"):
        provider.find(ItemQuery())


def test_a_layer_is_named_by_table(client: TestClient) -> None:
    assert get(client, "/others/items")["features"][0]["properties"] == {"name": "second"}


def test_names_of_standard_parameters_are_not_properties(client: TestClient) -> None:
    assert ids(client, "parameters", limit=1, offset=1) == [2]
    assert ids(client, "parameters", f="json", skipGeometry="true", bbox=KRAKOW_BOX) == [2]
    assert ids(client, "parameters", name="bname") == [2]
    assert ids(client, "parameters", sortby="-limit", properties="limit,f") == [3, 2, 1]
    queryables = get(client, "/parameters/queryables")["properties"].keys()
    assert queryables == {"geom", "geometry", "name", "id", "type"}
    for wrong in ("filter=x", "resultType=hits", "Limit=1", "token=a"):
        assert client.get(f"/collections/parameters/items?{wrong}").status_code == 400
    paths = client.get("/openapi?f=json").json()["paths"]
    parameters = [entry.get("name") for entry in paths["/collections/parameters/items"]["get"]["parameters"]]
    assert len(parameters) == len(set(parameters) | {None}) - 1 + parameters.count(None)
    assert {"name", "type"} <= set(parameters)


@pytest.mark.parametrize(
    ("time", "found"),
    [
        ("2023-06-01", [1, 2, 3, 4, 5]),
        ("2023-06-01T12:00:00Z", [1, 2, 3, 4, 5]),
        ("2023-06-01T14:00:00+02:00", [1, 2, 3, 4, 5]),
        ("2023-06-01T13:00:00Z", [1, 2, 4, 5]),
        ("2023-06-02T00:30:00+01:00", [1, 2, 4, 5]),
        ("2023-06-02T00:00:00Z", [4, 5]),
        ("2023-12-31T23:30:00Z", [4, 5, 6]),
        ("2024-01-01T00:00:00Z/..", [4, 5]),
        ("../2022-12-31", [4, 5]),
    ],
)
def test_a_single_date_column_is_the_time(client: TestClient, time: str, found: list[int]) -> None:
    assert ids(client, "days", datetime=time) == found


@pytest.mark.parametrize(
    ("time", "found"),
    [
        ("2023-02-01", [1, 4]), ("2023-03-31T23:59:59Z", [1, 4]), ("2023-04-01T00:00:00Z", [4]), ("2023-07-01", [2, 4]),
        ("2022-06-01", [3, 4]), ("2022-12-31/2023-01-01", [1, 3, 4]), ("../..", None),
    ],
)  # fmt: skip
def test_two_date_columns_are_start_and_end(client: TestClient, time: str, found: list[int] | None) -> None:
    if found is None:
        assert client.get(f"/collections/spans/items?datetime={time}").status_code == 400
    else:
        assert ids(client, "spans", datetime=time) == found
        assert ids(client, "two_dates", datetime=time) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("time", "found"),
    [
        ("2024-01-01T00:30:00+01:00", [1, 2]), ("2023-01-01T00:30:00+01:00", [2]),
        ("2022-12-31T23:30:00-01:00", [1, 2]),
        ("0001-01-01T00:00:00+14:00/..", [1, 2]), ("../9999-12-31T23:59:59-14:00", [1, 2]), ("1999-01-01", [2]),
    ],
)  # fmt: skip
def test_a_year_ends_on_its_last_day(client: TestClient, time: str, found: list[int]) -> None:
    assert ids(client, "years", datetime=time) == found
    assert ids(client, "by_day", datetime="1999-01-01") == [1, 2]
    assert ids(client, "by_day", datetime="2023-01-01") == [2]


def test_the_time_of_a_collection_is_described(client: TestClient) -> None:
    assert get(client, "/days")["extent"]["temporal"] == {
        "interval": [["2023-06-01T00:00:00Z", "2023-12-31T23:30:00Z"]]
    }
    assert "temporal" not in get(client, "/spans")["extent"]
    assert get(client, "/years")["extent"]["temporal"]["interval"] == [["2023-01-01T00:00:00Z", "2023-12-31T23:59:59Z"]]
    assert "temporal" not in get(client, "/two_dates")["extent"]
    roles = {name: field.get("x-ogc-role") for name, field in get(client, "/spans/schema")["properties"].items()}
    assert (roles["begin"], roles["end"]) == ("primary-interval-start", "primary-interval-end")
    assert get(client, "/days/queryables")["properties"]["day"]["x-ogc-role"] == "primary-instant"


def test_a_hidden_collection_answers_only_at_its_address(client: TestClient) -> None:
    assert ids(client, "hidden") == [1, 2]
    assert get(client, "/hidden")["id"] == "hidden"
    for path in ("/", "/collections", "/openapi", "/processes"):
        for form in ("json", "html"):
            assert "hidden" not in client.get(path, params={"f": form}).text.replace('aria-hidden="true"', "")
    body = {"inputs": {"collection": "nothing", "bbox": {"bbox": [0, 0, 1, 1]}}}
    refused = client.post("/processes/area-statistics/execution", json=body)
    assert "nations" in refused.text
    assert "hidden" not in refused.text


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    source, other = tmp_path / "a.gpkg", tmp_path / "b.gpkg"
    odd.by_us(source, [Column("name", "TEXT")], [("one",)])
    odd.by_us(other, [Column("title", "TEXT"), Column("year", "INTEGER")], [("two", 2023), ("three", 2024)])
    with TestClient(app_of(tmp_path, {"a": {"data": str(source)}})) as client:
        assert get(client, "/a/items")["features"][0]["properties"] == {"name": "one"}
        shutil.copy(other, tmp_path / "c.gpkg")
        (tmp_path / "c.gpkg").replace(source)
        assert get(client, "/a/items", datetime="2024-05-01")["features"][0]["properties"] == {
            "title": "three",
            "year": 2024,
        }
        with closing(sqlite3.connect(source, autocommit=True)) as connection:
            connection.execute("ALTER TABLE places ADD COLUMN more TEXT")
        assert "more" in get(client, "/a/schema")["properties"]
        source.unlink()
        assert client.get("/collections/a").status_code == 503


def test_a_read_only_folder_is_read_without_a_wal() -> None:
    folder = Path(tempfile.mkdtemp())
    odd.log(folder / "log.gpkg")
    provider = GeoPackageProvider({"name": "", "type": "feature", "data": str(folder / "log.gpkg")})
    folder.chmod(0o555)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65_534)
        assert [feature["id"] for feature in provider.find(ItemQuery()).features] == [1]
        assert not (folder / "log.gpkg-wal").exists()
    finally:
        os.seteuid(user)
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_gdals_layers_are_read(tmp_path: Path) -> None:
    features = [
        {
            "type": "Feature",
            "properties": {"name": name, "day": "2023-06-01", "n": n},
            "geometry": {"type": "Point", "coordinates": place},
        }
        for n, (name, place) in enumerate((("Warsaw", odd.WARSAW), ("Kraków", odd.KRAKOW)))
    ]
    definitions = {}
    for name, options in {
        "plain": (),
        "noindex": ("-lco", "SPATIAL_INDEX=NO"),
        "moved": ("-t_srs", "EPSG:2180"),
        "american": ("-t_srs", "EPSG:4269"),
    }.items():
        odd.by_gdal(tmp_path / f"{name}.gpkg", features, *options)
        definitions[name] = {"data": str(tmp_path / f"{name}.gpkg")}
    with TestClient(app_of(tmp_path, definitions)) as made:
        for name in definitions:
            assert ids(made, name, bbox=WARSAW_BOX) == ids(made, name, name="Warsaw") == [1]
            assert ids(made, name, datetime="2023-06-01") == [1, 2]
            assert ids(made, name, datetime="2024-06-01") == []
            east, north = Transformer.from_crs(4326, 3035, always_xy=True).transform(*odd.WARSAW)
            box = f"{north - 9},{east - 9},{north + 9},{east + 9}"
            system = "http://www.opengis.net/def/crs/EPSG/0/3035"
            [found] = get(made, f"/{name}/items", **{"bbox": box, "bbox-crs": system, "crs": system})["features"]
            assert found["geometry"]["coordinates"] == pytest.approx([north, east], abs=0.01)


def test_a_large_layer_without_an_index_refuses_a_bbox(tmp_path: Path) -> None:
    """Otherwise every box would match all features."""
    large = tmp_path / "large.gpkg"
    odd.by_hand(large, odd.ONE, [])
    many = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100001)"
        " INSERT INTO places SELECT i, 'x', ? FROM n"
    )
    with closing(sqlite3.connect(large, autocommit=True)) as connection:
        connection.execute(many, (odd.blob(shapely.Point(odd.WARSAW)),))
    with TestClient(app_of(tmp_path, {"large": {"data": str(large)}})) as client:
        answer = client.get(f"/collections/large/items?bbox={KRAKOW_BOX}")
        assert (answer.status_code, "no spatial index" in answer.json()["detail"]) == (413, True)
        assert get(client, "/large/items", limit=1)["numberMatched"] == 100_001
        assert client.get("/collections/large").status_code == 200


def test_large_keys_hide_no_items(tmp_path: Path) -> None:
    """Features without a geometry match every box, and those missing in the index are found, also with high keys."""
    odd.by_us(tmp_path / "high.gpkg", [Column("name", "TEXT")], [("Warsaw",)], points=[shapely.Point(odd.WARSAW)])
    with closing(sqlite3.connect(tmp_path / "high.gpkg", autocommit=True)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        rows = [(1 << 40, odd.blob(shapely.Point(odd.KRAKOW)), "Kraków"), (1 << 62, None, "nowhere")]
        connection.executemany("INSERT INTO places VALUES (?, ?, ?)", rows)
    with TestClient(app_of(tmp_path, {"high": {"data": str(tmp_path / "high.gpkg")}})) as client:
        assert ids(client, "high", bbox=KRAKOW_BOX) == [1 << 40, 1 << 62]
        assert ids(client, "high", bbox=WARSAW_BOX) == [1, 1 << 62]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_texts_are_compared_composed_and_decomposed(tmp_path: Path, form: Literal["NFC", "NFD"]) -> None:
    names = [normalize("NFC", "Świętochłowice"), normalize("NFD", "Świętochłowice"), "Swietochlowice"]
    odd.by_us(tmp_path / "forms.gpkg", [Column("name", "TEXT")], [(name,) for name in names])
    with TestClient(app_of(tmp_path, {"forms": {"data": str(tmp_path / "forms.gpkg")}})) as made:
        assert ids(made, "forms", name=normalize(form, "Świętochłowice")) == [1, 2]
        assert ids(made, "forms", name="Swietochlowice") == [3]
        assert ids(made, "forms", name=normalize(form, "świętochłowice")) == []


def test_check_names_a_damaged_index(tmp_path: Path) -> None:
    definitions = {}
    for make in (odd.stale_index, odd.old_index, odd.one_point, odd.heights):
        make(tmp_path / f"{make.__name__}.gpkg")
        definitions[make.__name__] = tmp_path / f"{make.__name__}.gpkg"
    provider = {"type": "feature", "name": "plugins.geopackage.GeoPackageProvider"}
    resources = {
        name: {"type": "collection", "providers": [{**provider, "data": str(data)}]}
        for name, data in definitions.items()
    }
    (tmp_path / "configuration.yml").write_text(json.dumps({"resources": resources}))
    found = [line for line in find_ignored(tmp_path / "configuration.yml") if "index of" in line]
    assert [line.partition(", then")[0].partition("of places ")[2].partition(";")[0] for line in found] == [
        "holds features that no longer exist: 1",
        "holds features at a wrong place, where a bbox finds them: 2",
        "holds features that no longer exist: 1",
    ]
    assert "DisableSpatialIndex('places', 'geometry')" in found[0]


def test_check_names_properties_that_cannot_be_queried(tmp_path: Path) -> None:
    odd.parameters(tmp_path / "parameters.gpkg")
    odd.text_key(tmp_path / "text.gpkg")
    provider = {"type": "feature", "name": "plugins.geopackage.GeoPackageProvider"}
    resources = {
        name: {"type": "collection", "providers": [{**provider, "data": str(tmp_path / f"{name}.gpkg")}]}
        for name in ("parameters", "text", "missing")
    }
    (tmp_path / "configuration.yml").write_text(json.dumps({"resources": resources}))
    found = [line for line in find_ignored(tmp_path / "configuration.yml") if line.startswith("resources.")]
    assert len(found) == 2
    assert "resources.parameters.providers[0]: items cannot be filtered by limit, offset, f, bbox," in found[0]
    assert "name" not in found[0].partition(": parameters")[0].split(", ")
    assert "resources.text.providers[0]: places has no spatial index" in found[1]


def test_check_names_described_columns_that_are_not_served(tmp_path: Path) -> None:
    odd.text_key(tmp_path / "text.gpkg")
    provider = {"type": "feature", "name": "plugins.geopackage.GeoPackageProvider", "data": str(tmp_path / "text.gpkg")}
    fields = {"name": {"title": "Name"}, "nmae": {"title": "Name"}, "id": {"title": "Id"}}
    resources = {"text": {"type": "collection", "providers": [{**provider, "fields": fields}]}}
    (tmp_path / "configuration.yml").write_text(json.dumps({"resources": resources}))
    told = [line for line in find_ignored(tmp_path / "configuration.yml") if ".fields" in line]
    assert told == ["resources.text.providers[0].fields.nmae: no column that is served; there are name"]


WARSAW_AND_BOTH = [[list(odd.WARSAW)], [list(odd.KRAKOW), list(odd.WARSAW)], None]
BY_FIONA = [
    ["Warsaw", -1, 2.0**53, 0.1, True, "2023-05-01", "2023-05-01T08:00:00.250000Z", "AP8=", "ż"],
    ["Kraków", *[None] * 8],
    ["nowhere", 2**31 - 1, -(2.0**62), None, False, "0001-01-01", "9999-12-31T23:59:59Z", "", ""],
]
BY_GEOPANDAS = [
    ["x/y", "Warsaw", 1, 1, 0.1, True, "2023-05-01T08:00:00.250000Z", "2023-05-01", 7, "a"],
    ["x/y", "Kraków", None, 2, None, None, None, None, 7, "b"],
    ["z", None, 2**53 + 1, 3, None, False, "1899-12-31T22:45:00Z", "0001-01-01", 7, "c"],
]
BY_KEY_AND_LIMIT = [["x/y", "a"], ["x/y", "b"], ["z", "c"]]


@pytest.mark.parametrize(
    ("name", "places", "values"),
    [
        ("of_fiona", [[*odd.WARSAW, 100.5], [[[[20, 50], [20, 51], [19, 51], [19, 50], [20, 50]]]], None], BY_FIONA),
        ("lines_of_fiona", [[[20, 52, 1], [20.0145607, 51.9999991, 2]]], [[]]),
        ("of_geopandas", WARSAW_AND_BOTH, BY_GEOPANDAS),
        ("northing_first", WARSAW_AND_BOTH, BY_KEY_AND_LIMIT),
        ("told_system", WARSAW_AND_BOTH, BY_KEY_AND_LIMIT),
    ],
)
def test_files_of_fiona_and_geopandas_are_served(
    client: TestClient, name: str, places: list[Any], values: list[list[Any]]
) -> None:
    features = get(client, f"/{name}/items")["features"]
    assert [feature["id"] for feature in features] == list(range(1, len(values) + 1))
    assert [list(feature["properties"].values()) for feature in features] == values
    for feature, place in zip(features, places, strict=True):
        assert (feature["geometry"] and feature["geometry"]["coordinates"]) == place


@pytest.mark.parametrize("name", ["of_geopandas", "northing_first", "told_system"])
def test_a_box_finds_features_written_by_geopandas(client: TestClient, name: str) -> None:
    assert ids(client, name, bbox=WARSAW_BOX) == [1, 2, 3]  # what has no place matches always
    assert ids(client, name, bbox=KRAKOW_BOX) == [2, 3]
