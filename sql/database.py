"""The base class of the stores, which translates database errors."""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sql.connect import Pool
from sql.connections import Connection, DatabaseAway, NewerSchema, Place


class DatabaseUnavailable(Exception):
    """The database cannot be opened, stays locked, is full, or has a newer schema."""


class Database:
    """The database at `place`; a SQLite file is created if it does not exist, readable by its owner only.

    Raises `failure` when the database is unavailable: on construction, or with `lazy` on use. A store derives from this
    class and sets `failure` to its own exception.
    """

    failure: type[Exception] = DatabaseUnavailable
    """The exception to raise; its message is for the log."""
    contents = "the database"
    """What the message says is unavailable."""

    def __init__(self, place: Place, *, busy_seconds: float = 5, lazy: bool = False) -> None:
        self._pool = Pool(place, busy_seconds=busy_seconds) if isinstance(place, Path) else place
        if not lazy:
            self._prepare()

    def _prepare(self) -> None:
        with self._unavailable():
            self._pool.prepare()

    def close(self) -> None:
        """Close the connections."""
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
        """Translate database errors into `failure`."""
        return failing_as(self.failure, self.contents)


@contextmanager
def failing_as(failure: type[Exception], contents: str) -> Iterator[None]:
    """Translate database errors into `failure`, with a message for the log."""
    try:
        yield
    except (sqlite3.Error, OSError, NewerSchema, DatabaseAway) as error:
        raise failure(f"{contents}: {error}") from error
