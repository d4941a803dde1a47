"""Continue the caller's trace (W3C Trace Context), and record a span of each request."""

import random
import time
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestration.trace import Record, Span, TraceContext, current_trace
from routes.http.language import SCOPE_KEY

_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_HEALTH = "/health"


class Tracing:
    """Set `current_trace` for the request and record its span; it is the outermost middleware, if there is a collector.

    A valid `traceparent` is continued with its decision whether the trace is sampled; a new trace is sampled for this
    `share` of requests. `traceresponse` in the answer names the span. A span has the path of the route, with names for
    its ids, never the path, the query or a header of the caller. The record function is the application's
    `state.record`. Checks of the health have no span.
    """

    def __init__(self, app: ASGIApp, *, share: float) -> None:
        self._app = app
        self._share = share

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and record its span at its end."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = TraceContext.read(Headers(scope=scope).get("traceparent"))
        context = given.child() if given else TraceContext.new(sampled=random.random() < self._share)  # noqa: S311  no secret
        status, begin, note = 500, time.time_ns(), scope.setdefault(SCOPE_KEY, {})

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["Traceresponse"] = context.text
            await send(message)

        reset = current_trace.set(context)
        try:
            await self._app(scope, receive, tell)
        finally:
            current_trace.reset(reset)
            route = note.get("route", "")
            if context.sampled and not route.startswith(_HEALTH):
                record: Record = scope["app"].state.record
                method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
                record(_span(context, given, begin, (method, route, status)))


def _span(context: TraceContext, parent: TraceContext | None, begin: int, answered: tuple[str, str, int]) -> Span:
    method, route, status = answered
    attributes: dict[str, str | int] = {"http.request.method": method, "http.response.status_code": status}
    return Span(
        f"{method} {route}".rstrip(),
        context,
        parent.span if parent else None,
        begin,
        time.time_ns(),
        attributes | ({"http.route": route} if route else {}),
        failed=status >= HTTPStatus.INTERNAL_SERVER_ERROR,
        is_request=True,
    )
