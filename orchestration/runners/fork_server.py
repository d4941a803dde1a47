"""The worker's side of the processes that fork children: one serves, another takes over from it, others end."""

import json
import os
import select
import signal
import socket
import subprocess
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from orchestration.child import FRUGAL
from orchestration.forking import LONGEST, Message

FORKS = 1000
_AGE = 3600.0
"""After so many forks, or seconds, another server takes the next orders."""
PATIENCE = 20.0
"""Seconds in which a server answers; else it and its children are ended by force."""
_LOADING = 120.0
"""Seconds in which it has loaded what works need."""
_PAUSE = 1.0
"""Seconds without a new server after one has ended."""
_PING = 5.0
"""Seconds between two questions whether a server is alive."""
_STEP = 1.0
"""Seconds that count at most between two looks, so that a machine that slept does not count as silence."""


@dataclass(slots=True)
class ForkedChild:
    """A child that a server was asked for: `pid` once it has begun, `code` once it has ended.

    It is not reaped before `ForkServer.reap`. `refused` is why it was not begun and will not be; `lost` says that its
    server has ended, and it with that.
    """

    server: "ForkServer"
    pid: int | None = None
    code: int | None = None
    refused: str = ""
    lost: bool = False

    def signal(self, number: signal.Signals) -> None:
        """Signal its group, whose number is its own as long as it is not reaped."""
        if self.pid is not None and not self.lost:
            end_group(self.pid, number)


class ForkServer:
    """A server that this process has started; no call waits for it. Raises OSError where it cannot be started.

    It ends with the thread that started it, and its children end with it.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], patience: float) -> None:
        self._patience = patience
        with ExitStack() as stack:
            ours, theirs = map(stack.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            self.process = subprocess.Popen(  # noqa: S603  the command is ours
                (*command, "--control", str(theirs.fileno()), "--parent", str(os.getpid())),
                stdin=subprocess.DEVNULL,
                env=os.environ | dict(environment) | FRUGAL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
            self._control = socket.socket(fileno=ours.detach())
            self._control.settimeout(0)
        self._children: dict[str, ForkedChild] = {}
        self._born = self._looked = time.monotonic()
        self._silent = self._since_ping = 0.0
        self._forks = 0
        self.is_ready = self.is_over = False

    def fileno(self) -> int:
        """Return what is readable when it has said something."""
        return self._control.fileno()

    def is_due(self, forks: int) -> bool:
        """Say whether another should take over."""
        return self._forks >= forks or time.monotonic() > self._born + _AGE

    def start(self, run: str, order: int, lock: int) -> ForkedChild:
        """Have a child do the order of the descriptor while it holds the lock of the other. Raises OSError."""
        descriptors = array("i", [order, lock])
        message = json.dumps({"start": run}).encode()
        self._control.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        self._forks += 1
        self._children[run] = ForkedChild(self)
        return self._children[run]

    def reap(self, child: ForkedChild) -> None:
        """Forget a child that has ended; its number may be another process's from then on."""
        self._children = {run: each for run, each in self._children.items() if each is not child}
        if child.pid is not None and not self.is_over:
            self._say({"reap": child.pid})

    def hear(self) -> bool:
        """Take in what it has said, and end it where it says nothing; say whether a child is over."""
        over = False
        while not self.is_over:
            try:
                said = self._control.recv(LONGEST)
            except BlockingIOError:
                self._judge()
                return over or self.is_over
            except OSError:
                said = b""
            if not said:
                self.end()
                return True
            self._silent = 0.0
            over = self._take(json.loads(said)) or over
        return over

    def _take(self, message: Message) -> bool:
        match message:
            case {"ready": _}:
                self.is_ready = True
            case {"begun": str(run), "pid": int(pid)} if run in self._children:
                self._children[run].pid = pid
            case {"failed": str(run), "why": str(why)} if run in self._children:
                self._children.pop(run).refused = why
                return True
            case {"ended": int(pid), "code": int(code)}:
                for child in self._children.values():
                    if child.pid == pid:
                        child.code = code
                return True
        return False

    def _judge(self) -> None:
        now = time.monotonic()
        step = min(now - self._looked, _STEP)
        self._looked = now
        self._silent += step
        self._since_ping += step
        if self._silent > (self._patience if self.is_ready else _LOADING):
            self.end()
        elif self._since_ping > min(_PING, self._patience / 2):
            self._since_ping = 0.0
            self._say({"ping": True})

    def _say(self, message: Message) -> None:
        """Say it; who does not listen is found out by their silence."""
        with suppress(OSError):
            self._control.send(json.dumps(message).encode())

    def end(self) -> None:
        """End it by force, and with it its children and all that these have begun.

        Where it has ended by itself its children end with it, and are reaped by others: their groups are ended at once,
        before another process can have got a number of theirs.
        """
        self.is_over = True
        for child in self._children.values():
            child.signal(signal.SIGKILL)
            child.lost = True
        self._children = {}
        self.process.kill()
        self.process.wait()
        self._control.close()

    @property
    def is_free(self) -> bool:
        """Whether it has no children."""
        return not self._children


class ForkServers:
    """Starts children by a server that is replaced after a while, after so many `forks`, and when it has ended.

    One that was replaced ends once its children have. `make` starts a server. To be used by one thread.
    """

    def __init__(self, make: Callable[[], ForkServer], *, forks: int) -> None:
        self._make = make
        self._most = forks
        self._serving: ForkServer | None = None
        self._next: ForkServer | None = None
        self._leaving: list[ForkServer] = []
        self._not_before = 0.0

    def start(self, run: str, order: int, lock: int) -> ForkedChild:
        """Have a child begin, as `ForkServer.start` does. Raises OSError."""
        self.hear()
        serving = self._serving = self._serving or self._another()
        if self._next is None and serving.is_due(self._most):
            self._next = self._another()
        return serving.start(run, order, lock)

    def _another(self) -> ForkServer:
        if time.monotonic() < self._not_before:
            raise OSError("the process that begins orders has ended a moment ago")
        try:
            return self._make()
        except OSError:
            self._not_before = time.monotonic() + _PAUSE
            raise

    def wait(self, seconds: float) -> None:
        """Rest for so many seconds, or until a child is over; meanwhile have a server ready."""
        until = time.monotonic() + seconds
        while not self.hear() and (left := until - time.monotonic()) > 0:
            if self._serving is None:
                with suppress(OSError):
                    self._serving = self._another()
            poll = select.poll()
            for server in self._all():
                poll.register(server, select.POLLIN)
            poll.poll(left * 1000)

    def hear(self) -> bool:
        """Hear what the servers say, and have the next one serve where it is ready; say whether a child is over."""
        over = [server.hear() for server in self._all()]
        if self._next is not None and self._next.is_ready:
            self._leaving += [self._serving] if self._serving else []
            self._serving, self._next = self._next, None
        for server in self._leaving:
            if server.is_free:
                server.end()
        self._leaving = [server for server in self._leaving if not server.is_over]
        if self._next is not None and self._next.is_over:
            self._next = None
        if self._serving is not None and self._serving.is_over:
            self._serving, self._next = self._next, None
            self._not_before = time.monotonic() + _PAUSE
        return any(over)

    def _all(self) -> list[ForkServer]:
        return [server for server in (self._serving, self._next, *self._leaving) if server is not None]

    def close(self) -> None:
        """End all of them, and their children."""
        for server in self._all():
            server.end()
        self.hear()


def end_group(pid: int, number: signal.Signals) -> None:
    """Signal a group of processes, where there is one."""
    with suppress(ProcessLookupError):
        os.killpg(pid, number)
