"""Connections to a SQLite database with durable commits, and its schema."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from queue import Empty, LifoQueue
from time import monotonic, sleep

from sql.connections import Connection, Database, DatabaseAway, Dialect, NewerSchema

SCHEMA_VERSION = 13
"""The schema version of the numbered files; the last of them writes it."""

_STEPS = {
    1: "alter table jobs add column fault text not null default '';",
    3: "alter table jobs add column notices text not null default '[]';",
    5: "alter table jobs add column backend integer not null default 0 check (backend in (0, 1));",
    10: "alter table jobs add column km2 real; alter table jobs add column bytes integer not null default 0;",
    11: "alter table jobs add column unit text; alter table jobs add column task text;",
    12: """alter table jobs add column trace text;
        create table if not exists outbox (
            number integer, job text, kind text, event text, address text, state text, tries integer, due integer);
        drop trigger if exists outbox_changed;
        drop trigger if exists outbox_finished;
        drop trigger if exists outbox_deleted;
        alter table outbox rename to outbox_before;
        drop index if exists outbox_due;
        drop index if exists outbox_job;""",
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
    for file in (path, *(path.with_name(f"{path.name}-{beside}") for beside in ("wal", "shm"))):
        with suppress(FileNotFoundError, PermissionError):
            if file.stat().st_mode & _OTHERS:
                file.chmod(0o600)


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

    @property
    def used(self) -> int:
        """Number of connections in use, which nobody bounds."""
        return 0

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
        return SqliteWatch(self)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self.lent() as connection:
            connection.execute(begin)
            yield connection
            connection.execute("commit")

    @contextmanager
    def lent(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection, the one that was given back last; it is closed on an exception."""
        connection = self._take()
        try:
            yield connection
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
    """Detects commits by SQLite's `data_version`, which a connection's own commits do not change.

    So where one thread uses a pool, which then has one connection, it is notified of the commits of others only.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._seen: tuple[sqlite3.Connection, int] | None = None

    def changed(self) -> bool:
        """Return whether another connection has committed since the last call; True where that cannot be said."""
        with self._pool.lent() as connection:
            seen = (connection, connection.execute("pragma data_version").fetchone()[0])
        before, self._seen = self._seen, seen
        return before != seen

    def close(self) -> None:
        """Forget what was seen."""
        self._seen = None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(time: datetime) -> int:
    """Return a time in microseconds."""
    return (time - _EPOCH) // _MICROSECOND


def now() -> int:
    """Return the current time in microseconds."""
    return microseconds(datetime.now(UTC))


def time_of(value: int) -> datetime:
    """Return the time of a value in microseconds."""
    return _EPOCH + timedelta(microseconds=value)


class DatabaseUnavailable(Exception):
    """The database cannot be opened, stays locked, is full, or has a newer schema."""


class Store:
    """A store in `database`; a SQLite file is created if it does not exist, readable by its owner only.

    Raises `failure` when the database is unavailable: on construction, or with `lazy` on use. A store derives from this
    class and sets `failure` to its own exception.
    """

    failure: type[Exception] = DatabaseUnavailable
    """The exception to raise; its message is for the log."""
    contents = "the database"
    """What the message says is unavailable."""

    def __init__(self, database: Database, *, busy_seconds: float = 5, lazy: bool = False) -> None:
        self._pool = Pool(database, busy_seconds=busy_seconds) if isinstance(database, Path) else database
        if not lazy:
            self._prepare()

    def _prepare(self) -> None:
        with self._unavailable():
            self._pool.prepare()

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    @contextmanager
    def _writing(self, owner: str | None = None) -> Iterator[Connection]:
        self._prepare()
        with self._unavailable(), self._pool.writing(owner) as connection:
            yield connection

    @contextmanager
    def _reading(self, owner: str | None = None) -> Iterator[Connection]:
        self._prepare()
        with self._unavailable(), self._pool.reading(owner) as connection:
            yield connection

    def _unavailable(self) -> AbstractContextManager[None]:
        """Translate database errors into `failure`."""
        return failing_as(self.failure, self.contents)


@contextmanager
def failing_as(failure: type[Exception], contents: str) -> Iterator[None]:
    """Translate database errors into `failure`, with a message for the log."""
    try:
        yield
    except (sqlite3.Error, OSError, NewerSchema, DatabaseAway) as error:
        raise failure(f"{contents}: {error}") from error
