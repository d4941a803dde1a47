"""Follow runs, and publish, fail or hand back their orders."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from orchestration.errors import RunnerUnavailable
from orchestration.job import Job, Manifest, Status
from orchestration.reconcile.context import ReconcilerContext, Then, names
from orchestration.runners import WAITS, Done, Failed, Gone, NoSpace, NotBegun, Queued, Running, RunState
from orchestration.store import JobChanges

_log = logging.getLogger(__name__)

_MOST_FAILURES = 3
_ONCE = "The work was interrupted, and its process is configured not to begin it again, as that might do harm."


class Follower:
    """Publishes, fails or hands back orders as their runs end."""

    def __init__(self, context: ReconcilerContext) -> None:
        self._context = context

    def follow_all(self, jobs: Sequence[Job]) -> None:
        """Look at the runs of these orders and act on their states."""
        for job in jobs:
            self._follow(job)

    def _follow(self, job: Job) -> None:
        runner = self._context.runner_of(job)
        if runner.survives and not self._context.is_ours(job) and not self._adopt(job):
            return
        state = runner.look(job)
        if self._ran_short(job, state):
            self._leave_short(job, state)
            return
        match state:
            case Running(int(percent), message):
                self._context.note(job, percent, message)
            case Queued(message) | Running(None, message):
                self._tell(job, message)
            case _:
                self._conclude(job, state)

    def _conclude(self, job: Job, state: RunState) -> None:
        match state:
            case Done(manifest):
                self.publish(job, manifest)
            case Failed() as failure:
                self.fail(job, failure)
            case Gone(how):
                self._lost(job, how)
            case NotBegun(why):
                self._not_begun(job, why)

    def _adopt(self, job: Job) -> bool:
        """Follow a run that outlived the worker that started it; return whether that succeeded."""
        whole = self._context.store.get(job.id)
        if whole is None or whole.status is not Status.RUNNING or whole.attempt != job.attempt:
            return False
        try:
            self._context.runner_of(job).start(whole, again=True)
        except RunnerUnavailable as error:
            _log.debug("run not followed yet: %s", error, extra=names(job))
            return False
        self._context.begun(job)
        return True

    def _tell(self, job: Job, message: str) -> None:
        """Record why a run waits, or that it no longer does; messages of the work itself are left."""
        if message != job.message and (message or job.message.startswith(WAITS)):
            self._context.note(job, job.progress, message)

    def _ran_short(self, job: Job, state: RunState) -> bool:
        """Return whether the run is out of space: its results are above the cap, or the disk is full."""
        space = self._context.space
        if isinstance(state, Done):
            space.settle(job.id)
            return space.is_over and _has_files(job, state.manifest)
        full = isinstance(state, NoSpace) or (isinstance(state, Gone) and space.is_disk_full)
        return full or space.shortage(job) is not None

    def _leave_short(self, job: Job, state: RunState) -> None:
        """End the run, remove its files, and let the order wait for space; fail one that can never fit."""
        context = self._context
        short = context.space.ran_short(job)
        if isinstance(state, Queued | Running):
            context.runner_of(job).stop(job)
        elif short.hopeless:
            self.fail(job, Failed(short.hopeless))
        elif not self._may_begin_again(job):
            self.fail(job, Failed(_ONCE))
        else:
            context.files.remove(job.id)
            _log.warning("order waits: %s", short.explained(), extra=names(job))
            self._wait(job, counted=False)

    def end_above_cap(self, jobs: Sequence[Job]) -> None:
        """End the youngest run that writes files while the results are above the cap."""
        for job in reversed(jobs if self._context.space.is_over else ()):
            if job.order.process not in self._context.space.without_files:
                self._leave_short(job, Running())
                return

    def publish(self, job: Job, manifest: Manifest) -> None:
        """Publish the result, unless the attempt is no longer the running one."""

        def change(changes: JobChanges) -> Then:
            published = changes.publish(job.id, job.attempt, manifest)
            return lambda: self._published(job, manifest) if published else self._dropped(job)

        self._context.end(job, change)

    def _published(self, job: Job, manifest: Manifest) -> None:
        _log.info("result published", extra=names(job))
        self._context.trace(job, Status.SUCCESSFUL)
        if _has_files(job, manifest):
            self._context.over(job, replace(job, status=Status.SUCCESSFUL, manifest=manifest))
        else:
            self._context.over_without_files(job)

    def _dropped(self, job: Job) -> None:
        """Forget the run of an order whose state someone else has changed."""
        self._context.stale = True
        _log.info("result dropped", extra=names(job))
        self._context.over(job, self._context.store.get(job.id))

    def fail(self, job: Job, failure: Failed) -> None:
        """Fail the order with the reason."""

        def change(changes: JobChanges) -> Then:
            failed = changes.fail(job.id, job.attempt, failure.reason, fault=failure.fault)
            return lambda: self._failed(job, failure) if failed else self._dropped(job)

        self._context.end(job, change)

    def _failed(self, job: Job, failure: Failed) -> None:
        self._context.stale = True
        self._context.trace(job, Status.FAILED)
        log = _log.error if failure.detail else _log.info
        log("order failed: %s", "\n".join(filter(None, (failure.reason, failure.detail))), extra=names(job))
        self._context.over(job, None)

    def _lost(self, job: Job, how: str) -> None:
        """Hand the order back for another attempt, or fail it after three attempts without an ending."""
        counted = self._context.is_ours(job)
        _log.warning("attempt lost: %s", how if counted else "to a stop or restart of ours", extra=names(job))
        if counted and job.failures + 1 >= _MOST_FAILURES:
            reason = f"The work ended {_MOST_FAILURES} times without a result; the last time {how}."
            self.fail(job, Failed(reason))
            return
        self.hand_back(job, counted=counted)

    def _not_begun(self, job: Job, why: str) -> None:
        _log.warning("order waits: %s", why, extra=names(job))
        self._wait(job, counted=False)

    def hand_back(self, job: Job, *, counted: bool) -> None:
        """Hand the order back for another attempt; fail it if its process allows none."""
        if self._may_begin_again(job):
            self._wait(job, counted=counted)
        else:
            self.fail(job, Failed(_ONCE))

    def _may_begin_again(self, job: Job) -> bool:
        most = self._context.processes[job.order.process].attempts
        return most is None or job.attempt < most

    def _wait(self, job: Job, *, counted: bool) -> None:
        context = self._context
        context.trace(job, "lost", finished=False)

        def change(changes: JobChanges) -> Then:
            waits = changes.hand_back(job.id, job.attempt, counted=counted)
            return lambda: context.over(job, None if waits else context.store.get(job.id))

        context.stale = True
        context.end(job, change)


def _has_files(job: Job, manifest: Manifest) -> bool:
    """Return whether the result has files in the job's own folder, so not prebuilt ones."""
    return any(output.file and output.file.path.startswith(f"{job.id}/") for output in manifest)
