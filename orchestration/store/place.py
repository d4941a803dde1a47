"""Pass the database to a child process by its environment; every user can read a command line."""

import os
from collections.abc import Mapping
from pathlib import Path

from sql.connections import Place

_VARIABLE = "LANDCAST_DATABASE_URL"
_CONNECTIONS = 2


def environment_of(url: str | None) -> Mapping[str, str]:
    """Return the variables for `place_of_environment` in a child; without a `url` the jobs are in the state folder."""
    return {_VARIABLE: url or ""}


def place_of_environment(state_dir: Path) -> Place:
    """Return the parent's database: PostgreSQL from the environment, or the file in the state folder."""
    return place_of(os.environ.get(_VARIABLE), state_dir, connections=_CONNECTIONS)


def place_of(url: str | None, state_dir: Path, *, connections: int) -> Place:
    """Return PostgreSQL at a URL, or without one the file in the state folder; opens no connection."""
    if url:
        from sql.pool import PostgresPool  # noqa: PLC0415  every child on SQLite would load it for nothing

        return PostgresPool(url, size=connections)
    return state_dir / "orders.sqlite"
