"""What both databases give: connections in transactions, and what is told where there are none."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

Dialect = Literal["sqlite", "postgresql"]


class NewerSchema(Exception):
    """The database was written by a newer version of the program."""


class DatabaseAway(Exception):
    """PostgreSQL gives no connection, or ended one; the message names no host, user or password."""


@dataclass(frozen=True, slots=True)
class DialectText:
    """A statement that the databases word differently; all others are the same, with parameters written `:name`."""

    sqlite: str
    postgresql: str

    def of(self, dialect: Dialect) -> str:
        """Return it as the database understands it."""
        return self.sqlite if dialect == "sqlite" else self.postgresql


class Cursor(Protocol):
    """The outcome of a statement; a row is read by column name or by place."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""

    def fetchone(self) -> Any:
        """Return the next row, None after the last."""

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
    """Notices what others write."""

    def changed(self) -> bool:
        """Say whether anything was written since the last call, by whichever process; True at first."""

    def close(self) -> None:
        """Give back what it holds."""


class Connections(Protocol):
    """Connections to one database for many threads; opened when needed, so this may be made before a fork.

    What the database fails with is raised as sqlite3.Error, OSError, NewerSchema or DatabaseAway.
    """

    @property
    def dialect(self) -> Dialect:
        """Which database it is."""

    def prepare(self) -> None:
        """Return once the schema is the one this program knows; cheap after the first time."""

    def writing(self, owner: str | None = None) -> AbstractContextManager[Connection]:
        """Give a connection in a transaction, committed at the end, or nothing of it is.

        With an `owner` PostgreSQL shows it, and lets it write, only that owner's orders, keys and sessions.
        """

    def reading(self, owner: str | None = None) -> AbstractContextManager[Connection]:
        """Give a connection that sees one state of the database; `owner` as in `writing`."""

    def one_at_a_time(self, connection: Connection, name: str) -> None:
        """Wait until no other transaction is past this line with the same name; lasts to the transaction's end."""

    def watch(self) -> Watch:
        """Return a new watch."""

    def close(self) -> None:
        """Close the idle connections; the next use opens others."""


Place = Path | Connections
"""Where a database is: the file of SQLite's, or PostgreSQL's connections, which are shared by all that use them."""


def among(name: str, values: Iterable[Any]) -> tuple[str, dict[str, Any]]:
    """Return a list of parameters for `in (…)`, and their values; of no values nothing is in it."""
    parameters = {f"{name}_{number}": value for number, value in enumerate(values)}
    return f"({', '.join(f':{parameter}' for parameter in parameters) or 'null'})", parameters
