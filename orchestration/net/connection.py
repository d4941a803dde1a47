"""Connections on behalf of a caller: to the address that was checked, and with a deadline for all waits."""

import io
import re
import socket
import ssl
import time
from collections.abc import Buffer
from contextlib import suppress
from http.client import HTTPConnection
from typing import Any, override
from urllib.parse import SplitResult, urlsplit

from orchestration.errors import ReferenceRefused
from orchestration.net.addresses import Allowed, Resolve, addresses_of, is_public, resolve

_PORTS = {"http": 80, "https": 443}
_ALIVE = {
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 60,
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): 20,
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT): 6,
}
"""Keepalive: a vanished machine is detected within three minutes, even if an answer takes hours."""
_VISIBLE = re.compile(r"[!-~]{1,2000}")


def connect(
    parts: SplitResult, deadline: float, *, allowed: Allowed = is_public, resolve: Resolve = resolve
) -> "Pinned":
    """Return a connection to the host, which is resolved and checked now. Raises ReferenceRefused."""
    addresses = addresses_of(
        str(parts.hostname),
        parts.port or _PORTS[parts.scheme],
        seconds=deadline - time.monotonic(),
        allowed=allowed,
        resolve=resolve,
    )
    return Pinned(parts, addresses, deadline)


def parse_address(url: str) -> SplitResult:
    """Return the parts of an acceptable http or https address. Raises ReferenceRefused."""
    if not _VISIBLE.fullmatch(url) or "\\" in url:
        raise ReferenceRefused(f"{url[:200]!r}: not an address: it has invalid characters, or is too long")
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ReferenceRefused(f"{url}: not an address: {error}") from error
    if parts.scheme not in _PORTS:
        raise ReferenceRefused(f"{url}: only http and https are allowed")
    if not named or "@" in parts.netloc:
        raise ReferenceRefused(f"{url}: must have a host, and no user name or password")
    return parts


def target_of(parts: SplitResult) -> str:
    """Return the request target: path and query."""
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def why(error: Exception) -> str:
    """Return a description of a connection's failure."""
    return str(error) or type(error).__name__


class Pinned(HTTPConnection):
    """A connection to one of the checked addresses; every wait on it ends at the deadline."""

    def __init__(self, parts: SplitResult, addresses: list[str], deadline: float) -> None:
        super().__init__(str(parts.hostname), parts.port or _PORTS[parts.scheme])
        self.default_port = _PORTS[parts.scheme]
        self._tls = parts.scheme == "https"
        self._addresses = addresses
        self._deadline = deadline
        self._open: list[socket.socket] = []

    @override
    def connect(self) -> None:
        plain = self._first()
        self._open.append(plain)
        for option, value in _ALIVE.items():
            plain.setsockopt(*option, value)
        if self._tls:
            plain = ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)
            self._open.append(plain)
        self.sock = _UntilDeadline(plain, self._deadline)

    def _first(self) -> socket.socket:
        """Return a socket to the first address that answers."""
        for address in self._addresses[:-1]:
            with suppress(ConnectionError):
                return socket.create_connection((address, self.port), timeout=_left(self._deadline) / 2)
        return socket.create_connection((self._addresses[-1], self.port), timeout=_left(self._deadline))

    def hang_up(self) -> None:
        """Close the socket; `close` does not, because http.client calls it before it has read the response."""
        for sock in self._open:
            sock.close()


class _UntilDeadline:
    """A socket for http.client whose reads and writes share one deadline, so that slow data does not extend it."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock, self._deadline))

    def sendall(self, content: Buffer) -> None:
        self._sock.settimeout(_left(self._deadline))
        self._sock.sendall(content)

    def close(self) -> None:
        """Do nothing: `hang_up` closes the socket."""


class _Reader(io.RawIOBase):
    """Reads from a socket until the deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any, /) -> int:
        self._sock.settimeout(_left(self._deadline))
        return self._sock.recv_into(buffer)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
