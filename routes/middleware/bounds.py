"""What one request may take, and how many there may be at once."""

from http import HTTPStatus

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from routes.errors import answer
from routes.problem import Problem

MAX_BODY = 10_000_000
"""Bytes that the body of a request may have."""
_DRAINED_BYTES = 100_000_000
_DRAINED_SECONDS = 5.0
_ALWAYS = frozenset({"/health/live"})


class Bounds:
    """Refuse what is beyond: 413 a larger body, 503 more requests at once or an answer that does not begin in time.

    The time runs until the answer begins: a slow reader of a large file is not cut off, and holds no thread.
    A thread that still works for a request given up keeps its place among the `requests`.
    """

    def __init__(self, app: ASGIApp, *, requests: int, seconds: float) -> None:
        self._app = app
        self._requests = requests
        self._seconds = seconds
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or hand on within the bounds."""
        if scope["type"] != "http" or scope["path"] in _ALWAYS:
            await self._app(scope, receive, send)
            return
        body = _Body(scope, receive)
        send = _closing(body, send)
        if (problem := self._refusal(scope)) is not None:
            await answer(Request(scope), problem)(scope, receive, send)
            return
        self._running += 1
        try:
            await self._in_time(scope, body.receive, send)
        finally:
            self._running -= 1

    def _refusal(self, scope: Scope) -> Problem | None:
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdecimal() and int(length) > MAX_BODY:
            return _too_large()
        if self._running >= self._requests:
            return Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the server is busy; try again in a moment",
                headers={"Retry-After": "1"},
            )
        return None

    async def _in_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = anyio.Event()
        given_up = False

        async def note(message: Message) -> None:
            begun.set()
            if not given_up:
                await send(message)

        async def work() -> None:
            await self._app(scope, receive, note)
            begun.set()

        async with anyio.create_task_group() as group:
            group.start_soon(work)
            with anyio.move_on_after(self._seconds):
                await begun.wait()
            if not begun.is_set():
                given_up = True
                late = Problem(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    f"no answer within {self._seconds:g} seconds; ask for less, or try again",
                    headers={"Retry-After": "10"},
                )
                await answer(Request(scope), late)(scope, receive, send)
                group.cancel_scope.cancel()


class _Body:
    """A request's body: counted, since no header says how large a chunked one is; `unread` until its end."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers = Headers(scope=scope)
        self.unread = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self._awaited = "expect" not in headers
        self._receive = receive
        self._received = 0

    async def receive(self) -> Message:
        """Return the next part. Raises Problem 413."""
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._received > MAX_BODY:
            raise _too_large()
        self.unread = message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Read on, within bounds: a client that sends all before it listens gets the answer, not a broken pipe.

        One that waits for `100 Continue` listens already.
        """
        with anyio.move_on_after(_DRAINED_SECONDS):
            while self._awaited and self.unread and self._received < _DRAINED_BYTES:
                message = await self._receive()
                self._received += len(message.get("body", b""))
                self.unread = message.get("more_body", False)


def _closing(body: _Body, send: Send) -> Send:
    """Say that the connection ends with an answer before the body's end, as gunicorn ends it (RFC 9112, 9.6)."""

    async def say(message: Message) -> None:
        if message["type"] == "http.response.start" and body.unread:
            MutableHeaders(scope=message)["Connection"] = "close"
            await body.drain()
        await send(message)

    return say


def _too_large() -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body is larger than {MAX_BODY} bytes",
    )
