"""The database of keys and sessions, which is the database of the orders."""

import sql.connect


class AccessUnavailable(Exception):
    """The keys or sessions cannot be read or written; requests that use them fail meanwhile."""


class AccessStore(sql.connect.Store):
    """A store in `database`; a SQLite file is created if it does not exist. Raises AccessUnavailable."""

    failure = AccessUnavailable
    contents = "the database of keys and sessions"
