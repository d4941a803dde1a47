"""The limits of a request and of all concurrent requests, and the answer to an unexpected error."""

import logging
from http import HTTPStatus

import anyio
from anyio import CancelScope
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from routes.errors import answer, problem_of
from routes.http.body import MAX_BODY, SMALL_BODY, too_large
from routes.http.problem import Problem

_LOGGER = logging.getLogger(__name__)
_HELD = 10 * MAX_BODY
"""Bytes of bodies in the memory of one process; above it only small bodies are read further."""
_DRAINED_BYTES = 100_000_000
_DRAINED_SECONDS = 5.0
_ALWAYS = frozenset({"/health/live"})


class Bounds:
    """Enforce limits: 413 for a larger body, 408 for a missing one, 503 for too many requests or a late answer.

    A request counts as one of the `requests`, and its `seconds` run, from the end of its body to the begin of its
    answer. So a slow reader of a large file is not cut off, and occupies a connection, but no thread and no slot. A
    thread that still works for an abandoned request occupies its slot.
    """

    def __init__(self, app: ASGIApp, *, requests: int, seconds: float, body_seconds: float) -> None:
        self._app = app
        self._requests = requests
        self._seconds = seconds
        self._body_seconds = body_seconds
        self._running = 0
        self.held = 0
        """Received bytes of the bodies of unfinished requests."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on within the limits, or refuse it."""
        if scope["type"] != "http" or scope["path"] in _ALWAYS:
            await self._app(scope, receive, send)
            return
        body = _Body(scope, receive, self, self._body_seconds)
        send = _closing(body, send)
        if (problem := self._refusal(scope)) is not None:
            await answer(Request(scope), problem)(scope, receive, send)
            return
        body.enter()
        try:
            await self._in_time(scope, body, send)
        finally:
            body.leave()
            self.held -= body.received

    def enter(self) -> None:
        """Take a slot of running requests. Raises Problem 503."""
        if (problem := self._busy()) is not None:
            raise problem
        self._running += 1

    def leave(self) -> None:
        """Release the slot."""
        self._running -= 1

    def hold(self, size: int, received: int) -> None:
        """Count bytes of a body, `received` in all. Raises Problem 503 if all bodies together are too large."""
        self.held += size
        if self.held > _HELD and received > SMALL_BODY:
            raise _try_again()

    def _refusal(self, scope: Scope) -> Problem | None:
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdecimal() and int(length) > MAX_BODY:
            return too_large(MAX_BODY)
        return self._busy()

    def _busy(self) -> Problem | None:
        return _try_again() if self._running >= self._requests else None

    async def _in_time(self, scope: Scope, body: "_Body", send: Send) -> None:
        begun = anyio.Event()
        given_up = False

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                body.leave()
            begun.set()
            if not given_up:
                await send(message)

        async def work() -> None:
            await self._app(scope, body.receive, note)
            begun.set()

        async with anyio.create_task_group() as group:
            with anyio.move_on_after(self._seconds) as body.work:
                group.start_soon(work)
                await begun.wait()
            if not begun.is_set():
                given_up = True
                late = Problem(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    f"no answer within {self._seconds:g} seconds; ask for less, or try again",
                    headers={"Retry-After": "10"},
                )
                await answer(Request(scope), late)(scope, body.receive, send)
                group.cancel_scope.cancel()


class _Body:
    """A request's body: its bytes are counted, as a chunked one does not declare its size; `unread` until its end.

    The request occupies no slot while the server waits for its body.
    """

    def __init__(self, scope: Scope, receive: Receive, bounds: Bounds, seconds: float) -> None:
        headers = Headers(scope=scope)
        self.unread = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self.received = 0
        self.work: CancelScope | None = None
        """Ends the request at its time limit."""
        self._awaited = "expect" not in headers
        self._receive = receive
        self._bounds = bounds
        self._seconds = seconds
        self._has_place = False
        self._waited = 0.0

    def enter(self) -> None:
        """Take a slot of running requests. Raises Problem 503."""
        self._bounds.enter()
        self._has_place = True

    def leave(self) -> None:
        """Release the slot, if it has one."""
        if self._has_place:
            self._has_place = False
            self._bounds.leave()

    async def receive(self) -> Message:
        """Return the next part. Raises Problem 408, 413, 503."""
        if not self.unread:
            return await self._receive()
        self.leave()
        message = await self._in_time()
        self.enter()
        size = len(message.get("body", b""))
        self.received += size
        self.unread = message.get("more_body", False)
        self._bounds.hold(size, self.received)
        if self.received > MAX_BODY:
            raise too_large(MAX_BODY)
        return message

    async def _in_time(self) -> Message:
        """Return the next message; gunicorn reports also a long silent client as disconnected."""
        began = anyio.current_time()
        with anyio.move_on_after(self._seconds - self._waited):
            message = await self._receive()
            waited = anyio.current_time() - began
            self._waited += waited
            if self.work is not None:
                self.work.deadline += waited
            if message["type"] != "http.disconnect":
                return message
        self._awaited = False
        detail = f"the body has not come within {self._seconds:g} seconds, or its sender fell silent"
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, detail)

    async def drain(self) -> None:
        """Read on, within limits: a client that sends everything before it reads gets the answer, not a broken pipe.

        A client that waits for `100 Continue` reads already.
        """
        self.leave()
        drained = 0
        with anyio.move_on_after(_DRAINED_SECONDS):
            while self._awaited and self.unread and drained < _DRAINED_BYTES:
                message = await self._receive()
                drained += len(message.get("body", b""))
                self.unread = message.get("more_body", False)


def _closing(body: _Body, send: Send) -> Send:
    """Announce that the connection ends, as gunicorn ends it after an answer before the body's end (RFC 9112, 9.6)."""

    async def say(message: Message) -> None:
        if message["type"] == "http.response.start" and body.unread:
            MutableHeaders(scope=message)["Connection"] = "close"
            await body.drain()
        await send(message)

    return say


def _try_again() -> Problem:
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "the server is busy; try again in a moment", headers={"Retry-After": "1"}
    )


class Failures:
    """Answer an unexpected error with a 500 problem; an answer that has begun is cut off."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and answer an error."""
        begun = False

        async def note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, note)
        except ClientDisconnect:
            _LOGGER.info("the client has gone")
        except Exception as error:
            if scope["type"] != "http":
                raise
            problem = problem_of(error)
            if begun:
                raise
            await answer(Request(scope), problem)(scope, receive, send)
