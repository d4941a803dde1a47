"""The one client that fetches on behalf of a caller: bounded in time and size, never inside our own network."""

import io
import re
import socket
import ssl
import time
from collections.abc import Buffer
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, override
from urllib.parse import SplitResult, urljoin, urlsplit

from orchestration.addresses import Allowed, Resolve, addresses_of, is_public, resolve
from orchestration.errors import ReferenceRefused

_PORTS = {"http": 80, "https": 443}
_VISIBLE = re.compile(r"[!-~]{1,2000}")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Fetched:
    """What an address answered, after redirects."""

    url: str
    body: bytes
    media_type: str


class Fetcher:
    """Fetches the references of one order: `size` bytes and `seconds` in all, `redirects` for each.

    A connection is made to the very address that was checked, so that a name that resolves differently the second
    time gains nothing; the host's name still goes into the request and the certificate's check. Proxies of the
    environment are not used. Compressed answers are neither asked for nor taken.
    """

    def __init__(
        self,
        *,
        allowed: Allowed = is_public,
        size: int = 10_000_000,
        seconds: float = 60,
        redirects: int = 3,
        resolve: Resolve = resolve,
    ) -> None:
        self._allowed = allowed
        self._size = self._left = size
        self._seconds = self._time = seconds
        self._redirects = redirects
        self._resolve = resolve

    def __call__(self, url: str) -> Fetched:
        """Return what the address answers with 200. Raises ReferenceRefused."""
        deadline = time.monotonic() + self._time
        try:
            return self._follow(url, deadline)
        except TimeoutError as error:
            raise ReferenceRefused(f"{url}: not answered completely in {self._seconds:g} s") from error
        except (OSError, HTTPException) as error:
            raise ReferenceRefused(f"{url}: cannot be fetched: {_why(error)}") from error
        finally:
            self._time = max(0, deadline - time.monotonic())

    def _follow(self, url: str, deadline: float) -> Fetched:
        for _ in range(self._redirects + 1):
            connection = self._connect(_parse(url), deadline)
            try:
                answer = _ask(connection, url)
                if answer.status not in _REDIRECTS:
                    return Fetched(url, self._body(answer, url), answer.headers.get_content_type())
                url = urljoin(url, answer.headers.get("Location", ""))
            finally:
                connection.hang_up()
        raise ReferenceRefused(f"{url}: more than {self._redirects} redirects")

    def _connect(self, parts: SplitResult, deadline: float) -> "_Pinned":
        host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
        addresses = addresses_of(
            host,
            port,
            seconds=deadline - time.monotonic(),
            allowed=self._allowed,
            resolve=self._resolve,
        )
        return _Pinned(parts, addresses, deadline)

    def _body(self, answer: HTTPResponse, url: str) -> bytes:
        if answer.status != 200:  # noqa: PLR2004  the status is its own name
            raise ReferenceRefused(f"{url}: answered with status {answer.status}")
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ReferenceRefused(f"{url}: answered compressed, which is not taken")
        if (answer.length or 0) > self._left:
            raise self._too_large(url)
        body = bytearray()
        while chunk := answer.read(_CHUNK):
            body += chunk
            if len(body) > self._left:
                raise self._too_large(url)
        if answer.length:
            raise ReferenceRefused(f"{url}: the answer ended too early")
        self._left -= len(body)
        return bytes(body)

    def _too_large(self, url: str) -> ReferenceRefused:
        return ReferenceRefused(f"{url}: all references of an order may have {self._size} bytes together")


class _Pinned(HTTPConnection):
    """A connection to one of the addresses that were checked; every wait on it ends at the deadline."""

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
        """End it; `close` does not, as http.client calls that before it has read the answer."""
        for sock in self._open:
            sock.close()


class _UntilDeadline:
    """A socket as http.client uses one, whose reads and writes share one deadline: a slow drip ends as silence does."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock, self._deadline))

    def sendall(self, content: Buffer) -> None:
        self._sock.settimeout(_left(self._deadline))
        self._sock.sendall(content)

    def close(self) -> None:
        """Leave it open: `hang_up` ends it."""


class _Reader(io.RawIOBase):
    """What comes in on a socket, until the deadline."""

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


def _ask(connection: HTTPConnection, url: str) -> HTTPResponse:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection.request("GET", target, headers={"User-Agent": "landcast", "Accept": "*/*"})
    return connection.getresponse()


def _parse(url: str) -> SplitResult:
    """Return the parts of an address that may be asked. Raises ReferenceRefused."""
    if not _VISIBLE.fullmatch(url) or "\\" in url:
        raise ReferenceRefused(f"{url[:200]!r}: not an address: characters that none has, or too long")
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ReferenceRefused(f"{url}: not an address: {error}") from error
    if parts.scheme not in _PORTS:
        raise ReferenceRefused(f"{url}: only http and https are fetched")
    if not named or "@" in parts.netloc:
        raise ReferenceRefused(f"{url}: needs a host and neither user name nor password")
    return parts


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
