"""`landcast migrate`: the schema in PostgreSQL, and what was in SQLite."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from server.commands.shown import settings


@click.command()
@click.option("--from", "source", metavar="sqlite:PATH", help="Then move what is in this file of SQLite into it, once.")
def migrate(source: str | None) -> None:
    """Bring the schema in PostgreSQL (LANDCAST_DATABASE_URL) to what this program knows.

    Several may run at once, and it may be run before every start. A newer schema is refused and left alone.
    With --from it moves orders, keys and sessions of a state folder in one transaction, into a database without any;
    the server and the worker of that folder must not run, and the results stay where they are.
    """
    from server.state import alone
    from sql.migrate import SCHEMA_VERSION
    from sql.migrate import migrate as bring_up
    from sql.move import move

    url = settings().database.url
    if url is None:
        raise click.ClickException("LANDCAST_DATABASE_URL: missing; a database of SQLite brings itself up when used")
    path = None if source is None else _sqlite(source)
    with _in_plain_words():
        before = bring_up(url.get_secret_value())
        click.echo(f"schema: version {SCHEMA_VERSION}" + ("" if before else ", new"))
        if path is not None:
            with alone(path.absolute().parent):
                counts = move(path, url.get_secret_value())
            for table, count in counts.items():
                click.echo(f"{table}: {count}")


def _sqlite(source: str) -> Path:
    kind, _, path = source.partition(":")
    if kind != "sqlite" or not path:
        raise click.BadParameter("written sqlite:PATH, such as sqlite:var/orders.sqlite", param_hint="--from")
    if not Path(path).is_file():
        raise click.BadParameter(f"{path} is not there", param_hint="--from")
    return Path(path)


@contextmanager
def _in_plain_words() -> Iterator[None]:
    import sqlite3

    from server.state import StateBusy
    from sql.connections import DatabaseAway, NewerSchema
    from sql.move import NotEmpty

    try:
        yield
    except (DatabaseAway, NewerSchema, NotEmpty, StateBusy, sqlite3.Error) as error:
        raise click.ClickException(str(error)) from error
