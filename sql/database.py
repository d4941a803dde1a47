"""A database that is used as one that may be away."""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sql.connect import Pool
from sql.connections import Connection, DatabaseAway, NewerSchema, Place


class DatabaseUnavailable(Exception):
    """The database cannot be opened, is locked for too long, is full, or was written by a newer version."""


class Database:
    """The database at `place`; one of SQLite is made when it is not there, and its owner alone may read it.

    Raises `failure` when the database is unavailable: when it is made, or with `lazy` when it is used. Those that keep
    something in it derive from this class and say by `failure` what that is for the caller.
    """

    failure: type[Exception] = DatabaseUnavailable
    """Raised with one text, which is for the log."""
    contents = "the database"
    """What the text says is unavailable."""

    def __init__(self, place: Place, *, busy_seconds: float = 5, lazy: bool = False) -> None:
        self._pool = Pool(place, busy_seconds=busy_seconds) if isinstance(place, Path) else place
        if not lazy:
            self._prepare()

    def _prepare(self) -> None:
        with self._unavailable():
            self._pool.prepare()

    def close(self) -> None:
        """Give the connections back."""
        self._pool.close()

    @contextmanager
    def _writing(self, owner: str | None = None) -> Iterator[Connection]:
        self._prepare()
        with self._unavailable(), self._pool.writing(owner) as connection:
            yield connection

    @contextmanager
    def _reading(self, owner: str | None = None) -> Iterator[Connection]:
        self._prepare()
        with self._unavailable(), self._pool.reading(owner) as connection:
            yield connection

    def _unavailable(self) -> AbstractContextManager[None]:
        """Turn what the database fails with into `failure`."""
        return failing_as(self.failure, self.contents)


@contextmanager
def failing_as(failure: type[Exception], contents: str) -> Iterator[None]:
    """Turn what a database fails with into `failure`, with one text, which is for the log."""
    try:
        yield
    except (sqlite3.Error, OSError, NewerSchema, DatabaseAway) as error:
        raise failure(f"{contents}: {error}") from error
