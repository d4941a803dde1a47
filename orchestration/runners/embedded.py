"""Run each attempt in a child process of its own on this machine."""

import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from orchestration.ending import read_ending
from orchestration.errors import RunnerUnavailable
from orchestration.full import NO_SPACE
from orchestration.handover import encode_order
from orchestration.job import Job
from orchestration.runners import Gone, NoSpace, NotBegun, Running, RunState, run_id
from orchestration.runners.fork_server import FORKS, PATIENCE, ForkedChild, ForkServer, ForkServers

WORK = (sys.executable, "-m", "orchestration.work")
"""The command of a fork server."""
_TRY = 1
_GRACE = 1.0
"""Seconds between the request to end and the end by force."""


class EmbeddedRunner:
    """A Runner of child processes, each in a session of its own that is ended with it.

    A fork server begins them: `work` is its command, `arguments` what it is told, `environment` what is for its eyes
    and its children's only. A run holds the lock of its `run.lock` by a descriptor that it was handed: whether it lives
    is asked of the lock, which no other process can hold by having got the same number. Children end with their server,
    and that with the thread that started it. To be used by one thread.
    """

    def __init__(
        self,
        results: Path,
        arguments: Sequence[str],
        *,
        work: Sequence[str] = WORK,
        environment: Mapping[str, str] | None = None,
        forks: int = FORKS,
        patience: float = PATIENCE,
    ) -> None:
        self._results = results.absolute()
        make = partial(ForkServer, (*work, *arguments), dict(environment or {}), patience)
        self._servers = ForkServers(make, forks=forks)
        self._children: dict[str, ForkedChild] = {}
        self._end_by: dict[str, float] = {}
        """When children that were asked to end are ended by force."""

    survives = False

    def why_wait(self, job: Job) -> str:
        """Nothing speaks against a child."""
        del job
        return ""

    def start(self, job: Job, *, again: bool = False) -> None:
        """Have a child begin and return at once. Raises RunnerUnavailable."""
        del again
        run = run_id(job.id, job.attempt)
        folder = self._folder(run) / str(_TRY)
        told = encode_order(job.order, job=job.id, attempt=job.attempt, folder=str(folder)).encode()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(self._lock_path(run)) as lock, _in_memory(told) as order:
                self._children[run] = self._servers.start(run, order, lock)
        except OSError as error:
            raise RunnerUnavailable(f"the run {run} cannot be started: {error}") from error

    def wait(self, seconds: float) -> None:
        """Rest until a run is over, or for so many seconds; meanwhile what begins runs is kept ready."""
        self._servers.wait(seconds)

    def look(self, job: Job) -> RunState:
        """Return how the run stands; Running until its process is over, whatever it has written."""
        run = run_id(job.id, job.attempt)
        child = self._children.get(run)
        if child is not None and child.code is None:
            self._servers.hear()
        if child is None or child.lost or child.refused:
            return Running() if _is_locked(self._lock_path(run)) else self._over(run, _how_lost(child))
        if child.code is None:
            return Running()
        child.signal(signal.SIGKILL)
        child.server.reap(child)
        if child.code == NO_SPACE:
            self._forget(run)
            return NoSpace()
        return self._over(run, Gone(_how(child.code)))

    def _over(self, run: str, without: Gone | NotBegun) -> RunState:
        self._forget(run)
        return read_ending(self._folder(run) / str(_TRY)) or without

    def _forget(self, run: str) -> None:
        self._children.pop(run, None)
        self._end_by.pop(run, None)

    def stop(self, job: Job) -> None:
        """Ask the run's processes to end; force them a second after the first call."""
        run = run_id(job.id, job.attempt)
        child = self._children.get(run)
        if child is None or child.pid is None:
            return
        if run not in self._end_by:
            self._end_by[run] = time.monotonic() + _GRACE
            child.signal(signal.SIGTERM)
        elif time.monotonic() >= self._end_by[run]:
            child.signal(signal.SIGKILL)

    def close(self) -> None:
        """End the servers, and what they have begun."""
        self._servers.close()

    def _folder(self, run: str) -> Path:
        return self._results.joinpath(*run.rsplit(".", 1))

    def _lock_path(self, run: str) -> Path:
        return self._folder(run) / "run.lock"


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Hold the lock at the path by a descriptor; whoever gets it holds the lock on. Raises OSError."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock.fileno()


@contextmanager
def _in_memory(content: bytes) -> Iterator[int]:
    """Give a file in memory, at its beginning: of any size, and seen by nobody but who is handed its descriptor."""
    with os.fdopen(os.memfd_create("order"), "wb", buffering=0) as file:
        file.write(content)
        file.seek(0)
        yield file.fileno()


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


def _how_lost(child: ForkedChild | None) -> Gone | NotBegun:
    if child is None:
        return Gone("nothing is known of its end")
    if child.refused or not child.server.is_ready:
        return NotBegun(child.refused or "the process that begins orders ended while it loaded what they need")
    return Gone("the process that begins orders has ended")
