"""Items of 900,000 polygons in PostGIS over HTTP: ours beside tipg and pg_featureserv, named by the environment.

BENCH_TIPG is a Python with tipg and uvicorn, BENCH_FEATURESERV the program pg_featureserv; without one it is left out.
BENCH_POSTGRES is the address of a database with PostGIS that has, or is to have, the table `cover`.
"""

import io
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from socket import socket
from statistics import median
from typing import Any

import numpy as np
import psycopg2
import shapely
import yaml
from psycopg2.extensions import parse_dsn

COLUMNS, ROWS, STEP, CORNERS = 1_000, 900, 500.0, 8
WEST, SOUTH = 4_300_000.0, 2_600_000.0
CLIENTS, SECONDS, ROUNDS = 8, 3.0, 3
REQUESTS = {
    "limit=10": "limit=10",
    "limit=1000": "limit=1000",
    "bbox 2 km, limit=100": "limit=100&bbox=12.0,47.5,12.0265,47.518",
    "bbox 100 km, limit=1000": "limit=1000&bbox=11.2,47.0,12.5,47.9",
}


def polygons() -> Iterator[tuple[Any, Any]]:
    """Yield rows of polygons that share their ragged edges, and their classes."""
    random = np.random.default_rng(1)
    along = np.linspace(0, 1, CORNERS + 1)

    def edges(count: int) -> Any:
        noise = random.normal(0, STEP / 12, (count, CORNERS + 1))
        noise[:, 0] = noise[:, -1] = 0
        return noise

    x, below = WEST + STEP * np.arange(COLUMNS)[:, None], edges(COLUMNS)
    for row in range(ROWS):
        y, above, sides = SOUTH + STEP * row, edges(COLUMNS), edges(COLUMNS + 1)
        up = np.broadcast_to(y + STEP * along, (COLUMNS, CORNERS + 1))
        bottom, right = np.stack((x + STEP * along, y + below), -1), np.stack((x + STEP + sides[1:], up), -1)
        top = np.stack((x + STEP * along, y + STEP + above), -1)[:, ::-1]
        left = np.stack((x + sides[:-1], up), -1)[:, ::-1]
        ring = np.concatenate((bottom[:, :-1], right[:, :-1], top[:, :-1], left), 1)
        yield shapely.polygons(np.round(ring, 2)), random.integers(1, 12, COLUMNS)
        below = above


def free_port() -> int:
    with closing(socket()) as unbound:
        unbound.bind(("127.0.0.1", 0))
        return int(unbound.getsockname()[1])


def fill(url: str) -> None:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("create extension if not exists postgis; select to_regclass('cover')")
        if cursor.fetchone() != (None,):
            return
        cursor.execute(
            "create table cover (id bigint generated always as identity primary key, class_code int, class_name text,"
            " area float8, year int, updated timestamptz, geom geometry(Polygon, 3035))"
        )
        for made, classes in polygons():
            texts = shapely.to_wkb(shapely.set_srid(made, 3035), hex=True, include_srid=True)
            lines = zip(classes.tolist(), shapely.area(made).tolist(), texts, strict=True)
            rows = "".join(f"{c}\tclass {c}\t{a:.1f}\t2023\t2023-05-06T07:08:09Z\t{t}\n" for c, a, t in lines)
            columns = "class_code, class_name, area, year, updated, geom"
            cursor.copy_expert(f"copy cover ({columns}) from stdin", io.StringIO(rows))
        cursor.execute("create index on cover using gist (geom)")
        cursor.execute("vacuum analyze cover")


@contextmanager
def served(command: list[str], port: int, path: str, **environment: str) -> Iterator[None]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
        try:
            until = time.monotonic() + 120
            while True:
                try:
                    if fetch(HTTPConnection("127.0.0.1", port, timeout=60), path)[0] == HTTPStatus.OK:
                        break
                except OSError:
                    time.sleep(0.2)
                if time.monotonic() > until or process.poll() is not None:
                    log.seek(0)
                    raise RuntimeError(log.read().decode()[-2_000:])
            yield
        finally:
            process.terminate()
            process.wait(60)


