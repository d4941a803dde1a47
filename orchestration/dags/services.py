"""What the DAGs of the production services share: their twins, their services, and how a run ends for its caller."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Connection, get_current_context, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout

from orchestration.dags.common import mail_operators, order_of_run, retry_delay
from orchestration.errors import ManyMetrics, OrchestrationError, WorkFailed
from orchestration.services import TESTING
from orchestration.services.finish import Run, finish, give_up
from orchestration.services.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import Context

_REASON = "reason"
_PORT = 5000
UNTOLD = "it ended without a word; the operator finds it in Airflow's log under the job's id"
"""Why a task failed that did not come to say why: it was killed."""
_FINISHING = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Twin:
    """A DAG or its twin: where its services are, and how often and how long it asks them."""

    process: str
    queue: str
    retries: int
    pause: timedelta
    runs: int
    tasks: int

    @property
    def testing(self) -> bool:
        """Whether it asks the services of the test environment."""
        return self.process.endswith(TESTING)

    @property
    def environment(self) -> str:
        """The services' environment, as it stands in the names of queues and connections."""
        return "test" if self.testing else "prod"

    def dag(self, what: str) -> dict[str, Any]:
        """Return what the DAG is made with. Its description is `what`.

        `max_active_tasks` bounds the tasks of one run (since Airflow 3), so each task bounds itself over all runs.
        """
        return {
            "dag_id": self.process,
            "description": what,
            "catchup": False,
            "max_active_runs": self.runs,
            "max_active_tasks": self.tasks,
            "tags": ["production service", self.environment],
            "default_args": {
                "retries": self.retries,
                "retry_delay": retry_delay(self.pause),
                "queue": f"clc_{self.environment}_{self.queue}_queue",
                "max_active_tis_per_dag": self.tasks,
                "execution_timeout": _FINISHING,
                "on_failure_callback": mail_operators,
            },
        }

    def service(self, name: str, limit: timedelta) -> Service:
        """Return a service as Airflow's connection `clc_{environment}_{name}` has it; `limit` is the task's."""
        connection = Connection.get(f"clc_{self.environment}_{name.replace('-', '_')}")
        scheme = "https" if "https" in {connection.conn_type, connection.schema} else "http"
        host = connection.host or ""
        base = host if "://" in host else f"{scheme}://{host}"
        login = f"{connection.login}:{connection.password or ''}" if connection.login else ""
        return Service(name, f"{base}:{connection.port or _PORT}", limit.total_seconds(), login)


def run_of_task() -> Run:
    """Return the run that the task is of. Raises AirflowFailException where it is for no order."""
    try:
        return Run.of(order_of_run(), get_current_context()["run_id"], _results())
    except WorkFailed as error:
        raise AirflowFailException(str(error)) from error


def _results() -> Path:
    return Path(os.environ["LANDCAST_STATE_DIR"]) / "results"


def try_number() -> int:
    """Return the number of the task's try, from 1."""
    return int(get_current_context()["ti"].try_number)


@contextmanager
def told_to_the_caller(*final: type[OrchestrationError], index: int | None = None) -> Iterator[None]:
    """Keep why the task fails for `end`; of errors that are `final` it is not tried again."""
    ends: tuple[type[OrchestrationError], ...] = (ManyMetrics, *final)
    try:
        yield
    except ends as error:
        _keep(str(error), index)
        raise AirflowFailException(str(error)) from error
    except OrchestrationError as error:
        _keep(str(error), index)
        raise
    except AirflowTaskTimeout:
        _keep("the service did not answer within the time that it has", index)
        raise
    except AirflowException:
        _keep("the service is not set up; the operator finds why in Airflow's log", index)
        raise


def _keep(reason: str, index: int | None) -> None:
    get_current_context()["ti"].xcom_push(_REASON, {"index": index, "reason": reason})


def pulled(tasks: list[str], key: str = "return_value") -> list[Any]:
    """Return what these tasks, mapped or not, left under the key."""
    return [value for value in get_current_context()["ti"].xcom_pull(tasks, key=key) if value is not None]


def reasons(tasks: list[str]) -> list[dict[str, Any]]:
    """Return why those of these tasks that failed did, `{"index", "reason"}`."""
    return pulled(tasks, _REASON)


def answer_of_run(answering: list[str], tasks: list[str]) -> Any:
    """Return what one of the `answering` tasks was answered.

    Raises WorkFailed with why there is none: with what the last of the `tasks`, in the order in which they ran, said.
    """
    for answer in pulled(answering):
        return answer
    told = reasons(tasks)
    raise WorkFailed(told[-1]["reason"] if told else UNTOLD)


class OrderFailed(AirflowFailException):
    """The order failed, and its caller is told why; the operators were told of the task that failed."""


def end(result: Callable[[], Any]) -> None:
    """Write down what the run came to, as its last task, which runs whatever became of the others.

    `result` returns the value of the order's result, or raises WorkFailed with the reason for the caller.
    Raises OrderFailed then, so that the run fails too.
    """
    run, folder = run_of_task(), _results()
    try:
        value = result()
    except WorkFailed as error:
        give_up(run, folder, try_number(), str(error))
        raise OrderFailed(str(error)) from error
    finish(run, folder, try_number(), value)


def mail_unless_told(context: Context) -> None:
    """Mail the operators that the last task itself failed."""
    if not isinstance(context.get("exception"), OrderFailed):
        mail_operators(context)


def last_task(function: Callable[[], None]) -> Callable[[], Any]:
    """Make the last task of a run: it waits for all others, and fails where one of them failed."""
    made: Callable[[], Any] = task(trigger_rule="all_done", on_failure_callback=mail_unless_told)(function)
    return made
