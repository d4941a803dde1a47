"""Run each attempt in a child process of its own on this machine."""

import fcntl
import os
import select
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
from orchestration.registry import Registry
from orchestration.runners import Gone, NoSpace, NotBegun, Running, RunState, run_id
from orchestration.runners.fork_server import FORKS, PATIENCE, ForkedChild, ForkServer, ForkServers
from orchestration.trace import handed_on

WORK = (sys.executable, "-m", "orchestration.work")
"""The command that starts a fork server."""
_OURS = ""
_TRY = 1
_GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL."""


class EmbeddedRunner:
    """A Runner of child processes, each in a session of its own that ends with it.

    Fork servers start them: `work` is their command, followed by `arguments`; `environment` is added to their
    environment and that of their children only; `descriptors` are inherited. There is one server for each `warm` module
    of the `processes`, started with the first order that needs it; that of our own works is kept ready. A run inherits
    a descriptor that holds the lock of its `run.lock`. The lock shows whether the run is alive, which a process id
    cannot, because ids are reused. Children end with their server, and a server with the thread that started it. For
    use by one thread.
    """

    def __init__(
        self,
        results: Path,
        arguments: Sequence[str],
        *,
        work: Sequence[str] = WORK,
        environment: Mapping[str, str] | None = None,
        processes: Registry | None = None,
        forks: int = FORKS,
        patience: float = PATIENCE,
        descriptors: Sequence[int] = (),
    ) -> None:
        self._results = results.absolute()
        self._work, self._environment = work, dict(environment or {})
        self._forks, self._patience = forks, patience
        self._former: list[ForkServers] = []
        """Servers that start no more children and end after theirs."""
        self._configure(arguments, processes or Registry(), descriptors)
        self._children: dict[str, ForkedChild] = {}
        self._end_by: dict[str, float] = {}
        """When children that were asked to end are killed."""

    def _configure(self, arguments: Sequence[str], processes: Registry, descriptors: Sequence[int]) -> None:
        command, held = (*self._work, *arguments), tuple(descriptors)

        def servers(warm: str) -> ForkServers:
            started = (*command, "--warm", warm) if warm else command
            make = partial(ForkServer, started, self._environment, self._patience, held)
            return ForkServers(make, forks=self._forks)

        self._processes, self._make = processes, servers
        self._servers = {_OURS: servers(_OURS)}

    def renew(self, arguments: Sequence[str], processes: Registry, *, descriptors: Sequence[int] = ()) -> None:
        """Start runs with other arguments from now on; those that run continue with theirs."""
        for servers in self._servers.values():
            servers.retire()
        self._former += self._servers.values()
        self._configure(arguments, processes, descriptors)

    survives = False

    def why_wait(self, job: Job) -> str:
        """Return an empty text: a child process may always start."""
        del job
        return ""

    def start(self, job: Job, *, again: bool = False) -> None:
        """Start a child and return at once. Raises RunnerUnavailable."""
        del again
        run = run_id(job.id, job.attempt)
        folder = self._folder(run) / str(_TRY)
        attempt: dict[str, str | int] = {"job": job.id, "attempt": job.attempt, "folder": str(folder), **handed_on(job)}
        content = encode_order(job.order, **attempt).encode()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(self._lock_path(run)) as lock, _in_memory(content) as order:
                self._children[run] = self._servers_of(job).start(run, order, lock)
        except OSError as error:
            raise RunnerUnavailable(f"the run {run} cannot be started: {error}") from error

    def wait(self, seconds: float) -> None:
        """Wait at most `seconds` until a run is over; keep the fork servers ready meanwhile."""
        until = time.monotonic() + seconds
        while not self._hear() and (left := until - time.monotonic()) > 0:
            poll = select.poll()
            for servers in self._servers.values():
                servers.have_ready()
            for servers in self._all():
                for server in servers.all():
                    poll.register(server, select.POLLIN)
            poll.poll(left * 1000)

    def _hear(self) -> bool:
        """Read the messages of the servers; return whether a run is over."""
        over = [servers.hear() for servers in self._all()]
        self._former = [servers for servers in self._former if servers.all()]
        return any(over)

    def _all(self) -> list[ForkServers]:
        return [*self._servers.values(), *self._former]

    def _servers_of(self, job: Job) -> ForkServers:
        warm = self._processes[job.order.process].warm
        if warm not in self._servers:
            self._servers[warm] = self._make(warm)
        return self._servers[warm]

    def look(self, job: Job) -> RunState:
        """Return the state of the run: Running until its process has ended, even if its result is written."""
        run = run_id(job.id, job.attempt)
        child = self._children.get(run)
        if child is not None and child.code is None:
            self._hear()
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
        """Ask the run's processes to end; kill them a second after the first call."""
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
        """End the servers and their children."""
        for servers in self._all():
            servers.close()

    def _folder(self, run: str) -> Path:
        return self._results.joinpath(*run.rsplit(".", 1))

    def _lock_path(self, run: str) -> Path:
        return self._folder(run) / "run.lock"


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Yield a descriptor that holds the lock at the path; a process that inherits it keeps the lock. Raises OSError."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock.fileno()


@contextmanager
def _in_memory(content: bytes) -> Iterator[int]:
    """Yield the descriptor of a file in memory with this content, at offset 0; no other process can open it."""
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
