"""Bring what runs into line with what was ordered: the one place that starts, follows and ends runs."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from orchestration.errors import RunnerUnavailable, StoreUnavailable
from orchestration.full import is_full
from orchestration.job import Job, Manifest, Status
from orchestration.results import ResultFiles
from orchestration.runners import Done, Failed, Gone, NoSpace, Queued, Runner, Running, RunState, run_id
from orchestration.space import Space
from orchestration.store import JobStore
from orchestration.work import QUICK, WITHOUT_FILES

_log = logging.getLogger(__name__)

_TICK = 0.05
_PATIENCE = 1.0
"""Seconds to wait after the store, the disk or the runner failed us."""
_EXPIRY = 60.0
"""Seconds between two looks for files whose time has ended."""
_CHORES = 3600.0
"""Seconds between two rounds through everything that is kept."""
_END = 3.0
"""Seconds that running work is given to end when we are stopped."""
_TOLD_AGAIN = 5.0
"""Seconds after which it is tried again to note why orders wait."""
_QUICK_PLACES = 2
_MOST_FAILURES = 3


class Reconciler:
    """Start, follow and end the runs of all orders; only one may work on a store at a time.

    At most `parallel` orders run at once, beside those of the processes `quick`, which have two places of their own.
    Entries of finished jobs are removed after `jobs_days` days. Runs that this reconciler did not start itself were
    lost to a stop of ours and are not counted as failures. `chores` are done besides its own, once an hour.
    `space` says which orders wait until there is some; without one there is no cap.
    """

    def __init__(
        self,
        store: JobStore,
        runner: Runner,
        files: ResultFiles,
        *,
        parallel: int,
        jobs_days: float,
        quick: frozenset[str] = QUICK,
        chores: Sequence[Callable[[], None]] = (),
        space: Space | None = None,
    ) -> None:
        self._store = store
        self._runner = runner
        self._files = files
        self._places = {True: _QUICK_PLACES, False: parallel}
        self._jobs_time = timedelta(days=jobs_days)
        self._quick = quick
        self._chores = chores
        self._space = space or Space(files.root)
        self._started: set[str] = set()
        self._jobs: tuple[Job, ...] = ()
        self._stale = True
        self._ending = False
        self._next = {"start": 0.0, "expiry": 0.0, "chores": 0.0, "told": 0.0}

    def run(self, stop: Callable[[], bool], *, beat: Callable[[], None]) -> None:
        """Reconcile until `stop`, then end what runs and hand it back; `beat` is called on every round."""
        while not stop():
            beat()
            time.sleep(_TICK if self._try(self._round) else _PATIENCE)
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
        changed = self._store.changed()
        self._stale = self._stale or changed
        if self._stale:
            self._jobs = self._store.unfinished()
        self._space.look(self._jobs)
        steps = [self._follow_all, self._end_above_cap, self._start_all, self._remove_files, self._do_chores]
        failures = [error for step in steps if (error := _failure(step))]
        if failures:
            raise failures[0]
        self._stale = False

    def _is_time(self, name: str) -> bool:
        return time.monotonic() >= self._next[name]

    def _follow_all(self) -> None:
        for job in self._jobs:
            if job.status is Status.RUNNING:
                self._follow(job)

    def _follow(self, job: Job) -> None:
        state = self._runner.look(run_id(job.id, job.attempt))
        if self._ran_short(job, state):
            self._leave_short(job, state)
            return
        match state:
            case Running(int(percent), message):
                self._store.report(job.id, job.attempt, percent, message)
            case Done(manifest):
                self._publish(job, manifest)
            case Failed() as failure:
                self._fail(job, failure)
            case Gone(how):
                self._lost(job, how)

    def _ran_short(self, job: Job, state: RunState) -> bool:
        """Say whether the run needs more space than there is: it was found above the cap, or the disk was full."""
        if isinstance(state, Done):
            self._space.settle(job.id)
            return self._space.is_over and _has_files(job, state.manifest)
        full = isinstance(state, NoSpace) or (isinstance(state, Gone) and self._space.is_disk_full)
        return full or self._space.shortage(job) is not None

    def _leave_short(self, job: Job, state: RunState) -> None:
        """End the run, remove what it left, and have the order wait for space; one that can never fit is failed."""
        short = self._space.ran_short(job)
        if isinstance(state, Queued | Running):
            self._runner.stop(run_id(job.id, job.attempt))
        elif short.hopeless:
            self._fail(job, Failed(short.hopeless))
        else:
            self._files.remove(job.id)
            self._store.hand_back(job.id, job.attempt, counted=False)
            _log.warning("order waits: %s", short.explained(), extra=_names(job))
            self._over(job)

    def _end_above_cap(self) -> None:
        """End the youngest run that has files while there are more than there may be; the older ones go on."""
        for job in reversed(self._jobs if self._space.is_over else ()):
            if job.status is Status.RUNNING and job.order.process not in WITHOUT_FILES:
                self._leave_short(job, Running())
                return

    def _publish(self, job: Job, manifest: Manifest) -> None:
        published = self._store.publish(job.id, job.attempt, manifest)
        _log.info("result published" if published else "result dropped", extra=_names(job))
        self._over(job)

    def _fail(self, job: Job, failure: Failed) -> None:
        self._store.fail(job.id, job.attempt, failure.reason, fault=failure.fault)
        log = _log.error if failure.detail else _log.info
        log("order failed: %s", "\n".join(filter(None, (failure.reason, failure.detail))), extra=_names(job))
        self._over(job)

    def _lost(self, job: Job, how: str) -> None:
        """Give the order its next attempt, or end it when three attempts of ours ended without a word."""
        counted = run_id(job.id, job.attempt) in self._started
        _log.warning("attempt lost: %s", how if counted else "to a stop or restart of ours", extra=_names(job))
        if counted and job.failures + 1 >= _MOST_FAILURES:
            reason = f"The work ended {_MOST_FAILURES} times without a result; the last time {how}."
            self._fail(job, Failed(reason))
            return
        self._store.hand_back(job.id, job.attempt, counted=counted)
        self._over(job)

    def _over(self, job: Job) -> None:
        self._started.discard(run_id(job.id, job.attempt))
        now = self._store.get(job.id)
        if now is None:
            self._files.remove(job.id)
        else:
            self._files.tidy(now)
        self._space.settle(job.id)

    def _start_all(self) -> None:
        free = dict(self._places)
        for job in self._jobs:
            free[self._is_quick(job)] -= job.status is Status.RUNNING
        waiting: dict[str, list[str]] = {}
        for job in self._jobs:
            if job.status is Status.ACCEPTED:
                why = self._space.why_wait(job)
                if why != job.message and (why or self._space.is_ours(job.message)):
                    waiting.setdefault(why, []).append(job.id)
                quick = self._is_quick(job)
                if not why and free[quick] > 0 and self._is_time("start"):
                    free[quick] -= 1
                    self._start(job)
        self._tell(waiting)

    def _tell(self, waiting: Mapping[str, Sequence[str]]) -> None:
        """Note why orders wait; a store that has no space for that is asked again a little later."""
        if not waiting or not self._is_time("told"):
            return
        try:
            for why, ids in waiting.items():
                self._store.tell(ids, why)
        except StoreUnavailable as error:
            _log.warning("why orders wait cannot be noted: %s", error)
            self._next["told"] = time.monotonic() + _TOLD_AGAIN

    def _is_quick(self, job: Job) -> bool:
        return job.order.process in self._quick

    def _start(self, accepted: Job) -> None:
        job = self._store.begin(accepted.id)
        if job is None:
            return
        try:
            self._runner.start(job, job.attempt)
        except RunnerUnavailable as error:
            if is_full(error):
                self._space.ran_short(job)
            _log.warning("orders wait: %s", error, extra=_names(job))
            self._next["start"] = time.monotonic() + _PATIENCE
            self._store.hand_back(job.id, job.attempt, counted=False)
        else:
            self._started.add(run_id(job.id, job.attempt))
            self._space.begun(job)
            _log.info("attempt started", extra=_names(job))

    def _remove_files(self) -> None:
        """Remove the files that must go; work on them is ended first, which may take some rounds."""
        if not (self._stale or self._ending or self._is_time("expiry")):
            return
        self._ending = False
        self._next["expiry"] = time.monotonic() + _EXPIRY
        for job in self._store.files_to_remove(datetime.now(UTC)):
            run = run_id(job.id, job.attempt)
            if isinstance(self._runner.look(run), Queued | Running):
                self._runner.stop(run)
                self._ending = True
            else:
                self._started.discard(run)
                self._files.remove(job.id)
                self._space.settle(job.id)
                self._store.files_removed(job.id)

    def _do_chores(self) -> None:
        if not self._is_time("chores"):
            return
        self._store.purge(datetime.now(UTC) - self._jobs_time)
        self._files.sweep(self._store.get)
        for chore in self._chores:
            chore()
        self._space.recount()
        self._next["chores"] = time.monotonic() + _CHORES

    def _hand_back(self) -> None:
        """End what we started; publish what was done by then, hand back the rest uncounted."""
        deadline = time.monotonic() + _END
        while time.monotonic() < deadline and [run for run in self._started if self._is_ending(run)]:
            time.sleep(_TICK)
        for job in self._store.unfinished():
            if job.status is Status.RUNNING:
                self._leave(job)

    def _is_ending(self, run: str) -> bool:
        alive = isinstance(self._runner.look(run), Queued | Running)
        if alive:
            self._runner.stop(run)
        return alive

    def _leave(self, job: Job) -> None:
        match self._runner.look(run_id(job.id, job.attempt)):
            case Done(manifest):
                self._publish(job, manifest)
            case Failed() | NoSpace() | Gone():
                self._store.hand_back(job.id, job.attempt, counted=False)
                self._over(job)


def _failure(step: Callable[[], None]) -> StoreUnavailable | OSError | None:
    """Do the step, and return what of the store or the disk it failed with."""
    try:
        step()
    except (StoreUnavailable, OSError) as error:
        return error
    return None


def _has_files(job: Job, manifest: Manifest) -> bool:
    """Say whether the result has files of its own; those of the house are there whatever becomes of the order."""
    return any(output.file and output.file.path.startswith(f"{job.id}/") for output in manifest)


def _names(job: Job) -> dict[str, str | int]:
    return {"job": job.id, "attempt": job.attempt}
