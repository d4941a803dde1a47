"""One id and one line in the log for every request."""

import logging
import re
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from routes.http.request_id import choose_request_id, current_request_id

_LOGGER = logging.getLogger("landcast.access")
_NAMES = "sig|token|access_token|id_token_hint|key|password|code|state|session_state"
_SECRET = re.compile(rf"(?<![^&?;])({_NAMES})=[^&]*", re.IGNORECASE)


class RequestLog:
    """Name the request in `current_request_id` and its answer, and log method, path, status, bytes, milliseconds."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on by a name, and log the end."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = choose_request_id(Headers(scope=scope).get("x-request-id"))
        reset = current_request_id.set(request_id)
        began = time.perf_counter()
        status, size = 0, 0

        async def note(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            _LOGGER.info(
                "%s %s",
                scope["method"],
                without_secrets(scope),
                extra={"status": status, "bytes": size, "ms": round((time.perf_counter() - began) * 1000, 1)},
            )
            current_request_id.reset(reset)


def without_secrets(scope: Scope) -> str:
    """Return path and query with the values of signatures, tokens and keys left out."""
    query = scope["query_string"].decode("latin-1")
    path: str = scope["path"]
    return path + (f"?{_SECRET.sub(r'\1=…', query)}" if query else "")
