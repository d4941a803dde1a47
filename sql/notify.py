"""A word from one process to another, through PostgreSQL: heard at once by who listens, lost where nobody does."""

import psycopg2

from sql.connections import Connection
from sql.postgres import PostgresConnection, failing


def notify(connection: Connection, channel: str, word: str) -> None:
    """Say the word to all who listen on the channel, once the transaction is committed."""
    connection.execute("select pg_notify(:channel, :word)", {"channel": channel, "word": word})


class PostgresListener:
    """Listens on a channel by a connection of its own. Raises DatabaseAway; the next call connects again."""

    def __init__(self, url: str, channel: str) -> None:
        self._url = url
        self._channel = channel
        self._connection: PostgresConnection | None = None

    def hear(self, seconds: float) -> list[str] | None:
        """Return what was said, nothing after so many seconds; None where something may have been missed before."""
        with failing():
            if self._connection is None:
                self._connection = PostgresConnection(self._url)
                self._connection.execute(f'listen "{self._channel}"')
                return None
            try:
                return self._connection.heard(seconds)
            except psycopg2.Error:
                self.close()
                raise

    def close(self) -> None:
        """Listen no more."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
