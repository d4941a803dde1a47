"""The database of the jobs."""

from contextlib import AbstractContextManager

import sql.database
from orchestration.errors import StoreUnavailable

_ORDERS = "the database of the orders"


class OrdersDatabase(sql.database.Database):
    """The database at `place`; a SQLite file is created if it does not exist.

    Raises StoreUnavailable if it cannot be opened, is locked for longer than `busy_seconds`, is full, or has a newer
    schema: on construction, or with `lazy` on use.
    """

    failure = StoreUnavailable
    contents = _ORDERS


def unavailable() -> AbstractContextManager[None]:
    """Translate the errors of a database that other code has opened into StoreUnavailable."""
    return sql.database.failing_as(StoreUnavailable, _ORDERS)
