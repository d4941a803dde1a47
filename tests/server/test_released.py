"""The last release and this version on one database: at once, and each on what the other has made."""

import io
import os
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, closing
from pathlib import Path

import pytest

from orchestration.job import JobQuery
from orchestration.store.jobs import StoredJobs
from sql import connect
from sql.connections import Database, DatabaseAway
from sql.migrate import SCHEMA_VERSION, migrate
from sql.pool import PostgresPool
from tests.postgres import Postgres
from tests.server.served import Served, end, eventually
from tests.sql.test_migrate import _SHAPE, version

COMMIT = "2f54c6b125b45170460cc1fd4d5d47aa2a123ff6"
"""The last release, 0.2.0."""
DUMPS = Path("tests/released")
"""Databases of the release, written by itself: its schema, and rows in each table."""
JOBS = {
    "successful": ("successful", 1, 2),
    "failed": ("failed", 1, 2),
    "dismissed": ("dismissed", 0, 1),
    "running": ("running", 1, 1),
    "accepted": ("accepted", 0, 0),
}
"""Status, attempt and number of changes of the orders in the dumps, by what their input `stringInput` says."""


def stored(database: Database) -> dict[str, tuple[str, int, int]]:
    store = StoredJobs(database)
    found = [store.get(each.id) for each in store.find(JobQuery(limit=99)).jobs]
    return {
        str(job.order.inputs["stringInput"]): (job.status.value, job.attempt, len(store.history(job.id)))
        for job in found
        if job is not None
    }


def test_the_released_schema_in_postgresql_is_refused_until_it_is_migrated(postgres: Postgres) -> None:
    url, fresh = postgres.empty(), postgres.empty()
    postgres.run(url, (DUMPS / "0.2.0-postgresql.sql").read_text())
    assert version(url) == 6
    with closing(PostgresPool(url)) as pool:
        with pytest.raises(DatabaseAway, match=f"version 6, not {SCHEMA_VERSION}: run landcast migrate"):
            pool.prepare()
        assert migrate(url) == 6
        assert stored(pool) == JOBS
    migrate(fresh)
    assert shape(postgres, url) == shape(postgres, fresh)


def shape(postgres: Postgres, url: str) -> set[tuple[object, ...]]:
    """Return the schema without the names that PostgreSQL gives constraints of columns."""
    return {row for row in postgres.run(url, _SHAPE) if row[0] != "right"}


def test_the_released_schema_in_sqlite_is_migrated_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "orders.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((DUMPS / "0.2.0-sqlite.sql").read_text())
        assert connection.execute("pragma user_version").fetchone() == (10,)
    assert stored(path) == JOBS
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("pragma user_version").fetchone() == (connect.SCHEMA_VERSION,)


class Release:
    """The program of the release, in a folder of its own, with the packages of this one."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.environment = {"PYTHONPATH": str(folder), "LANDCAST_DATABASE_URL": url}

    def landcast(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self.environment}
        command = [sys.executable, "-m", "server.cli", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=120
        )


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.empty()


@pytest.fixture
def release(tmp_path: Path, url: str) -> Release:
    folder = tmp_path / "release"
    packed = subprocess.run(["git", "archive", COMMIT], capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"this clone has no commit {COMMIT}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return Release(folder, url)


Start = Callable[..., Served]


@pytest.fixture
def start(tmp_path: Path, url: str) -> Iterator[Start]:
    """Return a function that starts a server, of the release or of this version; all end with the test."""
    with ExitStack() as stack:

        def started(name: str, release: Release | None = None) -> Served:
            environment = release.environment if release else {"LANDCAST_DATABASE_URL": url}
            with chdir(release.folder if release else Path.cwd()):
                served = Served(
                    tmp_path / name, tmp_path / f"{name}.log", **{"LANDCAST_SERVER_WORKERS": "1", **environment}
                )
            stack.callback(end, served)
            return served

        yield started


def ordered(served: Served, text: str) -> str:
    """Order an echo; return its id once it is done."""
    body = {"inputs": {"stringInput": text}}
    job = str(served.post("/processes/echo/execution", body, Prefer="respond-async")["jobID"])
    eventually(lambda: served.get(f"/jobs/{job}")["status"] == "successful", 120)
    return job


def listed(served: Served) -> set[str]:
    jobs = served.get("/jobs?limit=100")["jobs"]
    assert isinstance(jobs, list)
    return {str(each["jobID"]) for each in jobs}


@pytest.mark.full
def test_the_release_goes_on_while_the_schema_changes_and_this_version_takes_over(
    release: Release, start: Start, url: str
) -> None:
    assert release.landcast("migrate").stdout == "schema: version 6, new\n"
    old = start("old", release)
    old.ready()
    ids = {ordered(old, "before the migration")}
    assert migrate(url) == 6
    ids.add(ordered(old, "after the migration"))
    new = start("new")
    eventually(lambda: new.answers("/health/live"), 120)
    ids.add(ordered(new, "ordered here, done by the worker of the release"))
    ids.add(ordered(old, "while both run"))
    assert listed(old) == listed(new) == ids
    old.process.terminate()
    assert old.process.wait(60) == 0
    ids.add(ordered(new, "done by this version"))
    assert listed(new) == ids
    assert [new.get(f"/jobs/{job}")["status"] for job in ids] == ["successful"] * 5


@pytest.mark.full
def test_the_release_refuses_to_start_on_the_new_schema(release: Release, url: str) -> None:
    migrate(url)
    refused = release.landcast("migrate")
    said = f"Error: the schema has version {SCHEMA_VERSION}, this program knows 6\n"
    assert (refused.returncode, refused.stderr) == (1, said)
