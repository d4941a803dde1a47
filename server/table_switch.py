"""A loaded table takes the place of the one of its name, with its grants and tile tables."""

import psycopg2
from psycopg2 import extensions

from plugins.postgis_tiles import TileTables
from products.errors import BrokenSource
from products.vector.layer import quote
from server.tile_tables import drop_tile_tables
from sql.tables import TILES

_TRIES, _LOCK_SECONDS = 30, 2


def switch_over(connection: extensions.connection, draft: str, table: str) -> None:
    """Give the draft the table's name and grants in one transaction, after the readers of the old table have finished.

    Readers that arrive meanwhile wait at most `_LOCK_SECONDS`; then it is tried again.
    """
    for left in reversed(range(_TRIES)):
        try:
            with connection.cursor() as cursor:
                cursor.execute("begin")
                cursor.execute(f"set local lock_timeout = '{_LOCK_SECONDS}s'")
                _replace(cursor, draft, table)
                cursor.execute("commit")
                return
        except psycopg2.Error as error:
            connection.cursor().execute("rollback")
            if isinstance(error, psycopg2.errors.DependentObjectsStillExist):
                raise BrokenSource(f"{table} cannot be replaced: {error.diag.message_detail}") from error
            if not (isinstance(error, psycopg2.errors.LockNotAvailable) and left):
                raise


def drop_draft(cursor: extensions.cursor, draft: str) -> None:
    """Drop a table that did not take the place of another, with its tile tables."""
    cursor.execute(_PLACE, (draft,))
    for schema, oid in cursor.fetchall():
        drop_tile_tables(cursor, schema, oid)
    cursor.execute(f"drop table if exists {quote(draft)}")


def _replace(cursor: extensions.cursor, draft: str, table: str) -> None:
    cursor.execute(_BEFORE, (table,))
    former = cursor.fetchall()
    cursor.execute(_PLACE, (draft,))
    [(schema, oid)] = cursor.fetchall()
    cursor.execute("select to_regclass(quote_ident(%s)) is not null", (f"{TILES}{oid}",))
    tables = TileTables.of(schema, oid)
    [(tiled,)] = cursor.fetchall()
    for before, is_here in former:
        _grant_again(cursor, quote(draft), before)
        for each in (tables.tiles, tables.pieces) if tiled else ():
            _grant_again(cursor, each, before)
        if is_here:
            cursor.execute(f"drop table {quote(table)}")
            drop_tile_tables(cursor, schema, before)
    cursor.execute(f"alter table {quote(draft)} rename to {quote(table)}")


_BEFORE = """
select oid::bigint, relnamespace = to_regnamespace(quote_ident(current_schema())) from pg_class
where oid = to_regclass(quote_ident(%s))
"""
"""The table of this name; one in a later schema of the search path remains, and the new one precedes it."""
_PLACE = """
select n.nspname::text, c.oid::bigint from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.oid = to_regclass(quote_ident(%s))
"""
_GRANTS = """
select a.grantee::bigint::regrole::text, a.privilege_type from pg_class c, aclexplode(c.relacl) a
where c.oid = %s and a.grantee <> c.relowner
"""


def _grant_again(cursor: extensions.cursor, table: str, before: int) -> None:
    cursor.execute(_GRANTS, (before,))
    for grantee, privilege in cursor.fetchall():
        cursor.execute(f"grant {privilege} on {table} to {'public' if grantee == '-' else grantee}")
