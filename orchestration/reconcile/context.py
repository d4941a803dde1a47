"""What the steps of the reconciler share: where orders, runs, files and space are."""

from collections.abc import Callable
from dataclasses import dataclass, field

from orchestration.errors import StoreUnavailable
from orchestration.files.results import ResultFiles
from orchestration.files.space import Space
from orchestration.job import Job, Status
from orchestration.pools import RunnerPools
from orchestration.registry import Registry
from orchestration.runners import run_id
from orchestration.store import JobStore


@dataclass(slots=True)
class ReconcilerContext:
    """The collaborators of all steps, the runs that this reconciler started or follows as if it had, and the orders.

    `running` and `waiting` are the unfinished orders by id, oldest first: as they were read, and as we changed them.
    `freed` says that a place may have become free since it was last looked for one.
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

    def read(self) -> None:
        """Read all that is unfinished."""
        jobs = self.store.unfinished(self.waiting | self.running)
        self.running = {job.id: job for job in jobs if job.status is Status.RUNNING}
        self.waiting = {job.id: job for job in jobs if job.status is Status.ACCEPTED}

    def over(self, job: Job) -> None:
        """Forget the run, and remove what the order does not need any more."""
        self.started.pop(run_id(job.id, job.attempt), None)
        self.running.pop(job.id, None)
        self.freed = True
        now = self.store.get(job.id)
        if now is None:
            self.files.remove(job.id)
        else:
            self.files.tidy(now)
        self.space.settle(job.id)

    def begun(self, job: Job) -> None:
        """Note that the order's run is ours."""
        self.started[run_id(job.id, job.attempt)] = self.running[job.id] = job
        self.waiting.pop(job.id, None)

    def is_ours(self, job: Job) -> bool:
        """Say whether the order's run is one that this reconciler started."""
        return run_id(job.id, job.attempt) in self.started


def failure(step: Callable[[], None]) -> StoreUnavailable | OSError | None:
    """Do the step, and return what of the store or the disk it failed with."""
    try:
        step()
    except (StoreUnavailable, OSError) as error:
        return error
    return None


def names(job: Job) -> dict[str, str | int]:
    """Return what a line of the log says of the order."""
    return {"job": job.id, "attempt": job.attempt}
