"""A SQLite database that is made, brought up and used as one that may be away."""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from sql.connect import NewerSchema, Pool, connect, keep_private, migrate


class DatabaseUnavailable(Exception):
    """The database cannot be opened, is locked for too long, is full, or was written by a newer version."""


class Database:
    """The database at `path`, made when it is not there; its owner alone may read it.

    Raises `failure` when the database is unavailable: when it is made, or with `lazy` when it is used. Those that keep
    something in it derive from this class and say by `failure` what that is for the caller.
    """

    failure: type[Exception] = DatabaseUnavailable
    """Raised with one text, which is for the log."""
    contents = "the database"
    """What the text says is unavailable."""

    def __init__(self, path: Path, *, busy_seconds: float = 5, lazy: bool = False) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._prepared = False
        self._pool = Pool(path, busy_seconds=busy_seconds)
        if not lazy:
            self._prepare()

    def _prepare(self) -> None:
        """Make the database and its schema, once; several threads may, as a second time changes nothing."""
        if self._prepared:
            return
        with self._unavailable():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            keep_private(self._path)
            with closing(connect(self._path, busy_seconds=self._busy_seconds)) as connection:
                migrate(connection)
        self._prepared = True

    def close(self) -> None:
        """Give the connections back."""
        self._pool.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self._prepare()
        with self._unavailable(), self._pool.writing() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        self._prepare()
        with self._unavailable(), self._pool.reading() as connection:
            yield connection

    def _unavailable(self) -> AbstractContextManager[None]:
        """Turn what the database fails with into `failure`."""
        return failing_as(self.failure, self.contents)


@contextmanager
def failing_as(failure: type[Exception], contents: str) -> Iterator[None]:
    """Turn what a database fails with into `failure`, with one text, which is for the log."""
    try:
        yield
    except (sqlite3.Error, OSError, NewerSchema) as error:
        raise failure(f"{contents}: {error}") from error
