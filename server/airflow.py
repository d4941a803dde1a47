"""What the settings say of Airflow, for the worker, the server and `check`."""

from collections.abc import Iterator

from orchestration.notifications.signature import key_of
from orchestration.registry import Registry
from orchestration.runners.airflow import AirflowAccess, OnAirflow, Timing
from server.settings import Settings

_NEEDED = ("username", "password", "key")


def on_airflow(settings: Settings) -> OnAirflow | None:
    """Return what is run on Airflow, None where nothing is. The settings must be ones that are not refused."""
    given = settings.airflow
    if given.url is None or given.username is None or given.password is None:
        return None
    access = AirflowAccess(given.url, given.username, given.password.get_secret_value(), given.timeout)
    return OnAirflow(access, given.runs, Timing(poll=given.poll, patience=given.patience))


def news_key(settings: Settings) -> bytes | None:
    """Return what Airflow's news are signed with, None where there is no Airflow."""
    given = settings.airflow
    return key_of(given.key.get_secret_value()) if given.url and given.key else None


def refusals_of_airflow(settings: Settings) -> Iterator[str]:
    """Yield why a server must not start with these settings of Airflow."""
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
    """Return what keeps orders from being run on Airflow now; a server starts nevertheless, and they wait.

    Of the `processes` it is also said which services are not set up.
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
