"""Bring what runs into line with what was ordered: the one place that starts, follows and ends runs."""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from orchestration.errors import StoreUnavailable
from orchestration.files.results import ResultFiles
from orchestration.files.space import Space
from orchestration.job import Job
from orchestration.pools import RunnerPool, RunnerPools
from orchestration.reconcile.context import ReconcilerContext, failure
from orchestration.reconcile.follow import Follower
from orchestration.reconcile.start import Starter
from orchestration.registry import Registry
from orchestration.runners import Done, Failed, Gone, NoSpace, NotBegun, Queued, Running, run_id
from orchestration.store import JobStore

_log = logging.getLogger(__name__)

_TICK = 0.05
_READING = 4
"""How many times as long as reading all that is unfinished took it is not read again."""
_PATIENCE = 1.0
"""Seconds to wait after the store, the disk or the runner failed us."""
_CHORES = 3600.0
"""Seconds between two rounds through everything that is kept."""
_END = 3.0
"""Seconds that running work is given to end when we are stopped."""


class Reconciler:
    """Start, follow and end the runs of all orders; only one may work on a store at a time.

    An order goes to the first of the `pools` that takes it. Entries of finished jobs are removed after `jobs_days`
    days. Runs that this reconciler did not start itself were lost to a stop of ours and are not counted as failures;
    those of a runner whose runs survive are followed on. `chores` are done besides its own, once an hour.
    `space` says which orders wait until there is some; without one there is no cap. `processes` say how often an order
    is begun. `rest` waits for so many seconds, or until there may be something to do.
    """

    def __init__(
        self,
        store: JobStore,
        pools: Sequence[RunnerPool],
        files: ResultFiles,
        *,
        jobs_days: float,
        chores: Sequence[Callable[[], None]] = (),
        space: Space | None = None,
        processes: Registry | None = None,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self._context = ReconcilerContext(
            store, RunnerPools(pools), files, space or Space(files.root), processes or Registry()
        )
        self._follower = Follower(self._context)
        self._starter = Starter(self._context)
        self._remover = Remover(self._context)
        self._jobs_time = timedelta(days=jobs_days)
        self._chores = chores
        self._rest = rest
        self._stale = True
        self._next_chores = self._next_read = 0.0

    def run(self, stop: Callable[[], bool], *, beat: Callable[[], None]) -> None:
        """Reconcile until `stop`, then end what ends with us and hand it back; `beat` is called on every round."""
        while not stop():
            beat()
            if self._try(self._round):
                self._rest(_TICK)
            else:
                time.sleep(_PATIENCE)
        self._try(self._hand_back)

    def _try(self, act: Callable[[], None]) -> bool:
        """Do it; a store or a disk that fails us now is tried again later, from what the store says then."""
        try:
            act()
        except (StoreUnavailable, OSError) as error:
            _log.warning("orders wait: %s", error)
            self._stale = True
            return False
        return True

    def _round(self) -> None:
        """Do each step; one that fails keeps no other from being done, as removing files is what ends a full disk."""
        changed = self._context.store.changed()
        self._stale = self._stale or changed
        fresh = self._stale and time.monotonic() >= self._next_read
        if fresh:
            self._read()
        context = self._context
        context.space.look([*context.running.values(), *context.waiting.values()])
        steps: list[Callable[[], None]] = [
            lambda: self._follower.follow_all(tuple(context.running.values())),
            lambda: self._follower.end_above_cap(tuple(context.running.values())),
            lambda: self._starter.start_all(stale=fresh),
            lambda: self._remover.remove_files(stale=fresh),
            self._do_chores,
        ]
        failures = [error for step in steps if (error := failure(step))]
        if failures:
            raise failures[0]
        self._stale = self._stale and not fresh

    def _read(self) -> None:
        """Read what is unfinished; where that is much, orders that come in all the time leave most of it to others."""
        begin = time.monotonic()
        self._context.read()
        end = time.monotonic()
        self._next_read = end + _READING * (end - begin)

    def _do_chores(self) -> None:
        if time.monotonic() < self._next_chores:
            return
        context = self._context
        context.store.purge(datetime.now(UTC) - self._jobs_time)
        context.files.sweep(context.store.get)
        for chore in self._chores:
            chore()
        context.space.recount()
        self._next_chores = time.monotonic() + _CHORES

    def _hand_back(self) -> None:
        """End what we started and what ends with us; publish what was done by then, hand back the rest uncounted.

        Runs that we did not start may be another machine's, which has the turn by now; those that survive go on.
        """
        deadline = time.monotonic() + _END
        ours = [job for job in self._context.started.values() if not self._context.pools.runner_of(job).survives]
        while time.monotonic() < deadline and [job for job in ours if self._is_ending(job)]:
            time.sleep(_TICK)
        for job in self._context.store.unfinished():
            if self._context.is_ours(job) and not self._context.pools.runner_of(job).survives:
                self._leave(job)

    def _is_ending(self, job: Job) -> bool:
        runner = self._context.pools.runner_of(job)
        alive = isinstance(runner.look(job), Queued | Running)
        if alive:
            runner.stop(job)
        return alive

    def _leave(self, job: Job) -> None:
        match self._context.pools.runner_of(job).look(job):
            case Done(manifest):
                self._follower.publish(job, manifest)
            case Failed() | NoSpace() | Gone() | NotBegun():
                self._follower.hand_back(job, counted=False)


_EXPIRY = 60.0
"""Seconds between two looks for files whose time has ended."""


class Remover:
    """Ends the work on files that must go, which may take some rounds, then removes them."""

    def __init__(self, context: ReconcilerContext) -> None:
        self._context = context
        self._ending: list[Job] = []
        self._next = 0.0

    def remove_files(self, *, stale: bool) -> None:
        """Remove what must go now; the store is asked again where it is `stale`, and once a minute."""
        if stale or time.monotonic() >= self._next:
            self._next = time.monotonic() + _EXPIRY
            jobs, self._ending = list(self._context.store.files_to_remove(datetime.now(UTC))), []
        else:
            jobs = self._ending
        self._ending = [job for job in jobs if not self._removed(job)]

    def _removed(self, job: Job) -> bool:
        """Say whether the job's files are gone; else the work on them is asked to end."""
        context, runner = self._context, self._context.pools.runner_of(job)
        if isinstance(runner.look(job), Queued | Running):
            runner.stop(job)
            return False
        context.started.pop(run_id(job.id, job.attempt), None)
        context.files.remove(job.id)
        context.space.settle(job.id)
        context.store.files_removed(job.id)
        return True
