"""The fork server: one thread that has imported modules and opened nothing, and forks a child for each order.

The worker starts it, and both exchange packets of JSON. It receives `start`, with the descriptors of the order and of
the run's lock, `reap` and `ping`; it sends `ready`, `begun`, `failed`, `ended` and `alive`.
"""

import gc
import json
import os
import select
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Never

from orchestration.child import die_with

LONGEST = 65_536
"""The most bytes of a message."""
_DESCRIPTORS = 2
"""The descriptors that come with `start`."""

Message = Mapping[str, Any]


@dataclass(slots=True)
class _Child:
    pid: int
    descriptor: int
    """A pidfd, readable once the child has ended."""


class Forking:
    """The server's side: forks children, reports how they end, and reaps them when the worker says so.

    Until then the ids of a child and of its process group cannot be reused, so that the worker can kill the group.
    `run` is called in a child with the descriptor of its order; it returns the exit code.
    """

    def __init__(self, control: socket.socket, run: Callable[[int], int]) -> None:
        self._control = control
        self._run = run
        self._children: dict[int, _Child] = {}
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def serve(self) -> None:
        """Serve until the worker closes its end."""
        gc.collect()
        gc.freeze()
        self._say({"ready": True})
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor != self._control.fileno():
                    self._ended(descriptor)
                elif not self._hear():
                    return

    def _say(self, message: Message) -> None:
        self._control.send(json.dumps(message).encode())

    def _hear(self) -> bool:
        """Act on a message of the worker; return False if the worker has closed its end."""
        said, descriptors, _, _ = socket.recv_fds(self._control, LONGEST, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        if not said:
            return False
        match json.loads(said):
            case {"start": str(run)}:
                self._start(run, *descriptors)
            case {"reap": int(pid)}:
                self._reap(pid)
            case _:
                self._say({"alive": True})
        return True

    def _start(self, run: str, order: int, lock: int) -> None:
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._say({"failed": run, "why": str(error)})
        else:
            if pid == 0:
                self._become(server, order)
            child = _Child(pid, os.pidfd_open(pid))
            self._children[child.descriptor] = child
            self._poll.register(child.descriptor, select.POLLIN)
            self._say({"begun": run, "pid": pid})
        finally:
            os.close(order)
            os.close(lock)

    def _become(self, server: int, order: int) -> Never:
        """Be the child: in a session of its own, without the server's descriptors; hold the lock to the end."""
        code: object = 1
        try:
            os.setsid()
            die_with(server)
            self._control.close()
            for descriptor in self._children:
                os.close(descriptor)
            code = self._run(order)
        except SystemExit as error:
            code = error.code
        except BaseException:  # noqa: BLE001  the outermost handler of the process
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code if isinstance(code, int) else int(code is not None))

    def _ended(self, descriptor: int) -> None:
        found = os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOWAIT)
        if found is None:
            return
        self._poll.unregister(descriptor)
        code = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        self._say({"ended": found.si_pid, "code": code})

    def _reap(self, pid: int) -> None:
        child = next((child for child in self._children.values() if child.pid == pid), None)
        if child is not None:
            os.waitpid(pid, 0)
            os.close(child.descriptor)
            del self._children[child.descriptor]
