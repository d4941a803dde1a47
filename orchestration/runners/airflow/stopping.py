"""End a run: ask Airflow to, and wait until its tasks are gone."""

import time
from typing import TYPE_CHECKING

from orchestration.runners import Gone
from orchestration.runners.airflow import Timing
from orchestration.runners.airflow.run import Run

if TYPE_CHECKING:
    from orchestration.runners.airflow.client import Airflow

_ON_ITS_WAY = 15.0
"""Seconds after which a hand-over that nobody answered does not come to anything any more."""
_STOPPED = Gone("it was ended")


def end_run(run: Run, airflow: "Airflow", pace: Timing) -> float | None:
    """Take the next step to its end; return in how many seconds to take another, None once it is over.

    Raises WorkflowUnavailable, WorkflowRefused for what is to be tried again.
    """
    if run.conf is not None and not run.sent:
        run.end(run.verdict or _STOPPED)
        return None
    if run.ended_at is None and (wait := _end(run, airflow)) is not None:
        return wait
    left = 0.0 if run.ended_at is None else run.ended_at + pace.linger - time.monotonic()
    if left > 0:
        return left
    run.end(run.verdict or _STOPPED)
    return None


def _end(run: Run, airflow: "Airflow") -> float | None:
    """Have Airflow end it; None once Airflow says that it is over or not there, else in how many seconds to look."""
    for dag in run.dags:
        if (seen := airflow.run(dag=dag, run=run.name)) is not None:
            # A run that is over must not be touched: Airflow would write `failed` over its success.
            if not seen.is_over:
                airflow.fail(dag=dag, run=run.name)
            # The processes of a run that somebody else failed may live as long as after our own word.
            run.ended_at = None if seen.state == "success" else time.monotonic()
            return None
    is_on_its_way = run.sent and not run.handed and time.monotonic() < run.sent_at + _ON_ITS_WAY
    return 1.0 if is_on_its_way else None
