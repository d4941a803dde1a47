"""The database of the orders."""

from contextlib import AbstractContextManager

import sql.database
from orchestration.errors import StoreUnavailable

_ORDERS = "the database of the orders"


class OrdersDatabase(sql.database.Database):
    """The database at `place`; one of SQLite is made when it is not there.

    Raises StoreUnavailable when it cannot be opened, is locked for longer than `busy_seconds`, is full, or was written
    by a newer version: when it is made, or with `lazy` when it is used.
    """

    failure = StoreUnavailable
    contents = _ORDERS


def unavailable() -> AbstractContextManager[None]:
    """Turn what the database fails with, which something else has opened, into StoreUnavailable."""
    return sql.database.failing_as(StoreUnavailable, _ORDERS)
