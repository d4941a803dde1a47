"""Shared by the DAGs of the production services: twins, services, the status of tasks, the end of a run."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Connection, get_current_context, get_parsing_context, task
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowTaskTimeout,
)

from orchestration import environment
from orchestration.dags.common import mail_operators, order_of_run
from orchestration.errors import ManyMetrics, OrchestrationError, ServiceNotSetUp, WorkFailed
from orchestration.handover import TaskStatus, read_status, write_status
from orchestration.services import LACKING, LACKS, TESTING
from orchestration.services.finish import ServiceRun, finish, give_up
from orchestration.services.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow.sdk import Context

_REASON = "reason"
_PORT = 5000
_LOOKS = 3
_LONGEST = 500
NO_REASON = "it ended without giving a reason; the operator finds it in Airflow's log under the job's id"
"""The reason of a task that was killed before it could give one."""
_FINISHING = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Twin:
    """A DAG or its twin: its queue, services, retries, and the limits of concurrent runs and tasks."""

    process: str
    queue: str
    services: tuple[str, ...]
    retries: int
    pause: timedelta
    runs: int
    tasks: int

    @property
    def testing(self) -> bool:
        """Whether it calls the services of the test environment."""
        return self.process.endswith(TESTING)

    @property
    def environment(self) -> str:
        """The services' environment, as in the names of queues and connections."""
        return "test" if self.testing else "prod"

    def dag(self, what: str) -> dict[str, Any]:
        """Return the arguments of the DAG, with the description `what`.

        `max_active_tasks` limits the tasks of one run (since Airflow 3); each task has its own limit over all runs.
        """
        return {
            "dag_id": self.process,
            "description": what,
            "catchup": False,
            "max_active_runs": self.runs,
            "max_active_tasks": self.tasks,
            "tags": ["production service", self.environment, *self._lacking()],
            "default_args": {
                "retries": self.retries,
                "retry_delay": environment.retry_delay(self.pause),
                "queue": environment.queue(f"{self.environment}_{self.queue}"),
                "max_active_tis_per_dag": self.tasks,
                "execution_timeout": _FINISHING,
                "on_failure_callback": mail_operators,
            },
        }

    def service(self, name: str, limit: timedelta) -> Service:
        """Return the service of Airflow's connection `clc_{environment}_{name}`; `limit` is that of the task.

        Raises ServiceNotSetUp.
        """
        found = _connection(self._connection_name(name))
        if found is None:
            raise ServiceNotSetUp(f"{name} is not set up: Airflow has no connection {self._connection_name(name)}")
        scheme = "https" if "https" in {found.conn_type, found.schema} else "http"
        host = found.host or ""
        base = host if "://" in host else f"{scheme}://{host}"
        login = f"{found.login}:{found.password or ''}" if found.login else ""
        return Service(name, f"{base}:{found.port or _PORT}", limit.total_seconds(), login)

    def _connection_name(self, name: str) -> str:
        return f"clc_{self.environment}_{name.replace('-', '_')}"

    def _lacking(self) -> list[str]:
        """Return tags that name the missing connections, because the server's user can read DAGs but not connections.

        They are looked up when the DAG files are parsed for the scheduler, once a minute, and not by each task.
        """
        if get_parsing_context().dag_id:
            return []
        names = map(self._connection_name, self.services)
        lacking = [f"{LACKS}{name}" for name in names if _connection(name, looks=1) is None]
        return [LACKING, *lacking] if lacking else []


def _connection(name: str, *, looks: int = _LOOKS) -> Any:
    """Return a connection of Airflow's, None where it has none.

    Airflow also says so while its own API does not answer, so it is asked several times.
    """
    for look in range(looks):
        if look:
            time.sleep(1)
        with suppress(AirflowNotFoundException):
            return Connection.get(name)
    return None


def run_of_task() -> ServiceRun:
    """Return the run of the running task. Raises AirflowFailException if it belongs to no order."""
    try:
        return ServiceRun.of(order_of_run(), get_current_context()["run_id"], environment.results())
    except WorkFailed as error:
        raise AirflowFailException(str(error)) from error


def try_number() -> int:
    """Return the number of the running task's try, from 1."""
    return int(get_current_context()["ti"].try_number)


