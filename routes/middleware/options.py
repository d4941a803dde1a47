"""What a route allows, asked by OPTIONS."""

from collections.abc import Sequence
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

_PREFLIGHT = {
    "Access-Control-Allow-Headers": (
        "Accept, Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, If-Range, Prefer, Range, "
        "X-Api-Key, X-Request-Id"
    ),
    "Access-Control-Max-Age": "86400",
}


class Options:
    """Answer OPTIONS at every path that there is, to CORS preflights too.

    Those come without credentials; bad ones are refused here as everywhere, since `Caller` stands before it.
    """

    def __init__(self, app: ASGIApp, *, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        asked = scope["type"] == "http" and scope["method"] == "OPTIONS"
        if asked and (methods := allowed_methods(self._routes, scope)):
            await _options(scope, methods)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


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
