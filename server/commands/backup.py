"""`landcast backup` and `landcast restore`: everything that counts in one file, and back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from server.commands.shown import CONFIG, progress, settings


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@CONFIG
@click.option("--without-results", is_flag=True, help="Leave out the files of the results, by far the most of it.")
@click.option("--with-products", is_flag=True, help="Take in what `landcast product add` made in the state folder.")
def backup(file: Path, configuration: Path, *, without_results: bool, with_products: bool) -> None:
    """Write everything that counts to the new FILE, a tar, while server and worker run.

    That is: the orders as they are at one moment, in SQLite or PostgreSQL, the results that they name, the keys that
    sign links and callbacks, the configuration. Not in it: the sources of the products (unless --with-products), the
    sample, the environment variables. There are keys in it: only its owner may read it.
    """
    from server.backup.contents import Parts
    from server.backup.members import StatePaths
    from server.backup.take import take_backup
    from server.database import postgres_of
    from server.state import refuse_root

    chosen = settings()
    paths = StatePaths(chosen.state.dir, configuration)
    parts = Parts(results=not without_results, products=with_products)
    with _in_plain_words(), _ended_in_order(), progress("writing the backup") as report:
        refuse_root(paths.state)
        taken = take_backup(paths, file, parts, report, postgres_of(chosen))
    if taken.gone:
        click.echo(f"warning: {taken.gone} files of results were not there any more", err=True)
    click.echo(f"{file}: {taken.files} files, {taken.size} bytes")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@CONFIG
@click.option("--force", is_flag=True, help="Where there is a state already: move it aside.")
def restore(file: Path, configuration: Path, *, force: bool) -> None:
    """Bring back the state that `landcast backup` wrote to FILE; server and worker must not run.

    Everything is checked before anything is replaced. If it is interrupted, the same command completes it.
    The configuration is put where --config says, unless there is one. With LANDCAST_DATABASE_URL, which must then be
    that of the tables' owner, the orders go to PostgreSQL, wherever they were.
    """
    from server.backup.members import StatePaths
    from server.backup.restore import restore as restore_backup
    from server.state import refuse_root

    chosen = settings()
    paths = StatePaths(chosen.state.dir, configuration)
    url = chosen.database.url.get_secret_value() if chosen.database.url else None
    with _in_plain_words(), progress("reading the backup") as report:
        refuse_root(paths.state)
        restored = restore_backup(file, paths, report, force=force, url=url)
    if restored.aside:
        click.echo(f"the old state is in {restored.aside}", err=True)
    if restored.configuration:
        click.echo(
            f"{configuration} is another one and stays; that of the backup is {restored.configuration}", err=True
        )
    if restored.missing:
        click.echo(f"{restored.missing} orders have no result any more: order again what is needed", err=True)
    click.echo(f"{paths.state}: as it was at {restored.taken:%Y-%m-%d %H:%M:%S}Z")


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let a SIGTERM, as systemd sends it, remove what is half written."""
    import signal

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _in_plain_words() -> Iterator[None]:
    """Tell in one line what a backup or a restore was refused for."""
    from orchestration.errors import OrchestrationError
    from server.backup.contents import NotRestorable
    from server.backup.restore import StateInTheWay
    from server.state import RestoreUnfinished, StateBusy
    from sql.connections import DatabaseAway, NewerSchema
    from sql.move import NotEmpty

    ours = (OrchestrationError, NotRestorable, StateInTheWay, RestoreUnfinished, StateBusy)
    try:
        yield
    except (*ours, DatabaseAway, NewerSchema, NotEmpty) as error:
        raise click.ClickException(str(error)) from error
