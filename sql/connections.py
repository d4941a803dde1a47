"""The interface of both databases: connections in transactions, and their errors."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

Dialect = Literal["sqlite", "postgresql"]


class NewerSchema(Exception):
    """The database was written by a newer version of the program."""


class DatabaseAway(Exception):
    """PostgreSQL refused or closed a connection; the message contains no host, user or password."""


@dataclass(frozen=True, slots=True)
class DialectText:
    """A statement that differs between the databases; parameters are written `:name`."""

    sqlite: str
    postgresql: str

    def of(self, dialect: Dialect) -> str:
        """Return the statement for the dialect."""
        return self.sqlite if dialect == "sqlite" else self.postgresql


class Cursor(Protocol):
    """The result of a statement; a row is read by column name or index."""

    @property
    def rowcount(self) -> int:
        """Number of changed rows."""

    def fetchone(self) -> Any:
        """Return the next row, or None after the last."""

    def fetchall(self) -> list[Any]:
        """Return all rows."""

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """A connection inside a transaction."""

    def execute(self, statement: str, values: Mapping[str, Any] = ..., /) -> Cursor:
        """Run a statement whose parameters are written `:name`."""

    def executemany(self, statement: str, values: Iterable[Mapping[str, Any]], /) -> object:
        """Run a statement once for each set of values."""


class Watch(Protocol):
    """Detects commits."""

    def changed(self) -> bool:
        """Return whether anybody else has committed since the last call; True at first, and where it is not known."""

    def close(self) -> None:
        """Release its connection."""


class Connections(Protocol):
    """Connections to one database for many threads; opened on demand, so this may be made before a fork.

    Failures of the database are raised as sqlite3.Error, OSError, NewerSchema or DatabaseAway.
    """

    @property
    def dialect(self) -> Dialect:
        """The kind of database."""

    @property
    def used(self) -> int:
        """Number of connections in use."""

    def prepare(self) -> None:
        """Ensure that the schema has this program's version; cheap after the first call."""

    def writing(self, owner: str | None = None) -> AbstractContextManager[Connection]:
        """Yield a connection in a transaction that commits at the end, or rolls back on an exception.

        With an `owner`, PostgreSQL restricts it to that owner's orders, keys and sessions.
        """

    def reading(self, owner: str | None = None) -> AbstractContextManager[Connection]:
        """Yield a connection that sees one snapshot of the database; `owner` as in `writing`."""

    def one_at_a_time(self, connection: Connection, name: str) -> None:
        """Take the lock of this name until the end of the transaction, waiting for its other holder."""

    def watch(self) -> Watch:
        """Return a new watch."""

    def close(self) -> None:
        """Close the idle connections; the next use opens new ones."""


Database = Path | Connections
"""A SQLite file, or the shared connections to PostgreSQL."""


def among(name: str, values: Iterable[Any]) -> tuple[str, dict[str, Any]]:
    """Return parameters for `in (…)` and their values; an empty list matches nothing."""
    parameters = {f"{name}_{number}": value for number, value in enumerate(values)}
    return f"({', '.join(f':{parameter}' for parameter in parameters) or 'null'})", parameters
