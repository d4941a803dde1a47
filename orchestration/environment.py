"""The variables that DAGs, their steps and children read; those of the server are in `server/settings.py`.

It is imported in Airflow's environment too, so it needs only the standard library.
"""

import os
from datetime import timedelta
from pathlib import Path

DATABASE_URL = "LANDCAST_DATABASE_URL"
_OWN = frozenset(
    f"LANDCAST_AIRFLOW_{name}"
    for name in ("PYTHON", "CONFIG", "MAIL_TO", "RETRY_DELAY", "WORKERS", "DATA_SOURCE", "MOST", "QUEUES")
)
_OF_A_DAG = ("LANDCAST_AIRFLOW_RUNS_", "LANDCAST_AIRFLOW_TASKS_")
_OF_A_QUEUE = "LANDCAST_AIRFLOW_QUEUE_"
_FEWEST_WORKERS = 2
_YES = frozenset({"1", "true", "yes", "on"})


def is_airflows(name: str) -> bool:
    """Return whether a variable is read only in Airflow's environment, and is no setting of the server."""
    return name.startswith((*_OF_A_DAG, _OF_A_QUEUE)) or name in _OWN


def database_url() -> str | None:
    """Return the address of PostgreSQL, or None if the orders are in the state folder."""
    return os.environ.get(DATABASE_URL) or None


def tasks_database() -> str:
    """Return the address of PostgreSQL that Airflow's tasks report to."""
    return os.environ[DATABASE_URL]


def results() -> Path:
    """Return the folder of results in the state folder."""
    return Path(os.environ["LANDCAST_STATE_DIR"]).absolute() / "results"


def configuration() -> Path:
    """Return the server's configuration file."""
    return Path(os.environ["LANDCAST_AIRFLOW_CONFIG"])


def step_python() -> str:
    """Return the Python that runs steps."""
    return os.environ["LANDCAST_AIRFLOW_PYTHON"]


def fetch_private() -> bool:
    """Return whether addresses of callers may be private: LANDCAST_JOBS_FETCH_PRIVATE."""
    return os.environ.get("LANDCAST_JOBS_FETCH_PRIVATE", "").lower() in _YES


def workers() -> int:
    """Return how many parts are made at the same time: LANDCAST_AIRFLOW_WORKERS, by default the number of cores."""
    return max(_FEWEST_WORKERS, int(os.environ.get("LANDCAST_AIRFLOW_WORKERS") or os.cpu_count() or _FEWEST_WORKERS))


def data_source() -> str | None:
    """Return the source of data for orders that name none: LANDCAST_AIRFLOW_DATA_SOURCE."""
    return os.environ.get("LANDCAST_AIRFLOW_DATA_SOURCE") or None


def mail_to() -> str | None:
    """Return the recipient of mails about final failures: LANDCAST_AIRFLOW_MAIL_TO."""
    return os.environ.get("LANDCAST_AIRFLOW_MAIL_TO") or None


def retry_delay(usual: timedelta) -> timedelta:
    """Return the pause before a retry: LANDCAST_AIRFLOW_RETRY_DELAY seconds if set, else the usual one."""
    seconds = os.environ.get("LANDCAST_AIRFLOW_RETRY_DELAY")
    return timedelta(seconds=float(seconds)) if seconds else usual


def limits(dag: str, *, runs: int, tasks: int) -> tuple[int, int]:
    """Return how many runs and tasks of a DAG may run at once, by default these, but LANDCAST_AIRFLOW_MOST at most.

    LANDCAST_AIRFLOW_RUNS_… and LANDCAST_AIRFLOW_TASKS_… change them, such as …_NATIONAL_PRODUCT.
    """
    name = dag.upper().replace("-", "_")
    most = int(os.environ.get("LANDCAST_AIRFLOW_MOST") or max(runs, tasks))
    said_runs, said_tasks = (os.environ.get(f"{prefix}{name}") for prefix in _OF_A_DAG)
    return int(said_runs or min(runs, most)), int(said_tasks or min(tasks, most))


def queue(name: str) -> str:
    """Return the name of a queue of Airflow: of `prod_products` it is `clc_prod_products_queue`.

    LANDCAST_AIRFLOW_QUEUE_… changes it, such as …_PROD_PRODUCTS.
    """
    return os.environ.get(f"{_OF_A_QUEUE}{name.upper()}") or f"clc_{name}_queue"
