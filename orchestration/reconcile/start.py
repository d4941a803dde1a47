"""Begin the orders that may begin, oldest first, and say of the others why they wait."""

import logging
import time
from collections.abc import Mapping, Sequence

from orchestration.errors import RunnerUnavailable, StoreUnavailable
from orchestration.full import is_full
from orchestration.job import Job
from orchestration.pools import RunnerPool
from orchestration.reconcile.context import ReconcilerContext, names
from orchestration.runners import WAITS

_log = logging.getLogger(__name__)

_PATIENCE = 1.0
"""Seconds for which a pool begins nothing after its runner could not."""
_STILL = 0.25
"""Seconds between two looks at orders of which none has changed: ten thousand may wait."""
_TOLD_AGAIN = 5.0
"""Seconds after which it is tried again to note why orders wait."""


class Starter:
    """Takes accepted orders to running while their pools have places."""

    def __init__(self, context: ReconcilerContext) -> None:
        self._context = context
        self._next = self._next_told = 0.0

    def start_all(self, *, stale: bool = True) -> None:
        """Begin what may begin now; where no order has changed, what waits is looked through some times a second only.

        Where one has ended the oldest that has its place now is begun at once.
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
        """Begin the oldest orders for which there are places."""
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
                    self._start(job, pool)

    def _tell_why(self) -> None:
        """Note of every order why it waits, where that has changed."""
        waiting: dict[str, list[str]] = {}
        for job in self._context.waiting.values():
            why = self._why_wait(job)
            if why != job.message and (why or job.message.startswith(WAITS)):
                waiting.setdefault(why, []).append(job.id)
        self._tell(waiting)

    def _why_wait(self, job: Job) -> str:
        return self._context.space.why_wait(job) or self._context.pools.runner_of(job).why_wait(job)

    def _tell(self, waiting: Mapping[str, Sequence[str]]) -> None:
        """Note why orders wait; a store that has no space for that is asked again a little later."""
        if not waiting or time.monotonic() < self._next_told:
            return
        try:
            for why, ids in waiting.items():
                self._context.store.tell(ids, why)
        except StoreUnavailable as error:
            _log.warning("why orders wait cannot be noted: %s", error)
            self._next_told = time.monotonic() + _TOLD_AGAIN

    def _start(self, accepted: Job, pool: RunnerPool) -> None:
        context = self._context
        job = context.store.begin(accepted.id)
        context.waiting.pop(accepted.id, None)
        if job is None:
            return
        try:
            pool.runner.start(job)
        except RunnerUnavailable as error:
            if is_full(error):
                context.space.ran_short(job)
            _log.warning("orders wait: %s", error, extra=names(job))
            pool.next_start = time.monotonic() + _PATIENCE
            context.store.hand_back(job.id, job.attempt, counted=False)
        else:
            context.begun(job)
            context.space.begun(job)
            _log.info("attempt started", extra=names(job))
