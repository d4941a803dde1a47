"""The runner on Airflow: it answers from memory, and its threads send all requests to Airflow."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING

from orchestration.errors import RunnerUnavailable, WorkflowRefused, WorkflowUnavailable
from orchestration.handover import hand_order
from orchestration.job import Job, Status
from orchestration.registry import Registry
from orchestration.runners import Failed, Gone, NotBegun, Queued, Running, RunState, run_id
from orchestration.runners.airflow import Timing
from orchestration.runners.airflow.condition import AWAY, SHUT, Condition, examine
from orchestration.runners.airflow.following import follow, is_suspect, note, record_tasks
from orchestration.runners.airflow.run import Run, conf_of, run_of
from orchestration.trace import Record

if TYPE_CHECKING:
    from orchestration.runners.airflow.client import Airflow

_log = logging.getLogger(__name__)

_THREADS = 4
"""The number of threads, and so of concurrent requests."""
_HEALTH, _POLL = "health", "poll"
_SOON, _LATE = 1.0, 30.0
"""Seconds until a failed request is tried again, at first and at most; they double with each failure."""
_FORGOTTEN = 600.0
"""Seconds after which a run that nobody asks about is forgotten."""
_MOST_TWINS = 10_000
_SILENT = timedelta(seconds=5)
"""Without a report of a run, after which its message is that Airflow does not answer; its tasks may still report."""
_UNASKED = Condition(AWAY, "Airflow was not asked yet")


class AirflowRunner:
    """A Runner of DAG runs named `{job}.{attempt}`, whose tasks stage below `results`; `processes` name their DAGs.

    `connect` makes the client in one of the runner's threads, because its imports take long. `record` takes the
    spans of the tasks of traced orders.
    """

    survives = True

    def __init__(
        self,
        connect: "Callable[[], Airflow]",
        results: Path,
        processes: Registry,
        *,
        pace: Timing | None = None,
        record: Record | None = None,
    ) -> None:
        self._connect = connect
        self._results = results.absolute()
        self._processes = processes
        self._dags = processes.dags
        self._pace = pace or Timing()
        self._record = record
        self._airflow: Airflow | None = None
        self._condition = _UNASKED
        self._runs: dict[str, Run] = {}
        self._refusals = 0
        self._lock = Lock()
        self._twins: dict[str, str] = {}
        self._agenda = Agenda()
        self._agenda.put(_HEALTH)
        self._agenda.put(_POLL, self._pace.poll)
        self._threads = [Thread(target=self._work, name=f"airflow-{number}", daemon=True) for number in range(_THREADS)]
        for thread in self._threads:
            thread.start()

    def why_wait(self, job: Job) -> str:
        """Return why Airflow would not start the order now, or an empty text."""
        return self._condition.why_wait(self._twins.get(job.id) or self._processes.dags_of(job.order.process)[0])

    def start(self, job: Job, *, again: bool = False) -> None:
        """Schedule the hand-over of the run. Raises RunnerUnavailable if Airflow would not start it now."""
        dag = self._processes.dag_of(job.order)
        if not again and (why := self._condition.why_wait(dag)):
            self._remember(job.id, dag)
            raise RunnerUnavailable(why)
        run = run_of(job, (dag,), self._results, self._processes[job.order.process])
        try:
            hand_order(run.folder, job.order, run.process)
        except OSError as error:
            raise RunnerUnavailable(f"the order {job.id} cannot be written for its tasks: {error}") from error
        run.conf, run.sent = conf_of(job, run.process), again
        self._add(run)

    def look(self, job: Job) -> RunState:
        """Return the last known state of the run; an unknown run is looked up."""
        run = self._runs.get(run_id(job.id, job.attempt))
        if run is None:
            if job.status is Status.SUCCESSFUL:
                return Gone("it was over long ago")
            row = self._processes[job.order.process]
            run = run_of(job, self._processes.dags_of(job.order.process), self._results, row)
            self._add(run)
        return self._seen(job, run.look(job))

    def _seen(self, job: Job, state: RunState) -> RunState:
        """Return the state; while Airflow does not answer, the message of a run without reports says so."""
        trouble = self._condition.trouble
        if not isinstance(state, Queued | Running) or self._condition.answers or self._condition is _UNASKED:
            return state
        heard = job.message != trouble and datetime.now(UTC) - job.updated < _SILENT
        return state if heard else replace(state, message=trouble)

    def stop(self, job: Job) -> None:
        """Schedule the end of the run; its tasks end some seconds later."""
        run = self._runs.get(run_id(job.id, job.attempt))
        if run is not None and not run.is_over and not run.stopping:
            run.stopping = True
            self._agenda.put(run.name)

    def hear(self, name: str) -> None:
        """Look at the run with this name soon, or at all runs if the name is empty."""
        if not name:
            self._agenda.put(_POLL)
        elif name in self._runs:
            self._agenda.put(name)

    def close(self) -> None:
        """Close the connection to Airflow; its runs go on."""
        self._agenda.close()
        if self._airflow is not None:
            self._airflow.close()

    def _add(self, run: Run) -> None:
        with self._lock:
            self._runs[run.name] = run
        self._agenda.put(run.name)

    def _remember(self, job_id: str, dag: str) -> None:
        """Remember the DAG of a waiting order, which may be the twin of the one with its process's name."""
        if len(self._twins) > _MOST_TWINS:
            self._twins.clear()
        self._twins[job_id] = dag

    def _work(self) -> None:
        while (name := self._agenda.take()) is not None:
            self._agenda.give_back(name, self._do(name))

    def _do(self, name: str) -> float | None:
        """Do what is due; return in how many seconds it is due again, or None."""
        try:
            if name == _HEALTH:
                return self._look_at_airflow()
            if name == _POLL:
                return self._poll()
            run = self._runs.get(name)
            return None if run is None else self._step(run)
        except (WorkflowRefused, WorkflowUnavailable) as error:
            return self._failed(name, error)
        except Exception:  # noqa: BLE001  the outermost handler of the thread: no error loses a run
            _log.exception("an error while looking at %s", name)
            return _LATE

    def _step(self, run: Run) -> float | None:
        if run.is_over:
            return None
        airflow, condition = self._airflow, self._condition
        if airflow is None or not condition.answers:
            return _SOON
        if run.stopping or (run.conf is None and not run.handed):
            after = end_run(run, airflow, self._pace) if run.stopping else self._find(run, airflow)
        elif run.handed:
            after = follow(run, airflow, condition, self._pace)
            if run.is_over and self._record is not None:
                record_tasks(run, airflow, self._record)
        else:
            after = hand_over(run, airflow, condition)
        run.failures = 0
        return after

    def _find(self, run: Run, airflow: "Airflow") -> float | None:
        """Find the DAG of a run that is known by name only; a run in no DAG is over."""
        for dag in run.dags:
            if airflow.run(dag=dag, run=run.name) is not None:
                run.dags, run.handed = (dag,), True
                return 0.0
        run.end(Gone("Airflow has no such run"))
        return None

    def _failed(self, name: str, error: WorkflowRefused | WorkflowUnavailable) -> float:
        """Record a failed request to Airflow; return in how many seconds to try again."""
        run = self._runs.get(name)
        extra = {} if run is None else {"run": name}
        if isinstance(error, WorkflowUnavailable) and not error.reached:
            self._note(Condition(AWAY, str(error)))
            self._agenda.put(_HEALTH, _SOON)
            return _SOON
        if isinstance(error, WorkflowRefused) or not error.answered:
            self._agenda.put(_HEALTH)
        failures = 1 if run is None else run.failures + 1
        if run is not None:
            run.failures = failures
        _log.warning("tried again: %s", error, extra=extra)
        return min(_SOON * 2.0 ** (failures - 1), _LATE)

    def _look_at_airflow(self) -> float:
        """Check Airflow; when it is available again, look at all runs."""
        if self._airflow is None:
            self._airflow = self._connect()
        was_away = not self._condition.answers
        self._note(examine(self._airflow, self._dags))
        if self._condition.trouble == SHUT:  # repeated refused logins may lock the account
            self._refusals += 1
            return min(_SOON * 2.0**self._refusals, _LATE)
        self._refusals = 0
        if not self._condition.answers:
            return _SOON
        if was_away:
            for name in list(self._runs):
                self._agenda.put(name)
        return self._pace.health

    def _note(self, condition: Condition) -> None:
        before, self._condition = self._condition, condition
        was, now = before.problems(self._dags), condition.problems(self._dags)
        if now and now != was:
            _log.warning("orders wait: %s", "; ".join(now))
        elif was and not now:
            _log.info("Airflow is well: orders are handed over")

    def _poll(self) -> float:
        """Look up the states of all runs in one request; runs that are missing in it are looked up one by one."""
        self._forget()
        with self._lock:
            followed = [run for run in self._runs.values() if run.handed and not run.is_over and not run.stopping]
        if followed and self._airflow is not None and self._condition.answers:
            active = self._airflow.active({dag for run in followed for dag in run.dags})
            for run in followed:
                seen = active.get(run.name)
                if seen is not None:
                    note(run, seen, self._condition)
                if seen is None or is_suspect(run, self._pace):
                    self._agenda.put(run.name)
        return self._pace.poll

    def _forget(self) -> None:
        """Forget the runs that nobody asks about."""
        now = time.monotonic()
        with self._lock:
            self._runs = {
                name: run
                for name, run in self._runs.items()
                if now < run.asked_at + (self._pace.linger if run.is_over else _FORGOTTEN)
            }


