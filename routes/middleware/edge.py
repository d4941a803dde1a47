"""The outermost middleware: the request's id and target, and the headers and the log line of its answer."""

import logging
import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from ipaddress import AddressValueError, IPv6Address
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from routes.errors import answer
from routes.http.language import SCOPE_KEY
from routes.http.problem import Problem, current_request_id

_LOGGER = logging.getLogger("landcast.access")
_SANE = re.compile(r"[A-Za-z0-9._-]{8,64}")
_NAMES = "sig|token|access_token|id_token_hint|key|password|code|state|session_state"
_SECRET = re.compile(rf"(?<![^&?;])({_NAMES})=[^&]*", re.IGNORECASE)
_EXPOSED = (
    "Link, Location, Content-Bbox, Content-Crs, Content-Datetime, Content-Disposition, Content-Range, Accept-Ranges, "
    "Allow, ETag, Last-Modified, Preference-Applied, Repr-Digest, Retry-After, Scale-Factor, WWW-Authenticate, "
    "X-Request-Id"
)
_HOST = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]++|%[0-9A-Fa-f]{2})++)(?::(?P<port>\d{0,5}))?",
    re.ASCII,
)
_ABSOLUTE = re.compile(r"https?://([^/]*)(.*)", re.IGNORECASE | re.DOTALL)
_AUTHORITY = "a name or an address, and a port"
_LARGEST_PORT = 65_535

OTHER = "other"
"""The path of requests that no route answers."""
type Counted = tuple[str, str, int, float]
"""An answered request: the path of its route, method, status and seconds."""
Count = Callable[[Counted], None]


class Edge:
    """Give the request an id, find its target, complete the headers of its answer, and log it in one line.

    The id is in `current_request_id` and in the answer. A path is accepted with and without the path prefix of the
    public address, as a proxy may strip it; `public_path` in the scope is the public path. A path that ends with a
    slash is redirected to the one without (308), at the public address, unless slashes are `strict`. Only the form of
    Host is checked (RFC 9112, 3.2: none, two or a malformed one are 400), and of the authority in an absolute target;
    any name is allowed, and X-Forwarded-* are never read.

    Headers are added unless the route has set them; answers to HEAD lose their body. Every 503 has Retry-After, and an
    answer with texts of the configuration Content-Language. Scripts of any origin may read answers: with `*` browsers
    do so without cookies only. `headers` are more headers for every answer. `count` is called for each answered
    request: the path of its route, method, status and seconds; it must not wait.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        url: str,
        headers: Mapping[str, str] | None = None,
        strict: bool = False,
        count: Count | None = None,
    ) -> None:
        self._app = app
        self._count = count
        self._url = url
        self._prefix = urlsplit(url).path
        self._strict = strict
        self._headers = {
            **(headers or {}),
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Expose-Headers": _EXPOSED,
            "Content-Security-Policy": content_policy(url),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with an id and the stripped path, and log its end."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = choose_request_id(Headers(scope=scope).get("x-request-id"))
        reset = current_request_id.set(request_id)
        began = time.perf_counter()
        bodiless = scope["method"] == "HEAD"
        status, size, note = 0, 0, scope.setdefault(SCOPE_KEY, {})

        async def complete(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                self._complete(message, request_id, note)
            elif bodiless and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self._answer(scope, receive, complete)
        finally:
            seconds = time.perf_counter() - began
            if self._count is not None:
                self._count((note.get("route", OTHER), scope["method"], status, seconds))
            _LOGGER.info(
                "%s %s",
                scope["method"],
                without_secrets(scope),
                extra={"status": status, "bytes": size, "ms": round(seconds * 1000, 1)},
            )
            current_request_id.reset(reset)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            _check_host(scope)
            path = self._stripped(_path_of(scope))
        except Problem as problem:
            await answer(Request(scope), problem)(scope, receive, send)
            return
        scope = {**scope, "root_path": "", "path": path, "public_path": f"{self._prefix}{path}"}
        if not self._strict and path.startswith("/") and path.endswith("/") and path != "/":
            await self._without_slash(scope)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _complete(self, message: Message, request_id: str, note: Mapping[str, Any]) -> None:
        headers = MutableHeaders(scope=message)
        for name, value in self._headers.items():
            headers.setdefault(name, value)
        if note.get("written"):
            headers.setdefault("Content-Language", note["written"])
        if note.get("varies"):
            headers.add_vary_header("Accept-Language")
        if message["status"] == HTTPStatus.SERVICE_UNAVAILABLE:
            headers.setdefault("Retry-After", "5")
        headers["X-Request-Id"] = request_id

    def _stripped(self, path: str) -> str:
        if self._prefix and (path == self._prefix or path.startswith(f"{self._prefix}/")):
            return path.removeprefix(self._prefix) or "/"
        return path

    def _without_slash(self, scope: Scope) -> Response:
        query = scope["query_string"].decode("latin-1")
        target = self._url + (scope["path"].rstrip("/") or "/") + (f"?{query}" if query else "")
        return RedirectResponse(target, HTTPStatus.PERMANENT_REDIRECT)


def choose_request_id(inbound: str | None) -> str:
    """Return the caller's id if it is valid (8 to 64 letters, digits, `._-`), else a new one."""
    return inbound if inbound and _SANE.fullmatch(inbound) else uuid4().hex


def without_secrets(scope: Scope) -> str:
    """Return path and query without the values of signatures, tokens and keys."""
    query = scope["query_string"].decode("latin-1")
    path: str = scope["path"]
    return path + (f"?{_SECRET.sub(r'\1=…', query)}" if query else "")


def content_policy(url: str, *form_targets: str, scripts: bool = False, drawn: bool = False) -> str:
    """Return the Content-Security-Policy of a page: only our own style and pictures, and our own scripts if allowed.

    Pictures in a style sheet are allowed if the page is `drawn` with them. `form_targets` are the addresses that a form
    of the page finally redirects to; browsers check these too.
    """
    ours, *others = (f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, (url, *form_targets)))
    targets = " ".join(["'self'", *dict.fromkeys(other for other in others if other != ours)])
    pictures = " data:" if drawn else ""
    active = f"script-src {url}/static/; connect-src 'self' {ours}; " if scripts else ""
    return (
        f"default-src 'none'; {active}style-src 'self' {ours}; img-src 'self' {ours}{pictures}; form-action {targets}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


def _check_host(scope: Scope) -> None:
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"host"]
    if len(hosts) > 1:
        raise Problem(HTTPStatus.BAD_REQUEST, "Host: allowed once")
    if not hosts and scope.get("http_version", "1.1") == "1.1":
        raise Problem(HTTPStatus.BAD_REQUEST, "Host: missing; HTTP/1.1 requires one")
    if hosts and not _is_authority(hosts[0]):
        raise Problem(HTTPStatus.BAD_REQUEST, f"Host: {hosts[0][:80]!r}; allowed: {_AUTHORITY}")


def _path_of(scope: Scope) -> str:
    """Return the path of the target, which may be an absolute one with any authority (RFC 9112, 3.2.2)."""
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
