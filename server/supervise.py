"""`landcast serve`: the server processes and the worker process, started, watched, ended together.

The parent holds the listening socket, so that a server process that is restarted loses no connection.
"""

import ctypes
import errno
import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkProcess
from types import FrameType

_log = logging.getLogger(__name__)
_fork = multiprocessing.get_context("fork")
_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_GRACE_SECONDS = 4.0
_TICK_SECONDS = 0.05
_BACKLOG = 2048
_STEADY_SECONDS = 30.0
_LONGEST_PAUSE = 10.0


def listen(bind: str) -> socket.socket:
    """Return a socket that listens on `host:port`, inheritable. Raises OSError.

    An address in use is waited for as long as the server processes of a supervisor that was killed take to end.
    """
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    deadline = time.monotonic() + _GRACE_SECONDS
    while True:
        try:
            listening = socket.create_server((host, int(port)), family=family, backlog=_BACKLOG)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise
            time.sleep(_TICK_SECONDS)
        else:
            listening.set_inheritable(True)
            return listening


class Hopeless(Exception):
    """What starting again cannot mend; the message tells the operator what is wrong."""


@dataclass(slots=True)
class Child:
    """One watched process: restarted when it ends, after a pause that grows while it keeps ending.

    It is forked, so that what the parent has imported is not imported again; it leads a process group of its own.
    """

    name: str
    run: Callable[[], None]
    process: ForkProcess | None = field(default=None, init=False)
    hopeless: bool = field(default=False, init=False)
    _started: float = field(default=0.0, init=False)
    _pause: float = field(default=0.0, init=False)
    _next: float = field(default=0.0, init=False)

    def tend(self, now: float) -> None:
        """Start the process where it is due; note where it has ended."""
        if self.process is None:
            if now >= self._next:
                self._start(now)
        elif (code := self.process.exitcode) is not None:
            self._ended(code, now)

    def _start(self, now: float) -> None:
        self._started = now
        process = _fork.Process(target=self._run, args=(os.getpid(),), name=self.name)
        try:
            process.start()
        except OSError as error:
            self._ended(f"{error}, before it began", now)
        else:
            self.process = process

    def _run(self, parent: int) -> None:
        os.setpgid(0, 0)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == parent:
            self._run_logged()

    def _run_logged(self) -> None:
        """Run; what it fails with goes to the log, as one entry, and not to standard error beside it."""
        try:
            self.run()
        except Hopeless as error:
            _log.error("%s cannot be started: %s", self.name, error)
            sys.exit(os.EX_CONFIG)
        except Exception:  # noqa: BLE001 - the outermost handler of the process
            _log.exception("%s failed", self.name)
            sys.exit(1)

    def _ended(self, how: int | str, now: float) -> None:
        self.hopeless = how == os.EX_CONFIG
        steady = now - self._started > _STEADY_SECONDS
        self._pause = 0.2 if steady else min(max(self._pause * 2, 0.2), _LONGEST_PAUSE)
        self._next = now + self._pause
        self.process = None
        _log.error("%s ended with %s, starting it again in %.1f s", self.name, how, self._pause)

    def stop(self) -> None:
        """Ask the process to end, where it runs."""
        if self.process is not None:
            self.process.terminate()

    def end(self, deadline: float) -> None:
        """Wait until the process has ended; past the deadline kill it with all that it started."""
        if self.process is None:
            return
        while self.process.exitcode is None and time.monotonic() < deadline:
            time.sleep(_TICK_SECONDS)
        if self.process.exitcode is None:
            _log.warning("%s did not end in time, killing it", self.name)
            os.killpg(self.process.pid or 0, signal.SIGKILL)
            self.process.join()


def supervise(children: Sequence[Child]) -> bool:
    """Run the children until SIGTERM or SIGINT, or until one is hopeless, then end them within five seconds.

    Says whether it was asked to end.
    """
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while not stopping and not any(child.hopeless for child in children):
        for child in children:
            child.tend(time.monotonic())
        time.sleep(_TICK_SECONDS)
    _log.info("stopping")
    deadline = time.monotonic() + _GRACE_SECONDS
    for child in children:
        child.stop()
    for child in children:
        child.end(deadline)
    return stopping
