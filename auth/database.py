"""The database of keys and sessions: the one that the orders are in."""

import sql.database


class AccessUnavailable(Exception):
    """The keys or sessions cannot be read or written: nobody is let in by them until that is over."""


class AccessDatabase(sql.database.Database):
    """The database at `place`; one of SQLite is made when it is not there. Raises AccessUnavailable."""

    failure = AccessUnavailable
    contents = "the database of keys and sessions"
