"""Where a request goes: the public address's prefix, a slash at the end, OPTIONS."""

from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

_PREFLIGHT = {
    "Access-Control-Allow-Headers": (
        "Accept, Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, If-Range, Prefer, Range, "
        "X-Request-Id"
    ),
    "Access-Control-Max-Age": "86400",
}


class Place:
    """Accept requests with the path prefix of the public address and without it: a proxy may strip it or not.

    An address with a slash at its end is sent to the one without it (308), at the public address; Host and
    X-Forwarded-* are never read. `public_path` in the scope is the path that the public knows. OPTIONS says what a
    route allows, to CORS preflights too.
    """

    def __init__(self, app: ASGIApp, *, url: str, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._url = url
        self._prefix = urlsplit(url).path
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send on, answer OPTIONS, or hand on by the stripped path."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = self._stripped(scope["path"])
        scope = {**scope, "root_path": "", "path": path, "public_path": f"{self._prefix}{path}"}
        if path.endswith("/") and path != "/":
            await self._without_slash(scope)(scope, receive, send)
        elif scope["method"] == "OPTIONS" and (methods := allowed_methods(self._routes, scope)):
            await _options(scope, methods)(scope, receive, send)
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


def allowed_methods(routes: Sequence[BaseRoute], scope: Scope) -> tuple[str, ...]:
    """Return every method that some route answers at this path, OPTIONS included; nothing for an unknown path."""
    found = {
        method
        for route in routes
        if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
    return tuple(sorted(found | {"OPTIONS"})) if found else ()


def _options(scope: Scope, methods: tuple[str, ...]) -> Response:
    headers = {"Allow": ", ".join(methods)}
    if "access-control-request-method" in Headers(scope=scope):
        headers |= {"Access-Control-Allow-Methods": ", ".join(methods), **_PREFLIGHT}
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
