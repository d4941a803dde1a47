"""What is in a database of SQLite, moved into PostgreSQL."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from itertools import batched
from pathlib import Path

from sql.connect import connect
from sql.connect import migrate as bring_up
from sql.connections import Connection
from sql.pool import PostgresPool

TABLES = ("jobs", "outbox", "api_keys", "sessions", "pending_logins", "logout_tokens")
"""In an order in which each finds what it refers to."""
_AT_ONCE = 500


class NotEmpty(Exception):
    """There are orders, keys or sessions in the target already."""


def move(path: Path, url: str) -> Mapping[str, int]:
    """Copy all rows in one transaction; return how many of each table. The file is only brought to our schema.

    Numbers and times stay, so that lists keep their order. Raises NotEmpty, sqlite3.Error, NewerSchema, DatabaseAway.
    """
    with closing(connect(path)) as source, closing(PostgresPool(url, size=2)) as pool:
        bring_up(source)
        with pool.writing() as target:
            target.execute(f"lock table {', '.join(TABLES)} in share row exclusive mode; set constraints all immediate")
            _refuse_filled(target)
            source.execute("begin immediate")
            counts = {table: _copy(source, target, table) for table in TABLES}
            for table in ("jobs", "outbox", "pending_logins"):
                target.execute(_GO_ON, {"table": table})
    return counts


_GO_ON = """select setval(pg_get_serial_sequence(:table, 'number'), (
    select coalesce(max(number), 0) + 1 from (
        select 'jobs' as name, number from jobs
        union all select 'outbox', number from outbox
        union all select 'pending_logins', number from pending_logins) as numbers
    where name = :table), false)"""


def _refuse_filled(target: Connection) -> None:
    for table in TABLES:
        if target.execute(f"select 1 from {table} limit 1").fetchone():  # noqa: S608  a name of ours
            raise NotEmpty(f"there is something in {table} already: only an empty database is filled")


def _copy(source: sqlite3.Connection, target: Connection, table: str) -> int:
    """Copy a table past its triggers, which would tell again what was told."""
    names = [row["name"] for row in source.execute(f"pragma table_info({table})")]
    columns, values = ", ".join(names), ", ".join(f":{name}" for name in names)
    target.execute(f"alter table {table} disable trigger user")
    count = 0
    for rows in batched(source.execute(f"select {columns} from {table}"), _AT_ONCE):  # noqa: S608  names of ours
        target.executemany(f"insert into {table} ({columns}) values ({values})", map(dict, rows))  # noqa: S608  likewise
        count += len(rows)
    target.execute(f"alter table {table} enable trigger user")
    return count
