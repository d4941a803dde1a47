"""Migrate the schema in PostgreSQL: numbered files, run in one transaction by one program at a time."""

from importlib.resources import files

from sql.connections import Connection, NewerSchema
from sql.postgres import PostgresConnection, failing

SCHEMA_VERSION = 10
"""The schema version of the numbered files; one of them writes it."""

_LOCK = 7_236_501_991
"""The key of the advisory lock: an arbitrary number, the same in all processes."""
_GRANTS = "9"
"""First character of the files with grants; they always run, because roles may have been created since."""


def migrate(url: str) -> int:
    """Upgrade the schema to SCHEMA_VERSION in one transaction, under a lock; return the version before.

    Raises NewerSchema, DatabaseAway.
    """
    with failing():
        connection = PostgresConnection(url)
        try:
            connection.execute("set lock_timeout = '60s'; begin")
            connection.execute("select pg_advisory_xact_lock(:lock)", {"lock": _LOCK})
            version = version_of(connection)
            if version > SCHEMA_VERSION:
                raise NewerSchema(f"the schema has version {version}, this program knows {SCHEMA_VERSION}")
            if version < SCHEMA_VERSION:
                connection.execute(_scripts(""))
            elif owns(connection):
                connection.execute(_scripts(_GRANTS))
            connection.execute("commit")
        finally:
            connection.close()
    return version


def version_of(connection: Connection) -> int:
    """Return the schema version, 0 if there is no schema."""
    (there,) = connection.execute("select to_regclass('schema_version') is not null").fetchone()
    return int(connection.execute("select version from schema_version").fetchone()[0]) if there else 0


def owns(connection: Connection) -> bool:
    """Return whether the connected role has the rights of the tables' owner."""
    owned = "select pg_has_role(relowner, 'usage') from pg_class where oid = to_regclass('jobs')"
    return bool(connection.execute(owned).fetchone()[0])


def _scripts(prefix: str) -> str:
    found = files("sql").joinpath("postgresql").iterdir()
    scripts = [each for each in found if each.name.endswith(".sql") and each.name.startswith(prefix)]
    return "\n".join(script.read_text("utf-8") for script in sorted(scripts, key=lambda script: script.name))
