"""Items of a PostGIS table over HTTP: all answers of the routes, also while the database is unavailable."""

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, Literal
from unicodedata import normalize
from urllib.parse import quote

import anyio
import psycopg2
import pytest
from psycopg2.extensions import parse_dsn
from starlette.testclient import TestClient

from plugins.features import ItemQuery
from plugins.postgis import PostgisProvider
from plugins.postgis_facts import source_of
from products.catalogue import read_configuration
from server.app import create_app
from server.settings import CONCERNS, Settings
from sql.reading import reading_pool
from tests.conftest import ROOT, URL
from tests.postgres import Cluster, Postgres, start_cluster

READER = f"route_reader_{os.getpid()}"
NAMES = ("places", "types", "fields", "odd", "slow")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Return a separate server, which a test ends and restarts, with PostGIS in its database."""
    with start_cluster() as running:
        postgres = Postgres(running.url)
        admin = running.url.replace("//landcast:", "//postgres:")
        postgres.run(admin, "set client_min_messages = error; create extension postgis")
        postgres.run(admin, "grant create on schema public to landcast")
        postgres.run(running.url, f"create role {READER} login password 'reader-password'")
        postgres.run(running.url, Path("tests/odd/tables.sql").read_text().replace(":reader", READER))
        yield running


def definition(url: str, table: str, **given: Any) -> dict[str, Any]:
    data = {**parse_dsn(url), "user": READER, "password": "reader-password"}
    named = {name: value for name, value in given.items() if value is not None}
    return {"type": "feature", "name": "plugins.postgis.PostgisProvider", "table": table, "data": data, **named}


@pytest.fixture(scope="module")
def client(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    configuration = read_configuration(ROOT / "pygeoapi-config.yml")
    park = configuration["resources"]["parks"]
    tables = dict(zip(NAMES, ("places", "types", "fields", 'Ünï"c%ö%%de s', "slow"), strict=True))
    made = {
        name: {**park, "providers": [definition(cluster.url, table, id_field="code" if name == "slow" else None)]}
        for name, table in tables.items()
    }
    rest = {name: value for name, value in configuration.items() if name != "products"}
    given: dict[str, dict[str, Any]] = {
        "state": {"dir": tmp_path_factory.mktemp("state")},
        "auth": {"open": True},
        "server": {"url": URL},
    }
    kinds = {kind.__name__.removesuffix("Settings").lower(): kind for kind in CONCERNS}
    values: Any = {name: kind(**given.get(name, {})) for name, kind in kinds.items()}
    app = create_app({**rest, "resources": made}, Settings(**values))
    with TestClient(app, base_url="http://inside.invalid", headers={"accept": "*/*"}) as ready:
        yield ready


def get(client: TestClient, path: str, **parameters: Any) -> Any:
    answer = client.get(path.removeprefix(URL), params=parameters or None)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_is_cached_about_a_table_does_not_change_its_tiles(client: TestClient) -> None:
    tile = "/collections/places/tiles/WebMercatorQuad/4/5/8"
    first = client.get(tile)
    assert (first.status_code, client.get("/collections/places/items?bbox=19,49,21,51&limit=1").status_code) == (
        200,
        200,
    )
    again = client.get(tile, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_pages_have_every_item_forward_and_backward(client: TestClient) -> None:
    seen: list[list[int]] = []
    address = "/collections/fields/items?limit=4000&sortby=-class_code"
    while address:
        document = get(client, address)
        seen.append([feature["id"] for feature in document["features"]])
        assert document["numberMatched"] == 12_000
        links = {link["rel"]: link["href"] for link in document["links"]}
        address, before = links.get("next", ""), links.get("prev", "")
    assert [len(page) for page in seen] == [4_000, 4_000, 4_000]
    assert len({each for page in seen for each in page}) == 12_000
    assert [feature["id"] for feature in get(client, before)["features"]] == seen[1]


def test_items_have_every_format(client: TestClient) -> None:
    [feature] = get(client, "/collections/places/items", limit=1)["features"]
    assert (
        feature == get(client, "/collections/places/items/1") | {"links": None} or feature["properties"]["name"] == "a"
    )
    for form, said in (("html", "<table"), ("csv", "name"), ("jsonld", "schema:Place")):
        answer = client.get("/collections/places/items", params={"f": form})
        assert answer.status_code == 200
        assert said in answer.text
    assert client.get("/collections/places/items/1", params={"f": "html"}).status_code == 200
    assert client.get("/collections/places/items/4").status_code == 404
    hits = get(client, "/collections/fields/items", resulttype="hits")
    assert (hits["numberMatched"], hits["features"]) == (12_000, [])
    crs = "http://www.opengis.net/def/crs/EPSG/0/3035"
    [field] = get(client, "/collections/fields/items", limit=1, crs=crs)["features"]
    assert [3210000, 4321000] in field["geometry"]["coordinates"][0]


def test_the_collection_is_described(client: TestClient) -> None:
    described = get(client, "/collections/fields")
    assert described["storageCrs"] == "http://www.opengis.net/def/crs/EPSG/0/3035"
    places = get(client, "/collections/places")
    assert places["extent"]["temporal"]["interval"] == [["2019-01-01T00:00:00Z", "2021-12-31T23:59:59Z"]]
    schema = get(client, "/collections/types/schema")["properties"]
    assert (
        schema["geometry"].items()
        >= {
            "format": "geometry-point-or-multipoint",
            "x-ogc-role": "primary-geometry",
        }.items()
    )
    assert schema["tz"]["description"] == "When it was seen."
    assert schema["tz"]["format"] == "date-time"
    odd = client.get("/collections/odd/queryables").json()["properties"]
    assert set(odd) == {"geometry", 'a"b%s', "ж"}
    text = client.get("/collections").text + client.get("/openapi").text
    assert "reader-password" not in text
    assert READER not in text


SQL = [
    "'",
    "';select 1--",
    '"',
    "%s",
    "%(a)s",
    "\\",
    "1 or 1=1",
    "$$",
    "/*",
    "\0",
    "ü'",
    "now()",
    "1;drop table places",
]
PARAMETERS = (
    "bbox",
    "bbox-crs",
    "crs",
    "datetime",
    "limit",
    "offset",
    "properties",
    "sortby",
    "cursor",
    "name",
    "raw",
    "f",
)


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_sql_in_a_parameter_is_a_value_or_refused(client: TestClient, parameter: str) -> None:
    for text in SQL:
        answer = client.get("/collections/places/items", params={parameter: text})
        assert answer.status_code in {200, 400}, (text, answer.text)
        if answer.status_code == 200:
            assert answer.json()["features"] == []
    for text in SQL:
        assert client.get(f"/collections/places/items/{quote(text, safe='')}").status_code in {400, 404}
    assert len(get(client, "/collections/places/items")["features"]) == 3


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_texts_are_compared_composed_and_decomposed(
    client: TestClient, cluster: Cluster, asked: Literal["NFC", "NFD"], stored: Literal["NFC", "NFD"]
) -> None:
    name, rename = "Świętochłowice", "update places set name = %s where id = 2"
    with closing(psycopg2.connect(cluster.url)) as other, other.cursor() as cursor:
        other.autocommit = True
        cursor.execute(rename, (normalize(stored, name),))
        try:
            found = get(client, "/collections/places/items", name=normalize(asked, name))
        finally:
            cursor.execute(rename, ("b",))
    assert [each["id"] for each in found["features"]] == [2]


def test_all_connections_in_use_is_503(client: TestClient, cluster: Cluster) -> None:
    source = source_of(definition(cluster.url, "places"))
    get(client, "/collections/places/items")
    pool = reading_pool(source)
    for _ in range(pool._size):
        assert pool._slots.acquire(timeout=1)
    try:
        answer = client.get("/collections/places/items")
    finally:
        for _ in range(pool._size):
            pool._slots.release()
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    get(client, "/collections/places/items")


def test_a_table_that_stays_locked_is_503(client: TestClient, cluster: Cluster) -> None:
    get(client, "/collections/places/items")
    with closing(psycopg2.connect(cluster.url)) as other, other.cursor() as cursor:
        cursor.execute("lock table places in access exclusive mode")
        answer = client.get("/collections/places/items")
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


def test_an_altered_table_is_served_correctly(client: TestClient, cluster: Cluster) -> None:
    """Cached facts are ten seconds old at most; a statement that no longer fits is made again at once."""
    postgres = Postgres(cluster.url)
    assert "size" in get(client, "/collections/places/items")["features"][0]["properties"]
    postgres.run(cluster.url, "alter table places rename column size to extent")
    try:
        found = get(client, "/collections/places/items")["features"]
        assert [feature["properties"].get("extent") for feature in found] == [1.5, None, 2.5]
        assert client.get("/collections/places/items", params={"size": "1.5"}).status_code == 400
        postgres.run(cluster.url, "alter table places rename to places_gone")
        assert client.get("/collections/places/items").status_code == 503
        postgres.run(cluster.url, "alter table places_gone rename to places")
        get(client, "/collections/places/items")
    finally:
        postgres.run(cluster.url, "alter table places rename column extent to size")


def test_a_restart_of_the_database_truncates_no_answer(client: TestClient, cluster: Cluster) -> None:
    """Pages are requested while it is killed: each is complete or 503, and afterwards all are complete."""
    answers: list[Any] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answers.append(client.get("/collections/fields/items", params={"limit": 10_000}))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        _wait_for(lambda: len(answers) > 0)
        time.sleep(0.05)
        cluster.kill()
        _wait_for(lambda: any(answer.status_code == 503 for answer in answers))
        cluster.start()
        began = len(answers)
        _wait_for(lambda: any(answer.status_code == 200 for answer in answers[began:]))
    finally:
        stop.set()
        asking.join(60)
        if not cluster.lives():
            cluster.start()
    for answer in answers:
        if answer.status_code == 200:
            assert len(json.loads(answer.content)["features"]) == 10_000
        else:
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert "retry-after" in answer.headers


def test_a_restart_of_the_database_cuts_off_a_stream(
    client: TestClient, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is killed after the second page of six: the client sees an error, not an end."""
    whole = client.get("/collections/fields/items", params={"f": "csv"}).text.count("\n")
    texts, pages = PostgisProvider.texts, count(1)

    def dying(self: PostgisProvider, query: ItemQuery) -> Any:
        found = texts(self, query)
        if next(pages) == 2:
            cluster.kill()
        return found

    monkeypatch.setattr(PostgisProvider, "texts", dying)
    broken = pytest.RaisesExc(RuntimeError, match="response already started")
    try:
        with pytest.RaisesGroup(broken, flatten_subgroups=True, allow_unwrapped=True):
            client.get("/collections/fields/items", params={"f": "csv"})
    finally:
        monkeypatch.undo()
        cluster.start()
    _wait_for(lambda: client.get("/collections/fields/items").status_code == 200)
    assert client.get("/collections/fields/items", params={"f": "csv"}).text.count("\n") == whole == 12_001


