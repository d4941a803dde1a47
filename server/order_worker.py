"""The worker of the orders, as the settings say; what they do not ask for is not imported."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auth.policy_problems import InvalidPolicy
from orchestration.notifications.broker import Broker, JobMessage, JobMessages
from orchestration.registry import Registry
from orchestration.service import Capacity, Configured, Retention, run_work
from products.catalogue import read_configuration
from server.airflow import on_airflow
from server.commands.common import refuse
from server.database import postgres_of
from server.notifications import make_notifier
from server.processes import read_registry
from server.settings import Settings
from server.supervise import Liveness
from sql.connections import Database

if TYPE_CHECKING:
    from orchestration.trace import Record
    from server.metrics.counters import SharedCounters


def run_orders(
    settings: Settings,
    configuration: Path,
    liveness: Liveness | None,
    *,
    registry: Registry | None = None,
    renewed: Callable[[], Configured | None] = lambda: None,
    counters: "SharedCounters | None" = None,
) -> None:
    """Run the orders until a signal ends it. Exits if the broker's policy is invalid."""

    def shown(registry: Registry) -> Registry:
        if counters is not None and settings.airflow.url is not None:
            counters.write_processes(registry.on_airflow, registry.dags)
        return registry

    def renewed_and_shown() -> Configured | None:
        if (configured := renewed()) is not None:
            shown(configured.processes)
        return configured

    database = postgres_of(settings)
    with _owners_confirmed(settings, database or settings.state.dir / "orders.sqlite"), _traces(settings) as record:
        run_work(
            state_dir=settings.state.dir,
            config=configuration,
            processes=shown(registry or read_registry(configuration, settings.jobs)),
            capacity=Capacity(settings.jobs.parallel, on_airflow(settings)),
            retention=Retention(settings.results.retention, settings.jobs.retention, settings.results.cap),
            allow_private_fetch=settings.jobs.fetch_private,
            notifier=make_notifier(settings, _message(settings, read_configuration(configuration))),
            database=database,
            beat=liveness.beat if liveness else lambda: None,
            renewed=renewed_and_shown,
            record=record,
        )


@contextmanager
def _traces(settings: Settings) -> "Iterator[Record | None]":
    """Yield what sends spans to the collector; without one import nothing for it."""
    if settings.traces.url is None:
        yield None
        return
    from server.traces import exporting

    with exporting(settings) as exporter:
        yield exporter.record


def _message(settings: Settings, configuration: dict[str, Any]) -> JobMessage | JobMessages | None:
    """Return what publishes messages to the broker; without one nothing is imported for it. Exit on a wrong policy."""
    if (broker := Broker.of(configuration)) is None:
        return None
    from server.broker import make_message

    try:
        return make_message(settings, configuration, broker)
    except InvalidPolicy as error:
        refuse([f"LANDCAST_AUTH_POLICY: {problem}" for problem in error.problems])


def _owners_confirmed(settings: Settings, database: Database) -> AbstractContextManager[None]:
    """Confirm the owners of API keys with Keycloak if configured; otherwise import nothing for it."""
    if settings.auth.owners_secret is None:
        return nullcontext()
    from server.access import owners_confirmed

    return owners_confirmed(settings, database)
