"""The steps of an order as tasks, each in a process of our own Python; what they do is in `orchestration.work.steps`.

Airflow writes a function's source into a program for that Python: all that it needs stands inside of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, task

from orchestration.child import ATTEMPT_OVER, FRUGAL
from orchestration.dags.common import ORDER, TRY, limits, mail_operators

if TYPE_CHECKING:
    from collections.abc import Callable


PIECES = "{{ ti.xcom_pull(task_ids=['make']) | tojson }}"
"""A templated argument: what the mapped tasks `make` returned, in their order, as JSON text. Airflow's own argument, a
sequence that asks the database, is not for a Python without Airflow."""


def at_once(name: str, queue: str, *, hours: int, runs: int, tasks: int) -> DAG:
    """Return the DAG of orders that one process does; so many of its runs, and of its tasks, work at once."""
    step = _Step(name, queue, tasks)
    with _dag(name, hours=hours, runs=runs, tasks=tasks) as dag:
        step(perform)(ORDER, TRY)
    return dag


def in_parts(name: str, queue: str, *, hours: int, runs: int, tasks: int) -> DAG:
    """Return the DAG of orders whose parts are made at the same time, each by a task, and assembled at the end.

    Where there is no part, as all is there already, it is assembled likewise.
    """
    step = _Step(name, queue, tasks)
    with _dag(name, hours=hours, runs=runs, tasks=tasks) as dag:
        parts = step(plan)(ORDER, TRY)
        pieces = step(make).partial(order=ORDER, try_=TRY).expand(planned=parts)
        pieces >> step(assemble, trigger_rule="none_failed")(ORDER, PIECES, TRY)
    return dag


def _dag(name: str, *, hours: int, runs: int, tasks: int) -> DAG:
    active_runs, active_tasks = limits(name, runs=runs, tasks=tasks)
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
    """Makes tasks of the functions below, of which so many work at once in all runs of a DAG.

    They are not tried again: a failed order is run again as its next attempt. They are skipped where their attempt is
    not the running one.
    """

    name: str
    queue: str
    tasks: int

    def __call__(self, function: Callable[..., Any], **more: Any) -> Any:
        return task.external_python(
            python=os.environ["LANDCAST_AIRFLOW_PYTHON"],
            expect_airflow=False,
            env_vars=FRUGAL,
            skip_on_exit_code=ATTEMPT_OVER,
            retries=0,
            queue=self.queue,
            max_active_tis_per_dag=limits(self.name, runs=0, tasks=self.tasks)[1],
            on_failure_callback=mail_operators,
            **more,
        )(function)


def perform(order: str, try_: str) -> None:
    """Do all of the order."""
    import json

    from orchestration.work.steps import perform

    perform(json.loads(order), int(try_))


def plan(order: str, try_: str) -> list[dict[str, Any]]:
    """Return the parts of the order."""
    import json

    from orchestration.work.steps import plan

    return plan(json.loads(order), int(try_))


def make(order: str, planned: dict[str, Any], try_: str) -> dict[str, Any]:
    """Make a part of the order; return its piece."""
    import json

    from orchestration.work.steps import make

    return dict(make(json.loads(order), planned, int(try_)))


def assemble(order: str, pieces: str, try_: str) -> None:
    """Make the result of the order."""
    import json

    from orchestration.work.steps import assemble

    made = [piece for piece in json.loads(pieces) if piece is not None]
    assemble(json.loads(order), made, int(try_))
