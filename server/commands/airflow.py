"""`landcast airflow`: frequent tasks of an operator of Airflow."""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import click

from server.commands.common import CONFIG, settings

if TYPE_CHECKING:
    from orchestration.runners.airflow.client import Airflow
    from server.settings import AirflowSettings, Settings

_NAME = re.compile(r"[\w.-]{1,200}", re.ASCII)


@click.group()
def airflow() -> None:
    """Check Airflow, pause and unpause its DAGs, and set up its connections to services (LANDCAST_AIRFLOW_…)."""


@airflow.command()
@CONFIG
def check(configuration: Path) -> None:
    """Print what prevents orders from running on Airflow now; then exit with status 1."""
    from server.airflow import problems_of_airflow
    from server.processes import read_registry

    given = _settings()
    if problems := problems_of_airflow(given, read_registry(configuration, given.jobs)):
        for problem in problems:
            click.echo(problem, err=True)
        sys.exit(1)
    click.echo("all is well")


@airflow.command()
@click.argument("dags", nargs=-1)
@CONFIG
def unpause(dags: tuple[str, ...], configuration: Path) -> None:
    """Unpause DAGs, by default all that the configured processes need."""
    _set_paused(dags, configuration, paused=False)


@airflow.command()
@click.argument("dags", nargs=-1)
@CONFIG
def pause(dags: tuple[str, ...], configuration: Path) -> None:
    """Pause DAGs, by default all that the configured processes need; their orders wait."""
    _set_paused(dags, configuration, paused=True)


@airflow.command()
def connections() -> None:
    """Create or replace the connections in LANDCAST_AIRFLOW_CONNECTIONS, as the user LANDCAST_AIRFLOW_OPERATOR."""
    given = _settings().airflow
    missing = [name for name in ("connections", "operator", "operator_password") if getattr(given, name) is None]
    if given.connections is None or given.operator is None or given.operator_password is None:
        raise click.ClickException("\n".join(f"LANDCAST_AIRFLOW_{name.upper()}: missing" for name in missing))
    wanted = connections_of(given.connections.get_secret_value())
    with _asking(given, given.operator, given.operator_password.get_secret_value()) as client:
        for name, members in wanted.items():
            click.echo(f"{name}: {'made' if client.connect(name, members) else 'replaced'}")


def connections_of(text: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the members of Airflow's connections by name: `name=http://user:password@host:port`, one per line.

    Raises click.ClickException, which repeats no address, as it may have a password.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for number, line in enumerate(text.split(), 1):
        name, _, address = line.partition("=")
        try:
            parts = urlsplit(address)
            well = _NAME.fullmatch(name) and parts.hostname and (parts.port is None or parts.port > 0)
        except ValueError:
            well = False
        if not well or name in found:
            what = f"{name} is there twice" if well else "must be name=http://user:password@host:port"
            raise click.ClickException(f"LANDCAST_AIRFLOW_CONNECTIONS: entry {number}: {what}")
        found[name] = _members(address)
    return found


def _members(address: str) -> Mapping[str, Any]:
    parts = urlsplit(address)
    web = parts.scheme in {"http", "https"}
    members = {
        "conn_type": "http" if web else parts.scheme,
        "schema": parts.scheme if web else parts.path.strip("/") or None,
        "host": parts.hostname,
        "port": parts.port,
        "login": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "extra": json.dumps(dict(parse_qsl(parts.query))) if parts.query else None,
    }
    return {name: value for name, value in members.items() if value is not None}


def _set_paused(dags: tuple[str, ...], configuration: Path, *, paused: bool) -> None:
    from server.processes import read_registry

    whole = _settings()
    given = whole.airflow
    needed = sorted(dags or read_registry(configuration, whole.jobs).dags)
    username, password = given.username, given.password
    with _asking(given, username or "", password.get_secret_value() if password else "") as client:
        absent = set(needed) - client.dags(needed).keys()
        for dag in needed:
            if dag not in absent:
                client.pause(dag, paused=paused)
                click.echo(f"{dag}: {'paused' if paused else 'runs'}")
    if absent:
        raise click.ClickException("\n".join(f"Airflow has no DAG {dag}" for dag in sorted(absent)))


def _settings() -> "Settings":
    given = settings()
    if given.airflow.url is None:
        raise click.ClickException("LANDCAST_AIRFLOW_URL: missing")
    return given


@contextmanager
def _asking(given: "AirflowSettings", username: str, password: str) -> Iterator["Airflow"]:
    """Yield a client of Airflow with this login. Raises click.ClickException if Airflow refuses or does not answer."""
    from orchestration.errors import WorkflowRefused, WorkflowUnavailable
    from orchestration.runners.airflow import AirflowAccess
    from orchestration.runners.airflow.client import Airflow

    client = Airflow(AirflowAccess(given.url or "", username, password, given.timeout))
    try:
        yield client
    except (WorkflowRefused, WorkflowUnavailable) as error:
        raise click.ClickException(str(error)) from error
    finally:
        client.close()
