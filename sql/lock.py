"""A named lock in PostgreSQL, held by a connection of its own for as long as its holder lives."""

import psycopg2

from sql.postgres import PostgresConnection, failing


class PostgresLock:
    """A session-level advisory lock: one holder for each name, across machines; it ends with the holder's connection.

    A holder whose machine vanished loses it after about 25 seconds. Raises DatabaseAway if PostgreSQL is unavailable.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._connection: PostgresConnection | None = None

    def take(self) -> bool:
        """Try to take the lock; return whether we hold it."""
        with failing():
            connection = PostgresConnection(self._url)
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

    def is_held(self) -> bool:
        """Return whether we hold the lock; a lock lost in a server restart is taken again if it is free."""
        if self._connection is not None:
            try:
                self._connection.execute("select 1")
            except psycopg2.Error:
                self.close()
            else:
                return True
        return self.take()

    def close(self) -> None:
        """Release the lock."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
