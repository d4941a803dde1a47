"""Every parameter with fragments of SQL: the databases get no statement but those of harmless requests."""

# ruff: noqa: S608 - texts that a caller sends

import json
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg2
import pytest
from psycopg2.extensions import cursor, parse_dsn
from starlette.testclient import TestClient

from products.catalogue import read_configuration
from products.vector.layer import Column
from tests.conftest import ROOT, application
from tests.odd import geopackages as odd
from tests.postgres import Postgres

COLUMNS = (Column("name", "TEXT"), Column("size", "REAL"), Column("day", "DATE"), Column("secret", "TEXT"))
ROWS = [("a", 1.5, "2020-01-31", "x"), ("b", None, None, "y"), ("it's", 2.5, "2021-01-31", "z")]
TABLE = """
create table places (id integer generated always as identity primary key, name text, size float8, day date, secret text,
    geom geometry(Point, 4326));
insert into places (name, size, day, secret, geom) values ('a', 1.5, '2020-01-31', 'x', 'SRID=4326;POINT(20 50)'),
    ('b', null, null, 'y', 'SRID=4326;POINT(20.1 50)'), ('it''s', 2.5, '2021-01-31', 'z', 'SRID=4326;POINT(20.2 50)');
"""
MARK = "x_mark_x"
EVIL = [
    f"{MARK}'; DROP TABLE places; --",
    f"{MARK}\\'; SELECT 1; --",
    f"{MARK}') OR 1=1 UNION SELECT secret FROM places --",
    f'{MARK}" FROM sqlite_master; --',
    f"1; DELETE FROM places -- {MARK}",
    f"%s %(name)s ? :name $1 {MARK}",
    f"{MARK}\u02bc\uff07\u2019; --",
]
EPSG = "http://www.opengis.net/def/crs/EPSG/0"
HARMLESS: dict[str, Sequence[str]] = {
    "bbox": ("19,49,20.05,51", "0,0,1,1", "-180,-90,180,90"),
    "bbox-crs": (f"{EPSG}/4326",),
    "crs": (f"{EPSG}/3857", f"{EPSG}/3035"),
    "datetime": ("2020-01-31", "2020-01-01/..", "../2020-12-31", "1999-01-01/1999-01-02"),
    "limit": ("1", "10"),
    "offset": ("1", "100"),
    "properties": ("name", "size", "name,size,day"),
    "sortby": ("name", "-size", "day,-name"),
    "resulttype": ("hits", "results"),
    "skipGeometry": ("true",),
    "q": ("a", "a b,c", "it's"),
    "name": ("a", "it's", "nothing", "\u00f3", "\u00f3o\u0301"),
    "size": ("1.5", "7"),
    "day": ("2020-01-31",),
    "filter": ("name = 'a'", "name LIKE 'a%'", "CASEI(name) = CASEI('a')", "name IN ('a', 'b')", "size > 1"),
    "f": ("json", "csv", "geojsonseq", "html"),
}
"""Values of each parameter that are answered, by which a statement gets all the shapes that it may have."""
_LITERAL = re.compile(
    rb"""E'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|\b\d+(\.\d+)?(e[+-]?\d+)?\b|\bNULL\b""", re.IGNORECASE | re.DOTALL
)


class Sent:
    """What is sent: statements as they are written, without values; and as they arrive, with a mark for each value."""

    def __init__(self) -> None:
        self.written: set[str] = set()
        self.arrived: set[bytes] = set()

    def write(self, statement: object) -> None:
        self.written.add(str(statement))

    def arrive(self, statement: bytes) -> None:
        self.arrived.add(_LITERAL.sub(b"?", statement))


@pytest.fixture(scope="module")
def sent() -> Iterator[Sent]:
    """Return what both databases are sent from now on; SQLite's own files of the server are left out."""
    found = Sent()

    class Cursor(cursor):
        def execute(self, query: Any, values: Any = None) -> None:
            found.write(query)
            try:
                super().execute(query, values)
            finally:
                found.arrive(self.query or b"")

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            found.write(sql)
            return super().execute(sql, *values)

    real, real_sqlite = psycopg2.connect, sqlite3.connect

    def connect(*given: Any, **named: Any) -> Any:
        return real(*given, **{"cursor_factory": Cursor, **named})

    def connect_sqlite(database: Any, *given: Any, **named: Any) -> Any:
        if ".gpkg" not in str(database):
            return real_sqlite(database, *given, **named)
        made = real_sqlite(database, *given, **{**named, "factory": Connection})
        made.set_trace_callback(lambda statement: found.arrive(statement.encode()))
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg2, "connect", connect)
        patch.setattr(sqlite3, "connect", connect_sqlite)
        yield found


