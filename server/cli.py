"""The command line `landcast`. Heavy modules are imported by the command that needs them."""

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from server.commands.backup import backup, restore
from server.commands.common import CONFIG, progress
from server.commands.keys import keys
from server.commands.migrate import migrate
from server.commands.orders import orders
from server.commands.product import product

if TYPE_CHECKING:
    from server.settings import Settings
    from server.supervise import Liveness
    from sql.connections import Place

_log = logging.getLogger("landcast")


def _settings_help() -> str:
    from server.environment import variables

    return "\b\nSettings (environment variables):\n" + "\n".join(
        f"  {name}\n      {meaning}" for name, meaning in variables().items()
    )


class _WithSettings(click.Command):
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.epilog = _settings_help()
        super().format_epilog(ctx, formatter)


def _settings() -> "Settings":
    from server.environment import WrongSettings, read_settings
    from server.logs import start_logging

    try:
        settings = read_settings()
    except WrongSettings as error:
        _refuse(error.problems)
    start_logging(level=settings.log.level, form=settings.log.format)
    return settings


def _refuse(problems: Sequence[str]) -> NoReturn:
    for problem in problems:
        click.echo(problem, err=True)
    sys.exit(1)


class _ErrorReportingGroup(click.Group):
    """Commands whose expected errors (files, configuration) are printed as one line, with exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        from products.catalogue import InvalidConfiguration
        from products.errors import ProductError

        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (InvalidConfiguration, ProductError, OSError) as error:
            _refuse([str(error)])


@click.group(cls=_ErrorReportingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="landcast")
def main() -> None:
    """Serve land-cover products over OGC API standards: browse, order and download them."""


@main.command(cls=_WithSettings)
@CONFIG
def serve(configuration: Path) -> None:
    """Serve, and run the orders: supervises the server processes and the worker."""
    from server.check import of_policy, refusals
    from server.supervise import Child, listen, supervise

    settings = _settings()
    document, warnings = _checked(configuration, refusals(settings))
    if problems := of_policy(settings, document):
        _refuse(problems)
    try:
        socket = listen(settings.server.bind)
    except OSError as error:
        _refuse([f"LANDCAST_SERVER_BIND: {settings.server.bind}: {error.strerror}"])

    _warn(settings)
    for warning in warnings:
        _log.warning("%s: %s", configuration, warning)

    def serve_web(liveness: "Liveness") -> None:
        from server.web import serve_web

        serve_web(settings, configuration, socket=socket.fileno(), liveness=liveness)

    def announce() -> None:
        _log.info("serving %s on %s, until Ctrl-C or SIGTERM", settings.server.public_url, settings.server.bind)

    with _using(settings):
        children = [Child("server", serve_web), Child("worker", partial(_work, settings, configuration))]
        asked = supervise(children, announce=announce)
    if not asked:
        sys.exit(1)


def _warn(settings: "Settings") -> None:
    """Log what the operator should know about the settings."""
    from server.database import describe_connections

    if settings.database.url:
        _log.info(describe_connections(settings))
    if settings.auth.open:
        _log.warning("open server: no access control, everybody may do everything (LANDCAST_AUTH_OPEN)")
    elif settings.auth.owners_secret is None:
        _log.warning(
            "API keys are suspended %g hours after their owner signed in: without LANDCAST_AUTH_OWNERS_SECRET their "
            "owners are not confirmed with Keycloak",
            settings.auth.owners_trust / 3600,
        )


@main.command()
@CONFIG
def work(configuration: Path) -> None:
    """Run the orders; `serve` starts this too, so run it alone only for a worker without a server."""
    from server.check import of_orders

    settings = _settings()
    _checked(configuration, [*of_orders(settings)])
    with _using(settings):
        _work(settings, configuration, None)


def _checked(configuration: Path, problems: list[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the configuration and its entries without effect; exit on `problems` or an invalid configuration."""
    from products.catalogue import InvalidConfiguration, read_configuration
    from server.configuration import examine

    try:
        document = read_configuration(configuration)
        found = examine(document)
    except InvalidConfiguration as error:
        _refuse([*problems, *error.problems])
    if problems or found.flaws:
        _refuse([*problems, *found.flaws])
    return document, found.ignored


@contextmanager
def _using(settings: "Settings") -> Iterator[None]:
    """Block restores while the processes and their forks run."""
    from server.state import RestoreUnfinished, StateBusy, in_use

    try:
        with in_use(settings.state.dir):
            yield
    except (StateBusy, RestoreUnfinished) as error:
        _refuse([f"LANDCAST_STATE_DIR: {error}"])


def _work(settings: "Settings", configuration: Path, liveness: "Liveness | None") -> None:
    from orchestration.service import Capacity, Retention, run_work
    from server.airflow import on_airflow
    from server.database import postgres_of
    from server.notifications import make_notifier
    from server.processes import read_registry

    database = postgres_of(settings)
    with _owners_confirmed(settings, database or settings.state.dir / "orders.sqlite"):
        run_work(
            state_dir=settings.state.dir,
            config=configuration,
            processes=read_registry(configuration, settings.jobs),
            capacity=Capacity(settings.jobs.parallel, on_airflow(settings)),
            retention=Retention(settings.results.retention, settings.jobs.retention, settings.results.cap),
            allow_private_fetch=settings.jobs.fetch_private,
            notifier=make_notifier(settings),
            database=database,
            beat=liveness.beat if liveness else lambda: None,
        )


def _owners_confirmed(settings: "Settings", place: "Place") -> AbstractContextManager[None]:
    """Confirm the owners of API keys with Keycloak if configured; otherwise import nothing for it."""
    if settings.auth.owners_secret is None:
        return nullcontext()
    from server.access import owners_confirmed

    return owners_confirmed(settings, place)


@main.command()
@CONFIG
def check(configuration: Path) -> None:
    """Check the settings, collections, files and processes; print every problem and exit 1 if there is one."""
    from server.check import find_ignored, find_problems

    for ignored in find_ignored(configuration):
        click.echo(f"warning: {ignored}", err=True)
    if problems := find_problems(configuration):
        _refuse(problems)
    click.echo("all is well")


@main.command()
@click.option(
    "--source",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default="sample",
    show_default=True,
    help="Folder of the raster and the parks.",
)
def sample(source: Path) -> None:
    """Create the sample's vector products in the state folder, if they do not exist."""
    from products.vector.sample import make_sample

    target = _settings().state.dir / "sample"
    with progress("making the sample") as report:
        made = make_sample(source, target, report=report)
    for path in made:
        click.echo(path)


main.add_command(product)


@main.command()
@CONFIG
def openapi(configuration: Path) -> None:
    """Print the OpenAPI document."""
    from server.app import create_app
    from server.check import of_policy

    settings = _settings()
    document, _ = _checked(configuration, [])
    if problems := of_policy(settings, document):
        _refuse(problems)
    app = create_app(document, settings)
    click.echo(json.dumps(app.state.definition.whole, indent=2, ensure_ascii=False))


main.add_command(orders)
main.add_command(keys)
main.add_command(migrate)
main.add_command(backup)
main.add_command(restore)


if __name__ == "__main__":
    main()
