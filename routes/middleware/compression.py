"""Compression of JSON and pages, if the caller accepts it (RFC 9110, 8.4 and 12.5.3)."""

import re
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Literal

import anyio
from anyio import CapacityLimiter
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth.authenticate import COOKIE
from routes.http.accept import weights

if sys.version_info >= (3, 14):
    from compression.zstd import CompressionParameter, ZstdCompressor
else:
    from backports.zstd import CompressionParameter, ZstdCompressor

_TEXT = re.compile(r"text/(?!event-stream)[^;]+|image/svg\+xml|application/(?:[^;]+\+)?(?:json|xml)", re.IGNORECASE)
_NOT_OF = ("content-encoding", "content-range", "repr-digest")
_SMALLEST = 1000
"""Bytes that fit into one packet with the head; compressing them saves nothing."""
_ON_THE_LOOP = 16_384
"""Bytes that are compressed in less than a millisecond."""
_PIECE = 262_144
_ZSTD_LEVEL = 1
"""Of a page of 10,000 items 5 % less than gzip's level 4, in a quarter of its CPU time; level 5 is as slow as gzip."""
_ZSTD_WINDOW = 18
_GZIP_LEVEL = 4
_WITH_HEAD_OF_GZIP = 31
_THREADS = 2
_KNOWN, _SHORT = 256, 256
_SESSION = COOKIE.encode()


class Then(Enum):
    """What follows a piece of a body: more at once, more later (so the piece must be readable), or nothing."""

    MORE = auto()
    PAUSE = auto()
    END = auto()


Encoder = Callable[[bytes, Then], bytes]


def _zstd() -> Encoder:
    """Return an encoder of 0.6 MB, whose window of 256 kB every client supports (RFC 9659)."""
    parameter = CompressionParameter
    compressor = ZstdCompressor(options={parameter.compression_level: _ZSTD_LEVEL, parameter.window_log: _ZSTD_WINDOW})
    modes: dict[Then, Literal[0, 1, 2]] = {
        Then.MORE: ZstdCompressor.CONTINUE,
        Then.PAUSE: ZstdCompressor.FLUSH_BLOCK,
        Then.END: ZstdCompressor.FLUSH_FRAME,
    }
    return lambda piece, then: compressor.compress(piece, modes[then])


def _gzip() -> Encoder:
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _WITH_HEAD_OF_GZIP)
    flushes = {Then.PAUSE: zlib.Z_SYNC_FLUSH, Then.END: zlib.Z_FINISH}

    def encode(piece: bytes, then: Then) -> bytes:
        made = compressor.compress(piece)
        return made if then is Then.MORE else made + compressor.flush(flushes[then])

    return encode


_ENCODERS: dict[str, Callable[[], Encoder]] = {"zstd": _zstd, "gzip": _gzip}
"""By content coding; of equally preferred ones the first is used."""


class Compression:
    """Compress text with the coding that the caller prefers, piece by piece, larger pieces in a thread.

    Answers with ranges are not compressed, as ETag and ranges refer to their bytes. Neither are answers under /auth/,
    with `no-store`, or to a signed-in browser: an attacker who makes a browser send requests and sees the lengths of
    the answers could guess the secrets in them (BREACH).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._threads = CapacityLimiter(_THREADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and compress the answer."""
        if scope["type"] != "http" or "/auth/" in scope["path"]:
            await self._app(scope, receive, send)
            return
        accept = ",".join(Headers(scope=scope).getlist("accept-encoding"))
        wanted = _known_coding(accept) if len(accept) <= _SHORT else coding_of(accept)
        if any(name.lower() == b"cookie" and _SESSION in value for name, value in scope["headers"]):
            wanted = Coding(None)
        compressed = _Compressed(send, self._threads, wanted, bodiless=scope["method"] == "HEAD")
        await self._app(scope, receive, compressed.send)


@dataclass(frozen=True, slots=True)
class Coding:
    """The content coding of an answer, None for no compression; `always` if the caller refuses that."""

    name: str | None
    always: bool = False


def coding_of(accept: str) -> Coding:
    """Return the preferred coding, rather one than none at a tie; `*` is gzip, which every client can read."""
    said = weights(accept)
    others = said.get("*", 0.0)
    liked = {"zstd": said.get("zstd", 0.0), "gzip": said.get("gzip", said.get("x-gzip", others))}
    best = max(liked, key=lambda name: liked[name])
    as_it_is = said.get("identity", others)
    if liked[best] == 0 or liked[best] < as_it_is:
        return Coding(None)
    return Coding(best, always=as_it_is == 0 and not said.keys().isdisjoint(("identity", "*")))


_known_coding = lru_cache(_KNOWN)(coding_of)
"""Cached, as clients send the same few headers with every request."""


class _Compressed:
    """An answer: its head waits for the first piece of its body, whose length decides on compression."""

    def __init__(self, send: Send, threads: CapacityLimiter, wanted: Coding, *, bodiless: bool) -> None:
        self._send = send
        self._threads = threads
        self._wanted = wanted
        self._bodiless = bodiless
        self._head: Message | None = None
        self._encode: Encoder | None = None

    async def send(self, message: Message) -> None:
        """Process a message of the answer."""
        if message["type"] == "http.response.start":
            if not _is_compressible(message):
                await self._send(message)
                return
            MutableHeaders(scope=message).add_vary_header("Accept-Encoding")
            if self._wanted.name is None:
                await self._send(message)
                return
            self._head = message
        elif message["type"] != "http.response.body" or (self._head is None and self._encode is None):
            await self._send(message)
        else:
            await self._body(message.get("body", b""), more=message.get("more_body", False))

    async def _body(self, body: bytes, *, more: bool) -> None:
        if self._encode is None and not more and len(body) < _SMALLEST and not (body and self._wanted.always):
            await self._begin(None)
            await self._send({"type": "http.response.body", "body": body})
            return
        if self._encode is None:
            self._encode = _ENCODERS[str(self._wanted.name)]()
        if self._bodiless:
            await self._begin(-1)
            await self._send({"type": "http.response.body", "body": b"", "more_body": more})
            return
        for piece, last in _pieces(body):
            then = Then.MORE if not last else Then.PAUSE if more else Then.END
            made = await self._packed(self._encode, piece, then)
            ends = then is Then.END
            await self._begin(len(made) if ends else -1)
            if made or ends:  # an empty one would end a chunked body
                await self._send({"type": "http.response.body", "body": made, "more_body": not ends})

    async def _packed(self, encode: Encoder, piece: bytes, then: Then) -> bytes:
        if len(piece) <= _ON_THE_LOOP:
            return encode(piece, then)
        return await anyio.to_thread.run_sync(encode, piece, then, limiter=self._threads)

    async def _begin(self, length: int | None) -> None:
        """Send the head once: unchanged, or for a compressed body of this length, -1 if unknown."""
        if self._head is None:
            return
        message, self._head = self._head, None
        if length is not None:
            headers = MutableHeaders(scope=message)
            headers["Content-Encoding"] = str(self._wanted.name)
            del headers["Content-Length"]
            if length >= 0:
                headers["Content-Length"] = str(length)
        await self._send(message)


def _pieces(body: bytes) -> Iterator[tuple[bytes, bool]]:
    """Return the body in pieces, each with whether it is the last one."""
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
