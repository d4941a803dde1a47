"""A real PostgreSQL: one cluster for all tests, started for the first of them, with a database for each."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest

from sql.migrate import migrate
from tests.ports import free_port

_PASSWORD = "test-password"  # noqa: S105  of a cluster that lives as long as the tests
_QUICK = ("fsync=off", "full_page_writes=off", "autovacuum=off")
"""Not with TEST_POSTGRES_DURABLE, where it is measured how long it takes until something is on the disk."""
_TABLES = "jobs, outbox, history, units, api_keys, sessions, pending_logins, logout_tokens"


class Postgres:
    """A running server; `url` is that of a user who can create databases and roles but is not a superuser."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._names = (f"landcast_test_{os.getpid()}_{number}" for number in count())
        self._emptied: list[str] = []

    def empty(self) -> str:
        """Create an empty database; return its URL."""
        name = next(self._names)
        self.run(self.url, f"create database {name}")
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def spatial(self) -> str:
        """Create a database with PostGIS, which only a superuser can install; return its URL."""
        made = self.empty()
        admin = made.replace("//landcast:", "//postgres:")
        self.run(admin, "set client_min_messages = error; create extension postgis")
        return made

    def migrated(self) -> str:
        """Return a database with our schema and no rows, for this caller alone; call `give_back` afterwards."""
        if self._emptied:
            return self._emptied.pop()
        made = self.empty()
        migrate(made)
        return made

    def give_back(self, url: str) -> None:
        """Empty a database for the next caller; creating one takes ten times as long."""
        self.run(url, f"set lock_timeout = '5s'; truncate {_TABLES} restart identity")
        self._emptied.append(url)

    def run(self, url: str, statement: str) -> list[tuple[object, ...]]:
        """Run a statement in autocommit mode; return its rows."""
        with closing(psycopg2.connect(url)) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


class Cluster:
    """A separate cluster in a temporary folder, which can be killed and restarted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql://landcast:{_PASSWORD}@127.0.0.1:{self._port}/postgres"

    def make(self) -> None:
        """Make the files of the cluster, owned by a user whom PostgreSQL runs as."""
        (self.folder / "password").write_text(_PASSWORD)
        if os.getuid() == 0:
            for path in (self.folder, self.folder / "password"):
                shutil.chown(path, "postgres")
        arguments = ["-A", "scram-sha-256", "-U", "postgres", f"--pwfile={self.folder}/password", "-E", "UTF8"]
        self._run("initdb", "-D", f"{self.folder}/data", *arguments, "--locale=C.UTF-8", "--no-sync")

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        quick = () if os.environ.get("TEST_POSTGRES_DURABLE") else _QUICK
        options = [
            f"--{each}"
            for each in (
                *quick,
                "max_connections=60",
                "listen_addresses=127.0.0.1",
                f"port={self._port}",
                f"unix_socket_directories={self.folder}",
            )
        ]
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program("postgres"), "-D", f"{self.folder}/data", *options],
                stdout=log,
                stderr=log,
                **_as_postgres(),
            )
        until = time.monotonic() + 90
        while not self._answers():
            assert self._process.poll() is None, log.name
            assert time.monotonic() < until, log.name
            time.sleep(0.05)

    def kill(self) -> None:
        """End the server like a crash, if it runs; its children notice and end too."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        until = time.monotonic() + 60
        while self._answers() and time.monotonic() < until:
            time.sleep(0.05)

    def lives(self) -> bool:
        """Return whether it has neither ended nor been killed."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)

    def admit(self) -> None:
        """Create the user of our connections."""
        admin = self.url.replace("//landcast:", "//postgres:")
        Postgres(admin).run(admin, f"create role landcast login createdb createrole password '{_PASSWORD}'")

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self.url.replace("//landcast:", "//postgres:"), connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [program(name), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            **_as_postgres(),
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def start_cluster(*, megabytes: int = 0) -> Iterator[Cluster]:
    """Start a separate cluster, on a disk of this size if it is given; it and its files are removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="landcast-postgres-"))
    if megabytes:
        assert os.geteuid() == 0, "a small disk can be mounted by root only: run this test as root, as CI does"
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)
    cluster = Cluster(folder)
    try:
        cluster.make()
        cluster.start()
        cluster.admit()
        yield cluster
    finally:
        cluster.stop()
        if megabytes:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        shutil.rmtree(folder)
        (folder.parent / f"{folder.name}.log").unlink(missing_ok=True)


@contextmanager
def start_postgres() -> Iterator[Postgres]:
    """Start a server, or use the one that TEST_POSTGRES_URL names, whose user can create databases and roles."""
    if url := os.environ.get("TEST_POSTGRES_URL"):
        yield Postgres(url)
        return
    with start_cluster() as cluster:
        yield Postgres(cluster.url)


def program(name: str) -> str:
    """Return a program of PostgreSQL, which Debian does not put on the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    program = shutil.which(name) or (str(found[-1]) if found else None)
    if program is None:
        pytest.fail("PostgreSQL is not installed: deploy/test-services.sh does it, or set TEST_POSTGRES_URL")
    return program


def _as_postgres() -> dict[str, Any]:
    """Return the arguments that start a process as an unprivileged user, because PostgreSQL refuses to run as root."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
