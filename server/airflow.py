"""The Airflow configuration, for the worker, the server and `check`."""

from collections.abc import Iterator

from orchestration.notifications.signature import key_of
from orchestration.registry import Registry
from orchestration.runners.airflow import AirflowAccess, OnAirflow, Timing
from server.settings import Settings

_NEEDED = ("username", "password", "key")


def on_airflow(settings: Settings) -> OnAirflow | None:
    """Return the Airflow configuration, or None. `refusals_of_airflow` must be empty for these settings."""
    given = settings.airflow
    if given.url is None or given.username is None or given.password is None:
        return None
    access = AirflowAccess(given.url, given.username, given.password.get_secret_value(), given.timeout)
    return OnAirflow(access, given.runs, Timing(poll=given.poll, patience=given.patience))


def events_key(settings: Settings) -> bytes | None:
    """Return the key that signs Airflow's events, or None without Airflow."""
    given = settings.airflow
    return key_of(given.key.get_secret_value()) if given.url and given.key else None


def refusals_of_airflow(settings: Settings) -> Iterator[str]:
    """Yield the reasons not to start with these Airflow settings."""
    given = settings.airflow
    if given.url is None:
        return
    if settings.database.url is None:
        yield (
            "LANDCAST_AIRFLOW_URL: needs LANDCAST_DATABASE_URL, as Airflow's tasks report to PostgreSQL; without "
            "Airflow the worker runs the orders itself"
        )
    yield from (
        f"LANDCAST_AIRFLOW_{name.upper()}: missing, while LANDCAST_AIRFLOW_URL is set"
        for name in _NEEDED
        if getattr(given, name) is None
    )


def problems_of_airflow(settings: Settings, processes: Registry) -> list[str]:
    """Return what prevents orders from running on Airflow now; the server starts nevertheless, and orders wait.

    Services of `processes` that are not set up are included.
    """
    airflow = on_airflow(settings)
    if airflow is None:
        return []
    from orchestration.runners.airflow.client import Airflow  # noqa: PLC0415  large, and for Airflow only
    from orchestration.runners.airflow.condition import examine  # noqa: PLC0415  likewise

    client, dags = Airflow(airflow.access), processes.dags
    try:
        condition = examine(client, dags)
        problems = [*condition.problems(dags), *condition.lacks(dags)]
        return [f"LANDCAST_AIRFLOW_URL: {problem}" for problem in problems]
    finally:
        client.close()
