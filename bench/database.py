"""Both databases of the orders: durable orders a second, and the pages of a long list, in this process."""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from orchestration.job import JobQuery, Notice, Order, Status
from orchestration.store.jobs import StoredJobs
from sql.address import current
from sql.connect import Pool
from sql.connections import Connections, Database
from sql.migrate import migrate
from sql.pool import PostgresPool
from sql.postgres import PostgresConnection

_ORDERS = 2_000
_THREADS = 8
_LONG = 100_000
_OWNERS = 100
_ROUNDS = 30
_INPUTS = {"product": "Raster", "aoi": {"bbox": [20.1, 50.1, 20.3, 50.3]}}
_ADD = """insert into jobs (id, owner, process, inputs, response, created, updated, status, finished)
    values (:id, :owner, 'extract-product', :inputs, 'raw', 1, 1, 'successful', 2)"""


def measure() -> None:
    """Print them for each database."""
    on_each_database(_measure)


def on_each_database(measured: Callable[[str, Database, Connections], None]) -> None:
    """Call it for SQLite and, where TEST_POSTGRES_URL names one, for a new database in a PostgreSQL."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "orders.sqlite")
        measured("SQLite", path, Pool(path))
    if url := os.environ.get("TEST_POSTGRES_URL"):
        with _new_postgres(url) as pool:
            measured("PostgreSQL", pool, pool)


@contextmanager
def _new_postgres(url: str) -> Iterator[PostgresPool]:
    """Yield a database of our own, gone at the end."""
    with closing(PostgresConnection(url)) as server:
        server.execute("drop database if exists landcast_bench with (force)")
        server.execute("create database landcast_bench")
        ours = urlunsplit(urlsplit(url)._replace(path="/landcast_bench"))
        migrate(ours)
        with closing(PostgresPool(ours, size=_THREADS, wait=10)) as pool:
            yield pool
        server.execute("drop database landcast_bench with (force)")


def _measure(name: str, database: Database, connections: Connections) -> None:
    with closing(StoredJobs(database, busy_seconds=10)) as store:
        for kind, order in _KINDS.items():
            _print_orders(f"{name}, {kind}", store, order)
        with connections.writing() as connection:
            connection.executemany(_ADD, map(_row, range(_LONG)))
        if isinstance(database, PostgresPool):
            with closing(PostgresConnection(current(database.url))) as server:
                server.execute("vacuum analyze jobs")  # as PostgreSQL does itself within a minute
        for kind, query in (("all", JobQuery()), ("of one owner", JobQuery(owner="owner 7"))):
            count = store.find(query).matched
            for page, offset in (("first", 0), ("last", count - query.limit)):
                asked = replace(query, offset=offset)
                _print(f"{name}, list of {count:,} {kind}, {page} page", partial(store.find, asked))
        _print(f"{name}, changed()", store.changed)


def _row(number: int) -> dict[str, Any]:
    return {"id": f"stored {number}", "owner": f"owner {number % _OWNERS}", "inputs": json.dumps(_INPUTS)}


def _of_many(number: int) -> Order:
    return Order("extract-product", _INPUTS, f"iss|{number}")


def _with_a_key(number: int) -> Order:
    return Order("extract-product", _INPUTS, "iss|one", idempotency_key=f"k{number}", request_hash="h")


def _with_notices(number: int) -> Order:
    notices = tuple(Notice("mail", event, "a@example.org") for event in (Status.SUCCESSFUL, Status.FAILED))
    return replace(_of_many(number), notices=notices)


_KINDS = {"one owner each": _of_many, "with a key, one owner": _with_a_key, "with a mail": _with_notices}


def _print_orders(name: str, store: StoredJobs, order: Callable[[int], Order]) -> None:
    def add(number: int) -> float:
        began = time.perf_counter()
        store.add(order(number))
        return time.perf_counter() - began

    began = time.perf_counter()
    with ThreadPoolExecutor(_THREADS) as threads:
        took = sorted(threads.map(add, range(_ORDERS)))
    rate = _ORDERS / (time.perf_counter() - began)
    median, slow = statistics.median(took) * 1000, took[_ORDERS * 99 // 100] * 1000
    print(f"{name}: {rate:.0f} durable orders a second, {_THREADS} threads, 50 % {median:.1f} ms, 99 % {slow:.1f} ms")


def _print(name: str, call: Callable[[], object]) -> None:
    took = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    print(f"{name}: median {statistics.median(took) * 1000:.2f} ms, longest {max(took) * 1000:.2f} ms")
