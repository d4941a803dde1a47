"""Hand a run over: once, however often it takes."""

import time
from typing import TYPE_CHECKING

from orchestration.errors import WorkflowRefused, WorkflowUnavailable
from orchestration.runners import Failed, NotBegun, Queued
from orchestration.runners.airflow.condition import AWAY, Condition
from orchestration.runners.airflow.run import Run

if TYPE_CHECKING:
    from orchestration.runners.airflow.client import Airflow

_REFUSED = "Airflow refused the order; the operator finds why in the log under the job's id."
_WRONG = frozenset({400, 413, 422})
"""Statuses that say that the order itself is not taken, however often it is handed over."""


def hand_over(run: Run, airflow: "Airflow", condition: Condition) -> float | None:
    """Have Airflow begin the run under its own name; return in how many seconds to go on with it.

    A run that Airflow has is not begun again. Raises WorkflowUnavailable, WorkflowRefused: to be tried again.
    """
    before = run.sent
    if not before and (why := condition.why_wait(run.dags[0])):
        run.end(NotBegun(why))
        return None
    run.sent, run.sent_at = True, time.monotonic()
    try:
        is_new = airflow.submit(dag=run.dags[0], run=run.name, conf=run.conf or {})
    except WorkflowUnavailable as error:
        if error.reached or before:
            run.state = Queued(AWAY)
        else:
            run.end(NotBegun(str(error)))
        raise
    except WorkflowRefused as error:
        _refused(run, airflow, error)
        return None
    run.handed, run.conf, run.changed_at = True, None, time.monotonic()
    return None if is_new else 0.0


def _refused(run: Run, airflow: "Airflow", error: WorkflowRefused) -> None:
    """Draw the conclusion from a refusal; raise it again where it may be another the next time."""
    if error.status in _WRONG:
        run.end(Failed(_REFUSED, str(error)))
    elif airflow.run(dag=run.dags[0], run=run.name) is None:
        run.end(NotBegun(str(error)))
    else:
        raise error
