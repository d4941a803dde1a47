"""What the commands share: the option of the configuration, the state folder, and how far a piece of work is."""

import sys
from collections.abc import Callable, Iterator
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
