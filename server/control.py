"""The socket in the state folder by which `landcast reload` asks a running server to reload its configuration.

Connecting to it is the request. The answer is a line of JSON, sent when the configuration is accepted or refused.
"""

import json
import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

_PATTERN = "serve-*.sock"
_CALLERS = 64
_SEND_SECONDS = 1.0
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class ReloadAnswer:
    """The outcome of a reload: without problems the configuration is accepted, otherwise the former one stays."""

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Control:
    """The socket of a running server; only its user may connect. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        for path in folder.glob(_PATTERN):
            _remove_if_dead(path)
        self._path = folder / f"serve-{secrets.token_hex(4)}.sock"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        draft = self._path.with_suffix(".part")
        mask = os.umask(0o177)
        try:
            with _short(draft) as short:
                self._socket.bind(short)
        finally:
            os.umask(mask)
        self._socket.listen(_CALLERS)
        draft.rename(self._path)  # only now, when it accepts connections

    def accept(self) -> list[socket.socket]:
        """Return the waiting callers, without waiting for more."""
        callers: list[socket.socket] = []
        with suppress(OSError):
            while len(callers) < _CALLERS:
                callers.append(self._socket.accept()[0])
        return callers

    def close(self) -> None:
        """Remove the socket."""
        self._path.unlink(missing_ok=True)
        self._socket.close()


def answer(callers: Iterable[socket.socket], outcome: ReloadAnswer) -> None:
    """Answer the callers, without waiting for one that has disconnected or does not read."""
    for caller in callers:
        with suppress(OSError):
            caller.settimeout(_SEND_SECONDS)
            caller.sendall(json.dumps(asdict(outcome)).encode() + b"\n")
        hang_up([caller])


def hang_up(callers: Iterable[socket.socket]) -> None:
    """End the connections for both sides, also in processes that were forked meanwhile."""
    for caller in callers:
        with caller, suppress(OSError):
            caller.shutdown(socket.SHUT_RDWR)


def ask_servers(folder: Path) -> Iterator[ReloadAnswer]:
    """Ask each server that runs on the state folder to reload, and yield its answer."""
    for path in sorted(folder.glob(_PATTERN)):
        if not _remove_if_dead(path):
            yield _ask(path)


def _ask(path: Path) -> ReloadAnswer:
    received = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking, _short(path) as short:
        asking.connect(short)
        with suppress(ConnectionResetError):
            while chunk := asking.recv(_CHUNK):
                received += chunk
    if not received.endswith(b"\n"):
        return ReloadAnswer(("the server ended before it had accepted the configuration",))
    return ReloadAnswer(**{name: tuple(lines) for name, lines in json.loads(received).items()})


def _remove_if_dead(path: Path) -> bool:
    """Remove the socket of a server that was killed; return whether there is no socket any more."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe, _short(path) as short:
            probe.connect(short)  # of the wrong type, so that it is not a request
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
        return True
    except OSError:
        return not path.exists()
    return False


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield a short path of the same file, as the path of a socket has at most 107 bytes."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
