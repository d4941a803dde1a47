"""The schemas of features over HTTP, text search in items, and posted filters."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import shapely
from starlette.testclient import TestClient

from auth.access import Access, Action, Verdict
from products.catalogue import read_configuration
from products.vector.layer import Column
from tests.conftest import ROOT, application
from tests.odd import geopackages as odd

COLUMNS = (
    Column("class_code", "INTEGER"), Column("id", "TEXT"), Column("name", "TEXT"), Column("area", "DOUBLE"),
    Column("day", "DATE"), Column("photo", "BLOB"), Column("secret", "TEXT"),
)  # fmt: skip
ROWS: list[tuple[Any, ...]] = [
    (1, "a", "Łąka Ojców", 1.5, "2020-01-31", b"x", "s1"), (2, "b", "50 % park_1", 2.5, None, None, "s2"),
    (10, "c", None, None, "2021-06-01", None, "s3"), (3, "d", "Water\\mill", 0.5, "2021-06-01", None, "s4"),
]  # fmt: skip
OGC = "http://www.opengis.net/def/profile/OGC/0"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Return a client of one layer whose file describes a column, and whose configuration describes another."""
    folder = tmp_path_factory.mktemp("schemas")
    path = folder / "odd.gpkg"
    odd.by_us(path, COLUMNS, ROWS, points=[shapely.Point(20 + number, 50) for number in range(len(ROWS))])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE gpkg_data_columns (table_name, column_name, name, title, description)")
        [(table,)] = connection.execute("SELECT table_name FROM gpkg_contents").fetchall()
        for name, title in (("name", "The name"), ("secret", "The secret"), ("area", "Of the file")):
            connection.execute("INSERT INTO gpkg_data_columns VALUES (?, ?, ?, ?, NULL)", (table, name, name, title))
    configuration = read_configuration(ROOT / "pygeoapi-config.yml")
    provider = {
        "type": "feature",
        "name": "plugins.geopackage.GeoPackageProvider",
        "data": str(path),
        "fields": {"area": {"title": "Area", "description": "Of the site.", "unit": "ha"}},
        "properties": [each.name for each in COLUMNS if each.name != "secret"],
    }
    rest = {name: value for name, value in configuration.items() if name != "products"}
    entry = {**configuration["resources"]["parks"], "title": "Sites", "providers": [provider]}
    app = application({**rest, "resources": {"sites": entry}}, state={"dir": folder / "state"})
    with TestClient(app, base_url="http://inside.invalid", headers={"accept": "*/*"}) as made:
        yield made


