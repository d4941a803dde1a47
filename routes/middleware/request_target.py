"""Where a request goes: Host and the form of its target, the public address's prefix, a slash at the end."""

import re
from http import HTTPStatus
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import unquote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from routes.errors import answer
from routes.http.problem import Problem

_HOST = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]++|%[0-9A-Fa-f]{2})++)(?::(?P<port>\d{0,5}))?",
    re.ASCII,
)
_ABSOLUTE = re.compile(r"https?://([^/]*)(.*)", re.IGNORECASE | re.DOTALL)
_AUTHORITY = "a name or an address, and a port"
_LARGEST_PORT = 65_535


class RequestTarget:
    """Accept requests with the path prefix of the public address and without it: a proxy may strip it or not.

    An address with a slash at its end is sent to the one without it (308), at the public address. Host is looked at
    for its form alone (RFC 9112, 3.2: none, two or a malformed one are 400), as is the authority of a whole address in
    place of a path; any name will do, and X-Forwarded-* are never read. `public_path` in the scope is the path that the
    public knows.
    """

    def __init__(self, app: ASGIApp, *, url: str) -> None:
        self._app = app
        self._url = url
        self._prefix = urlsplit(url).path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send on, or hand on by the stripped path."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            _check_host(scope)
            path = self._stripped(_path_of(scope))
        except Problem as problem:
            await answer(Request(scope), problem)(scope, receive, send)
            return
        scope = {**scope, "root_path": "", "path": path, "public_path": f"{self._prefix}{path}"}
        if path.startswith("/") and path.endswith("/") and path != "/":
            await self._without_slash(scope)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _stripped(self, path: str) -> str:
        if self._prefix and (path == self._prefix or path.startswith(f"{self._prefix}/")):
            return path.removeprefix(self._prefix) or "/"
        return path

    def _without_slash(self, scope: Scope) -> Response:
        query = scope["query_string"].decode("latin-1")
        target = self._url + (scope["path"].rstrip("/") or "/") + (f"?{query}" if query else "")
        return RedirectResponse(target, HTTPStatus.PERMANENT_REDIRECT)


def _check_host(scope: Scope) -> None:
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"host"]
    if len(hosts) > 1:
        raise Problem(HTTPStatus.BAD_REQUEST, "Host: allowed once")
    if not hosts and scope.get("http_version", "1.1") == "1.1":
        raise Problem(HTTPStatus.BAD_REQUEST, "Host: missing; HTTP/1.1 demands one, whichever it is")
    if hosts and not _is_authority(hosts[0]):
        raise Problem(HTTPStatus.BAD_REQUEST, f"Host: {hosts[0][:80]!r}; allowed: {_AUTHORITY}")


def _path_of(scope: Scope) -> str:
    """Return the path of the target: a whole address is taken too, whoever it names (RFC 9112, 3.2.2)."""
    path: str = scope["path"]
    if path.startswith("/"):
        return path
    whole = _ABSOLUTE.fullmatch(scope.get("raw_path", path.encode()).decode("latin-1"))
    if whole is None:
        return path
    if not _is_authority(whole[1]):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"the address: {whole[1][:80]!r}; allowed: {_AUTHORITY}",
        )
    return unquote(whole[2], errors="replace") or "/"


def _is_authority(text: str) -> bool:
    found = _HOST.fullmatch(text)
    if found is None or int(found["port"] or 0) > _LARGEST_PORT:
        return False
    try:
        return found["six"] is None or bool(IPv6Address(found["six"]).exploded)
    except AddressValueError:
        return False
