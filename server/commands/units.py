"""`landcast units`: the 10 km cells and other units of a production."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from server.commands.common import CONFIG, configured_database, printable, table

if TYPE_CHECKING:
    from orchestration.units import StoredUnits, Unit

_COLUMNS = ("id", "longitude", "latitude", "state")
_SERVICE = click.option("--service", required=True, help="The process whose orders name the units.")
_TASK = click.option("--task", default="", help="The task of the production, where it has several.")


@click.group()
def units() -> None:
    """Load and count the units of a production: 10 km cells and others."""


@units.command("load")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_SERVICE
@_TASK
@CONFIG
def load_units(file: Path, *, service: str, task: str, configuration: Path) -> None:
    """Load the units of FILE: CSV with the columns id, longitude, latitude, state; the last three may be missing.

    A 10 km cell of the EEA's grid needs its id only, such as 10kmE502N304. A known unit keeps its state if the file has
    none. Rows that are no units are listed, all others are loaded, and then the exit status is 2.
    """
    _check_names(configuration, service, task)
    found, problems = _read(file)
    with _store() as store:
        new = store.put(service, task, found)
    for problem in problems:
        click.echo(f"{file}: {printable(problem)}", err=True)
    click.echo(f"{len(found)} units: {new} new, {len(found) - new} known; {len(problems)} rows refused")
    if problems:
        raise SystemExit(2)


@units.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@_SERVICE
@_TASK
def ready(ids: Sequence[str], *, service: str, task: str) -> None:
    """Mark successful units as ready for delivery; others are listed, and then the exit status is 2."""
    with _store() as store:
        others = store.make_ready(service, task, ids)
    for id_, state in others.items():
        problem = "is unknown" if state is None else f"is {state}, not success"
        click.echo(f"{printable(id_)} {problem}", err=True)
    if others:
        raise SystemExit(2)


@units.command()
def count() -> None:
    """Print the number of units by service, task and state."""
    with _store() as store:
        rows = store.counts()
    for line in table([("SERVICE", "TASK", "STATE", "UNITS"), *((*each[:3], str(each[3])) for each in rows)]):
        click.echo(printable(line))


@contextmanager
def _store() -> Iterator["StoredUnits"]:
    from orchestration.errors import StoreUnavailable
    from orchestration.units import StoredUnits

    try:
        with closing(StoredUnits(configured_database("there are no orders yet", make=True))) as store:
            yield store
    except StoreUnavailable as error:
        raise click.ClickException(str(error)) from error


def _check_names(configuration: Path, service: str, task: str) -> None:
    from orchestration.units import LONGEST, is_name
    from products.catalogue import read_configuration

    resources = read_configuration(configuration).get("resources") or {}
    processes = [name for name, each in resources.items() if each.get("type") == "process"]
    if service not in processes:
        raise click.BadParameter(f"{service!r}; allowed: {', '.join(processes)}", param_hint="--service")
    if task and not is_name(task):
        raise click.BadParameter(f"{task!r}; allowed: 1 to {LONGEST} printable characters", param_hint="--task")


def _read(file: Path) -> tuple[list["Unit"], list[str]]:
    """Return the units of a file, and what is wrong with each other row, by its line."""
    from orchestration.units import UnitInvalid, read_unit

    found: dict[str, Unit] = {}
    problems = []
    for line, row in _rows(file):
        try:
            unit = read_unit(row)
        except UnitInvalid as error:
            problems.append(f"line {line}: {error}")
            continue
        if unit.id in found:
            problems.append(f"line {line}: id {unit.id!r} is in an earlier line, too")
        else:
            found[unit.id] = unit
    return list(found.values()), problems


def _rows(file: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield each row with the number of its last line. Raises click.ClickException for a file that is no such table."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            header = stream.readline()
            names = [name.strip().lower() for name in next(csv.reader([header], delimiter=_separator(header)), [])]
            if "id" not in names or not set(names) <= set(_COLUMNS) or len(set(names)) < len(names):
                raise click.ClickException(f"{file}: the columns {names}; allowed: {', '.join(_COLUMNS)}; id is needed")
            reader = csv.reader(stream, delimiter=_separator(header), strict=True)
            for cells in reader:
                if cells:
                    yield reader.line_num + 1, _named(names, cells)
    except (UnicodeDecodeError, csv.Error) as error:
        raise click.ClickException(f"{file}: is no CSV in UTF-8: {error}") from error


def _separator(header: str) -> str:
    return ";" if ";" in header else ","


def _named(names: Sequence[str], cells: Sequence[str]) -> Mapping[str, str]:
    """Return the cells by column; a row that has too many is no unit, as its id is not printable."""
    row = {name: cell.strip() for name, cell in zip(names, cells, strict=False)}
    return row if len(cells) <= len(names) else {"id": "\n".join(cells)}
