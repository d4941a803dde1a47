"""Remove the files that must go, once nobody works on them."""

import time
from datetime import UTC, datetime

from orchestration.job import Job
from orchestration.reconcile.floor import Floor
from orchestration.runners import Queued, Running, run_id

_EXPIRY = 60.0
"""Seconds between two looks for files whose time has ended."""


class Remover:
    """Ends the work on files that must go, which may take some rounds, then removes them."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._ending: list[Job] = []
        self._next = 0.0

    def remove_files(self, *, stale: bool) -> None:
        """Remove what must go now; the store is asked again where it is `stale`, and once a minute."""
        if stale or time.monotonic() >= self._next:
            self._next = time.monotonic() + _EXPIRY
            jobs, self._ending = list(self._floor.store.files_to_remove(datetime.now(UTC))), []
        else:
            jobs = self._ending
        self._ending = [job for job in jobs if not self._removed(job)]

    def _removed(self, job: Job) -> bool:
        """Say whether the job's files are gone; else the work on them is asked to end."""
        floor, runner = self._floor, self._floor.lanes.runner_of(job)
        if isinstance(runner.look(job), Queued | Running):
            runner.stop(job)
            return False
        floor.started.pop(run_id(job.id, job.attempt), None)
        floor.files.remove(job.id)
        floor.space.settle(job.id)
        floor.store.files_removed(job.id)
        return True
