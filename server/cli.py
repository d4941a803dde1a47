"""The command line `landcast`. Heavy modules are imported by the command that needs them."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from server.commands.airflow import airflow
from server.commands.aws import aws_credentials
from server.commands.backup import backup, restore
from server.commands.common import CONFIG, print_version, progress, refuse
from server.commands.keys import keys
from server.commands.load import load
from server.commands.logs import logs
from server.commands.migrate import migrate
from server.commands.orders import orders
from server.commands.product import product
from server.commands.reload import reload
from server.commands.tiles import tiles
from server.commands.units import units

if TYPE_CHECKING:
    from server.metrics.counters import SharedCounters
    from server.reload import HeldConfiguration
    from server.settings import Settings
    from server.supervise import Child, Liveness

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


def _settings(*, patient: bool = False) -> "Settings":
    from server.environment import WrongSettings, read_settings
    from server.logs import start_logging

    try:
        settings = read_settings(patient=patient)
    except WrongSettings as error:
        refuse(error.problems)
    start_logging(level=settings.log.level, form=settings.log.format)
    if patient and settings.log.broker is not None:  # those that serve and work
        from server.logs import JsonFormatter
        from server.shipping import ship

        ship(settings.log.broker.get_secret_value(), service=settings.log.service, formatter=JsonFormatter())
    return settings


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
            refuse([str(error)])


@click.group(cls=_ErrorReportingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=print_version, help="Show the version."
)
def main() -> None:
    """Serve land-cover products over OGC API standards: browse, order and download them."""


@main.command(cls=_WithSettings)
@CONFIG
def serve(configuration: Path) -> None:
    """Serve, and run the orders: supervises the server processes and the worker."""
    from products.catalogue import write_configuration
    from server.api_rules import api_rules_of
    from server.check import of_policy, refusals
    from server.control import Control
    from server.reload import HeldConfiguration, Reload, WorkerLine, hold_at_start
    from server.supervise import Child, listen, supervise

    settings = _settings(patient=True)
    document, warnings = _checked(configuration, refusals(settings))
    if problems := of_policy(settings, document):
        refuse(problems)
    try:
        socket = listen(settings.server.bind)
    except OSError as error:
        refuse([f"LANDCAST_SERVER_BIND: {settings.server.bind}: {error.strerror}"])

    _warn(settings)
    for warning in warnings:
        _log.warning("%s: %s", configuration, warning)

    def make_server(taken: HeldConfiguration) -> Child:
        return Child("server", partial(_serve_web, settings, taken, socket.fileno(), counters))

    def work(liveness: "Liveness") -> None:
        taken, jobs = renewal.taken, settings.jobs
        _work(
            rules.settings(settings),
            taken.configuration,
            liveness,
            registry=taken.registry(jobs),
            renewed=partial(line.renewed, jobs),
            counters=counters,
        )

    def announce() -> None:
        url = rules.settings(settings).server.public_url
        _log.info("serving %s on %s, until Ctrl-C or SIGTERM", url, settings.server.bind)

    rules = api_rules_of(document)
    counters = _counters(settings)
    with _using(settings):
        first = hold_at_start(write_configuration(document), settings.auth.policy)
        line, control = WorkerLine(), Control(settings.state.dir)
        renewal = Reload(configuration, first, settings, make_server=make_server, line=line, control=control)
        renewal.children += [Child("worker", work), *_keeping(rules.settings(settings), counters)]
        asked = supervise(renewal.children, announce=announce, renewal=renewal)
    if not asked:
        sys.exit(1)


def _serve_web(
    settings: "Settings",
    taken: "HeldConfiguration",
    socket: int,
    counters: "SharedCounters | None",
    liveness: "Liveness",
) -> None:
    from server.web import serve_web

    serve_web(taken.settings(settings), taken.configuration, socket=socket, liveness=liveness, counters=counters)


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
    from server.api_rules import api_rules_of
    from server.check import of_orders
    from server.supervise import Child, supervise

    settings = _settings(patient=True)
    document, _ = _checked(configuration, [*of_orders(settings)])
    settings = api_rules_of(document).settings(settings)
    counters = _counters(settings)
    with _using(settings):
        if keeping := _keeping(settings, counters):
            supervise([Child("worker", partial(_work, settings, configuration, counters=counters)), *keeping])
        else:
            _work(settings, configuration, None)


def _counters(settings: "Settings") -> "SharedCounters | None":
    """Return memory for counters, None without metrics: those that reload and retire have slots, too."""
    if settings.metrics.bind is None:
        return None
    from server.metrics.counters import SharedCounters

    return SharedCounters(4 * settings.server.workers + 8)


def _keeping(settings: "Settings", counters: "SharedCounters | None") -> "list[Child]":
    """Return the processes besides server and worker: for the metrics, and for credentials that change."""
    from server.supervise import Child

    metrics = [] if counters is None else [Child("metrics", partial(_serve_metrics, settings, counters))]
    return [*metrics, *_renewing(settings)]


def _serve_metrics(settings: "Settings", counters: "SharedCounters", liveness: "Liveness") -> None:
    from server.metrics.exposition import serve_metrics

    try:
        serve_metrics(settings, counters, liveness.beat)
    except OSError as error:
        _log.error("LANDCAST_METRICS_BIND: %s: %s", settings.metrics.bind, error.strerror)
        sys.exit(1)


def _renewing(settings: "Settings") -> "list[Child]":
    """Return the process that renews the credentials of the database, if they do not stay the same."""
    from server.supervise import Child

    if settings.live is None or settings.live.renewer is None:
        return []
    renewer, shared = settings.live.renewer, settings.live.address
    renewer.handed_over = True
    patience = 30 + 6 * settings.vault.timeout  # a step asks Vault a few times
    return [Child("secrets", lambda liveness: renewer.keep(shared, liveness.beat), patience, last=True)]


def _checked(configuration: Path, problems: list[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the configuration and its entries without effect; exit on `problems` or an invalid configuration."""
    from products.catalogue import InvalidConfiguration, read_configuration
    from server.configuration import examine

    try:
        document = read_configuration(configuration)
        found = examine(document)
    except InvalidConfiguration as error:
        refuse([*problems, *error.problems])
    if problems or found.flaws:
        refuse([*problems, *found.flaws])
    return document, found.ignored


