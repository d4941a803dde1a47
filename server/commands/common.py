"""Shared by the commands: the option `--config`, settings, progress, tables."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from server.settings import Settings
    from sql.connections import Database

CONFIG = click.option(
    "--config",
    "configuration",
    type=click.Path(dir_okay=False, path_type=Path),
    default="pygeoapi-config.yml",
    show_default=True,
    help="The configuration of collections and processes.",
)
"""The option `--config`."""


def settings() -> "Settings":
    """Return the settings. Raises click.ClickException for invalid ones."""
    from server.environment import WrongSettings, read_settings

    try:
        return read_settings()
    except WrongSettings as error:
        raise click.ClickException("\n".join(error.problems)) from error


def refuse(problems: Sequence[str]) -> NoReturn:
    """Print the problems and exit."""
    for problem in problems:
        click.echo(problem, err=True)
    sys.exit(1)


def state_folder() -> Path:
    """Return the state folder of the settings. Raises click.ClickException for invalid settings."""
    return settings().state.dir


def configured_database(nothing: str, *, make: bool = False) -> "Database":
    """Return the database of the settings; `nothing` explains a missing file, which is an error unless `make`."""
    from server.database import database_of

    database = database_of(settings())
    if isinstance(database, Path) and not (make or database.exists()):
        raise click.ClickException(f"{database} does not exist: {nothing}, or LANDCAST_STATE_DIR is wrong")
    return database


@contextmanager
def progress(label: str) -> Iterator[Callable[[float, str], None]]:
    """Yield a function that draws a progress bar on standard error, or without a terminal a line every 10 %."""
    if not sys.stderr.isatty():
        yield _lines(label)
        return
    with click.progressbar(length=1000, label=label, file=sys.stderr) as bar:
        done = 0

        def report(fraction: float, message: str) -> None:
            nonlocal done
            bar.label = message
            now = round(fraction * 1000)
            bar.update(now - done)
            done = now

        yield report


def _lines(label: str) -> Callable[[float, str], None]:
    reported = -1

    def report(fraction: float, message: str) -> None:
        nonlocal reported
        tenths = min(int(fraction * 10), 10)
        if tenths > reported:
            reported = tenths
            click.echo(f"{label}: {10 * tenths} %, {message}", err=True)

    return report


def table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Return the lines of a table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def printable(text: str) -> str:
    """Return the text on one line, without control characters."""
    return "".join(character if character.isprintable() else " " for character in text)


def print_version(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:  # noqa: FBT001  click's
    """Print the version and the commit, and end."""
    if not asked or context.resilient_parsing:
        return
    from server.build import commit, version

    click.echo(f"landcast, version {version()}, commit {commit()}")
    context.exit()
