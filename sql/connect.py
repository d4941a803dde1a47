"""Connections to a SQLite database with durable commits, and its schema."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from queue import Empty, LifoQueue
from threading import Lock
from time import monotonic, sleep

from sql.connections import Connection, Dialect, NewerSchema

SCHEMA_VERSION = 8
"""The schema version of the numbered files; the last of them writes it."""

_STEPS = {
    1: "alter table jobs add column fault text not null default '';",
    3: "alter table jobs add column notices text not null default '[]';",
    5: "alter table jobs add column backend integer not null default 0 check (backend in (0, 1));",
}
"""Changes to a database of at most this version that an idempotent file cannot make."""

_IDLE = 4
"""Maximum number of idle connections."""

_AGAIN = 0.02
"""Seconds between attempts to take a lock that SQLite does not wait for."""


_OTHERS = 0o077


def keep_private(path: Path) -> None:
    """Create the database file if it does not exist, and make it and SQLite's files beside it private to its owner.

    SQLite gives its log the permissions of the database. Another user's files are left unchanged. Raises OSError.
    """
    with suppress(FileExistsError):  # O_EXCL: opening and closing an existing file would release SQLite's locks on it
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    for kept in (path, *(path.with_name(f"{path.name}-{beside}") for beside in ("wal", "shm"))):
        with suppress(FileNotFoundError, PermissionError):
            if kept.stat().st_mode & _OTHERS:
                kept.chmod(0o600)


def connect(path: Path, *, busy_seconds: float = 5) -> sqlite3.Connection:
    """Open a database with a write-ahead log, synced at every commit; rows are read by column name.

    It waits for locks for `busy_seconds`. Transactions are begun explicitly, and threads may share the connection one
    at a time. Raises sqlite3.Error.
    """
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        _log_ahead(connection, busy_seconds)
        connection.execute("pragma synchronous = full")
        connection.execute("pragma foreign_keys = on")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _log_ahead(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Turn on the write-ahead log; SQLite does not wait for the lock when several processes do so at once."""
    until = monotonic() + busy_seconds
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() > until:
                raise
            sleep(_AGAIN)
        else:
            return


def migrate(connection: sqlite3.Connection) -> None:
    """Upgrade the schema to SCHEMA_VERSION in one transaction. Raises NewerSchema, sqlite3.Error."""
    version = _version(connection)
    if version > SCHEMA_VERSION:
        raise NewerSchema(f"the schema has version {version}, this program knows {SCHEMA_VERSION}")
    if version < SCHEMA_VERSION:
        try:
            connection.executescript(f"begin immediate;\n{_steps(version)}\n{_schema()}\ncommit;")
        except sqlite3.OperationalError:
            connection.rollback()
            if _version(connection) != SCHEMA_VERSION:  # else another process was first
                raise


def copy_database(source: Path, target: Path) -> None:
    """Copy a consistent snapshot of a database while others use it. Raises sqlite3.Error."""
    with closing(connect(source)) as original, closing(sqlite3.connect(target)) as copy:
        original.backup(copy)


def check_database(path: Path) -> None:
    """Raise sqlite3.DatabaseError if the database is damaged."""
    with closing(sqlite3.connect(path)) as connection:
        if (found := connection.execute("pragma quick_check").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(found)


def count_orders(path: Path, *, whole: bool) -> int:
    """Return the number of orders without changing the file; with `whole` every page of it is checked.

    Raises sqlite3.Error if it is damaged or not a database of this program, NewerSchema.
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        version = _version(connection)
        if version > SCHEMA_VERSION:
            raise NewerSchema(f"the schema has version {version}, this program knows {SCHEMA_VERSION}")
        if version == 0:
            if connection.execute("select 1 from sqlite_schema limit 1").fetchone():
                raise sqlite3.DatabaseError("is a database of another program")
            return 0
        if whole and (found := connection.execute("pragma quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(str(found))
        return int(connection.execute("select count(*) from jobs").fetchone()[0])


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("pragma user_version").fetchone()[0])


def _steps(version: int) -> str:
    return "\n".join(step for since, step in _STEPS.items() if 0 < version <= since)


def _schema() -> str:
    scripts = (entry for entry in files("sql").joinpath("sqlite").iterdir() if entry.name.endswith(".sql"))
    return "\n".join(script.read_text("utf-8") for script in sorted(scripts, key=lambda script: script.name))


class Pool:
    """Connections to one database for many threads; opened on demand, so a pool may be made before a fork."""

    def __init__(self, path: Path, *, busy_seconds: float = 5) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._idle: LifoQueue[sqlite3.Connection] = LifoQueue()
        self._prepared = False

    @property
    def dialect(self) -> Dialect:
        """The kind of database."""
        return "sqlite"

    def prepare(self) -> None:
        """Create the database and its schema once; concurrent calls are harmless."""
        if not self._prepared:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            keep_private(self._path)
            with closing(connect(self._path, busy_seconds=self._busy_seconds)) as connection:
                migrate(connection)
            self._prepared = True

    @contextmanager
    def writing(self, owner: str | None = None) -> Iterator[Connection]:  # noqa: ARG002  SQLite has no security of rows
        """Yield a connection in the only write transaction; it commits at the end, or rolls back on an exception."""
        with self._transaction("begin immediate") as connection:
            yield connection

    @contextmanager
    def reading(self, owner: str | None = None) -> Iterator[Connection]:  # noqa: ARG002  likewise
        """Yield a connection that sees one snapshot of the database."""
        with self._transaction("begin") as connection:
            yield connection

    def one_at_a_time(self, connection: Connection, name: str) -> None:
        """Return at once, because SQLite has only one writer."""

    def watch(self) -> "SqliteWatch":
        """Return a new watch."""
        return SqliteWatch(self._path, busy_seconds=self._busy_seconds)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        connection = self._take()
        try:
            connection.execute(begin)
            yield connection
            connection.execute("commit")
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)

    def _take(self) -> sqlite3.Connection:
        try:
            return self._idle.get_nowait()
        except Empty:
            return connect(self._path, busy_seconds=self._busy_seconds)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if self._idle.qsize() < _IDLE:
            self._idle.put(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close the idle connections."""
        while not self._idle.empty():
            self._idle.get_nowait().close()


class SqliteWatch:
    """Detects commits by SQLite's `data_version`, on a connection that never writes and so sees all of them."""

    def __init__(self, path: Path, *, busy_seconds: float) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._seen: int | None = None

    def changed(self) -> bool:
        """Return whether the counter has changed since the last call."""
        with self._lock:
            if self._connection is None:
                self._connection = connect(self._path, busy_seconds=self._busy_seconds)
            before, self._seen = self._seen, self._connection.execute("pragma data_version").fetchone()[0]
            return before != self._seen

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = self._seen = None
