"""The worker's side of the fork servers: one starts children, its successor loads, replaced ones end."""

import json
import os
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
"""The age in seconds at which a server is replaced."""
PATIENCE = 20.0
"""Seconds within which a server must answer; otherwise it and its children are killed."""
_LOADING = 120.0
"""Seconds within which a server must load its modules."""
_PAUSE = 1.0
"""Seconds after the end of a server until another one is started."""
_PING = 5.0
"""Seconds between two pings."""
_STEP = 1.0
"""Maximum seconds that count between two checks, so that a suspended machine does not count as silence."""


@dataclass(slots=True)
class ForkedChild:
    """A child requested from a server: `pid` is set once it has started, `code` once it has ended.

    It is not reaped before `ForkServer.reap`. `refused` is the reason why it could not be started; `lost` is set when
    its server has ended, which ends the child too.
    """

    server: "ForkServer"
    pid: int | None = None
    code: int | None = None
    refused: str = ""
    lost: bool = False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process group, whose id cannot be reused until the child is reaped."""
        if self.pid is not None and not self.lost:
            end_group(self.pid, number)


class ForkServer:
    """A fork server that this process has started; no call blocks. Raises OSError if it cannot be started.

    It ends with the thread that started it, and its children end with it.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], patience: float, descriptors: Sequence[int] = ()
    ) -> None:
        self._patience = patience
        with ExitStack() as stack:
            ours, theirs = map(stack.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            self.process = subprocess.Popen(  # noqa: S603  the command is ours
                (*command, "--control", str(theirs.fileno()), "--parent", str(os.getpid())),
                stdin=subprocess.DEVNULL,
                env=os.environ | dict(environment) | FRUGAL,
                pass_fds=[theirs.fileno(), *descriptors],
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
        """Return the descriptor that is readable when a message has come."""
        return self._control.fileno()

    def is_due(self, forks: int) -> bool:
        """Return whether it should be replaced."""
        return self._forks >= forks or time.monotonic() > self._born + _AGE

    def start(self, run: str, order: int, lock: int) -> ForkedChild:
        """Start a child that reads its order from one descriptor and holds the lock of the other. Raises OSError."""
        descriptors = array("i", [order, lock])
        message = json.dumps({"start": run}).encode()
        self._control.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        self._forks += 1
        self._children[run] = ForkedChild(self)
        return self._children[run]

    def reap(self, child: ForkedChild) -> None:
        """Forget a child that has ended; its process id may be reused from then on."""
        self._children = {run: each for run, each in self._children.items() if each is not child}
        if child.pid is not None and not self.is_over:
            self._say({"reap": child.pid})

    def hear(self) -> bool:
        """Read its messages, and end it if it has been silent too long; return whether a child has ended."""
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
        """Send a message; a server that does not read is detected by its silence."""
        with suppress(OSError):
            self._control.send(json.dumps(message).encode())

    def end(self) -> None:
        """Kill it, its children and their process groups.

        If it has ended by itself, its children end with it and init reaps them: their groups are killed at once, before
        their ids can be reused.
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
    """Starts children by a server that is replaced after an hour, after `forks` children, and when it has ended.

    A replaced server ends after its children. `make` starts a server. For use by one thread.
    """

    def __init__(self, make: Callable[[], ForkServer], *, forks: int) -> None:
        self._make = make
        self._most = forks
        self._serving: ForkServer | None = None
        self._next: ForkServer | None = None
        self._leaving: list[ForkServer] = []
        self._not_before = 0.0

    def start(self, run: str, order: int, lock: int) -> ForkedChild:
        """Start a child, as `ForkServer.start`. Raises OSError."""
        self.hear()
        serving = self._serving = self._serving or self._another()
        if self._next is None and serving.is_due(self._most):
            self._next = self._another()
        return serving.start(run, order, lock)

    def retire(self) -> None:
        """Let all servers end after their children; `start` must not be called again."""
        self._leaving += [server for server in (self._serving, self._next) if server is not None]
        self._serving = self._next = None

    def _another(self) -> ForkServer:
        if time.monotonic() < self._not_before:
            raise OSError("the process that starts orders has just ended")
        try:
            return self._make()
        except OSError:
            self._not_before = time.monotonic() + _PAUSE
            raise

    def have_ready(self) -> None:
        """Start a server if there is none and one can be started now."""
        if self._serving is None:
            with suppress(OSError):
                self._serving = self._another()

    def hear(self) -> bool:
        """Read the servers' messages, replace one if its successor is ready; return whether a child has ended."""
        over = [server.hear() for server in self.all()]
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

    def all(self) -> list[ForkServer]:
        """Return all servers."""
        return [server for server in (self._serving, self._next, *self._leaving) if server is not None]

    def close(self) -> None:
        """End all of them, and their children."""
        for server in self.all():
            server.end()
        self.hear()


def end_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process group, if it exists."""
    with suppress(ProcessLookupError):
        os.killpg(pid, number)
