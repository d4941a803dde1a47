"""`landcast serve` while PostgreSQL is killed and restarted: orders get 503 with Retry-After, the rest is served."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from shutil import copytree
from typing import Any

import psycopg2
import pytest
from httpx2 import Response
from starlette.applications import Starlette
from starlette.testclient import TestClient

from sql.migrate import SCHEMA_VERSION, migrate
from tests.postgres import Cluster, Postgres, start_cluster
from tests.server.served import Served, end, eventually

ECHO = "/processes/echo/execution"
MakeApp = Callable[..., Starlette]
Answer = tuple[int, dict[str, str], bytes]
_WAITING = """
select count(*) from pg_locks l join pg_database d on d.oid = l.database
where d.datname = current_database() and not granted
"""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with start_cluster() as running:
        yield running


@pytest.fixture
def served(sample: Path, tmp_path: Path, cluster: Cluster) -> Iterator[Served]:
    copytree(sample / "sample", tmp_path / "state" / "sample")
    url = Postgres(cluster.url).empty()
    migrate(url)
    running = Served(tmp_path / "state", tmp_path / "log", LANDCAST_DATABASE_URL=url, LANDCAST_DATABASE_POOL="3")
    yield running
    end(running)


def ask(served: Served, path: str, body: Any = None, **headers: str) -> Answer:
    sent = None if body is None else json.dumps(body).encode()
    given = {"Accept": "application/json", "Content-Type": "application/json", **headers}
    request = urllib.request.Request(served.url + path, sent, given)  # noqa: S310  ours
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  ours
            return answer.status, _named(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _named(error.headers), error.read()


def _named(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def order(served: Served, **inputs: Any) -> Answer:
    return ask(served, ECHO, {"inputs": {"stringInput": "a", **inputs}}, Prefer="respond-async")


def checks(served: Served) -> Any:
    code, _, body = ask(served, "/health/ready")
    assert code == 200
    return json.loads(body)["checks"]


def status(served: Served, job_id: str) -> str:
    code, _, body = ask(served, f"/jobs/{job_id}")
    return str(json.loads(body)["status"]) if code == 200 else ""


def test_files_and_collections_are_read_and_orders_come_back(served: Served, cluster: Cluster, tmp_path: Path) -> None:
    served.ready()
    assert not (tmp_path / "state" / "orders.sqlite").exists()
    assert "at most" in (tmp_path / "log").read_text()
    first = json.loads(order(served)[2])["jobID"]
    eventually(lambda: status(served, first) == "successful")
    running = json.loads(order(served, pause=6)[2])["jobID"]
    eventually(lambda: status(served, running) == "running")

    cluster.kill()
    for path in ("/", "/collections", "/collections/parks/items?limit=1", "/processes", "/health/live"):
        assert ask(served, path)[0] == 200, path
    code, _, body = ask(served, "/collections/clcplus-raster/files/clcplus_2023_parks.tif", Range="bytes=0-99")
    assert (code, len(body)) == (206, 100)
    for answer in (order(served), ask(served, "/jobs"), ask(served, f"/jobs/{first}")):
        code, headers, body = answer
        assert (code, headers["retry-after"], headers["content-type"]) == (503, "5", "application/problem+json")
        assert b"127.0.0.1:" not in body.replace(served.url.removeprefix("http://").encode(), b"")
        assert b"PostgreSQL cannot be reached" in body
    eventually(lambda: checks(served)["orders"]["status"] == "unavailable")
    eventually(lambda: ask(served, "/health/orders")[0] == 503)
    code, headers, body = ask(served, "/health/orders")
    assert (code, json.loads(body)["status"], headers["retry-after"]) == (503, "down", "15")

    cluster.start()
    eventually(lambda: order(served)[0] == 201)
    eventually(lambda: status(served, running) == "successful")
    after = json.loads(order(served)[2])["jobID"]
    eventually(lambda: status(served, after) == "successful")
    served.ready()
    assert len([line for line in (tmp_path / "log").read_text().splitlines() if "Traceback" in line]) == 0
    assert "test-password" not in (tmp_path / "log").read_text()


def test_a_request_without_a_free_connection_gets_retry_after(
    make_app: MakeApp, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    """Two requests wait for a lock and hold all connections; the third does not wait for them."""
    url = postgres.migrated()
    with (
        TestClient(make_app(database={"url": url, "pool": 2})) as client,
        closing(psycopg2.connect(url)) as holder,
        ThreadPoolExecutor(2) as threads,
    ):
        assert _order_by(client).status_code == 201
        holder.cursor().execute("lock table jobs in access exclusive mode")
        waiting = [threads.submit(_order_by, client) for _ in range(2)]
        eventually(lambda: postgres.run(url, _WAITING) == [(2,)])
        began = time.monotonic()
        answer = _order_by(client)
        assert 1.5 < time.monotonic() - began < 30
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "all 2 connections to PostgreSQL were in use" in answer.json()["detail"]
        assert client.get("/collections").status_code == 200
        holder.rollback()
        assert [each.result().status_code for each in waiting] == [201, 201]
        postgres.run(url, "update schema_version set version = 99")
        assert _order_by(client).status_code == 201, "who serves already goes on"
        with TestClient(make_app(database={"url": url})) as later:
            refused = _order_by(later)
            assert (refused.status_code, "99" in refused.json()["detail"]) == (503, True)
        postgres.run(url, f"update schema_version set version = {SCHEMA_VERSION}")  # noqa: S608  a number of ours
    postgres.give_back(url)
    assert "test-password" not in caplog.text


def _order_by(client: TestClient) -> Response:
    return client.post(ECHO, json={"inputs": {"stringInput": "a"}}, headers={"Prefer": "respond-async"})
