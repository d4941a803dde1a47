"""Diagram of the tables (Mermaid): `python -m sql.diagram postgresql://…` prints it."""

import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby

from sql.connections import Connection
from sql.postgres import PostgresConnection

_COLUMNS = """
select cl.relname as "table", at.attname as "column", format_type(at.atttypid, at.atttypmod) as type,
    exists (select from pg_constraint where conrelid = cl.oid and contype = 'p' and at.attnum = any(conkey)) as pk,
    exists (select from pg_constraint where conrelid = cl.oid and contype = 'u' and at.attnum = any(conkey)) as uk,
    exists (select from pg_constraint where conrelid = cl.oid and contype = 'f' and at.attnum = any(conkey)) as fk,
    coalesce(col_description(cl.oid, at.attnum), '') as comment
from pg_class cl join pg_attribute at on at.attrelid = cl.oid and at.attnum > 0 and not at.attisdropped
where cl.relkind = 'r' and cl.relnamespace = cast(current_schema() as regnamespace)
order by cl.relname, at.attnum"""

_REFERENCES = """
select cast(conrelid as regclass) as source, cast(confrelid as regclass) as target, at.attname as "column"
from pg_constraint join pg_attribute at on at.attrelid = conrelid and at.attnum = conkey[1]
where contype = 'f' and connamespace = cast(current_schema() as regnamespace)
order by 1, 3"""


def diagram(connection: Connection) -> str:
    """Return the diagram of the tables in the connection's schema: columns, keys, comments, references."""
    return "\n".join(["erDiagram", *_tables(connection), *_references(connection)])


def _tables(connection: Connection) -> Iterator[str]:
    for table, columns in groupby(connection.execute(_COLUMNS), key=lambda row: row["table"]):
        yield f"    {table} {{"
        for row in columns:
            keys = ", ".join(kind.upper() for kind in ("pk", "uk", "fk") if row[kind])
            comment = f'"{row["comment"]}"' if row["comment"] else ""
            yield " ".join(filter(None, [f"        {row['type'].replace(' ', '_')} {row['column']}", keys, comment]))
        yield "    }"


def _references(connection: Connection) -> Iterator[str]:
    for row in connection.execute(_REFERENCES):
        yield f"    {row['source']} }}o--|| {row['target']} : {row['column']}"


if __name__ == "__main__":
    with closing(PostgresConnection(sys.argv[1])) as live:
        sys.stdout.write(f"{diagram(live)}\n")