class Agenda:
    """Scheduled names, for several threads: each is due at some time, being worked on, or not scheduled."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: dict[str, float] = {}
        self._taken: set[str] = set()
        self._condition = threading.Condition()
        self._is_closed = False

    def put(self, name: str, after: float = 0.0) -> None:
        """Schedule a name after this many seconds, unless it is due earlier."""
        with self._condition:
            at = self._clock() + after
            self._due[name] = min(at, self._due.get(name, at))
            self._condition.notify()

    def take(self) -> str | None:
        """Wait until a name is due and return it to one caller, or None once the agenda is closed."""
        with self._condition:
            while not self._is_closed:
                free = [(at, name) for name, at in self._due.items() if name not in self._taken]
                at, name = min(free, default=(None, ""))
                if at is not None and at <= self._clock():
                    del self._due[name]
                    self._taken.add(name)
                    return name
                self._condition.wait(None if at is None else at - self._clock())
            return None

    def give_back(self, name: str, after: float | None) -> None:
        """Release a taken name; schedule it again after this many seconds, unless None. Calls of `put` still count."""
        with self._condition:
            self._taken.discard(name)
            self._condition.notify()
        if after is not None:
            self.put(name, after)

    def close(self) -> None:
        """Make all `take` calls return None."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()


_ON_ITS_WAY = 15.0
"""Seconds after which an unanswered hand-over can no longer take effect."""
_STOPPED = Gone("it was ended")


