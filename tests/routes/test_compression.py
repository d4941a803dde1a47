"""Text is compressed where it is asked for, and what must not be never is."""

import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message

from routes.middleware.compression import Compression, takes_gzip
from tests.routes.people import Browser

LONG = b'{"a": "' + b"land cover " * 200 + b'"}'


def _client(answer: Callable[[], Response], path: str = "/thing") -> TestClient:
    async def endpoint(_request: Request) -> Response:
        return answer()

    app = Starlette(routes=[Route(path, endpoint)], middleware=[Middleware(Compression)])
    return TestClient(app, headers={"accept-encoding": "gzip"})


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("br;q=1, gzip;q=0.1", True),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("gzip;q=0.000", False),
        ("*;q=0, gzip", True),
        ("identity", False),
        ("identity;q=1, gzip;q=0.5", False),
        ("identity;q=0.5, gzip;q=1", True),
        ("identity;q=0, gzip;q=0.2", True),
        ("br, zstd, deflate", False),
        ("gzip;q=x", False),
        (";;,,=", False),
    ],
)
def test_what_is_asked_for_decides(accept: str | None, taken: bool) -> None:  # noqa: FBT001
    assert takes_gzip(accept) is taken


@pytest.mark.parametrize(
    "kind",
    [
        "application/json", "application/geo+json", "application/schema+json", "text/html; charset=utf-8", "text/csv",
        "application/vnd.oai.openapi+json;version=3.0", "image/svg+xml", "application/xml",
    ],
)  # fmt: skip
def test_text_is_compressed(kind: str) -> None:
    got = _client(lambda: Response(LONG, media_type=kind)).get("/thing")
    assert got.headers["content-encoding"] == "gzip"
    assert got.headers["vary"] == "Accept-Encoding"
    assert int(got.headers["content-length"]) < len(LONG) / 5
    assert got.content == LONG


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "image/png"}, 200),
        ({"content-type": "image/tiff; application=geotiff"}, 200),
        ({"content-type": "application/zip"}, 200),
        ({"content-type": "application/json", "accept-ranges": "bytes", "etag": '"a"'}, 200),
        ({"content-type": "application/json", "content-range": "bytes 0-1/2"}, 206),
        ({"content-type": "application/json", "etag": '"a"'}, 200),
        ({"content-type": "application/json", "repr-digest": "sha-256=:a:"}, 200),
        ({"content-type": "application/json", "content-encoding": "br"}, 200),
        ({"content-type": "application/json", "cache-control": "no-store"}, 200),
        ({"content-type": "application/json", "cache-control": "public, no-transform"}, 200),
        ({}, 200),
    ],
)
def test_anything_else_is_sent_as_it_is(headers: dict[str, str], status: int) -> None:
    with _client(lambda: Response(LONG, status, headers)).stream("GET", "/thing") as got:
        assert b"".join(got.iter_raw()) == LONG
        assert got.headers.get("content-encoding") == headers.get("content-encoding")
        assert got.headers["content-length"] == str(len(LONG))
        assert "vary" not in got.headers


def test_what_is_small_stays_as_it_is_and_says_that_it_varies() -> None:
    got = _client(lambda: Response(b"{}", media_type="application/json")).get("/thing")
    assert "content-encoding" not in got.headers
    assert got.headers["vary"] == "Accept-Encoding"
    assert got.headers["content-length"] == "2"


def test_who_does_not_ask_gets_it_as_it_is() -> None:
    got = _client(lambda: Response(LONG, media_type="text/html")).get("/thing", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in got.headers
    assert got.headers["vary"] == "Accept-Encoding"
    assert got.content == LONG


def test_head_says_what_get_would() -> None:
    client = _client(lambda: Response(LONG, media_type="text/html"))
    head, get = client.head("/thing"), client.get("/thing")
    assert head.content == b""
    for name in ("content-encoding", "vary", "content-type"):
        assert head.headers[name] == get.headers[name]
    assert head.headers.get("content-length") in (None, get.headers["content-length"])


def test_what_takes_long_to_compress_comes_in_pieces_whole() -> None:
    long = bytes(range(256)) * 10_000
    got = _client(lambda: Response(long, media_type="text/plain")).get("/thing")
    assert got.content == long
    assert "content-length" not in got.headers


def test_a_stream_stays_one() -> None:
    """Each part that the route sends can be read at once, before the next one is there."""
    unpack, seen = zlib.decompressobj(31), bytearray()

    async def parts() -> AsyncIterator[bytes]:
        for number in range(3):
            part = b"part %d " % number
            yield part
            assert seen.endswith(part)

    async def send(message: Message) -> None:
        seen.extend(unpack.decompress(message.get("body", b"")))

    app = _client(lambda: StreamingResponse(parts(), media_type="application/json")).app
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"spec_version": "2.4"},
        "method": "GET",
        "path": "/thing",
        "query_string": b"",
        "headers": [(b"accept-encoding", b"gzip")],
    }
    anyio.run(app, scope, _never, send)
    assert bytes(seen) == b"part 0 part 1 part 2 "


async def _never() -> Message:
    await anyio.sleep_forever()
    raise AssertionError


def test_nothing_under_auth_and_nothing_for_a_session_is_compressed() -> None:
    """Attack: have a browser ask many times for what reflects a guess beside a secret, and look at the length."""
    client = _client(lambda: Response(LONG, media_type="text/html"), "/land/auth/account")
    assert "content-encoding" not in client.get("/land/auth/account").headers
    client = _client(lambda: Response(LONG, media_type="text/html"))
    assert "content-encoding" in client.get("/thing").headers
    assert "content-encoding" not in client.get("/thing", headers={"cookie": "__Host-landcast=x"}).headers


def test_the_pages_of_who_is_signed_in_are_not_compressed(browser: Browser) -> None:
    headers = {"accept": "text/html", "accept-encoding": "gzip"}
    assert browser.http.get("/collections", headers=headers).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in browser.http.get("/auth/login", headers=headers).headers
    browser.sign_in()
    for path in ("/auth/account", "/collections", "/"):
        answer = browser.http.get(path, headers=headers)
        assert answer.status_code == 200
        assert "content-encoding" not in answer.headers


def test_gzip_is_what_comes() -> None:
    with _client(lambda: Response(LONG, media_type="text/html")).stream("GET", "/thing") as got:
        assert gzip.decompress(b"".join(got.iter_raw())) == LONG
