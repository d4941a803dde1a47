"""Where the orders are, as a child process is told: never on its command line, which everybody may read."""

import os
from collections.abc import Mapping
from pathlib import Path

from sql.connections import Place
from sql.pool import PostgresPool

_VARIABLE = "LANDCAST_DATABASE_URL"
_CONNECTIONS = 2


def environment_of(place: Place) -> Mapping[str, str]:
    """Return the environment that `place_of_environment` needs in a child."""
    return {_VARIABLE: place.url if isinstance(place, PostgresPool) else ""}


def place_of_environment(state_dir: Path) -> Place:
    """Return the place that our parent uses: PostgreSQL as the environment says, or the file in the state folder."""
    url = os.environ.get(_VARIABLE)
    return PostgresPool(url, size=_CONNECTIONS) if url else state_dir / "orders.sqlite"
