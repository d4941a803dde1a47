"""`landcast backup` and `landcast restore`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from server.commands.common import CONFIG, progress, settings


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@CONFIG
@click.option("--without-results", is_flag=True, help="Leave out the result files, which are most of a backup.")
@click.option(
    "--with-products",
    is_flag=True,
    help="Include the products that `landcast product add` created in the state folder.",
)
def backup(file: Path, configuration: Path, *, without_results: bool, with_products: bool) -> None:
    """Write a backup to the new FILE, a tar, while server and worker run.

    It contains a snapshot of the orders in SQLite or PostgreSQL, their result files, the keys that sign links and
    callbacks, and the configuration. It does not contain the sources of the products (unless --with-products), the
    sample or the environment variables. Because it contains keys, only its owner may read it.
    """
    from server.backup.contents import Parts
    from server.backup.members import StatePaths
    from server.backup.take import take_backup
    from server.database import postgres_of
    from server.state import refuse_root

    chosen = settings()
    paths = StatePaths(chosen.state.dir, configuration)
    parts = Parts(results=not without_results, products=with_products)
    with _reported_errors(), _ended_in_order(), progress("writing the backup") as report:
        refuse_root(paths.state)
        taken = take_backup(paths, file, parts, report, postgres_of(chosen))
    if taken.gone:
        click.echo(f"warning: {taken.gone} result files no longer exist and are not in the backup", err=True)
    click.echo(f"{file}: {taken.files} files, {taken.size} bytes")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@CONFIG
@click.option("--force", is_flag=True, help="Move an existing state aside.")
def restore(file: Path, configuration: Path, *, force: bool) -> None:
    """Restore the backup in FILE; server and worker must not run.

    Everything is checked before anything is replaced. An interrupted restore is completed by the same command.
    The configuration is written to --config unless that file exists. With LANDCAST_DATABASE_URL, which must be that of
    the tables' owner, the orders go to PostgreSQL, wherever they were before.
    """
    from server.backup.members import StatePaths
    from server.backup.restore import restore as restore_backup
    from server.state import refuse_root

    chosen = settings()
    paths = StatePaths(chosen.state.dir, configuration)
    url = chosen.database.url.get_secret_value() if chosen.database.url else None
    with _reported_errors(), progress("reading the backup") as report:
        refuse_root(paths.state)
        restored = restore_backup(file, paths, report, force=force, url=url)
    if restored.aside:
        click.echo(f"the old state is in {restored.aside}", err=True)
    if restored.configuration:
        click.echo(
            f"{configuration} differs and is kept; the backup's configuration is {restored.configuration}", err=True
        )
    if restored.missing:
        click.echo(f"{restored.missing} orders have no result files: order them again if needed", err=True)
    click.echo(f"{paths.state}: restored to {restored.taken:%Y-%m-%d %H:%M:%S}Z")


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Exit by an exception on SIGTERM, as systemd sends it, so that incomplete files are removed."""
    import signal

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _reported_errors() -> Iterator[None]:
    """Print the expected errors of a backup or restore as one line."""
    from orchestration.errors import OrchestrationError
    from server.backup.contents import NotRestorable
    from server.backup.restore import StateExists
    from server.state import RestoreUnfinished, StateBusy
    from sql.connections import DatabaseAway, NewerSchema
    from sql.move import NotEmpty

    ours = (OrchestrationError, NotRestorable, StateExists, RestoreUnfinished, StateBusy)
    try:
        yield
    except (*ours, DatabaseAway, NewerSchema, NotEmpty) as error:
        raise click.ClickException(str(error)) from error
