"""The list of 100,000 jobs by each of its filters, alone and together, on both databases, in this process.

A hundred owners; of a hundred jobs one failed and one was dismissed, of 250 one is deleted; twenty in all run or wait.
"""

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.database import on_each_database
from orchestration.job import JobQuery, JobVisibility, Status
from orchestration.store.jobs import StoredJobs
from sql.address import current
from sql.connect import microseconds
from sql.connections import Connections, Database
from sql.pool import PostgresPool
from sql.postgres import PostgresConnection

_JOBS = 100_000
_OWNERS = 100
_ROUNDS = 7
_DAY = timedelta(days=1)
_FIRST = datetime.now(UTC) - 300 * _DAY
_STEP = timedelta(days=300) / _JOBS
_PROCESSES = (*["extract-product"] * 90, *["area-statistics"] * 5, *["national-product"] * 4, "echo")
_ADD = """insert into jobs (
        id, owner, process, inputs, response, created, updated, started, finished, status, deleted, manifest, progress)
    values (:id, :owner, :process, '{"product": "Raster"}', 'raw', :created, :created, :started, :finished, :status,
        :deleted, '[]', 100)"""
_SIGHT = JobVisibility("owner 7", own=("extract-product", "echo"), foreign=("national-product",))
_QUERIES: Mapping[str, JobQuery] = {
    "all": JobQuery(),
    "owner": JobQuery(owner="owner 7"),
    "failed": JobQuery(statuses=(Status.FAILED,)),
    "successful": JobQuery(statuses=(Status.SUCCESSFUL,)),
    "accepted, running": JobQuery(statuses=(Status.ACCEPTED, Status.RUNNING)),
    "failed, dismissed": JobQuery(statuses=(Status.FAILED, Status.DISMISSED)),
    "successful, failed": JobQuery(statuses=(Status.SUCCESSFUL, Status.FAILED)),
    "rare process": JobQuery(processes=("echo",)),
    "frequent process": JobQuery(processes=("extract-product",)),
    "two processes": JobQuery(processes=("echo", "national-product")),
    "a day": JobQuery(begin=_FIRST + 100 * _DAY, end=_FIRST + 101 * _DAY),
    "all but a day": JobQuery(begin=_FIRST + 1 * _DAY),
    "long": JobQuery(min_duration=599),
    "short": JobQuery(max_duration=599),
    "of a caller's own": JobQuery(sight=JobVisibility("owner 7", own=("extract-product", "echo"))),
    "of a caller and a process": JobQuery(sight=_SIGHT),
    "failed of a caller and a process": JobQuery(sight=_SIGHT, statuses=(Status.FAILED,)),
    "owner, failed": JobQuery(owner="owner 7", statuses=(Status.FAILED,)),
    "failed, rare process": JobQuery(statuses=(Status.FAILED,), processes=("echo",)),
    "failed, frequent process": JobQuery(statuses=(Status.FAILED,), processes=("extract-product",)),
    "failed, a day": JobQuery(statuses=(Status.FAILED,), begin=_FIRST + 100 * _DAY, end=_FIRST + 101 * _DAY),
    "failed, long": JobQuery(statuses=(Status.FAILED,), min_duration=599),
    "owner, process, status, days, long": JobQuery(
        owner="owner 7", processes=("extract-product",), statuses=(Status.SUCCESSFUL,), begin=_FIRST + _DAY,
        min_duration=300,
    ),
}  # fmt: skip


def measure() -> None:
    """Print them for each database."""
    on_each_database(_measure)


def _measure(name: str, database: Database, connections: Connections) -> None:
    with closing(StoredJobs(database, busy_seconds=10)) as store:
        with connections.writing() as connection:
            connection.executemany(_ADD, _rows())
        if isinstance(database, PostgresPool):
            with closing(PostgresConnection(current(database.url))) as server:
                server.execute("vacuum analyze jobs")  # as PostgreSQL does itself within a minute
        for kind, query in _QUERIES.items():
            page = store.find(query)
            took = _took(store, query)
            print(f"{name}, {kind} ({page.matched:,}): {took:.1f} ms, first page")


def _took(store: StoredJobs, query: JobQuery) -> float:
    """Return the median of some rounds, in milliseconds."""
    took = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        store.find(query)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


def _rows() -> Iterator[dict[str, Any]]:
    for number in range(_JOBS):
        created = microseconds(_FIRST + number * _STEP)
        open_ = number >= _JOBS - 20
        status = _status(number)
        started = created + 1_000_000
        yield {
            "id": f"{number * 7919 % _JOBS:08}-0000-4000-8000-000000000000",
            "owner": f"owner {number * 31 % _OWNERS}",
            "process": _PROCESSES[number * 13 // 7 % len(_PROCESSES)],
            "created": created,
            "started": None if status == "accepted" else started,
            "finished": None if open_ else started + number % 600 * 1_000_000,
            "status": status,
            "deleted": started + 10**9 if not open_ and number % 250 == 9 else None,  # noqa: PLR2004 - some of them
        }


def _status(number: int) -> str:
    if number >= _JOBS - 20:
        return "running" if number % 2 else "accepted"
    return {7: "failed", 57: "dismissed"}.get(number % 100, "successful")
