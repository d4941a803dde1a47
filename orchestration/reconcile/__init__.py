"""The reconciler: it alone starts, follows and ends the runs of orders, until they agree with the store."""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from orchestration.errors import StoreUnavailable
from orchestration.files.results import ResultFiles
from orchestration.files.space import Space
from orchestration.job import Job, Status
from orchestration.pools import RunnerPool, RunnerPools
from orchestration.reconcile.context import ReconcilerContext, failure
from orchestration.reconcile.follow import Follower
from orchestration.reconcile.start import Starter
from orchestration.registry import Registry
from orchestration.runners import Done, Failed, Gone, NoSpace, NotBegun, Queued, Running
from orchestration.store import JobStore
from orchestration.trace import OrderTraces

_log = logging.getLogger(__name__)

_TICK = 0.05
_READING = 4
"""Pause between two reads of all unfinished orders, as a multiple of the time that the last read took."""
_PATIENCE = 1.0
"""Seconds to wait after a failure of the store, the disk or the runner."""
_CHORES = 3600.0
"""Seconds between two rounds of cleaning up."""
_END = 3.0
"""Seconds that running work has to end when the reconciler stops."""


class Reconciler:
    """Start, follow and end the runs of all orders; only one may work on a store at a time.

    An order goes to the first of the `pools` that takes it. Entries of finished jobs are removed after `jobs_days`
    days. A lost run that this reconciler did not start was lost by a stop of the worker and does not count as a
    failure; a run that survives the worker is followed. `chores` are called once an hour. `space` decides
    which orders wait for disk space; without it there is no cap. `processes` limit the attempts of an order. `rest`
    waits for so many seconds, or until there may be something to do. `traces` records the spans of traced orders.
    """

    def __init__(  # noqa: PLR0913  each is a matter of its own
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
        traces: OrderTraces | None = None,
    ) -> None:
        self._context = ReconcilerContext(
            store, RunnerPools(pools), files, space or Space(files.root), processes or Registry()
        )
        self._context.traces = traces
        self._follower = Follower(self._context)
        self._starter = Starter(self._context)
        self._remover = Remover(self._context)
        self._jobs_time = timedelta(days=jobs_days)
        self._chores = chores
        self._rest = rest
        self._next_chores = self._next_read = 0.0

    def run(self, stop: Callable[[], bool], *, beat: Callable[[], None]) -> None:
        """Reconcile until `stop`, then end what does not survive and hand its orders back; call `beat` every round."""
        self.follow(stop, beat=beat)
        self.hand_back()

    def renew(
        self, pools: Sequence[RunnerPool], processes: Registry, chores: Sequence[Callable[[], None]] = ()
    ) -> None:
        """Continue with other pools, processes and chores; the runs continue."""
        self._context.renew(RunnerPools(pools), processes)
        self._chores = chores

    def follow(self, stop: Callable[[], bool], *, beat: Callable[[], None]) -> None:
        """Reconcile until `stop`, and leave all runs running; call `beat` every round."""
        while not stop():
            beat()
            if self._try(self._round):
                self._rest(_TICK)
            else:
                time.sleep(_PATIENCE)

    def hand_back(self) -> None:
        """End what ends with us, and hand it back."""
        self._try(self._hand_back)
        self._context.removal.close()

    def _try(self, act: Callable[[], None]) -> bool:
        """Call the function; return False if the store or the disk failed, so that it is tried again later."""
        try:
            act()
        except (StoreUnavailable, OSError) as error:
            _log.warning("orders wait: %s", error)
            self._context.stale = True
            return False
        return True

    def _round(self) -> None:
        """Do each step, also after one has failed: removing files is what ends a full disk."""
        context = self._context
        context.stale |= context.store.changed()
        fresh = context.stale and time.monotonic() >= self._next_read
        if fresh:
            self._read()
        context.space.look([*context.running.values(), *context.waiting.values()])
        steps: list[Callable[[], None]] = [
            lambda: self._follower.follow_all(tuple(context.running.values())),
            lambda: self._starter.start_all(stale=fresh),
            context.commit,
            context.settle_removed,
            lambda: self._follower.end_above_cap(tuple(context.running.values())),
            lambda: self._remover.remove_files(stale=fresh),
            self._do_chores,
        ]
        failures = [error for step in steps if (error := failure(step))]
        if failures:
            raise failures[0]

    def _read(self) -> None:
        """Read all unfinished orders; reading many takes at most a fifth of the time, however often they change."""
        begin = time.monotonic()
        self._context.read()
        self._context.stale = False
        end = time.monotonic()
        self._next_read = end + _READING * (end - begin)

    def _do_chores(self) -> None:
        if time.monotonic() < self._next_chores:
            return
        context = self._context
        context.removal.wait()
        context.store.purge(datetime.now(UTC) - self._jobs_time)
        context.files.sweep(context.store.get)
        for chore in self._chores:
            chore()
        context.space.recount()
        self._next_chores = time.monotonic() + _CHORES

    def _hand_back(self) -> None:
        """End the runs that do not survive this reconciler; publish complete results, hand back the rest.

        Other runs may belong to another machine, whose worker leads by now.
        """
        deadline = time.monotonic() + _END
        ours = [job for job in self._context.started.values() if not self._context.runner_of(job).survives]
        while time.monotonic() < deadline and [job for job in ours if self._is_ending(job)]:
            time.sleep(_TICK)
        for job in self._context.store.unfinished():
            if self._context.is_ours(job) and not self._context.runner_of(job).survives:
                self._leave(job)
        self._context.commit()

    def _is_ending(self, job: Job) -> bool:
        runner = self._context.runner_of(job)
        alive = isinstance(runner.look(job), Queued | Running)
        if alive:
            runner.stop(job)
        return alive

    def _leave(self, job: Job) -> None:
        match self._context.runner_of(job).look(job):
            case Done(manifest):
                self._follower.publish(job, manifest)
            case Failed() | NoSpace() | Gone() | NotBegun():
                self._follower.hand_back(job, counted=False)


_EXPIRY = 60.0
"""Seconds between two searches for expired files."""


class Remover:
    """Removes the files that no job needs, after it has ended the run that writes them, which may take some rounds."""

    def __init__(self, context: ReconcilerContext) -> None:
        self._context = context
        self._ending: list[Job] = []
        self._next = 0.0

    def remove_files(self, *, stale: bool) -> None:
        """Remove files; the store is asked which ones if it is `stale`, and once a minute."""
        if stale or time.monotonic() >= self._next:
            self._next = time.monotonic() + _EXPIRY
            jobs, self._ending = list(self._context.store.files_to_remove(datetime.now(UTC))), []
        else:
            jobs = self._ending
        self._ending = [job for job in jobs if not self._removed(job)]

    def _removed(self, job: Job) -> bool:
        """Remove the job's files and return True; if a run still writes them, ask it to end and return False."""
        context, runner = self._context, self._context.runner_of(job)
        if isinstance(runner.look(job), Queued | Running):
            runner.stop(job)
            return False
        if context.is_ours(job) and job.status is Status.DISMISSED:
            context.trace(job, job.status)
        context.forget(job)
        context.files.remove(job.id)
        context.space.settle(job.id)
        context.store.files_removed(job.id)
        return True
