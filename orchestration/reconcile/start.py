"""Begin waiting orders, oldest first, and record why the others wait."""

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial

from orchestration.errors import RunnerUnavailable, StoreUnavailable
from orchestration.full import is_full
from orchestration.job import Job
from orchestration.pools import RunnerPool
from orchestration.reconcile.context import ReconcilerContext, names
from orchestration.runners import WAITS

_log = logging.getLogger(__name__)

_PATIENCE = 1.0
"""Seconds that a pool pauses after its runner could not start a run."""
_STILL = 0.25
"""Seconds between two passes over orders that have not changed: ten thousand may wait."""
_LOG_AGAIN = 5.0
"""Seconds until the next attempt to record why orders wait, after one has failed."""


class Starter:
    """Begins accepted orders while their pools have free places."""

    def __init__(self, context: ReconcilerContext) -> None:
        self._context = context
        self._next = self._next_logged = 0.0

    def start_all(self, *, stale: bool = True) -> None:
        """Begin orders for which there are places; if no order has changed, only a few times a second.

        A place that was freed is given to the oldest waiting order at once.
        """
        due = stale or time.monotonic() >= self._next
        if not due and not self._context.freed:
            return
        self._context.freed = False
        free = self._free()
        if not due:
            self._begin(free)
            return
        self._next = time.monotonic() + _STILL
        self._begin(free)
        self._tell_why()

    def _free(self) -> list[int]:
        pools = self._context.pools
        free = pools.places()
        for job in self._context.running.values():
            free[pools.place_of(job)] -= 1
        return free

    def _begin(self, free: list[int]) -> None:
        """Begin the oldest orders that have a free place."""
        context = self._context
        places: dict[str, int] = {}
        for job in list(context.waiting.values()):
            if max(free) <= 0:
                return
            place = places.get(job.order.process)
            if place is None:
                place = places[job.order.process] = context.pools.place_of(job)
            if free[place] > 0:
                pool = context.pools.of(job)
                if time.monotonic() >= pool.next_start and not self._why_wait(job):
                    free[place] -= 1
                    context.begin(job, partial(self._start, pool=pool))

    def _tell_why(self) -> None:
        """Record why each order waits, if that has changed."""
        waiting: dict[str, list[str]] = {}
        for job in self._context.waiting.values():
            why = self._why_wait(job)
            if why != job.message and (why or job.message.startswith(WAITS)):
                waiting.setdefault(why, []).append(job.id)
        self._tell(waiting)

    def _why_wait(self, job: Job) -> str:
        return self._context.space.why_wait(job) or self._context.runner_of(job).why_wait(job)

    def _tell(self, waiting: Mapping[str, Sequence[str]]) -> None:
        """Record why orders wait; try again later if the store has no space for it."""
        if not waiting or time.monotonic() < self._next_logged:
            return
        self._context.stale = True
        try:
            with self._context.store.together() as changes:
                for why, ids in waiting.items():
                    changes.tell(ids, why)
        except StoreUnavailable as error:
            _log.warning("why orders wait cannot be noted: %s", error)
            self._next_logged = time.monotonic() + _LOG_AGAIN

    def _start(self, job: Job | None, pool: RunnerPool) -> None:
        """Start the run of an order that has begun; hand it back if the runner cannot, or could not a moment ago."""
        if job is None:
            return
        context = self._context
        if time.monotonic() < pool.next_start or not self._is_started(job, pool):
            context.stale = True
            context.store.hand_back(job.id, job.attempt, counted=False)
            return
        context.begun(job)
        context.space.begun(job)
        _log.info("attempt started", extra=names(job))

    def _is_started(self, job: Job, pool: RunnerPool) -> bool:
        try:
            pool.runner.start(job)
        except RunnerUnavailable as error:
            if is_full(error):
                self._context.space.ran_short(job)
            _log.warning("orders wait: %s", error, extra=names(job))
            pool.next_start = time.monotonic() + _PATIENCE
            return False
        return True
