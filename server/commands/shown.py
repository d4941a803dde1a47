"""What the commands share: the option of the configuration, the state folder, progress, tables."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

CONFIG = click.option(
    "--config",
    "configuration",
    type=click.Path(dir_okay=False, path_type=Path),
    default="pygeoapi-config.yml",
    show_default=True,
    help="The configuration of collections and processes.",
)
"""The option `--config`."""


def state_folder() -> Path:
    """Return the state folder of the settings; wrong settings are told."""
    from server.environment import WrongSettings, read_settings

    try:
        return read_settings().state.dir
    except WrongSettings as error:
        raise click.ClickException("\n".join(error.problems)) from error


@contextmanager
def progress(label: str) -> Iterator[Callable[[float, str], None]]:
    """Yield a report that draws a bar on the error stream."""
    with click.progressbar(length=1000, label=label, file=sys.stderr) as bar:
        done = 0

        def report(fraction: float, message: str) -> None:
            nonlocal done
            if sys.stderr.isatty():
                bar.label = message
            now = round(fraction * 1000)
            bar.update(now - done)
            done = now

        yield report


def table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Return the lines of a table, its columns as wide as they must be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def printable(text: str) -> str:
    """Return the text on one line that cannot steer a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)
