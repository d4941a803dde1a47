"""The steps of an order as tasks, each in a process of our own Python; what they do is in `orchestration.work.steps`.

Airflow writes a function's source into a program for that Python: all that it needs stands inside of it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from airflow.sdk import task

from orchestration.child import ATTEMPT_OVER, FRUGAL
from orchestration.dags.common import mail_operators

if TYPE_CHECKING:
    from collections.abc import Callable


PIECES = "{{ ti.xcom_pull(task_ids=['make']) | tojson }}"
"""A templated argument: what the mapped tasks `make` returned, in their order, as JSON text. Airflow's own argument, a
sequence that asks the database, is not for a Python without Airflow."""


def step(function: Callable[..., Any], **more: Any) -> Any:
    """Return a function below as a task that is not tried again: a failed order is run again as its next attempt.

    It is skipped where the attempt is not the running one.
    """
    return task.external_python(
        python=os.environ["LANDCAST_AIRFLOW_PYTHON"],
        expect_airflow=False,
        env_vars=FRUGAL,
        skip_on_exit_code=ATTEMPT_OVER,
        retries=0,
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

    assemble(json.loads(order), json.loads(pieces), int(try_))
