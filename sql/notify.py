"""LISTEN and NOTIFY of PostgreSQL: payloads reach current listeners at once and are otherwise lost."""

import psycopg2

from sql.address import Url, current
from sql.connections import Connection
from sql.postgres import PostgresConnection, failing


def notify(connection: Connection, channel: str, payload: str) -> None:
    """Send a payload to the listeners of a channel when the transaction commits."""
    connection.execute("select pg_notify(:channel, :payload)", {"channel": channel, "payload": payload})


class PostgresListener:
    """Listens on a channel with a connection of its own. Raises DatabaseAway; the next call reconnects."""

    def __init__(self, url: Url, channel: str) -> None:
        self._url = url
        self._channel = channel
        self._connection: PostgresConnection | None = None

    def hear(self, seconds: float) -> list[str] | None:
        """Return the payloads received within `seconds`, or None after connecting, as earlier ones may be lost."""
        with failing():
            url = current(self._url)
            if self._connection is not None and self._connection.url != url:
                self.close()
            if self._connection is None:
                self._connection = PostgresConnection(url)
                self._connection.execute(f'listen "{self._channel}"')
                return None
            try:
                return self._connection.heard(seconds)
            except psycopg2.Error:
                self.close()
                raise

    def close(self) -> None:
        """Stop listening."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
