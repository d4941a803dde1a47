"""A connection to PostgreSQL, and its errors."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from select import select
from typing import Any

import psycopg2
from psycopg2 import extensions, extras

from sql.connections import Cursor, DatabaseAway

_log = logging.getLogger(__name__)

EVERYTHING = "*"
"""The value of `landcast.owner` for a connection that sees all rows."""
_BYTEA = 17
_DEFAULTS = {
    "application_name": "landcast",
    "connect_timeout": "3",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
"""Defaults that the URL may override: a vanished server is noticed within seconds."""
_SESSION_SETTINGS = """set landcast.owner = '*'; set lock_timeout = '5s'; set statement_timeout = '60s';
    set idle_in_transaction_session_timeout = '60s'; set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5;
    set tcp_keepalives_count = 3"""
"""The server notices a vanished client too, and releases its locks."""
_MESSAGES = {
    "28": "PostgreSQL refuses the login",
    "3D": "PostgreSQL has no such database",
    "42501": "PostgreSQL: the role lacks a privilege",
    "53100": "PostgreSQL's disk is full",
    "53300": "PostgreSQL has no connection left",
    "55P03": "PostgreSQL: locked for too long",
    "57": "PostgreSQL is stopping or starting",
    "08": "PostgreSQL cannot be reached",
}


class PostgresConnection:
    """A connection in autocommit mode outside explicit transactions; rows are read by column name or index.

    Raises psycopg2.Error.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        """Its address, password included."""
        self._raw = psycopg2.connect(
            **(_DEFAULTS | extensions.parse_dsn(url)), connection_factory=extras.DictConnection
        )
        self._raw.autocommit = True
        extensions.register_type(_BYTES, self._raw)
        self.execute(_SESSION_SETTINGS)

    def execute(self, statement: str, values: Mapping[str, Any] | None = None) -> Cursor:
        """Run one statement with values, or several without."""
        cursor: extensions.cursor = self._raw.cursor()
        cursor.execute(_pyformat(statement), _values_without_nul(values) if values else None)
        return cursor

    def executemany(self, statement: str, values: Iterable[Mapping[str, Any]]) -> None:
        """Run a statement once for each set of values, in batches."""
        extras.execute_batch(self._raw.cursor(), _pyformat(statement), list(map(_values_without_nul, values)))

    def heard(self, seconds: float) -> list[str]:
        """Return the payloads received on its channels, waiting at most `seconds` for the first."""
        select([self._raw], [], [], seconds)
        self._raw.poll()
        received, self._raw.notifies[:] = [str(each.payload) for each in self._raw.notifies], []
        return received

    def close(self) -> None:
        """Close it; an open transaction is rolled back."""
        self._raw.close()


@contextmanager
def failing() -> Iterator[None]:
    """Translate PostgreSQL's errors into DatabaseAway.

    The first line of an error, which may name hosts and users, goes to the log only. Further lines are dropped, as they
    contain values of rows.
    """
    try:
        yield
    except psycopg2.Error as error:
        _log.warning("PostgreSQL: %s", str(error).strip().partition("\n")[0])
        raise DatabaseAway(_message_of(error.pgcode or "08")) from error


def _message_of(code: str) -> str:
    return _MESSAGES.get(code) or _MESSAGES.get(code[:2]) or f"PostgreSQL failed (SQLSTATE {code})"


def _bytes(value: str | bytes | None, _cursor: object) -> bytes | None:
    return None if value is None else bytes.fromhex(str(value)[2:])


_BYTES = extensions.new_type((_BYTEA,), "BYTES", _bytes)


_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]\w*)")


@lru_cache(maxsize=512)
def _pyformat(statement: str) -> str:
    """Return the statement with its parameters written as `%(name)s`."""
    if not _PARAMETER.search(statement):
        return statement
    return _PARAMETER.sub(r"%(\1)s", statement.replace("%", "%%"))


def _values_without_nul(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with NUL replaced, which PostgreSQL's text cannot store."""
    return {name: _without_nul(value) for name, value in values.items()}


def _without_nul(value: Any) -> Any:
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value
