"""Where the orders are, as a child process is told: never on its command line, which everybody may read."""

import os
from collections.abc import Mapping
from pathlib import Path

from sql.connections import Place

_VARIABLE = "LANDCAST_DATABASE_URL"
_CONNECTIONS = 2


def environment_of(url: str | None) -> Mapping[str, str]:
    """Return what `place_of_environment` needs in a child; without a `url` the orders are in the file."""
    return {_VARIABLE: url or ""}


def place_of_environment(state_dir: Path) -> Place:
    """Return the place that our parent uses: PostgreSQL as the environment says, or the file in the state folder."""
    return place_of(os.environ.get(_VARIABLE), state_dir, connections=_CONNECTIONS)


def place_of(url: str | None, state_dir: Path, *, connections: int) -> Place:
    """Return the database at a URL of PostgreSQL, without one the file in the state folder; nothing is opened."""
    if url:
        from sql.pool import PostgresPool  # noqa: PLC0415  every child on SQLite would load it for nothing

        return PostgresPool(url, size=connections)
    return state_dir / "orders.sqlite"
