"""The steps of an order as tasks, each in a process of our own Python; `orchestration.work.steps` implements them.

Airflow copies the source of a function into a program for that Python, so a function contains all of its imports.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, task

from orchestration import environment
from orchestration.child import ATTEMPT_OVER, FRUGAL
from orchestration.dags.common import ORDER, TRY, mail_operators

if TYPE_CHECKING:
    from collections.abc import Callable


PIECES = "{{ ti.xcom_pull(task_ids=['make']) | tojson }}"
"""A template for an argument: the results of the mapped tasks `make`, in order, as JSON text. Airflow's own argument is
a lazy sequence that queries the database, which a Python without Airflow cannot use."""


def at_once(name: str, queue: str, *, hours: int, runs: int, tasks: int) -> DAG:
    """Return the DAG of orders that one task performs, with at most this many hours, concurrent runs and tasks.

    `queue` is a name of `environment.queue`.
    """
    step = _Step(name, queue, tasks)
    with _dag(name, hours=hours, runs=runs, tasks=tasks) as dag:
        step(perform)(ORDER, TRY)
    return dag


def in_parts(name: str, queue: str, *, hours: int, runs: int, tasks: int) -> DAG:
    """Return the DAG of orders whose parts are made in parallel, each by a task, and assembled at the end.

    If there is no part, because all pieces exist already, the result is assembled likewise.
    """
    step = _Step(name, queue, tasks)
    with _dag(name, hours=hours, runs=runs, tasks=tasks) as dag:
        parts = step(plan)(ORDER, TRY)
        pieces = step(make).partial(order=ORDER, try_=TRY).expand(planned=parts)
        pieces >> step(assemble, trigger_rule="none_failed")(ORDER, PIECES, TRY)
    return dag


def _dag(name: str, *, hours: int, runs: int, tasks: int) -> DAG:
    active_runs, active_tasks = environment.limits(name, runs=runs, tasks=tasks)
    return DAG(
        name,
        schedule=None,
        catchup=False,
        dagrun_timeout=timedelta(hours=hours),
        max_active_runs=active_runs,
        max_active_tasks=active_tasks,
        tags=["landcast", "orders"],
    )


@dataclass(frozen=True)
class _Step:
    """Makes tasks of the functions below, of which at most `tasks` run at once in all runs of a DAG.

    They have no retries: a failed order runs again as its next attempt. A task is skipped if its attempt is no longer
    the current one.
    """

    name: str
    queue: str
    tasks: int

    def __call__(self, function: Callable[..., Any], **more: Any) -> Any:
        return task.external_python(
            python=environment.step_python(),
            expect_airflow=False,
            env_vars=FRUGAL,
            skip_on_exit_code=ATTEMPT_OVER,
            retries=0,
            queue=environment.queue(self.queue),
            max_active_tis_per_dag=environment.limits(self.name, runs=0, tasks=self.tasks)[1],
            on_failure_callback=mail_operators,
            **more,
        )(function)


def perform(order: str, try_: str) -> None:
    """Do all work of the order."""
    import json

    from orchestration.work.steps import perform

    perform(json.loads(order), int(try_))


def plan(order: str, try_: str) -> list[dict[str, Any]]:
    """Return the parts of the order."""
    import json

    from orchestration.work.steps import plan

    return plan(json.loads(order), int(try_))


def make(order: str, planned: dict[str, Any], try_: str) -> dict[str, Any]:
    """Make one part of the order; return its piece."""
    import json

    from orchestration.work.steps import make

    return dict(make(json.loads(order), planned, int(try_)))


def assemble(order: str, pieces: str, try_: str) -> None:
    """Assemble the result of the order."""
    import json

    from orchestration.work.steps import assemble

    made = [piece for piece in json.loads(pieces) if piece is not None]
    assemble(json.loads(order), made, int(try_))
