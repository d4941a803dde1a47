"""The database of the jobs, and how a child process gets it: by its environment; every user can read a command line."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import sql.connect
from orchestration.environment import DATABASE_URL, database_url
from orchestration.errors import StoreUnavailable
from sql.address import Url, name_of, named
from sql.connections import Database

_ORDERS = "the database of the orders"
_CONNECTIONS = 2


class OrdersStore(sql.connect.Store):
    """A store in `database`; a SQLite file is created if it does not exist.

    Raises StoreUnavailable if it cannot be opened, is locked for longer than `busy_seconds`, is full, or has a newer
    schema: on construction, or with `lazy` on use.
    """

    failure = StoreUnavailable
    contents = _ORDERS


def unavailable() -> AbstractContextManager[None]:
    """Translate the errors of a database that other code has opened into StoreUnavailable."""
    return sql.connect.failing_as(StoreUnavailable, _ORDERS)


def environment_of(url: Url | None) -> Mapping[str, str]:
    """Return the variables for `database_of_environment` in a child; without a `url` the state folder has the jobs."""
    return {DATABASE_URL: name_of(url) if url else ""}


def database_of_environment(state_dir: Path) -> Database:
    """Return the parent's database: PostgreSQL from the environment, or the file in the state folder."""
    return database_of(named(database_url() or ""), state_dir, connections=_CONNECTIONS)


def database_of(url: Url | None, state_dir: Path, *, connections: int) -> Database:
    """Return PostgreSQL at a URL, or without one the file in the state folder; opens no connection."""
    if url:
        from sql.pool import PostgresPool  # noqa: PLC0415  every child on SQLite would load it for nothing

        return PostgresPool(url, size=connections)
    return state_dir / "orders.sqlite"
