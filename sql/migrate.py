"""The schema in PostgreSQL: numbered files, run in one transaction by one program at a time."""

from importlib.resources import files

from sql.connections import Connection, NewerSchema
from sql.postgres import PostgresConnection, failing

SCHEMA_VERSION = 4
"""The version that the numbered files lead to, as one of them writes it."""

_LOCK = 7_236_501_991
"""Of `pg_advisory_xact_lock`: any number, the same for all programs of ours."""
_GRANTS = "9"
"""The first sign of the files that say who may do what; they run again, as roles may have been made since."""


def migrate(url: str) -> int:
    """Bring the schema to SCHEMA_VERSION, in one transaction, several at once one after another; return what it was.

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
    """Return the schema's version, 0 where there is none."""
    (there,) = connection.execute("select to_regclass('schema_version') is not null").fetchone()
    return int(connection.execute("select version from schema_version").fetchone()[0]) if there else 0


def owns(connection: Connection) -> bool:
    """Say whether who is connected may do what the tables' owner may."""
    owned = "select pg_has_role(relowner, 'usage') from pg_class where oid = to_regclass('jobs')"
    return bool(connection.execute(owned).fetchone()[0])


def _scripts(prefix: str) -> str:
    found = files("sql").joinpath("postgresql").iterdir()
    scripts = [each for each in found if each.name.endswith(".sql") and each.name.startswith(prefix)]
    return "\n".join(script.read_text("utf-8") for script in sorted(scripts, key=lambda script: script.name))