def end_run(run: Run, airflow: "Airflow", pace: Timing) -> float | None:
    """Take the next step to stop a run; return in how many seconds to take another, or None once it is over.

    Raises WorkflowUnavailable, WorkflowRefused; then it is tried again.
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
    """Stop it in Airflow; return None once it is over or missing there, otherwise in how many seconds to look again."""
    for dag in run.dags:
        if (seen := airflow.run(dag=dag, run=run.name)) is not None:
            # A finished run must not be changed: Airflow would replace its success by `failed`.
            if not seen.is_over:
                airflow.fail(dag=dag, run=run.name)
            # The processes of a run that somebody else failed may live as long as after our own request.
            run.ended_at = None if seen.state == "success" else time.monotonic()
            return None
    is_on_its_way = run.sent and not run.handed and time.monotonic() < run.sent_at + _ON_ITS_WAY
    return 1.0 if is_on_its_way else None


_REFUSED = "Airflow refused the order; the operator finds why in the log under the job's id."
_WRONG = frozenset({400, 413, 422})
"""Statuses that refuse the order itself, so that trying again is useless."""


def hand_over(run: Run, airflow: "Airflow", condition: Condition) -> float | None:
    """Start the run in Airflow under its own name; return in how many seconds to look at it, or None.

    A run that Airflow has is not started again. Raises WorkflowUnavailable, WorkflowRefused; then it is tried again.
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
    """End a refused run; raise the error again if a later try may be accepted."""
    if error.status in _WRONG:
        run.end(Failed(_REFUSED, str(error)))
    elif airflow.run(dag=run.dags[0], run=run.name) is None:
        run.end(NotBegun(str(error)))
    else:
        raise error