def document(client: TestClient, path: str, **parameters: str) -> Any:
    answer = client.get(f"/collections/sites/{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(client: TestClient, **parameters: str) -> list[int]:
    return [each["id"] for each in document(client, "items", **parameters)["features"]]


def test_the_schema_describes_the_items(client: TestClient) -> None:
    answer = client.get("/collections/sites/schema")
    assert answer.headers["content-type"] == "application/schema+json"
    assert f'<{OGC}/codelist-inline>; rel="profile"' in answer.headers["link"]
    schema = answer.json()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == "https://maps.example.org/land/collections/sites/schema"
    properties = schema["properties"]
    assert [name for name, each in properties.items() if each.get("x-ogc-role") == "id"] == ["fid"]
    assert properties["fid"]["type"] == "integer"
    assert properties["geometry"]["format"] == "geometry-point-or-multipoint"
    assert properties["geometry"]["x-ogc-role"] == "primary-geometry"
    assert properties["day"]["x-ogc-role"] == "primary-instant"
    assert (properties["name"]["title"], properties["area"]["title"]) == ("The name", "Area")
    assert properties["area"]["x-ogc-unit"] == "ha"
    assert {"const": 1, "title": "Sealed"} in properties["class_code"]["oneOf"]
    assert [each["x-ogc-propertySeq"] for each in properties.values()] == list(range(1, len(properties) + 1))
    assert "secret" not in answer.text
    page = client.get("/collections/sites/schema", params={"f": "html"})
    assert "Sealed" in page.text
    years = client.get("/collections/sites/schema", params={"profile": "unheard-of"})
    assert years.status_code == 200


def test_queryables_and_sortables_are_subsets_of_the_schema(client: TestClient) -> None:
    schema, queryables, sortables = (document(client, name) for name in ("schema", "queryables", "sortables"))
    for part in (queryables, sortables):
        assert part["additionalProperties"] is False
        assert part["properties"].items() <= schema["properties"].items()
    assert "fid" not in queryables["properties"]
    assert "geometry" not in sortables["properties"]
    for name in sortables["properties"]:
        assert len(ids(client, sortby=name)) == len(ROWS)
    for name in ("geometry", "fid", "secret"):
        assert client.get("/collections/sites/items", params={"sortby": name}).status_code == 400


def test_the_actual_domain_has_the_values_that_the_caller_sees(client: TestClient) -> None:
    wanted = f"[ogc-profile:actual-domain],{OGC}/codelist-inline"
    properties = document(client, "queryables", profile=wanted)["properties"]
    assert properties["class_code"]["enum"] == [1, 2, 3, 10]
    assert [each["const"] for each in properties["class_code"]["oneOf"]] == [1, 2, 3, 10]
    assert "enum" not in properties["area"]
    resources = client.app.state.resources  # type: ignore[attr-defined] # Starlette's
    policy = resources.policy
    rows = Verdict(allowed=True, rows=("secret = 's3'",))
    resources.policy = lambda _who, access: (
        rows if access == Access(Action.READ_ITEMS, "sites") else policy(_who, access)
    )
    try:
        seen = document(client, "queryables", profile="actual-domain")["properties"]
        assert ids(client) == [3]
    finally:
        resources.policy = policy
    assert seen["class_code"]["enum"] == [10]
    assert "enum" not in seen["name"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("aka", [1]), ("ĄKA oj", [1]), ("ojcow", [1]), ("50 %", [2]), ("%", [2]), ("park_1,water", [2, 3, 4]),
        ("parkx1", []), ("sealed", [1]), ("s1", []), ("needle", [2]), ("\\", [4]), ("' OR 1=1 --", []),
    ],
    ids=str,
)  # fmt: skip
def test_q_searches_texts_and_names_of_classes(client: TestClient, words: str, found: list[int]) -> None:
    assert ids(client, q=words) == found


def test_the_number_of_terms_is_limited(client: TestClient) -> None:
    for words in ("", " , ", ",".join("abcdefghijk"), "a" * 201, "a\0b"):
        answer = client.get("/collections/sites/items", params={"q": words})
        assert (answer.status_code, answer.json()["parameter"]) == (400, "q")


def test_a_filter_can_be_posted(client: TestClient) -> None:
    tree = {"op": "<", "args": [{"property": "area"}, 2]}
    address = "/collections/sites/items?limit=1"
    for media_type in ("application/json", "application/query-cql-json"):
        answer = client.post(address, json=tree, headers={"content-type": media_type})
        assert answer.status_code == 200, answer.text
        assert [each["id"] for each in answer.json()["features"]] == [1]
    [following] = [each["href"] for each in answer.json()["links"] if each["rel"] == "next"]
    page = client.get(following.removeprefix("https://maps.example.org/land")).json()
    assert [each["id"] for each in page["features"]] == [4]
    broken = ("[]", 400), ('{"op": "="', 400), ('{"op": "no", "args": []}', 400), ("{}" + " " * 200_000, 413)
    for wrong, status in broken:
        refused = client.post(address, content=wrong, headers={"content-type": "application/json"})
        assert refused.status_code == status, refused.text
    feature = client.post(address, json=tree, headers={"content-type": "application/geo+json"})
    assert feature.status_code == 415
    both = client.post(f"{address}&filter=area<2", json=tree)
    assert (both.status_code, both.json()["parameter"]) == (400, "filter")


def test_years_have_no_role_of_a_text(tmp_path: Path) -> None:
    path = tmp_path / "years.gpkg"
    odd.by_us(path, (Column("year", "INTEGER"),), [(2020,)], points=[shapely.Point(20, 50)])
    configuration = read_configuration(ROOT / "pygeoapi-config.yml")
    provider = {"type": "feature", "name": "plugins.geopackage.GeoPackageProvider", "data": str(path)}
    rest = {name: value for name, value in configuration.items() if name != "products"}
    entry = {**configuration["resources"]["parks"], "providers": [provider]}
    app = application({**rest, "resources": {"sites": entry}}, state={"dir": tmp_path / "state"})
    with TestClient(app, base_url="http://inside.invalid", headers={"accept": "*/*"}) as client:
        assert "x-ogc-role" not in document(client, "schema")["properties"]["year"]
        assert ids(client, datetime="2020-05-01") == [1]
        assert ids(client, datetime="2021-05-01") == []
