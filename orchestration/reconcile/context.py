"""What the steps of the reconciler share: orders, runs, files, and the changes of a round."""

from collections.abc import Callable
from dataclasses import dataclass, field

from orchestration.errors import StoreUnavailable
from orchestration.files.results import BackgroundRemoval, ResultFiles
from orchestration.files.space import Space
from orchestration.job import Job, Status
from orchestration.pools import RunnerPools
from orchestration.registry import Registry
from orchestration.runners import Runner, run_id
from orchestration.store import JobChanges, JobStore
from orchestration.trace import OrderTraces

Then = Callable[[], None]
"""The consequence of a change, called after the commit."""
Change = Callable[[JobChanges], Then]


@dataclass(slots=True)
class ReconcilerContext:
    """The collaborators of all steps, the unfinished orders, the runs that this reconciler started, and its changes.

    `running` and `waiting` are the unfinished orders by id, oldest first, with the changes that were made since they
    were read. `freed` is set when a place may have become free, `stale` when orders have to be read again.

    All changes of a round are one transaction, so that a round waits for the disk once.
    """

    store: JobStore
    pools: RunnerPools
    files: ResultFiles
    space: Space
    processes: Registry = field(default_factory=Registry)
    started: dict[str, Job] = field(default_factory=dict)
    running: dict[str, Job] = field(default_factory=dict)
    waiting: dict[str, Job] = field(default_factory=dict)
    freed: bool = True
    stale: bool = True
    removal: BackgroundRemoval = field(init=False)
    traces: OrderTraces | None = None
    runners: dict[str, Runner] = field(default_factory=dict)
    """The runner of each run that this reconciler started, whatever its process is configured to by now."""
    _ends: list[Change] = field(default_factory=list)
    _begins: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.removal = BackgroundRemoval(self.files)

    def runner_of(self, job: Job) -> Runner:
        """Return the runner of the order's run, or the one that would start it."""
        return self.runners.get(run_id(job.id, job.attempt)) or self.pools.runner_of(job)

    def renew(self, pools: RunnerPools, processes: Registry) -> None:
        """Continue with other pools and processes; runs that survive their runner must be followed again."""
        self.pools, self.processes, self.freed, self.stale = pools, processes, True, True
        self.space.without_files = processes.without_files
        for run in [run for run, runner in self.runners.items() if runner.survives]:
            del self.started[run], self.runners[run]

    def read(self) -> None:
        """Read all unfinished orders."""
        jobs = self.store.unfinished(self.waiting | self.running)
        self.running = {job.id: job for job in jobs if job.status is Status.RUNNING}
        self.waiting = {job.id: job for job in jobs if job.status is Status.ACCEPTED}

    def note(self, job: Job, percent: int, message: str) -> None:
        """Record the progress of a run with the round's changes."""
        self.stale = True

        def change(changes: JobChanges) -> Then:
            changes.report(job.id, job.attempt, percent, message)
            return lambda: None

        self._ends.append(change)

    def end(self, job: Job, change: Change) -> None:
        """End the order's attempt with the round's changes; its place is free from now on."""
        self.running.pop(job.id, None)
        self.freed = True
        self._ends.append(change)

    def begin(self, job: Job, then: Callable[[Job | None], None]) -> None:
        """Begin an order with the round's changes; `then` is given the job, None if it is no longer accepted."""
        self.waiting.pop(job.id, None)

        def change(changes: JobChanges) -> Then:
            begun = changes.begin(job.id)
            return lambda: then(begun)

        self._begins.append(change)

    def commit(self) -> None:
        """Commit the changes of the round, then call what follows from each: first the starts of runs.

        All of them are called, also after one has failed. Raises StoreUnavailable, OSError.
        """
        ends, begins, self._ends, self._begins = self._ends, self._begins, [], []
        if not ends and not begins:
            return
        with self.store.together() as changes:
            after_ends = [change(changes) for change in ends]
            after_begins = [change(changes) for change in begins]
        failures = [error for then in (*after_begins, *after_ends) if (error := failure(then))]
        if failures:
            raise failures[0]

    def over(self, job: Job, now: Job | None) -> None:
        """Forget the run, and remove the files that the order, as it is `now`, does not need any more."""
        self.forget(job)
        self.freed = True
        if now is None:
            self.files.remove(job.id)
        else:
            self.files.tidy(now)
        self.space.settle(job.id)

    def over_without_files(self, job: Job) -> None:
        """Forget the run of an order that is finished and has no files; its folder is removed meanwhile."""
        self.forget(job)
        self.freed = True
        self.removal.remove(job.id)

    def settle_removed(self) -> None:
        """Measure the space of the folders that were removed."""
        for job_id in self.removal.take_removed():
            self.space.settle(job_id)

    def trace(self, job: Job, outcome: str, *, finished: bool = True) -> None:
        """Record the spans of a traced order's attempt, whose folder exists, and of the order if it is `finished`."""
        if self.traces is not None and job.order.trace is not None:
            self.traces.attempt_over(job, outcome)
            if finished:
                self.traces.finished(job, outcome)

    def begun(self, job: Job) -> None:
        """Record that this reconciler started the order's run."""
        run = run_id(job.id, job.attempt)
        self.started[run] = self.running[job.id] = job
        self.runners[run] = self.pools.runner_of(job)
        self.waiting.pop(job.id, None)

    def forget(self, job: Job) -> None:
        """Forget that the order's run is ours."""
        self.started.pop(run_id(job.id, job.attempt), None)
        self.runners.pop(run_id(job.id, job.attempt), None)

    def is_ours(self, job: Job) -> bool:
        """Return whether this reconciler started the order's run."""
        return run_id(job.id, job.attempt) in self.started


def failure(step: Callable[[], None]) -> StoreUnavailable | OSError | None:
    """Call the function and return the error of the store or the disk, or None."""
    try:
        step()
    except (StoreUnavailable, OSError) as error:
        return error
    return None


def names(job: Job) -> dict[str, str | int]:
    """Return the fields that identify the order in a line of the log."""
    return {"job": job.id, "attempt": job.attempt}
