"""Supervise the server processes and the worker of `landcast serve`.

The parent owns the listening socket, so that no connection is lost when a server process restarts. systemd watches the
parent.
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
from typing import Protocol

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
"""Seconds without a heartbeat after which a process is killed; gunicorn's own default for its workers is the same."""
_START_SECONDS = 120.0
_LEAVE_SECONDS = 30.0
"""Seconds that the children of an ended process may continue to run."""
_ASK_SECONDS = 1.0
"""Seconds after which a process that is to retire is asked again: it may have been starting."""
_WATCHDOG_SHARE = 3
"""Number of heartbeats to systemd within its watchdog interval."""


def listen(bind: str) -> socket.socket:
    """Return an inheritable socket that listens on `host:port`. Raises OSError.

    It waits for an address in use as long as the server processes of a killed supervisor take to end.
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
    """The heartbeat of a process, in memory shared with its parent."""

    def __init__(self) -> None:
        self._cells = memoryview(mmap.mmap(-1, 24)).cast("d")

    def beat(self) -> None:
        """Record a heartbeat."""
        self._cells[0] = time.monotonic()

    @property
    def last(self) -> float:
        """Time of the last heartbeat on the monotonic clock; 0 before the first."""
        return self._cells[0]

    def ready(self) -> None:
        """Mark the process as ready."""
        self._cells[1] = 1

    @property
    def is_ready(self) -> bool:
        """Whether the process has been ready."""
        return bool(self._cells[1])

    def retire(self) -> None:
        """Mark the process as one that takes no more connections."""
        self._cells[2] = 1

    @property
    def is_retired(self) -> bool:
        """Whether the process takes no more connections."""
        return bool(self._cells[2])


class Systemd:
    """Notifications to systemd (sd_notify(3)); without systemd it does nothing."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Remove its variables from the environment, so that child processes do not notify systemd."""
        self._address = environment.pop("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        microseconds = environment.pop("WATCHDOG_USEC", "")
        mine = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._pause = int(microseconds) / 1e6 / _WATCHDOG_SHARE if mine and microseconds.isdecimal() else math.inf
        self._next = 0.0

    def notify(self, state: str) -> None:
        """Send a state, ignoring errors."""
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.sendto(state.encode(), self._address)

    def beat(self, now: float) -> None:
        """Send a watchdog heartbeat when it is due."""
        if now >= self._next and self._pause < math.inf:
            self._next = now + self._pause
            self.notify("WATCHDOG=1")


class StartupError(Exception):
    """The process cannot start and a restart does not help; the message is for the operator."""


@dataclass(slots=True)
class Child:
    """A supervised process: restarted when it ends, with exponential backoff.

    It is forked, so the parent's imports are not repeated, and leads its own process group. If it sends no heartbeat
    for `patience` seconds after its first, it is killed; `patience` doubles each time, so that a long step can finish.
    """

    name: str
    run: Callable[[Liveness], None]
    patience: float = _PATIENCE_SECONDS
    last: bool = False
    """Whether it is ended after the others, because they need it until they have ended."""
    liveness: Liveness = field(default_factory=Liveness, init=False)
    process: ForkProcess | None = field(default=None, init=False)
    cannot_start: bool = field(default=False, init=False)
    _started: float = field(default=0.0, init=False)
    _pause: float = field(default=0.0, init=False)
    _next: float = field(default=0.0, init=False)
    _left: dict[int, float] = field(default_factory=dict, init=False)
    """Process groups of ended processes, and when their remaining members are killed."""
    _leave_by: float = field(default=math.inf, init=False)

    def poll(self, now: float) -> None:
        """Start the process if due, handle its end, kill it if it hangs."""
        self._end_left(now)
        if self.process is None:
            if now >= self._next:
                self._start(now)
        elif (code := self.process.exitcode) is not None:
            self._ended(code, now)
        elif self._hangs(now):
            _log.error("%s has sent no heartbeat for %.0f s, killing it", self.name, self.patience)
            self.patience *= 2
            self.process.kill()
            self.process.join()

    def _end_left(self, now: float) -> None:
        for group, until in tuple(self._left.items()):
            if not _signal_group(group, signal.SIGKILL if now >= until else 0):
                del self._left[group]

    def leave(self, now: float, *, within: float) -> bool:
        """Have the process take no more connections and end after the last one; return whether all of it has ended.

        Call it until it has. The process is killed if it hangs, or does not end `within` so many seconds.
        """
        self._end_left(now)
        if self.process is None or (pid := self.process.pid) is None:
            return not self._left
        self._leave_by = min(self._leave_by, now + within)
        if self.process.exitcode is not None:
            self._left[pid] = now + _LEAVE_SECONDS
            self.process = None
        elif now >= self._leave_by or self._hangs(now):
            _log.error("%s did not end after its last connection, killing it", self.name)
            _signal_group(pid, signal.SIGKILL)
            self.process.join()
        elif not self.liveness.is_retired and now >= self._next:
            self._next = now + _ASK_SECONDS
            os.kill(pid, signal.SIGWINCH)
        return False

    def _hangs(self, now: float) -> bool:
        """Return whether the heartbeat is overdue; before the first, the process may be loading."""
        last = self.liveness.last
        return now > (last + self.patience if last > self._started else self._started + _START_SECONDS)

    def _start(self, now: float) -> None:
        self._started = now
        process = _fork.Process(target=self._run, args=(os.getpid(),), name=self.name)
        try:
            process.start()
        except OSError as error:
            self._ended(f"{error} at its start", now)
        else:
            self.process = process

    def _run(self, parent: int) -> None:
        os.setpgid(0, 0)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == parent:
            self._run_logged()

    def _run_logged(self) -> None:
        """Run the process; an exception is logged as one record instead of printed to standard error."""
        try:
            self.run(self.liveness)
        except StartupError as error:
            _log.error("%s cannot be started: %s", self.name, error)
            sys.exit(os.EX_CONFIG)
        except Exception:  # noqa: BLE001 - the outermost handler of the process
            _log.exception("%s failed", self.name)
            sys.exit(1)
        finally:
            logging.shutdown()  # a forked process calls nothing else at its end, and lines may wait to be shipped

    def _ended(self, how: int | str, now: float) -> None:
        self.cannot_start = how == os.EX_CONFIG
        steady = now - self._started > _STEADY_SECONDS
        self._pause = 0.2 if steady else min(max(self._pause * 2, 0.2), _LONGEST_PAUSE)
        self._next = now + self._pause
        if self.process is not None:
            self._left[self.process.pid or 0] = now + _LEAVE_SECONDS
        self.process = None
        _log.error("%s ended with %s, starting it again in %.1f s", self.name, how, self._pause)

    def stop(self) -> None:
        """Send SIGTERM if the process runs."""
        if self.process is not None:
            self.process.terminate()

    def end(self, deadline: float) -> None:
        """Wait for the process to end, kill it after the deadline, then kill the rest of its group."""
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
    """Signal a process group; return whether it exists."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


class Renewal(Protocol):
    """Replaces children while the others run."""

    def ask(self) -> None:
        """Request the replacement of children; called by a signal handler."""

    def poll(self, now: float) -> None:
        """Do the next step."""

    def stop(self) -> list[Child]:
        """Stop, and return the processes besides the children that must be ended."""


class _Signals:
    """The requests of signals to the supervisor: SIGTERM and SIGINT stop it, SIGHUP renews.

    Without a renewal, or if its terminal has been closed, SIGHUP stops it too.
    """

    def __init__(self, renewal: Renewal | None) -> None:
        self.stopping = False
        self._renewal = renewal
        self._of_terminal = os.isatty(0)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._hang_up)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def _hang_up(self, _number: int, _frame: FrameType | None) -> None:
        if self._renewal is None or (self._of_terminal and not os.isatty(0)):
            self.stopping = True
        else:
            self._renewal.ask()


def supervise(
    children: Sequence[Child], *, announce: Callable[[], None] = lambda: None, renewal: Renewal | None = None
) -> bool:
    """Run the children until SIGTERM or SIGINT, or until one cannot start, then end them within five seconds.

    Calls `announce` and notifies systemd when the first child is ready. Returns whether it ended by a signal. On SIGHUP
    the `renewal` replaces some of the children.
    """
    announced = False
    systemd = Systemd(os.environ)
    signals = _Signals(renewal)
    while not signals.stopping and not any(child.cannot_start for child in children):
        for child in children:
            child.poll(time.monotonic())
        if not announced and children[0].liveness.is_ready:
            announced = True
            announce()
            systemd.notify("READY=1")
        if renewal is not None:
            renewal.poll(time.monotonic())
        systemd.beat(time.monotonic())
        time.sleep(_TICK_SECONDS)
    _log.info("stopping")
    systemd.notify("STOPPING=1")
    ending = [*children, *(renewal.stop() if renewal is not None else ())]
    _end([child for child in ending if not child.last])
    _end([child for child in ending if child.last])
    return signals.stopping


def _end(children: Sequence[Child]) -> None:
    deadline = time.monotonic() + _GRACE_SECONDS
    for child in children:
        child.stop()
    for child in children:
        child.end(deadline)
