"""A named lock in PostgreSQL, held by a connection of its own for as long as its holder lives."""

from threading import Thread
from time import monotonic, sleep

import psycopg2

from sql.address import Url, current
from sql.postgres import PostgresConnection, failing

_QUEUED_SECONDS = 3.0
_LOOK = 0.02
"""Seconds until a connection waits for the lock, at most, and between two looks whether it does."""
_IS_QUEUED = "select exists (select from pg_locks where locktype = 'advisory' and pid = :pid and not granted)"

_HOLDER_AGE = """select coalesce(extract(epoch from clock_timestamp() - activity.state_change), 0)
    from pg_locks as held left join pg_stat_activity as activity using (pid)
    where held.locktype = 'advisory' and held.granted and held.objsubid = 1
        and held.database = (select oid from pg_database where datname = current_database())
        and held.classid::bigint << 32 | held.objid::bigint = hashtextextended(:name, 2)"""


class PostgresLock:
    """A session-level advisory lock: one holder for each name, across machines; it ends with the holder's connection.

    A holder whose machine vanished loses it after about 25 seconds. When the address changes, the lock passes to a
    connection to the new one, and no other holder comes between. Raises DatabaseAway if PostgreSQL is unavailable.
    """

    def __init__(self, url: Url, name: str) -> None:
        self._url = url
        self._name = name
        self._connection: PostgresConnection | None = None

    def take(self) -> bool:
        """Try to take the lock; return whether we hold it."""
        with failing():
            connection = PostgresConnection(current(self._url))
            try:
                statement = "select pg_try_advisory_lock(hashtextextended(:name, 2))"
                taken = connection.execute(statement, {"name": self._name}).fetchone()[0]
            except psycopg2.Error:
                connection.close()
                raise
        if taken:
            self._connection = connection
        else:
            connection.close()
        return bool(taken)

    def holder_age(self) -> float | None:
        """Return the seconds since the holder last called `is_held`, None if nobody holds the lock.

        It is 0 while the holder logs in as a user whose activity PostgreSQL does not show to ours.
        """
        with failing():
            connection = PostgresConnection(current(self._url))
            try:
                row = connection.execute(_HOLDER_AGE, {"name": self._name}).fetchone()
            finally:
                connection.close()
        return None if row is None else max(0.0, float(row[0]))

    def is_held(self) -> bool:
        """Return whether we hold the lock; a lock lost in a server restart is taken again if it is free."""
        if self._connection is not None:
            try:
                self._connection.execute("select 1")
                self._follow_the_address(self._connection)
            except psycopg2.Error:
                self.close()
            else:
                return True
        return self.take()

    def _follow_the_address(self, holder: PostgresConnection) -> None:
        """Pass the lock to a connection to the current address; the old one keeps it while there is none."""
        url = current(self._url)
        if holder.url == url:
            return
        try:
            successor = PostgresConnection(url)
        except psycopg2.OperationalError:
            return
        try:
            self._connection = self._passed(holder, successor)
        except psycopg2.Error:
            successor.close()
            raise

    def _passed(self, holder: PostgresConnection, successor: PostgresConnection) -> PostgresConnection:
        """Let the successor wait for the lock, then release it: one that waits gets it before one that only tries."""
        errors: list[psycopg2.Error] = []
        pid = successor.execute("select pg_backend_pid()").fetchone()[0]
        thread = Thread(target=_wait_for_lock, args=(successor, self._name, errors), daemon=True)
        thread.start()
        until = monotonic() + _QUEUED_SECONDS
        while not holder.execute(_IS_QUEUED, {"pid": pid}).fetchone()[0] and monotonic() < until:
            sleep(_LOOK)
        holder.close()
        thread.join()
        for error in errors:
            raise error
        return successor

    def close(self) -> None:
        """Release the lock."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _wait_for_lock(connection: PostgresConnection, name: str, errors: list[psycopg2.Error]) -> None:
    try:
        connection.execute("select pg_advisory_lock(hashtextextended(:name, 2))", {"name": name})
    except psycopg2.Error as error:
        errors.append(error)
