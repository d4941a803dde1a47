"""The database of the orders."""

import sql.database
from orchestration.errors import StoreUnavailable


class Database(sql.database.Database):
    """The database at `path`, made when it is not there.

    Raises StoreUnavailable when it cannot be opened, is locked for longer than `busy_seconds`, is full, or was written
    by a newer version: when it is made, or with `lazy` when it is used.
    """

    failure = StoreUnavailable
    contents = "the database of the orders"