@contextmanager
def _using(settings: "Settings") -> Iterator[None]:
    """Block restores while the processes and their forks run."""
    from server.state import RestoreUnfinished, StateBusy, in_use

    try:
        with in_use(settings.state.dir):
            yield
    except (StateBusy, RestoreUnfinished) as error:
        refuse([f"LANDCAST_STATE_DIR: {error}"])


def _work(settings: "Settings", configuration: Path, liveness: "Liveness | None", **more: Any) -> None:
    """Run the orders in this process, which alone imports what they need."""
    from server.order_worker import run_orders

    run_orders(settings, configuration, liveness, **more)


@main.command()
@CONFIG
@click.option("--production", is_flag=True, help="Name what is not fit for production, too.")
def check(configuration: Path, *, production: bool) -> None:
    """Check the settings, collections, files and processes; print every problem and exit 1 if there is one."""
    from server.check import find_ignored, find_problems

    for ignored in find_ignored(configuration):
        click.echo(f"warning: {ignored}", err=True)
    problems = find_problems(configuration)
    if production and not problems:
        from orchestration.notifications.broker import Broker
        from products.catalogue import read_configuration
        from server.production import find_unfit

        problems = list(find_unfit(_settings(), Broker.of(read_configuration(configuration))))
    if problems:
        refuse(problems)
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
main.add_command(load)


@main.command()
@CONFIG
def openapi(configuration: Path) -> None:
    """Print the OpenAPI document."""
    from server.app import create_app
    from server.check import of_policy

    settings = _settings()
    document, _ = _checked(configuration, [])
    if problems := of_policy(settings, document):
        refuse(problems)
    app = create_app(document, settings)
    click.echo(json.dumps(app.state.definitions.first.whole, indent=2, ensure_ascii=False))


for command in (tiles, reload, orders, units, keys, logs, airflow, aws_credentials, migrate, backup, restore):
    main.add_command(command)


if __name__ == "__main__":
    main()
