"""Follow a run that Airflow has until it is over."""

import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from orchestration.ending import find_ending
from orchestration.errors import WorkflowRefused, WorkflowUnavailable
from orchestration.handover import status_of_tasks
from orchestration.runners import Done, Failed, Gone
from orchestration.runners.airflow import Timing
from orchestration.runners.airflow.condition import QUEUED, Condition
from orchestration.runners.airflow.handed import result_of
from orchestration.runners.airflow.run import Run
from orchestration.trace import Record, Span, context_of_task, nanoseconds

if TYPE_CHECKING:
    from orchestration.runners.airflow.client import Airflow, RunSeen, TaskSeen

_log = logging.getLogger(__name__)
_SOON = 0.3


def follow(run: Run, airflow: "Airflow", condition: Condition, pace: Timing) -> float | None:
    """Look up the state of the run; return in how many seconds to look again, or None if an event or poll decides.

    Raises WorkflowUnavailable, WorkflowRefused.
    """
    dag = run.dags[0]
    seen = airflow.run(dag=dag, run=run.name)
    if seen is None:
        run.end(find_ending(run.folder) or Gone("Airflow has its run no more"))
    elif seen.is_over:
        return _conclude(run, airflow, seen, pace)
    else:
        note(run, seen, condition)
        _look_closer(run, airflow, condition, pace)
        return 0.0 if run.stopping else None
    return None


def record_tasks(run: Run, airflow: "Airflow", record: Record) -> None:
    """Record a span of each task of a run that is over, as Airflow says; without an answer there is none."""
    parent, run.trace = run.trace, None
    if parent is None:
        return
    with suppress(WorkflowRefused, WorkflowUnavailable):
        for task in airflow.tasks(dag=run.dags[0], run=run.name):
            if task.began is not None and task.ended is not None:
                context = context_of_task(parent, task.name, task.number, task.tries)
                begin, end = (nanoseconds(each) for each in (task.began, task.ended))
                names: dict[str, str | int] = {
                    "airflow.dag": run.dags[0],
                    "airflow.task": task.name,
                    "airflow.try": task.tries,
                }
                failed = task.state not in ("success", "skipped")
                record(Span(f"task {task.name}", context, parent.span, begin, end, names, failed=failed))


def note(run: Run, seen: "RunSeen", condition: Condition) -> None:
    """Record the state of an unfinished run."""
    waits = condition.why_wait(run.dags[0])
    said = status_of_tasks(run.folder) if run.process.needs_airflow else ""
    run.note(seen.state, waits or (QUEUED if seen.state == "queued" else said))
    if waits:
        run.changed_at = time.monotonic()


def is_suspect(run: Run, pace: Timing) -> bool:
    """Return whether an unfinished run needs a closer look: it has a result, or has not changed for long."""
    now = time.monotonic()
    if now < run.closer_at:
        return False
    return now > run.changed_at + pace.closer or isinstance(find_ending(run.folder), Done)


def _conclude(run: Run, airflow: "Airflow", seen: "RunSeen", pace: Timing) -> float | None:
    """End a run that Airflow has finished by the ending in its folder, which may take a moment to become visible."""
    if (ending := find_ending(run.folder)) is not None:
        run.end(ending)
        return None
    now = time.monotonic()
    run.over_at = run.over_at or now
    if now < run.over_at + pace.shared:
        return _SOON
    if run.process.hands_over and seen.state == "success":
        run.end(result_of(run, airflow))
    elif run.process.needs_airflow:
        run.end(_given_up(airflow.tasks(dag=run.dags[0], run=run.name)))
    else:
        run.end(Gone(f"Airflow ended its run ({seen.state}) without a result"))
    return None


def _given_up(tasks: "tuple[TaskSeen, ...]") -> Failed:
    """Return a failure that names the failed tasks of a run; Airflow has already retried them."""
    failed = [f"{_named(task)} after {_counted(task.tries)}" for task in tasks if task.state == "failed"]
    return Failed(f"A task of the work failed: {', '.join(failed) or 'none that is known'}.")


def _named(task: "TaskSeen") -> str:
    return task.name if task.number < 0 else f"{task.name}[{task.number}]"


def _counted(tries: int) -> str:
    return "1 try" if tries == 1 else f"{tries} tries"


def _look_closer(run: Run, airflow: "Airflow", condition: Condition, pace: Timing) -> None:
    """Look at the tasks of a suspect run, and end it if it will make no more progress."""
    if condition.why_wait(run.dags[0]) or not is_suspect(run, pace):
        return
    now = time.monotonic()
    run.closer_at = now + pace.poll
    tasks = airflow.tasks(dag=run.dags[0], run=run.name)
    if tasks != run.tasks:
        run.tasks, run.changed_at = tasks, now
    still = now - run.changed_at
    if tasks and all(task.is_over for task in tasks):
        if (ending := find_ending(run.folder)) is not None:
            _log.debug("run %s has finished tasks and a result, which is used before Airflow ends the run", run.name)
            run.end(ending)
        elif still > pace.lost:
            _give_up(run, f"all its tasks finished {still:.0f} s ago, but its run did not")
    elif still > pace.patience and any(task.state == "running" for task in tasks):
        _give_up(run, f"it made no progress for {still:.0f} s")
    elif still > pace.patience:
        _log.warning("run %s has waited for %.0f s: is there a worker for its queue?", run.name, still)
        run.closer_at = now + pace.patience


def _give_up(run: Run, how: str) -> None:
    _log.error("run %s is given up: %s", run.name, how)
    run.give_up(Failed(f"The work was given up: {how}.") if run.process.needs_airflow else Gone(how))
