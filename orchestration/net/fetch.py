"""The HTTP client for references of callers: bounded in time and size, and without access to private networks."""

import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from urllib.parse import urljoin, urlsplit

from orchestration.errors import ReferenceRefused
from orchestration.net.addresses import Allowed, Resolve, is_public, resolve
from orchestration.net.connection import connect, parse_address, target_of, why

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Fetched:
    """The response of an address, after redirects."""

    url: str
    body: bytes
    media_type: str


class Fetcher:
    """Fetches the references of one order: at most `size` bytes and `seconds` in total, `redirects` for each.

    It connects to the address that was checked, so that DNS rebinding has no effect; the request and the certificate
    check use the host name. Proxies of the environment are not used. Compressed responses are refused.
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
        """Return the response of the address, whose status is 200. Raises ReferenceRefused."""
        deadline = time.monotonic() + self._time
        try:
            return self._follow(url, deadline)
        except TimeoutError as error:
            raise ReferenceRefused(f"{url}: not answered completely in {self._seconds:g} s") from error
        except (OSError, HTTPException) as error:
            raise ReferenceRefused(f"{url}: cannot be fetched: {why(error)}") from error
        finally:
            self._time = max(0, deadline - time.monotonic())

    def _follow(self, url: str, deadline: float) -> Fetched:
        for _ in range(self._redirects + 1):
            connection = connect(parse_address(url), deadline, allowed=self._allowed, resolve=self._resolve)
            try:
                answer = _ask(connection, url)
                if answer.status not in _REDIRECTS:
                    return Fetched(url, self._body(answer, url), answer.headers.get_content_type())
                url = urljoin(url, answer.headers.get("Location", ""))
            finally:
                connection.hang_up()
        raise ReferenceRefused(f"{url}: more than {self._redirects} redirects")

    def _body(self, answer: HTTPResponse, url: str) -> bytes:
        if answer.status != 200:  # noqa: PLR2004  the status is its own name
            raise ReferenceRefused(f"{url}: answered with status {answer.status}")
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ReferenceRefused(f"{url}: the response is compressed, which is not allowed")
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
        return ReferenceRefused(f"{url}: too large: the references of an order may have {self._size} bytes in total")


def _ask(connection: HTTPConnection, url: str) -> HTTPResponse:
    connection.request("GET", target_of(urlsplit(url)), headers={"User-Agent": "landcast", "Accept": "*/*"})
    return connection.getresponse()