def fetch(connection: HTTPConnection, path: str) -> tuple[int, bytes]:
    connection.request("GET", path, headers={"Accept": "application/geo+json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def rate(port: int, path: str) -> float:
    """Return the answers in a second to eight clients; those that are not 200 are none."""
    done: list[int] = []
    until = time.monotonic() + SECONDS

    def ask() -> None:
        with closing(HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
            while time.monotonic() < until:
                done.append(fetch(connection, path)[0])

    began = time.monotonic()
    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done.count(HTTPStatus.OK) / (time.monotonic() - began)


def configuration(url: str, folder: Path) -> Path:
    document = yaml.safe_load(Path("pygeoapi-config.yml").read_text())
    provider = {"type": "feature", "name": "plugins.postgis.PostgisProvider", "table": "cover", "data": parse_dsn(url)}
    cover = document["resources"]["parks"] | {"providers": [provider]}
    document["resources"] = {"cover": cover}
    document.pop("products")
    path = folder / "configuration.yml"
    path.write_text(yaml.safe_dump(document))
    return path


def peers(url: str, folder: Path, running: ExitStack) -> Iterator[tuple[str, int, str]]:
    """Yield the names, ports and paths of what has been started, with two processes or threads of two each."""
    port = free_port()
    environment = {
        "LANDCAST_AUTH_OPEN": "yes", "LANDCAST_STATE_DIR": str(folder), "LANDCAST_SERVER_BIND": f"127.0.0.1:{port}",
        "LANDCAST_SERVER_WORKERS": "2",
    }  # fmt: skip
    ours = [".venv/bin/python", "-m", "server.cli", "serve", "--config", str(configuration(url, folder))]
    running.enter_context(served(ours, port, "/collections/cover/items?limit=1", **environment))
    yield "landcast", port, "/collections/cover/items"
    if python := os.environ.get("BENCH_TIPG"):
        port = free_port()
        command = [python, "-m", "uvicorn", "tipg.main:app", "--port", str(port), "--workers", "2", "--no-access-log"]
        path = "/collections/public.cover/items"
        running.enter_context(served(command, port, f"{path}?limit=1", DATABASE_URL=url, TIPG_CATALOG_TTL="3600"))
        yield "tipg", port, path
    if program := os.environ.get("BENCH_FEATURESERV"):
        port = free_port()
        settings = {"DATABASE_URL": url, "PGFS_SERVER_HTTPPORT": str(port), "PGFS_SERVER_HTTPHOST": "127.0.0.1"}
        settings |= {"PGFS_PAGING_LIMITMAX": "10000", "GOMAXPROCS": "2", "PGFS_DATABASE_TABLEINCLUDES": "public"}
        path = "/collections/public.cover/items"
        running.enter_context(served([program], port, f"{path}?limit=1", **settings))
        yield "pg_featureserv", port, path


def deep(port: int) -> str:
    """Return the query of a page far behind the first, as the links to the next lead there."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        connection.request("GET", "/collections/cover/items?limit=10&offset=800000")
        links = yaml.safe_load(connection.getresponse().read())["links"]
    return str(next(each["href"] for each in links if each["rel"] == "next").partition("?")[2])


def measure() -> None:
    with ExitStack() as running:
        if (url := os.environ.get("BENCH_POSTGRES")) is None:
            print("skipped: BENCH_POSTGRES names no database")
            return
        fill(url)
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        started = list(peers(url, folder, running))
        for name, query in REQUESTS.items():
            report(name, started, lambda _name, query=query: query)  # type: ignore[misc]
        ours = started[:1]
        after = deep(ours[0][1])
        first, far = (rates(ours, lambda _, query=query: query)["landcast"] for query in ("limit=10", after))  # type: ignore[misc]
        print(f"a page behind 800,000 items: {far:.0f}/s, {first / far:.2f} times what the first takes")
        items = {"landcast": "/450000", "tipg": "/450000", "pg_featureserv": "/450000"}
        report("one item", [(name, port, path + items[name]) for name, port, path in started], lambda _: "")


def rates(started: list[tuple[str, int, str]], query: Callable[[str], str]) -> dict[str, float]:
    found: dict[str, list[float]] = {name: [] for name, _, _ in started}
    for _ in range(ROUNDS):
        for name, port, path in started:
            asked = query(name)
            found[name].append(rate(port, f"{path}?{asked}" if asked else path))
    return {name: median(each) for name, each in found.items()}


def report(what: str, started: list[tuple[str, int, str]], query: Callable[[str], str]) -> None:
    found = rates(started, query)
    ours = found.pop("landcast")
    beside = ", ".join(f"{ours / each:.1f} x {name} ({each:.1f})" for name, each in found.items() if each)
    print(f"{what}: {ours:.1f}/s; {beside}", flush=True)
