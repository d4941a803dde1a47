"""A bounded pool of connections to PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, LifoQueue
from threading import BoundedSemaphore
from time import monotonic

import psycopg2

from sql.connections import Connection, DatabaseAway, Dialect, NewerSchema
from sql.migrate import SCHEMA_VERSION, version_of
from sql.postgres import EVERYTHING, PostgresConnection, failing

_WRITE = "begin read write"
"""Refused by a standby, so that a server does not take one for a database that it can write."""
_READ = "begin isolation level repeatable read read only"
_AWAY = 1.0
"""Seconds for which nobody else waits for a server that did just not answer."""


class PostgresPool:
    """Connections to PostgreSQL, `size` at most; one more is waited for `wait` seconds, then DatabaseAway is raised.

    A connection that the server closed is replaced before it is used, so a restart of the server needs none of ours.
    """

    def __init__(self, url: str, *, size: int = 5, wait: float = 2.0) -> None:
        self._url = url
        self._size = size
        self._wait = wait
        self._places = BoundedSemaphore(size)
        self._idle: LifoQueue[PostgresConnection] = LifoQueue()
        self._away_until = 0.0
        self._prepared = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self._size})"

    @property
    def dialect(self) -> Dialect:
        """Which database it is."""
        return "postgresql"

    @property
    def url(self) -> str:
        """Where it is, with its password."""
        return self._url

    def prepare(self) -> None:
        """Return if `landcast migrate` has brought the schema to what this program knows. Raises NewerSchema."""
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
        """Give a connection in a transaction; with an `owner` it sees only theirs."""
        with self._transaction(_WRITE, owner) as connection:
            yield connection

    @contextmanager
    def reading(self, owner: str | None = None) -> Iterator[Connection]:
        """Give a connection that sees one state of the database and may not write."""
        with self._transaction(_READ, owner) as connection:
            yield connection

    def one_at_a_time(self, connection: Connection, name: str) -> None:
        """Wait for a lock of that name, which ends with the transaction."""
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
        with self._place(), failing():
            connection = self._begun(begin, owner)
            try:
                yield connection
                connection.execute("commit")
            except BaseException:
                self._undo(connection)
                raise
            self._idle.put(connection)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(timeout=self._wait):
            raise DatabaseAway(f"all {self._size} connections to PostgreSQL were in use for {self._wait:g} s")
        try:
            yield
        finally:
            self._places.release()

    def _begun(self, begin: str, owner: str | None) -> PostgresConnection:
        """Return a connection whose transaction has begun; one that died while it was idle is replaced."""
        try:
            connection = self._idle.get_nowait()
        except Empty:
            return _begin(self._connect(), begin, owner)
        try:
            return _begin(connection, begin, owner)
        except psycopg2.OperationalError:
            self.close()
            return _begin(self._connect(), begin, owner)

    def _connect(self) -> PostgresConnection:
        if monotonic() < self._away_until:
            raise DatabaseAway("PostgreSQL cannot be reached")
        try:
            return PostgresConnection(self._url)
        except psycopg2.OperationalError:
            self._away_until = monotonic() + _AWAY
            raise

    def _undo(self, connection: PostgresConnection) -> None:
        try:
            connection.execute("rollback")
        except psycopg2.Error:
            connection.close()
        else:
            self._idle.put(connection)


def _begin(connection: PostgresConnection, begin: str, owner: str | None) -> PostgresConnection:
    """Begin a transaction; the setting of the owner ends with it."""
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
    """Return the owner; one who is called as the word for everybody owns nothing."""
    return "" if owner == EVERYTHING else owner


class PostgresWatch:
    """Notices commits by the server's own account of transactions: it differs once any that writes began or ended.

    Transactions of other databases of the same server are noticed too: a look in vain, nothing missed. Nobody who
    writes has to do or wait for anything, as for a counter or a NOTIFY, which lets one commit at a time.
    """

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool
        self._seen: str | None = None

    def changed(self) -> bool:
        """Compare the account with that of the last call."""
        with self._pool.reading() as connection:
            now = str(connection.execute("select pg_current_snapshot()").fetchone()[0])
        before, self._seen = self._seen, now
        return before != now

    def close(self) -> None:
        """Forget what was seen."""
        self._seen = None
