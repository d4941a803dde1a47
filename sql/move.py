"""Move a SQLite database into PostgreSQL, and save PostgreSQL's data into a SQLite database."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from itertools import batched
from pathlib import Path

from sql.connect import connect, keep_private
from sql.connect import migrate as bring_up
from sql.connections import Connection
from sql.pool import PostgresPool

TABLES = ("jobs", "outbox", "history", "units", "api_keys", "sessions", "pending_logins", "logout_tokens")
"""Ordered so that each table follows those that it references."""
_AT_ONCE = 500


class NotEmpty(Exception):
    """The target already has orders, keys or sessions."""


def move(path: Path, url: str, *, aside: Path | None = None) -> Mapping[str, int]:
    """Copy all rows in one transaction; return the number of rows for each table. The file's schema is upgraded.

    Numbers and times are kept, so lists keep their order. Existing rows raise NotEmpty; with `aside` they are first
    saved to that file, unless it exists from an earlier attempt, and then deleted. Raises sqlite3.Error, NewerSchema,
    DatabaseAway.
    """
    with closing(connect(path)) as source, closing(PostgresPool(url, size=2)) as pool:
        bring_up(source)
        with pool.writing() as target:
            target.execute(f"lock table {', '.join(TABLES)} in share row exclusive mode; set constraints all immediate")
            if (filled := filled_table(target)) and aside is None:
                raise NotEmpty(f"the table {filled} already has rows; the target database must be empty")
            if filled and aside is not None:
                if not aside.exists():
                    save(target, aside)
                target.execute(f"truncate {', '.join(TABLES)}")
            source.execute("begin immediate")
            counts = {table: _copy(source, target, table) for table in TABLES}
            for table in ("jobs", "outbox", "history", "pending_logins"):
                target.execute(_GO_ON, {"table": table})
    return counts


def save(source: Connection, path: Path) -> None:
    """Write all rows that the connection to PostgreSQL sees into a new SQLite database, in one transaction.

    Its triggers fire on updates only, so no notification is sent again. Raises sqlite3.Error, OSError.
    """
    path.unlink(missing_ok=True)
    keep_private(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as target:
        bring_up(target)
        target.execute("begin")
        for table in TABLES:
            names = [row[1] for row in target.execute(f"pragma table_info({table})")]
            columns, values = ", ".join(names), ", ".join("?" for _ in names)
            source.execute(f"declare saved no scroll cursor for select {columns} from {table}")  # noqa: S608  names of ours
            while rows := source.execute(f"fetch {_AT_ONCE} from saved").fetchall():
                target.executemany(f"insert into {table} ({columns}) values ({values})", map(tuple, rows))  # noqa: S608  likewise
            source.execute("close saved")
        target.execute("commit")


_GO_ON = """select setval(pg_get_serial_sequence(:table, 'number'), (
    select coalesce(max(number), 0) + 1 from (
        select 'jobs' as name, number from jobs
        union all select 'outbox', number from outbox
        union all select 'history', number from history
        union all select 'pending_logins', number from pending_logins) as numbers
    where name = :table), false)"""


def filled_table(target: Connection) -> str | None:
    """Return a table that has rows, or None."""
    found = (table for table in TABLES if target.execute(f"select 1 from {table} limit 1").fetchone())  # noqa: S608  a name of ours
    return next(found, None)


def _copy(source: sqlite3.Connection, target: Connection, table: str) -> int:
    """Copy a table without its triggers, which would send notifications again."""
    names = [row["name"] for row in source.execute(f"pragma table_info({table})")]
    columns, values = ", ".join(names), ", ".join(f":{name}" for name in names)
    target.execute(f"alter table {table} disable trigger user")
    count = 0
    for rows in batched(source.execute(f"select {columns} from {table}"), _AT_ONCE):  # noqa: S608  names of ours
        target.executemany(f"insert into {table} ({columns}) values ({values})", map(dict, rows))  # noqa: S608  likewise
        count += len(rows)
    target.execute(f"alter table {table} enable trigger user")
    return count
