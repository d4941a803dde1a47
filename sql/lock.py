"""A lock of a whole database, held by a connection of its own for as long as its holder lives."""

import psycopg2

from sql.postgres import PostgresConnection, failing


class PostgresLock:
    """One holder at a time for each name, on whichever machine; it ends with the holder's connection.

    A holder whose machine vanished loses it after some 25 seconds. Raises DatabaseAway where nothing can be said.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._connection: PostgresConnection | None = None

    def take(self) -> bool:
        """Take the lock unless another has it; say whether it is ours."""
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
        """Say whether the lock is ours; one that a restart of the server took is taken again if it is free."""
        if self._connection is not None:
            try:
                self._connection.execute("select 1")
            except psycopg2.Error:
                self.close()
            else:
                return True
        return self.take()

    def close(self) -> None:
        """Give the lock back."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
