"""`landcast migrate`: upgrade the schema in PostgreSQL, and move data from SQLite into it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from server.commands.common import settings


@click.command()
@click.option("--from", "source", metavar="sqlite:PATH", help="Then move the data of this SQLite file into it, once.")
def migrate(source: str | None) -> None:
    """Upgrade the schema in PostgreSQL (LANDCAST_DATABASE_URL) to this program's version.

    It may run before every start, and several may run at once. A newer schema is refused and not changed.
    With --from it moves the orders, keys and sessions of a state folder into an empty database, in one transaction;
    the server and worker of that folder must not run, and the result files stay in place.
    """
    from server.state import exclusive
    from sql.migrate import SCHEMA_VERSION
    from sql.migrate import migrate as bring_up
    from sql.move import move

    url = settings().database.url
    if url is None:
        raise click.ClickException("LANDCAST_DATABASE_URL: missing; a SQLite database is upgraded when it is opened")
    path = None if source is None else _sqlite(source)
    with _reported_errors():
        before = bring_up(url.get_secret_value())
        click.echo(f"schema: version {SCHEMA_VERSION}" + ("" if before else ", new"))
        if path is not None:
            with exclusive(path.absolute().parent):
                counts = move(path, url.get_secret_value())
            for table, count in counts.items():
                click.echo(f"{table}: {count}")


def _sqlite(source: str) -> Path:
    kind, _, path = source.partition(":")
    if kind != "sqlite" or not path:
        raise click.BadParameter("must be sqlite:PATH, such as sqlite:var/orders.sqlite", param_hint="--from")
    if not Path(path).is_file():
        raise click.BadParameter(f"{path} does not exist", param_hint="--from")
    return Path(path)


@contextmanager
def _reported_errors() -> Iterator[None]:
    import sqlite3

    from server.state import StateBusy
    from sql.connections import DatabaseAway, NewerSchema
    from sql.move import NotEmpty

    try:
        yield
    except (DatabaseAway, NewerSchema, NotEmpty, StateBusy, sqlite3.Error) as error:
        raise click.ClickException(str(error)) from error
