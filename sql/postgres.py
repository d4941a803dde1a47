"""One connection to PostgreSQL, and what it fails with."""

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
"""The setting `landcast.owner` of a connection that sees all rows."""
_BYTEA = 17
_DEFAULTS = {
    "application_name": "landcast",
    "connect_timeout": "3",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
"""What the URL may say otherwise: a server that vanished is noticed within seconds."""
_AT_FIRST = """set landcast.owner = '*'; set lock_timeout = '5s'; set statement_timeout = '60s';
    set idle_in_transaction_session_timeout = '60s'; set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5;
    set tcp_keepalives_count = 3"""
"""Also the server notices a client that vanished, so that what it locked is free again."""
_SAID = {
    "28": "PostgreSQL does not let the server in",
    "3D": "PostgreSQL has no such database",
    "42501": "PostgreSQL does not grant the server what it needs",
    "53100": "PostgreSQL's disk is full",
    "53300": "PostgreSQL has no connection left",
    "55P03": "PostgreSQL: locked for too long",
    "57": "PostgreSQL is stopping or starting",
    "08": "PostgreSQL cannot be reached",
}


class PostgresConnection:
    """A connection that commits each statement by itself, unless a transaction was begun; rows by name or place.

    Raises psycopg2.Error.
    """

    def __init__(self, url: str) -> None:
        self._raw = psycopg2.connect(
            **(_DEFAULTS | extensions.parse_dsn(url)), connection_factory=extras.DictConnection
        )
        self._raw.autocommit = True
        extensions.register_type(_BYTES, self._raw)
        self.execute(_AT_FIRST)

    def execute(self, statement: str, values: Mapping[str, Any] | None = None) -> Cursor:
        """Run a statement, or several without values."""
        cursor: extensions.cursor = self._raw.cursor()
        cursor.execute(worded(statement), storable(values) if values else None)
        return cursor

    def executemany(self, statement: str, values: Iterable[Mapping[str, Any]]) -> None:
        """Run a statement once for each set of values, many of them in one message."""
        extras.execute_batch(self._raw.cursor(), worded(statement), list(map(storable, values)))

    def heard(self, seconds: float) -> list[str]:
        """Return what was said on the channels that it listens on, at once or within so many seconds."""
        select([self._raw], [], [], seconds)
        self._raw.poll()
        said, self._raw.notifies[:] = [str(each.payload) for each in self._raw.notifies], []
        return said

    def close(self) -> None:
        """Close it; a transaction that was begun is undone."""
        self._raw.close()


@contextmanager
def failing() -> Iterator[None]:
    """Turn what PostgreSQL fails with into DatabaseAway; what it said, which may name hosts and users, is logged.

    Its further lines are not: they hold values of the row.
    """
    try:
        yield
    except psycopg2.Error as error:
        _log.warning("PostgreSQL: %s", str(error).strip().partition("\n")[0])
        raise DatabaseAway(_said(error.pgcode or "08")) from error


def _said(code: str) -> str:
    return _SAID.get(code) or _SAID.get(code[:2]) or f"PostgreSQL failed (SQLSTATE {code})"


def _bytes(value: str | bytes | None, _cursor: object) -> bytes | None:
    return None if value is None else bytes.fromhex(str(value)[2:])


_BYTES = extensions.new_type((_BYTEA,), "BYTES", _bytes)


_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]\w*)")


@lru_cache(maxsize=512)
def worded(statement: str) -> str:
    """Return the statement with its parameters written as `%(name)s`, where it has any."""
    if not _PARAMETER.search(statement):
        return statement
    return _PARAMETER.sub(r"%(\1)s", statement.replace("%", "%%"))


def storable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values that PostgreSQL can hold: a text of its has no NUL, which nothing of ours can mean."""
    return {name: _storable(value) for name, value in values.items()}


def _storable(value: Any) -> Any:
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value
