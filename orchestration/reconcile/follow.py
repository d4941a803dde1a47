"""Follow what runs, and draw the conclusions."""

import logging
from collections.abc import Sequence

from orchestration.errors import RunnerUnavailable
from orchestration.job import Job, Manifest, Status
from orchestration.reconcile.context import ReconcilerContext, names
from orchestration.runners import WAITS, Done, Failed, Gone, NoSpace, NotBegun, Queued, Running, RunState

_log = logging.getLogger(__name__)

_MOST_FAILURES = 3
_ONCE = "The work was interrupted, and its process is configured not to begin it again, as that might do harm."


class Follower:
    """Publishes, fails or hands back orders as their runs end."""

    def __init__(self, context: ReconcilerContext) -> None:
        self._context = context

    def follow_all(self, jobs: Sequence[Job]) -> None:
        """Look at every one of these runs and act on what became of it."""
        for job in jobs:
            self._follow(job)

    def _follow(self, job: Job) -> None:
        runner = self._context.pools.runner_of(job)
        if runner.survives and not self._context.is_ours(job) and not self._adopt(job):
            return
        state = runner.look(job)
        if self._ran_short(job, state):
            self._leave_short(job, state)
            return
        match state:
            case Running(int(percent), message):
                self._context.store.report(job.id, job.attempt, percent, message)
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
        """Follow a run that outlived the worker which started it; say whether it is followed now."""
        whole = self._context.store.get(job.id)
        if whole is None or whole.status is not Status.RUNNING or whole.attempt != job.attempt:
            return False
        try:
            self._context.pools.runner_of(job).start(whole, again=True)
        except RunnerUnavailable as error:
            _log.debug("run not followed yet: %s", error, extra=names(job))
            return False
        self._context.begun(job)
        return True

    def _tell(self, job: Job, message: str) -> None:
        """Note why a run does not work yet, and that it does; what the work itself reported stays."""
        if message != job.message and (message or job.message.startswith(WAITS)):
            self._context.store.report(job.id, job.attempt, job.progress, message)

    def _ran_short(self, job: Job, state: RunState) -> bool:
        """Say whether the run needs more space than there is: it was found above the cap, or the disk was full."""
        space = self._context.space
        if isinstance(state, Done):
            space.settle(job.id)
            return space.is_over and _has_files(job, state.manifest)
        full = isinstance(state, NoSpace) or (isinstance(state, Gone) and space.is_disk_full)
        return full or space.shortage(job) is not None

    def _leave_short(self, job: Job, state: RunState) -> None:
        """End the run, remove what it left, and have the order wait for space; one that can never fit is failed."""
        context = self._context
        short = context.space.ran_short(job)
        if isinstance(state, Queued | Running):
            context.pools.runner_of(job).stop(job)
        elif short.hopeless:
            self.fail(job, Failed(short.hopeless))
        elif not self._may_begin_again(job):
            self.fail(job, Failed(_ONCE))
        else:
            context.files.remove(job.id)
            context.store.hand_back(job.id, job.attempt, counted=False)
            _log.warning("order waits: %s", short.explained(), extra=names(job))
            context.over(job)

    def end_above_cap(self, jobs: Sequence[Job]) -> None:
        """End the youngest run that has files while there are more than there may be; the older ones go on."""
        for job in reversed(jobs if self._context.space.is_over else ()):
            if job.order.process not in self._context.space.without_files:
                self._leave_short(job, Running())
                return

    def publish(self, job: Job, manifest: Manifest) -> None:
        """Make the result the order's, unless the attempt is not the running one any more."""
        published = self._context.store.publish(job.id, job.attempt, manifest)
        _log.info("result published" if published else "result dropped", extra=names(job))
        self._context.over(job)

    def fail(self, job: Job, failure: Failed) -> None:
        """End the order with its reason."""
        self._context.store.fail(job.id, job.attempt, failure.reason, fault=failure.fault)
        log = _log.error if failure.detail else _log.info
        log("order failed: %s", "\n".join(filter(None, (failure.reason, failure.detail))), extra=names(job))
        self._context.over(job)

    def _lost(self, job: Job, how: str) -> None:
        """Give the order its next attempt, or end it when three attempts of ours ended without a word."""
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
        """Have the order, which was begun, wait for its next attempt; end it where its process allows no more."""
        if self._may_begin_again(job):
            self._wait(job, counted=counted)
        else:
            self.fail(job, Failed(_ONCE))

    def _may_begin_again(self, job: Job) -> bool:
        most = self._context.processes[job.order.process].attempts
        return most is None or job.attempt < most

    def _wait(self, job: Job, *, counted: bool) -> None:
        self._context.store.hand_back(job.id, job.attempt, counted=counted)
        self._context.over(job)


def _has_files(job: Job, manifest: Manifest) -> bool:
    """Say whether the result has files of its own; prebuilt files are there whatever becomes of the order."""
    return any(output.file and output.file.path.startswith(f"{job.id}/") for output in manifest)