@contextmanager
def reporting(
    *final: type[OrchestrationError], service: str = "the service", index: int | None = None
) -> Iterator[None]:
    """Write the status of the task's try, and keep the reason of a failure for `end`; do not retry a `final` error."""
    ends: tuple[type[OrchestrationError], ...] = (ManyMetrics, ServiceNotSetUp, *final)
    trying = _Try.now(service, index)
    trying.begin()
    try:
        yield
    except ends as error:
        trying.fail(str(error), last=True)
        raise AirflowFailException(str(error)) from error
    except OrchestrationError as error:
        trying.fail(str(error))
        raise
    except AirflowTaskTimeout:
        trying.fail("the service did not answer within its time limit")
        raise
    except AirflowException:
        trying.fail("the service cannot be called; the operator finds why in Airflow's log")
        raise
    trying.end()


@dataclass(frozen=True, slots=True)
class _Try:
    """A try of a task, which writes its status into the attempt's folder, where the server reads it."""

    service: str
    index: int | None
    folder: Path
    task: str
    number: int
    most: int
    pause: timedelta

    @classmethod
    def now(cls, service: str, index: int | None) -> _Try:
        context, run = get_current_context(), run_of_task()
        ti = context["ti"]
        task_name = ti.task_id if index is None else f"{ti.task_id}-{index}"
        folder = environment.results() / run.job / str(run.attempt)
        pause = context["task"].retry_delay
        number = try_number()  # after a crash of its own Airflow counts another try
        return cls(service, index, folder, task_name, number, max(number, int(ti.max_tries) + 1), pause)

    def begin(self) -> None:
        before = read_status(self.folder, self.task)
        reason = before.reason if before else ""
        message = f"Asking {self.service}, try {self.number} of {self.most}."
        self._say(f"{message} The last try failed: {reason}." if reason else message, reason)

    def fail(self, reason: str, *, last: bool = False) -> None:
        """Keep the reason, and write when the next try starts, if there is one."""
        get_current_context()["ti"].xcom_push(_REASON, {"index": self.index, "reason": reason})
        reason = reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]}…"
        message = f"Try {self.number} of {self.most} failed: {reason}."
        if not last and self.number < self.most:
            message += f" The next is at {datetime.now(UTC) + self.pause:%H:%M:%S} UTC."
        self._say(message, reason)

    def end(self) -> None:
        self._write(None)

    def _say(self, message: str, reason: str) -> None:
        self._write(TaskStatus(message if self.index is None else f"[{self.index}] {message}", reason))

    def _write(self, status: TaskStatus | None) -> None:
        """Write the status; a full disk does not fail the task."""
        with suppress(OSError):
            write_status(self.folder, self.task, status)


def pulled(tasks: list[str], key: str = "return_value") -> list[Any]:
    """Return the values of these tasks, mapped or not, under the key."""
    return [value for value in get_current_context()["ti"].xcom_pull(tasks, key=key) if value is not None]


def reasons(tasks: list[str]) -> list[dict[str, Any]]:
    """Return the reasons of those of these tasks that failed, `{"index", "reason"}`."""
    return pulled(tasks, _REASON)


def answer_of_run(answering: list[str], tasks: list[str]) -> Any:
    """Return the answer of the first of the `answering` tasks that has one.

    If there is none, raises WorkFailed with the reason of the last of the `tasks`, which are in order of execution.
    """
    for answer in pulled(answering):
        return answer
    failures = reasons(tasks)
    raise WorkFailed(failures[-1]["reason"] if failures else NO_REASON)


class OrderFailed(AirflowFailException):
    """The order failed; its caller gets the reason, and the operators got a mail about the failed task."""


def end(result: Callable[[], Any]) -> None:
    """Write the ending of the run, in its last task, which runs after all others whether they failed or not.

    `result` returns the value of the order's result, or raises WorkFailed with the reason for the caller. In this case
    OrderFailed is raised, so that the run fails too.
    """
    run, folder = run_of_task(), environment.results()
    try:
        value = result()
    except WorkFailed as error:
        give_up(run, folder, try_number(), str(error))
        raise OrderFailed(str(error)) from error
    finish(run, folder, try_number(), value)


def mail_unexpected_failure(context: Context) -> None:
    """Mail the operators if the last task itself failed."""
    if not isinstance(context.get("exception"), OrderFailed):
        mail_operators(context)


def last_task(function: Callable[[], None]) -> Callable[[], Any]:
    """Make the last task of a run, which runs after all others have ended."""
    made: Callable[[], Any] = task(trigger_rule="all_done", on_failure_callback=mail_unexpected_failure)(function)
    return made
