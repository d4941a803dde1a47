"""`landcast serve`: the server processes and the worker process, started, watched, ended together.

The parent holds the listening socket, so that a server process that is restarted loses no connection.
"""

import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType

_log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1
_GRACE_SECONDS = 4.0
_BACKLOG = 2048
_STEADY_SECONDS = 30.0
_LONGEST_PAUSE = 10.0
_libc = ctypes.CDLL(None, use_errno=True)


def listen(bind: str) -> socket.socket:
    """Return a socket that listens on `host:port`, inheritable. Raises OSError."""
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, int(port)), family=family, backlog=_BACKLOG)
    listening.set_inheritable(True)
    return listening


def _end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(slots=True)
class Child:
    """One watched process: restarted when it ends, after a pause that grows while it keeps ending."""

    name: str
    command: Sequence[str]
    sockets: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _started: float = field(default=0.0, init=False)
    _pause: float = field(default=0.0, init=False)
    _next: float = field(default=0.0, init=False)

    def tend(self, now: float) -> None:
        """Start the process where it is due; note where it has ended."""
        if self.process is None:
            if now >= self._next:
                self._start(now)
        elif (code := self.process.poll()) is not None:
            self._ended(code, now)

    def _start(self, now: float) -> None:
        self._started = now
        self.process = subprocess.Popen(  # noqa: S603 - our own program
            self.command,
            pass_fds=self.sockets,
            process_group=0,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - this process has one thread
        )

    def _ended(self, code: int, now: float) -> None:
        steady = now - self._started > _STEADY_SECONDS
        self._pause = 0.2 if steady else min(max(self._pause * 2, 0.2), _LONGEST_PAUSE)
        self._next = now + self._pause
        self.process = None
        _log.error("%s ended with %s, starting it again in %.1f s", self.name, code, self._pause)

    def signal(self, number: signal.Signals) -> None:
        """Send the signal to the process, where it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def end(self, deadline: float) -> None:
        """Wait until the process has ended; past the deadline kill it with all that it started."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _log.warning("%s did not end in time, killing it", self.name)
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def supervise(children: Sequence[Child]) -> None:
    """Run the children until SIGTERM or SIGINT, then end them within five seconds."""
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while not stopping:
        for child in children:
            child.tend(time.monotonic())
        time.sleep(0.1)
    _log.info("stopping")
    deadline = time.monotonic() + _GRACE_SECONDS
    for child in children:
        child.signal(signal.SIGTERM)
    for child in children:
        child.end(deadline)


def landcast(*arguments: str) -> list[str]:
    """Return the command that runs this program with the arguments."""
    return [sys.executable, "-m", "server.cli", *arguments]
