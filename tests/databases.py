"""The databases of tests for both SQLite and PostgreSQL, with direct access to their rows."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from sql.connections import Database
from sql.pool import PostgresPool
from sql.postgres import PostgresConnection

if TYPE_CHECKING:
    from tests.postgres import Postgres

BOTH = ["sqlite", "postgresql"]
"""What `database_of` is parametrised with, indirectly."""

IN_A_PROCESS = """
import sys
from pathlib import Path
from sql.pool import PostgresPool
database = PostgresPool(sys.argv[1], size=2) if "://" in sys.argv[1] else Path(sys.argv[1])
"""
"""The beginning of a program that is given `DatabaseOf.text`."""


class DatabaseOf(Protocol):
    """A database of a test."""

    text: str

    def __call__(self) -> Database:
        """Return the database as for another process, with its own connections."""

    def run(self, statement: str, **values: Any) -> list[Any]:
        """Run a statement directly; return its rows."""


class SqliteDatabase:
    def __init__(self, path: Path) -> None:
        self.text = str(path)
        self._path = path

    def __call__(self) -> Database:
        return self._path

    def run(self, statement: str, **values: Any) -> list[Any]:
        with closing(sqlite3.connect(self._path)) as connection, connection:
            return [tuple(row) for row in connection.execute(statement, values).fetchall()]


class PostgresDatabase:
    def __init__(self, url: str) -> None:
        self.text = url
        self.pools: list[PostgresPool] = []

    def __call__(self) -> Database:
        self.pools.append(PostgresPool(self.text))
        return self.pools[-1]

    def run(self, statement: str, **values: Any) -> list[Any]:
        with closing(PostgresConnection(self.text)) as connection:
            cursor = connection.execute(statement, values)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []  # type: ignore[attr-defined]


@contextmanager
def given_database(request: pytest.FixtureRequest, path: Path) -> Iterator[DatabaseOf]:
    """Yield the database that the fixture's parameter names: the file, or an empty one of PostgreSQL."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield SqliteDatabase(path)
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    database = PostgresDatabase(postgres.migrated())
    try:
        yield database
    finally:
        for pool in database.pools:
            pool.close()
        postgres.give_back(database.text)
