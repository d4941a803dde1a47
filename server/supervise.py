"""`landcast serve`: the server processes and the worker process, started, watched, ended together.

The parent holds the listening socket, so that a server process that is restarted loses no connection. systemd watches
the parent.
"""

import ctypes
import errno
import logging
import math
import mmap
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import suppress
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
_PATIENCE_SECONDS = 30.0
"""How long a process may give no sign of life; gunicorn gives the server processes as long."""
_START_SECONDS = 120.0
_LEAVE_SECONDS = 30.0
"""How long what a process has started may go on without it."""
_WATCHDOG_SHARE = 3
"""Signs of life that systemd is given in the time after which it would miss one."""


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


class Liveness:
    """A process's signs of life, in memory that it shares with who started it."""

    def __init__(self) -> None:
        self._cells = memoryview(mmap.mmap(-1, 16)).cast("d")

    def beat(self) -> None:
        """Say that the process goes on."""
        self._cells[0] = time.monotonic()

    @property
    def last(self) -> float:
        """The moment of the last beat, on the monotonic clock; 0 before the first."""
        return self._cells[0]

    def ready(self) -> None:
        """Say that the process can do its work."""
        self._cells[1] = 1

    @property
    def is_ready(self) -> bool:
        """Whether the process has ever been able to do its work."""
        return bool(self._cells[1])


class Systemd:
    """What is told to systemd, as sd_notify(3) says, where it started us and wants to know."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Take its variables out of the environment: what we start must not speak for us."""
        self._address = environment.pop("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        microseconds = environment.pop("WATCHDOG_USEC", "")
        mine = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._pause = int(microseconds) / 1e6 / _WATCHDOG_SHARE if mine and microseconds.isdecimal() else math.inf
        self._next = 0.0

    def tell(self, state: str) -> None:
        """Tell it, where it can be told."""
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.sendto(state.encode(), self._address)

    def beat(self, now: float) -> None:
        """Tell it that we go on, as often as it wants to know."""
        if now >= self._next and self._pause < math.inf:
            self._next = now + self._pause
            self.tell("WATCHDOG=1")


class StartupError(Exception):
    """What starting again cannot mend; the message tells the operator what is wrong."""


@dataclass(slots=True)
class Child:
    """One watched process: restarted when it ends, after a pause that grows while it keeps ending.

    It is forked, so that what the parent has imported is not imported again; it leads a process group of its own.
    One that was alive and gives no sign of life for `patience` seconds is killed. Each time it is given twice as long,
    so that a step that takes long is not begun for ever.
    """

    name: str
    run: Callable[[Liveness], None]
    patience: float = _PATIENCE_SECONDS
    liveness: Liveness = field(default_factory=Liveness, init=False)
    process: ForkProcess | None = field(default=None, init=False)
    hopeless: bool = field(default=False, init=False)
    _started: float = field(default=0.0, init=False)
    _pause: float = field(default=0.0, init=False)
    _next: float = field(default=0.0, init=False)
    _left: dict[int, float] = field(default_factory=dict, init=False)
    """Groups of processes that have ended, and when what is left of each is killed."""

    def tend(self, now: float) -> None:
        """Start the process where it is due; note where it has ended; kill it where it hangs."""
        for group, until in tuple(self._left.items()):
            if not _signal_group(group, signal.SIGKILL if now >= until else 0):
                del self._left[group]
        if self.process is None:
            if now >= self._next:
                self._start(now)
        elif (code := self.process.exitcode) is not None:
            self._ended(code, now)
        elif self._hangs(now):
            _log.error("%s gives no sign of life for %.0f s, killing it", self.name, self.patience)
            self.patience *= 2
            self.process.kill()
            self.process.join()

    def _hangs(self, now: float) -> bool:
        """Say whether it was silent for too long; before its first sign it may be loading."""
        last = self.liveness.last
        return now > (last + self.patience if last > self._started else self._started + _START_SECONDS)

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
            self.run(self.liveness)
        except StartupError as error:
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
        if self.process is not None:
            self._left[self.process.pid or 0] = now + _LEAVE_SECONDS
        self.process = None
        _log.error("%s ended with %s, starting it again in %.1f s", self.name, how, self._pause)

    def stop(self) -> None:
        """Ask the process to end, where it runs."""
        if self.process is not None:
            self.process.terminate()

    def end(self, deadline: float) -> None:
        """Wait until the process has ended, and kill it past the deadline; then kill what it left running."""
        for group in self._left:
            _signal_group(group, signal.SIGKILL)
        if self.process is None:
            return
        while self.process.exitcode is None and time.monotonic() < deadline:
            time.sleep(_TICK_SECONDS)
        if self.process.exitcode is None:
            _log.warning("%s did not end in time, killing it", self.name)
        if self.process.pid is not None:
            _signal_group(self.process.pid, signal.SIGKILL)
        self.process.join()


def _signal_group(group: int, number: int) -> bool:
    """Signal the processes of a group; say whether there were any."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def supervise(children: Sequence[Child], *, announce: Callable[[], None] = lambda: None) -> bool:
    """Run the children until SIGTERM or SIGINT, or until one is hopeless, then end them within five seconds.

    Calls `announce` and tells systemd when the first child says that it is ready. Says whether it was asked to end.
    """
    stopping = announced = False
    systemd = Systemd(os.environ)

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while not stopping and not any(child.hopeless for child in children):
        for child in children:
            child.tend(time.monotonic())
        if not announced and children[0].liveness.is_ready:
            announced = True
            announce()
            systemd.tell("READY=1")
        systemd.beat(time.monotonic())
        time.sleep(_TICK_SECONDS)
    _log.info("stopping")
    systemd.tell("STOPPING=1")
    deadline = time.monotonic() + _GRACE_SECONDS
    for child in children:
        child.stop()
    for child in children:
        child.end(deadline)
    return stopping
