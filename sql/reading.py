"""Reading in databases that others own: a bounded pool of connections that cannot write."""

import logging
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from queue import Empty, LifoQueue
from threading import BoundedSemaphore, Lock
from time import monotonic
from typing import Any

import psycopg2
from psycopg2 import extensions

from sql.connections import DatabaseAway

_LOGGER = logging.getLogger(__name__)
Row = tuple[Any, ...]
_DEFAULTS = {
    "application_name": "landcast",
    "connect_timeout": "3",
    "client_encoding": "UTF8",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
_SESSION = """
set default_transaction_read_only = on;
set timezone = 'UTC'; set datestyle = 'ISO'; set intervalstyle = 'iso_8601'; set bytea_output = 'hex';
set jit = off; set max_parallel_workers_per_gather = 0; set cursor_tuple_fraction = 1.0;
set lock_timeout = '3s'; set idle_in_transaction_session_timeout = '60s';
"""
"""Statements are short and many at once: parallel workers and compiled ones cost more than they save."""
_PATH = """
select set_config('search_path', concat_ws(', ', %s, (
    select quote_ident(nspname) from pg_extension e join pg_namespace n on n.oid = e.extnamespace
    where extname = 'postgis')), false)
"""
"""PostGIS may be in a schema that the configuration does not name."""
_RETRY_AFTER = 1.0
"""Seconds for which nobody tries to connect again after a failure."""
_AWAY = ("08", "57P", "53300", "25P")
"""SQLSTATEs, or their beginnings, of a server that is gone, stops, starts or has no connection left."""
_CANCELLED = "57014"
_REFUSED = ("22", "23")
"""Classes of SQLSTATEs of values: data exceptions, and violations of what a table demands."""
_CHANGED = ("42P01", "42703", "42501", "42883", "42804", "3F000", "0A000")
"""SQLSTATEs of a table that is not, or no longer, as it was: no such table, column, privilege, operator, schema."""


class NoConnectionFree(Exception):
    """All connections of the pool were in use for as long as a caller waits."""


class StatementTooLong(Exception):
    """A statement was ended, as it took too long or its caller has gone."""


class TableChanged(Exception):
    """A table, a column or a privilege is not, or no longer, there."""


class StatementFailed(Exception):
    """PostgreSQL could not do what a statement says with the values that it met, such as a geometry."""


class ValueRefused(StatementFailed):
    """A value does not fit a column, or what the table demands of its rows."""


_running: ContextVar[set[extensions.connection] | None] = ContextVar("running", default=None)
"""The connections with a statement that runs now in this context and the threads that have it."""


@contextmanager
def cancellable() -> Iterator[Callable[[], None]]:
    """Yield a function that ends the statements which run meanwhile, in whichever thread has this context."""
    running: set[extensions.connection] = set()
    reset = _running.set(running)

    def cancel() -> None:
        for connection in tuple(running):
            with suppress(psycopg2.Error):
                connection.cancel()

    try:
        yield cancel
    finally:
        _running.reset(reset)


@dataclass(frozen=True, slots=True)
class DatabaseSource:
    """Where a database is, and as whom it is read; what is empty is libpq's default, such as the password file's."""

    host: str = ""
    port: str = ""
    dbname: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    search_path: tuple[str, ...] = ("public",)
    options: tuple[tuple[str, str], ...] = ()

    def dsn(self) -> str:
        """Return the connection string, password included."""
        named = {name: getattr(self, name) for name in ("host", "port", "dbname", "user", "password")}
        return str(extensions.make_dsn(**{**_DEFAULTS, **dict(self.options), **{k: v for k, v in named.items() if v}}))

    def connect(self) -> extensions.connection:
        """Return a new connection with the search path, and the schema of PostGIS after it. Raises psycopg2.Error."""
        connection = psycopg2.connect(self.dsn())
        connection.autocommit = True
        path = ", ".join(extensions.quote_ident(name, connection) for name in self.search_path)
        connection.cursor().execute(_PATH, (path or None,))
        return connection


@cache
def _pool(source: DatabaseSource, size: int, seconds: float, process: int) -> "ReadingPool":
    del process
    return ReadingPool(source, size=size, seconds=seconds)


def reading_pool(source: DatabaseSource, *, size: int = 5, seconds: float = 20) -> "ReadingPool":
    """Return this process's pool for a source, the same for all collections in it; a fork has one of its own."""
    return _pool(source, size, seconds, os.getpid())


class ReadingPool:
    """At most `size` connections; a caller waits `wait` seconds for one, then NoConnectionFree is raised.

    A statement is ended after `seconds`. One that finds its connection closed by the server is run again by a new one,
    as long as nothing of its answer was used. Errors are those of this module and DatabaseAway; they name no host, user
    or password.
    """

    def __init__(self, source: DatabaseSource, *, size: int = 5, wait: float = 2.0, seconds: float = 20) -> None:
        self._source = source
        self._size = size
        self._wait = wait
        self._seconds = seconds
        self._slots = BoundedSemaphore(size)
        self._idle: LifoQueue[extensions.connection] = LifoQueue()
        self._warm: dict[str, None] = {}
        self._lock = Lock()
        self._away_until = 0.0

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self._size})"

    def warm(self, statement: str) -> None:
        """Run a statement on each new connection, such as the first of a transformation, which costs 20 to 40 ms.

        One that is idle now runs it now.
        """
        if statement not in self._warm:
            self._warm[statement] = None
            with suppress(DatabaseAway, NoConnectionFree, StatementFailed, StatementTooLong):
                self.rows(statement)

    def rows(self, statement: str, values: Sequence[Any] = (), *, seconds: float | None = None) -> list[Row]:
        """Return the rows of a statement; values of text are bytes of UTF-8.

        Its values are parameters `%s`; a percent sign elsewhere is doubled. With `seconds` it is ended sooner.
        """
        with self._lent() as lent:
            if seconds is None:
                return lent.execute(statement, values).fetchall()
            lent.execute(f"begin read only; set local statement_timeout = {int(seconds * 1_000)}")
            rows = lent.execute(statement, values).fetchall()
            lent.execute("commit")
            return rows

    def pieces(self, statement: str, values: Sequence[Any] = (), *, size: int = 500) -> Generator[list[Row]]:
        """Yield the rows of a statement, `size` at a time, so that no more of them are in memory."""
        with self._lent() as lent:
            lent.execute(f"begin read only; declare page no scroll cursor for {statement}", values)
            while rows := lent.execute(f"fetch {size} from page").fetchall():
                yield rows
            lent.execute("commit")

    @contextmanager
    def writing(self) -> Iterator[Callable[[str, Sequence[Any]], list[Row]]]:
        """Yield what runs statements in one transaction that may write; an error undoes all of them."""
        with self._lent() as lent:
            lent.execute("begin read write")

            def run(statement: str, values: Sequence[Any]) -> list[Row]:
                cursor = lent.execute(statement, values)
                return cursor.fetchall() if cursor.description else []

            yield run
            lent.execute("commit")

    def close(self) -> None:
        """Close the idle connections."""
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()

    @contextmanager
    def _lent(self) -> Iterator["_Lent"]:
        if not self._slots.acquire(timeout=self._wait):
            raise NoConnectionFree(f"all {self._size} connections to the database were in use for {self._wait:g} s")
        lent = _Lent(self._take(), self)
        whole = False
        try:
            with _translated():
                yield lent
            whole = True
        finally:
            self._give_back(lent.connection, whole=whole)
            self._slots.release()

    def _take(self) -> extensions.connection | None:
        with suppress(Empty):
            return self._idle.get_nowait()
        return None

    def _give_back(self, connection: extensions.connection | None, *, whole: bool) -> None:
        if connection is None:
            return
        if not whole and not connection.closed:
            with suppress(psycopg2.Error):
                connection.cursor().execute("rollback")
        in_transaction = connection.closed or (connection.info.transaction_status != extensions.TRANSACTION_STATUS_IDLE)
        if in_transaction:
            connection.close()
        else:
            self._idle.put(connection)

    def connect(self) -> extensions.connection:
        """Return a new connection, made ready. Raises DatabaseAway, psycopg2.Error."""
        with self._lock:
            if monotonic() < self._away_until:
                raise DatabaseAway("the database cannot be reached")
        try:
            connection = self._source.connect()
        except psycopg2.Error:
            self._away_until = monotonic() + _RETRY_AFTER
            raise
        extensions.register_type(extensions.BYTES, connection)
        cursor = connection.cursor()
        cursor.execute(f"{_SESSION}set statement_timeout = {int(self._seconds * 1_000)}")
        for statement in self._warm:
            with suppress(psycopg2.Error):
                cursor.execute(statement)
        return connection


