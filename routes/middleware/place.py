"""Where a request goes: the public address's prefix, a slash at the end."""

from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send


class Place:
    """Accept requests with the path prefix of the public address and without it: a proxy may strip it or not.

    An address with a slash at its end is sent to the one without it (308), at the public address; Host and
    X-Forwarded-* are never read, and what is no path (`GET http://evil.example/`) leads nowhere. `public_path` in the
    scope is the path that the public knows.
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
        path = self._stripped(scope["path"])
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