@pytest.fixture(scope="module")
def client(sent: Sent, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Return a client of the same three points in a GeoPackage and in PostGIS, of which one column is hidden."""
    del sent
    folder = tmp_path_factory.mktemp("statements")
    odd.by_us(folder / "places.gpkg", COLUMNS, ROWS)
    url = postgres.spatial()
    postgres.run(url, TABLE)
    configuration = read_configuration(ROOT / "pygeoapi-config.yml")
    park = configuration["resources"]["parks"]
    shown = {"type": "feature", "properties": ["name", "size", "day"], "time_field": "day"}
    geopackage = {**shown, "name": "plugins.geopackage.GeoPackageProvider", "data": str(folder / "places.gpkg")}
    table = {**shown, "name": "plugins.postgis.PostgisProvider", "data": parse_dsn(url), "table": "places"}
    entries = {"geopackage": {**park, "providers": [geopackage]}, "postgis": {**park, "providers": [table]}}
    rest = {name: value for name, value in configuration.items() if name != "products"}
    app = application({**rest, "resources": entries}, state={"dir": folder / "state"})
    with TestClient(app, base_url="http://inside.invalid", headers={"accept": "*/*"}) as made:
        yield made


def harmless(client: TestClient, place: str) -> list[Any]:
    """Send the requests that people send; return the answers."""
    items = f"{place}/items"
    answers = [client.get(items, params={name: value}) for name, values in HARMLESS.items() for value in values]
    for sortby in HARMLESS["sortby"]:
        first = client.get(items, params={"limit": 1, "sortby": sortby})
        second = client.get(_link(first, "next"))
        answers += [first, second, client.get(_link(second, "prev")), client.get(_link(second, "next"))]
    tree = {"op": "=", "args": [{"property": "name"}, "a"]}
    answers.append(client.post(items, json=tree, headers={"content-type": "application/query-cql-json"}))
    answers += [client.get(f"{items}/{number}") for number in ("1", "3", "99", "no/number", "abcd")]
    answers += [client.get(f"{place}/{name}") for name in ("", "schema", "queryables", "sortables", "tiles")]
    answers += [client.get(f"{place}/queryables?profile=actual-domain")]
    answers += [client.get(f"{place}/tiles/WebMercatorQuad/{tile}") for tile in ("0/0/0", "7/43/71", "9/0/0")]
    answers += [client.get("/collections")]
    answers += [client.get(items, params={"f": "csv", "name": "a"}), client.get(items, params={"f": "csv", "q": "a"})]
    return answers


def _link(answer: Any, rel: str) -> str:
    (link,) = [each for each in answer.json()["links"] if each["rel"] == rel]
    split = urlsplit(link["href"])
    return f"/collections/{split.path.partition('/collections/')[2]}?{split.query}"


def evil(client: TestClient, place: str, text: str) -> Iterator[Any]:
    """Send a text wherever a request may have one; yield the answers."""
    items = f"{place}/items"
    others = ("cursor", "filter-lang", "filter-crs", "profile", "ids", "lang", "startindex", "secret", "geom", "id")
    for name in (*HARMLESS, *others):
        yield client.get(items, params={name: text})
    quoted = text.replace("'", "''")
    for pattern in ("name = '{}'", "name LIKE '{}'", "CASEI(name) = CASEI('{}')", "name IN ('{}', 'b')"):
        yield client.get(items, params={"filter": pattern.format(quoted)})
    for tree in (
        {"op": "=", "args": [{"property": "name"}, text]},
        {"op": "=", "args": [{"property": text}, "a"]},
        {"op": text, "args": [{"property": "name"}, "a"]},
        {"op": "s_intersects", "args": [{"property": "geometry"}, {"type": text, "coordinates": [1, 2]}]},
        {"op": "t_after", "args": [{"property": "day"}, {"date": text}]},
        text,
    ):
        yield client.get(items, params={"filter": json.dumps(tree), "filter-lang": "cql2-json"})
        yield client.post(items, json=tree, headers={"content-type": "application/query-cql-json"})
    yield client.get(items, params={text: "a"})
    yield client.get(items, params={"f": "csv", "name": text})
    yield client.get(items, params={"f": "csv", "q": text[:60]})
    yield client.get(items, params={"f": "geojsonseq", "sortby": text})
    path = quote(text, safe="")
    for tail in (f"items/{path}", f"tiles/{path}", f"tiles/WebMercatorQuad/{path}/0/0", path,
                 f"tiles/WebMercatorQuad/0/{path}/0", f"tiles/WebMercatorQuad/0/0/{path}"):  # fmt: skip
        yield client.get(f"{place}/{tail}")
    for tail in ("", "schema", "queryables", "sortables", "tiles", "tiles/WebMercatorQuad", "items/1",
                 "tiles/WebMercatorQuad/0/0/0"):  # fmt: skip
        for name in ("f", text):
            yield client.get(f"{place}/{tail}", params={name: text})
    yield client.get("/collections", params={"q": text, "bbox": text})


@pytest.mark.parametrize("collection", ["geopackage", "postgis"])
def test_no_statement_but_ours_is_sent(client: TestClient, sent: Sent, collection: str) -> None:
    place = f"/collections/{collection}"
    for answer in harmless(client, place):
        assert answer.status_code in {200, 204, 404}, (answer.url, answer.text)
    written, arrived = set(sent.written), set(sent.arrived)
    assert len(written) > 20
    assert len(arrived) > 20
    refused = 0
    for text in EVIL:
        for answer in evil(client, place, text):
            assert answer.status_code in {200, 204, 400, 404, 406}, (answer.url, answer.text)
            refused += answer.status_code == 400
    assert refused > 20 * len(EVIL)
    assert sent.written <= written
    assert sent.arrived <= arrived
    assert not any(MARK in each for each in sent.written)
    assert len(client.get(f"{place}/items").json()["features"]) == len(ROWS)


@pytest.mark.parametrize("collection", ["geopackage", "postgis"])
def test_a_hidden_column_is_no_property(client: TestClient, sent: Sent, collection: str) -> None:
    """It is refused like one that is not there, and the database is not asked."""
    items = f"/collections/{collection}/items"
    client.get(items)
    before, refusals = set(sent.written), list[list[str]]()
    for name in ("secret", "absent"):
        tree = {"op": "=", "args": [{"property": name}, "x"]}
        answers = [
            client.get(items, params=given)
            for given in (
                {"filter": f"{name} = 'x'"}, {"filter": f'"{name}" IS NULL'}, {"filter": f"CASEI({name}) LIKE 'x%'"},
                {"filter": f"name = 'a' OR NOT ({name} IN ('x'))"}, {"filter": f"name = {name}"},
                {"filter": json.dumps(tree), "filter-lang": "cql2-json"}, {name: "x"}, {"sortby": name},
                {"sortby": f"name,-{name}"}, {"properties": name}, {"f": "csv", "filter": f"{name} = 'x'"},
            )
        ]  # fmt: skip
        answers.append(client.post(items, json=tree, headers={"content-type": "application/query-cql-json"}))
        assert [answer.status_code for answer in answers] == [400] * len(answers)
        refusals.append([answer.json()["detail"].replace(name, "NAME") for answer in answers])
    assert refusals[0] == refusals[1]
    assert sent.written == before


@pytest.mark.parametrize("collection", ["geopackage", "postgis"])
def test_a_filter_of_a_megabyte_is_refused_at_once(client: TestClient, sent: Sent, collection: str) -> None:
    items = f"/collections/{collection}/items"
    client.get(items)
    before, began = set(sent.written), time.process_time()
    tree = {"op": "=", "args": [{"property": "name"}, "a"]}
    deep, wide = b'{"op":"not","args":[' * 50_000, {"op": "or", "args": [tree] * 25_000}
    for text in (
        "name = 'a' OR " * 2_000 + "name = 'b'", "(" * 20_000, "NOT " * 10_000 + "name = 'a'",
        "S_INTERSECTS(geometry, " + "MULTIPOINT(" * 4_000, f"size = {'1' * 50_000}",
    ):  # fmt: skip
        assert client.get(items, params={"filter": text}).status_code == 400
    for content in (deep, deep + b"]}" * 50_000, json.dumps(wide).encode(), b"[" * 1_000_000, b'"' + b"x" * 1_000_000):
        answer = client.post(items, content=content, headers={"content-type": "application/query-cql-json"})
        assert answer.status_code in {400, 413}, answer.text
        assert len(answer.content) < 2_000
        cut = content[:15_000].decode()
        assert client.get(items, params={"filter": cut, "filter-lang": "cql2-json"}).status_code == 400
    assert time.process_time() - began < 20
    assert sent.written == before