class _Lent:
    """A connection for one caller: made, or replaced where it died while it was idle, by its first statement."""

    def __init__(self, connection: extensions.connection | None, pool: ReadingPool) -> None:
        self.connection = connection
        self._pool = pool
        self._used = False

    def execute(self, statement: str, values: Sequence[Any] = ()) -> extensions.cursor:
        if self.connection is not None and not self._used:
            try:
                return self._execute(self.connection, statement, values)
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                if not self.connection.closed:
                    raise
            self._pool.close()
            self.connection = None
        if self.connection is None:
            self.connection = self._pool.connect()
        return self._execute(self.connection, statement, values)

    def _execute(self, connection: extensions.connection, statement: str, values: Sequence[Any]) -> extensions.cursor:
        cursor = connection.cursor()
        running = _running.get()
        if running is not None:
            running.add(connection)
        try:
            cursor.execute(statement if values else statement.replace("%%", "%"), tuple(values) or None)
        finally:
            if running is not None:
                running.discard(connection)
        self._used = True
        return cursor


@contextmanager
def _translated() -> Iterator[None]:
    """Translate psycopg2's errors; the log has their first line, as further ones contain values of rows."""
    try:
        yield
    except psycopg2.Error as error:
        code = error.pgcode or "08000"
        _LOGGER.warning("PostgreSQL: %s: %s", code, str(error).strip().partition("\n")[0])
        if code == _CANCELLED:
            raise StatementTooLong("the database ended the statement, as it took too long") from error
        if code.startswith(_AWAY):
            raise DatabaseAway("the database is away, refuses the login or has no connection left") from error
        if code.startswith(_CHANGED):
            raise TableChanged(f"a table, a column or a privilege is missing (SQLSTATE {code})") from error
        failure = ValueRefused if code.startswith(_REFUSED) else StatementFailed
        raise failure(f"the database could not do it (SQLSTATE {code})") from error