def _wait_for(true: Any, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_statement_is_cancelled_when_its_client_disconnects(client: TestClient, cluster: Cluster) -> None:
    """The statement would take fifteen seconds; its client disconnects once it runs."""
    postgres = Postgres(cluster.url)
    admin = cluster.url.replace("//landcast:", "//postgres:")
    running = f"select 1 from pg_stat_activity where state = 'active' and usename = '{READER}'"  # noqa: S608 - a constant

    async def ask() -> None:
        gone = anyio.Event()
        begun = False

        async def receive() -> dict[str, Any]:
            nonlocal begun
            if begun:
                await gone.wait()
                return {"type": "http.disconnect"}
            begun = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(_: Any) -> None:
            """The client has disconnected."""

        async def go() -> None:
            until = time.monotonic() + 30
            while not await anyio.to_thread.run_sync(postgres.run, admin, running):
                assert time.monotonic() < until
            gone.set()

        path = "/collections/slow/items"
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [(b"host", b"x")],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "root_path": "",
        }  # fmt: skip
        async with anyio.create_task_group() as group:
            group.start_soon(go)
            await client.app(scope, receive, send)

    assert client.portal is not None
    client.portal.call(ask)
    _wait_for(lambda: not postgres.run(admin, running))
    last = f"select now() - max(query_start) from pg_stat_activity where usename = '{READER}'"  # noqa: S608 - likewise
    [(age,)] = postgres.run(admin, last)
    assert isinstance(age, timedelta)
    assert age.total_seconds() < 14


def test_nothing_secret_is_logged(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    get(client, "/collections/places/items")
    client.get("/collections/places/items", params={"bbox": "1,2"})
    assert "reader-password" not in caplog.text
