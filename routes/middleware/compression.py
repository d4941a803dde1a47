"""JSON and pages are compressed where the caller takes it (RFC 9110, 8.4 and 12.5.3)."""

import re
import zlib
from collections.abc import Iterator

import anyio
from anyio import CapacityLimiter
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth.authenticate import session_secret
from routes.accept import weights

_TEXT = re.compile(r"text/(?!event-stream)[^;]+|image/svg\+xml|application/(?:[^;]+\+)?(?:json|xml)", re.IGNORECASE)
_NOT_OF = ("content-encoding", "content-range", "repr-digest")
_SMALLEST = 1000
"""Bytes that fit into one packet with the head; to compress them saves nothing."""
_ON_THE_LOOP = 16_384
"""Bytes that are compressed in less than a millisecond."""
_PIECE = 262_144
_LEVEL = 4
_WITH_HEAD_OF_GZIP = 31
_THREADS = 2


class Compression:
    """Compress with gzip what is text, piece by piece as it comes, larger pieces in a thread.

    Never what is sent by range (its ETag and ranges are of its own bytes), nor an answer under /auth/, one that no
    cache may store, or one to a signed-in browser: who can make a browser ask and see how long answers are could guess
    the secrets in them (BREACH).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._threads = CapacityLimiter(_THREADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, and compress the answer."""
        if scope["type"] != "http" or "/auth/" in scope["path"]:
            await self._app(scope, receive, send)
            return
        wanted = takes_gzip(Headers(scope=scope).get("accept-encoding"))
        secret = session_secret(scope["headers"]) is not None
        compressed = _Compressed(send, self._threads, wanted=wanted and not secret, bodiless=scope["method"] == "HEAD")
        await self._app(scope, receive, compressed.send)


def takes_gzip(accept: str | None) -> bool:
    """Say whether the caller likes gzip at least as well as what is not compressed."""
    said = weights(accept or "")
    gzip = said.get("gzip", said.get("x-gzip", said.get("*", 0.0)))
    return gzip > 0 and gzip >= said.get("identity", 0)


class _Compressed:
    """An answer: its head waits for the first piece of its body, whose length decides."""

    def __init__(self, send: Send, threads: CapacityLimiter, *, wanted: bool, bodiless: bool) -> None:
        self._send = send
        self._threads = threads
        self._wanted = wanted
        self._bodiless = bodiless
        self._head: Message | None = None
        self._gzip: zlib._Compress | None = None

    async def send(self, message: Message) -> None:
        """Take a message of the answer."""
        if message["type"] == "http.response.start":
            if not _is_compressible(message):
                await self._send(message)
                return
            MutableHeaders(scope=message).add_vary_header("Accept-Encoding")
            if not self._wanted:
                await self._send(message)
                return
            self._head = message
        elif message["type"] != "http.response.body" or (self._head is None and self._gzip is None):
            await self._send(message)
        else:
            await self._body(message.get("body", b""), more=message.get("more_body", False))

    async def _body(self, body: bytes, *, more: bool) -> None:
        if self._gzip is None and not more and len(body) < _SMALLEST:
            await self._begin(None)
            await self._send({"type": "http.response.body", "body": body})
            return
        if self._gzip is None:
            self._gzip = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WITH_HEAD_OF_GZIP)
        if self._bodiless:
            await self._begin(-1)
            await self._send({"type": "http.response.body", "body": b"", "more_body": more})
            return
        for piece, last in _pieces(body):
            ends = last and not more
            flush = zlib.Z_FINISH if ends else zlib.Z_SYNC_FLUSH if last else zlib.Z_NO_FLUSH
            made = await self._compress(piece, flush)
            await self._begin(len(made) if ends else -1)
            await self._send({"type": "http.response.body", "body": made, "more_body": not ends})

    async def _compress(self, piece: bytes, flush: int) -> bytes:
        compressor = self._gzip or zlib.compressobj()

        def work() -> bytes:
            made = compressor.compress(piece)
            return made if flush == zlib.Z_NO_FLUSH else made + compressor.flush(flush)

        if len(piece) <= _ON_THE_LOOP:
            return work()
        return await anyio.to_thread.run_sync(work, limiter=self._threads)

    async def _begin(self, length: int | None) -> None:
        """Send the head, once: as it is, or of a compressed body of this length, -1 where that is not known yet."""
        if self._head is None:
            return
        message, self._head = self._head, None
        if length is not None:
            headers = MutableHeaders(scope=message)
            headers["Content-Encoding"] = "gzip"
            del headers["Content-Length"]
            if length >= 0:
                headers["Content-Length"] = str(length)
        await self._send(message)


def _pieces(body: bytes) -> Iterator[tuple[bytes, bool]]:
    """Return the body in pieces, each with whether it is the last."""
    begins = range(0, max(len(body), 1), _PIECE)
    for begin in begins:
        yield body[begin : begin + _PIECE], begin == begins[-1]


def _is_compressible(message: Message) -> bool:
    headers = Headers(raw=list(message["headers"]))
    control = headers.get("cache-control", "")
    return (
        message["status"] not in (204, 206, 304)
        and _TEXT.match(headers.get("content-type", "")) is not None
        and not any(name in headers for name in _NOT_OF)
        and headers.get("accept-ranges", "none") == "none"
        and headers.get("etag", "W/").startswith("W/")
        and "no-store" not in control
        and "no-transform" not in control
    )
