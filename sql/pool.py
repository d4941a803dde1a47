"""A bounded pool of connections to PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, LifoQueue
from threading import BoundedSemaphore
from time import monotonic

import psycopg2

from sql.address import SharedAddress, Url, current
from sql.connections import Connection, DatabaseAway, Dialect, NewerSchema
from sql.migrate import SCHEMA_VERSION, version_of
from sql.postgres import EVERYTHING, PostgresConnection, failing

_WRITE = "begin read write"
"""A standby refuses it, so the server does not use one by mistake."""
_READ = "begin isolation level repeatable read read only"
_RETRY_AFTER = 1.0
"""Seconds for which no other connection is tried after a failed one."""


class PostgresPool:
    """At most `size` connections to PostgreSQL; a caller waits `wait` seconds for one, then DatabaseAway is raised.

    A connection that the server closed is replaced before use, so this process survives a restart of PostgreSQL. When
    the address changes, new transactions use it, and connections to the old one are closed after their transaction.
    """

    def __init__(self, url: Url, *, size: int = 5, wait: float = 2.0) -> None:
        self._url = url
        self._size = size
        self._wait = wait
        self._slots = BoundedSemaphore(size)
        self._idle: LifoQueue[PostgresConnection] = LifoQueue()
        self._away_until = 0.0
        self._prepared = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self._size})"

    @property
    def dialect(self) -> Dialect:
        """The kind of database."""
        return "postgresql"

    @property
    def url(self) -> Url:
        """The address, password included."""
        return self._url

    @property
    def used(self) -> int:
        """Connections in use."""
        return self._size - self._slots._value  # noqa: SLF001 - nobody else says

    def prepare(self) -> None:
        """Return if the schema has this program's version. Raises NewerSchema, and DatabaseAway for an older one."""
        if self._prepared:
            return
        with self.reading() as connection:
            version = version_of(connection)
        if version > SCHEMA_VERSION:
            raise NewerSchema(f"the schema has version {version}, this program knows {SCHEMA_VERSION}")
        if version < SCHEMA_VERSION:
            raise DatabaseAway(f"the schema has version {version}, not {SCHEMA_VERSION}: run landcast migrate")
        self._prepared = True

    @contextmanager
    def writing(self, owner: str | None = None) -> Iterator[Connection]:
        """Yield a connection in a transaction; with an `owner` it sees only that owner's rows."""
        with self._transaction(_WRITE, owner) as connection:
            yield connection

    @contextmanager
    def reading(self, owner: str | None = None) -> Iterator[Connection]:
        """Yield a read-only connection that sees one snapshot of the database."""
        with self._transaction(_READ, owner) as connection:
            yield connection

    def one_at_a_time(self, connection: Connection, name: str) -> None:
        """Take the advisory lock of that name, until the end of the transaction."""
        connection.execute("select pg_advisory_xact_lock(hashtextextended(:name, 1))", {"name": name})

    def watch(self) -> "PostgresWatch":
        """Return a new watch."""
        return PostgresWatch(self)

    def close(self) -> None:
        """Close the idle connections."""
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()

    @contextmanager
    def _transaction(self, begin: str, owner: str | None) -> Iterator[PostgresConnection]:
        with self._slot(), failing():
            connection = self._in_transaction(begin, owner)
            try:
                yield connection
                connection.execute("commit")
            except BaseException:
                self._undo(connection)
                raise
            self._give_back(connection)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(timeout=self._wait):
            raise DatabaseAway(f"all {self._size} connections to PostgreSQL were in use for {self._wait:g} s")
        try:
            yield
        finally:
            self._slots.release()

    def _in_transaction(self, begin: str, owner: str | None) -> PostgresConnection:
        """Return a connection in a new transaction; one that died while idle is replaced."""
        connection = self._take_idle()
        if connection is None:
            return _begin(self._connect(), begin, owner)
        try:
            return _begin(connection, begin, owner)
        except psycopg2.OperationalError:
            self.close()
            return _begin(self._connect(), begin, owner)

    def _take_idle(self) -> PostgresConnection | None:
        """Return an idle connection to the current address, or None; those to an old one are closed."""
        url = current(self._url)
        with suppress(Empty):
            while (connection := self._idle.get_nowait()).url != url:
                connection.close()
            return connection
        return None

    def _give_back(self, connection: PostgresConnection) -> None:
        if connection.url == current(self._url):
            self._idle.put(connection)
        else:
            connection.close()

    def _connect(self) -> PostgresConnection:
        if monotonic() < self._away_until:
            raise DatabaseAway("PostgreSQL cannot be reached")
        try:
            return self._connect_now()
        except psycopg2.OperationalError:
            self._away_until = monotonic() + _RETRY_AFTER
            raise

    def _connect_now(self) -> PostgresConnection:
        """Connect; if the password has just been changed, wait for the new one."""
        url = current(self._url)
        try:
            return PostgresConnection(url)
        except psycopg2.OperationalError:
            successor = self._url.after(url) if isinstance(self._url, SharedAddress) else None
            if successor is None:
                raise
            return PostgresConnection(successor)

    def _undo(self, connection: PostgresConnection) -> None:
        try:
            connection.execute("rollback")
        except psycopg2.Error:
            connection.close()
        else:
            self._give_back(connection)


def _begin(connection: PostgresConnection, begin: str, owner: str | None) -> PostgresConnection:
    """Begin a transaction; the owner is set for its duration."""
    try:
        if owner is None:
            connection.execute(begin)
        else:
            values = {"owner": _no_wildcard(owner)}
            connection.execute(f"{begin}; select set_config('landcast.owner', :owner, true)", values)
    except psycopg2.Error:
        connection.close()
        raise
    return connection


def _no_wildcard(owner: str) -> str:
    """Return the owner, or "" for an owner named like the wildcard."""
    return "" if owner == EVERYTHING else owner


class PostgresWatch:
    """Detects commits by PostgreSQL's snapshot, which changes when any transaction that writes begins or ends.

    Transactions of other databases of the cluster are detected too, which costs a query in vain. Writers do nothing
    for it; a counter or a NOTIFY would serialize their commits.
    """

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool
        self._seen: str | None = None

    def changed(self) -> bool:
        """Return whether the snapshot has changed since the last call."""
        with self._pool.reading() as connection:
            now = str(connection.execute("select pg_current_snapshot()").fetchone()[0])
        before, self._seen = self._seen, now
        return before != now

    def close(self) -> None:
        """Forget the last snapshot."""
        self._seen = None
