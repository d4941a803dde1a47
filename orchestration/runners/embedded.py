"""Run each attempt in a child process of its own on this machine."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from orchestration.child import FRUGAL, temporary
from orchestration.ending import read_ending
from orchestration.errors import RunnerUnavailable
from orchestration.full import NO_SPACE
from orchestration.job import Job
from orchestration.runners import Gone, NoSpace, Running, RunState, run_id

WORK = (sys.executable, "-m", "orchestration.work")
"""The command of a child."""
_TRY = 1
_GRACE = 1.0
"""Seconds between the request to end and the end by force."""


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    end_by: float | None = field(default=None)
    """When the child, asked to end, is ended by force."""


class EmbeddedRunner:
    """A Runner of child processes, each in a session of its own that is ended with it.

    A run holds the lock of its `run.lock` by a descriptor that it inherited: whether it lives is asked of the lock,
    which no other process can hold by having got the same number. Children end with the thread that started them.
    `work` is the command of a child, `arguments` what it is told before the run, `environment` what is
    for its eyes only.
    """

    def __init__(
        self,
        results: Path,
        arguments: Sequence[str],
        *,
        work: Sequence[str] = WORK,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._results = results.absolute()
        self._command = (*work, *arguments, "--parent", str(os.getpid()))
        self._environment = dict(environment or {})
        self._children: dict[str, _Child] = {}

    survives = False

    def why_wait(self, job: Job) -> str:
        """Nothing speaks against a child."""
        del job
        return ""

    def start(self, job: Job, *, again: bool = False) -> None:
        """Start a child and return at once. Raises RunnerUnavailable."""
        del again
        run = run_id(job.id, job.attempt)
        try:
            folder = self._folder(run) / str(_TRY)
            folder.mkdir(parents=True, exist_ok=True)
            self._children[run] = _Child(self._spawn(run, folder))
        except OSError as error:
            raise RunnerUnavailable(f"the run {run} cannot be started: {error}") from error

    def _spawn(self, run: str, folder: Path) -> subprocess.Popen[bytes]:
        with self._lock_path(run).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return subprocess.Popen(  # noqa: S603  the command is ours
                (*self._command, *run.rsplit(".", 1), str(_TRY)),
                stdin=subprocess.DEVNULL,
                env=os.environ | self._environment | FRUGAL | temporary(folder),
                pass_fds=[lock.fileno()],
                start_new_session=True,
            )

    def look(self, job: Job) -> RunState:
        """Return how the run stands; Running until its process is over, whatever it has written."""
        run = run_id(job.id, job.attempt)
        child = self._children.get(run)
        if child is None:
            stranger = _is_locked(self._lock_path(run))
            return Running() if stranger else self._ending(run, Gone("nothing is known of its end"))
        if os.waitid(os.P_PID, child.process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            return Running()
        _signal(child, signal.SIGKILL)
        del self._children[run]
        code = child.process.wait()
        return NoSpace() if code == NO_SPACE else self._ending(run, Gone(_how(code)))

    def _ending(self, run: str, without: Gone) -> RunState:
        return read_ending(self._folder(run) / str(_TRY)) or without

    def stop(self, job: Job) -> None:
        """Ask the run's processes to end; force them a second after the first call."""
        child = self._children.get(run_id(job.id, job.attempt))
        if child is None:
            return
        if child.end_by is None:
            child.end_by = time.monotonic() + _GRACE
            _signal(child, signal.SIGTERM)
        elif time.monotonic() >= child.end_by:
            _signal(child, signal.SIGKILL)

    def close(self) -> None:
        """Nothing is held that does not end with the process."""

    def _folder(self, run: str) -> Path:
        return self._results.joinpath(*run.rsplit(".", 1))

    def _lock_path(self, run: str) -> Path:
        return self._folder(run) / "run.lock"


def _signal(child: _Child, number: signal.Signals) -> None:
    """Signal the whole group of a child that was not waited for yet, so that its number is still its own."""
    with suppress(ProcessLookupError):
        os.killpg(child.process.pid, number)


def _is_locked(path: Path) -> bool:
    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


_NAMES = {number.value: number.name for number in signal.Signals}


def _how(code: int) -> str:
    if code >= 0:
        return f"its process ended with code {code}"
    return f"its process was ended by signal {_NAMES.get(-code, -code)}"
