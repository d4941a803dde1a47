"""Text is compressed on request, and secrets never are."""

import gzip
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from httpx2 import Headers
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message

from routes.middleware.compression import Coding, Compression, coding_of
from tests.routes.people import Browser

if sys.version_info >= (3, 14):
    from compression.zstd import DecompressionParameter, ZstdDecompressor, decompress
else:
    from backports.zstd import DecompressionParameter, ZstdDecompressor, decompress

LONG = b'{"a": "' + b"land cover " * 200 + b'"}'


def _client(answer: Callable[[], Response], path: str = "/thing") -> TestClient:
    async def endpoint(_request: Request) -> Response:
        return answer()

    app = Starlette(routes=[Route(path, endpoint)], middleware=[Middleware(Compression)])
    return TestClient(app, headers={"accept-encoding": "gzip"})


AS_IT_IS, GZIP, ZSTD = Coding(None), Coding("gzip"), Coding("zstd")
ONLY_GZIP, ONLY_ZSTD = Coding("gzip", always=True), Coding("zstd", always=True)
ACCEPTED = {
    "": AS_IT_IS,
    "gzip": GZIP,
    "GZIP": GZIP,
    "x-gzip": GZIP,
    "zstd": ZSTD,
    "gzip, deflate, br": GZIP,
    "gzip, deflate, br, zstd": ZSTD,
    "zstd;q=0.9, gzip": GZIP,
    "zstd, gzip;q=0.9": ZSTD,
    "zstd;q=0, gzip;q=0.001": GZIP,
    "br;q=1, gzip;q=0.1": GZIP,
    "br, deflate": AS_IT_IS,
    "*": GZIP,
    "*, zstd": ZSTD,
    "*;q=0.5, zstd;q=0.1": GZIP,
    "*;q=0.5, zstd;q=0.1, gzip;q=0.2": AS_IT_IS,
    "*;q=0": AS_IT_IS,
    "gzip;q=0, *": AS_IT_IS,
    "gzip;q=0.000": AS_IT_IS,
    "identity": AS_IT_IS,
    "identity, gzip": GZIP,
    "identity;q=1, gzip;q=0.5, zstd;q=0.9": AS_IT_IS,
    "identity;q=0.5, gzip;q=1": GZIP,
    "identity;q=0.5, gzip;q=0.4, zstd;q=0.5": ZSTD,
    "identity;q=0, gzip;q=0.2": ONLY_GZIP,
    "identity;q=0, zstd, gzip": ONLY_ZSTD,
    "*;q=0, gzip": ONLY_GZIP,
    "*;q=0, identity;q=0.1, gzip": GZIP,
    "identity;q=0": AS_IT_IS,
    "gzip;q=x": AS_IT_IS,
    "zstd;q=2, gzip": GZIP,
    ";;,,=": AS_IT_IS,
}


@pytest.mark.parametrize("accept", ACCEPTED)
def test_accept_encoding_decides(accept: str) -> None:
    assert coding_of(accept) == ACCEPTED[accept]


def test_several_headers_are_one_list() -> None:
    asked = [("accept-encoding", "gzip;q=0.5"), ("accept-encoding", "zstd")]
    got = _client(lambda: Response(LONG, media_type="text/html")).get("/thing", headers=Headers(asked))
    assert got.headers["content-encoding"] == "zstd"
    assert got.content == LONG


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize(
    "kind",
    [
        "application/json", "application/geo+json", "application/schema+json", "text/html; charset=utf-8", "text/csv",
        "application/vnd.oai.openapi+json;version=3.0", "image/svg+xml", "application/xml",
    ],
)  # fmt: skip
def test_text_is_compressed(kind: str, coding: str) -> None:
    got = _client(lambda: Response(LONG, media_type=kind)).get("/thing", headers={"accept-encoding": coding})
    assert got.headers["content-encoding"] == coding
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
def test_other_media_types_are_not_compressed(headers: dict[str, str], status: int) -> None:
    asked = {"accept-encoding": "zstd, gzip, identity;q=0"}
    with _client(lambda: Response(LONG, status, headers)).stream("GET", "/thing", headers=asked) as got:
        assert b"".join(got.iter_raw()) == LONG
        assert got.headers.get("content-encoding") == headers.get("content-encoding")
        assert got.headers["content-length"] == str(len(LONG))
        assert "vary" not in got.headers


def test_small_answers_are_not_compressed_but_have_vary() -> None:
    got = _client(lambda: Response(b"{}", media_type="application/json")).get("/thing")
    assert "content-encoding" not in got.headers
    assert got.headers["vary"] == "Accept-Encoding"
    assert got.headers["content-length"] == "2"


def test_small_answers_are_compressed_if_identity_is_refused() -> None:
    client = _client(lambda: Response(b"{}", media_type="application/json"))
    got = client.get("/thing", headers={"accept-encoding": "zstd, identity;q=0"})
    assert (got.headers["content-encoding"], got.content) == ("zstd", b"{}")
    empty = _client(lambda: Response(b"", media_type="application/json"))
    assert "content-encoding" not in empty.get("/thing", headers={"accept-encoding": "zstd, *;q=0"}).headers


def test_answers_are_not_compressed_unasked() -> None:
    got = _client(lambda: Response(LONG, media_type="text/html")).get("/thing", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in got.headers
    assert got.headers["vary"] == "Accept-Encoding"
    assert got.content == LONG


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_head_has_the_headers_of_get(coding: str) -> None:
    client = _client(lambda: Response(LONG, media_type="text/html"))
    client.headers["accept-encoding"] = coding
    head, get = client.head("/thing"), client.get("/thing")
    assert head.headers["content-encoding"] == coding
    assert head.content == b""
    for name in ("content-encoding", "vary", "content-type"):
        assert head.headers[name] == get.headers[name]
    assert head.headers.get("content-length") in (None, get.headers["content-length"])


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_large_answer_is_compressed_in_complete_pieces(coding: str) -> None:
    long = bytes(range(256)) * 10_000
    got = _client(lambda: Response(long, media_type="text/plain")).get("/thing", headers={"accept-encoding": coding})
    assert got.headers["content-encoding"] == coding
    assert got.content == long
    assert "content-length" not in got.headers


def test_no_piece_that_is_sent_is_empty() -> None:
    """A megabyte of zeros is a few bytes: an empty output of the encoder is not sent, as it would end the body."""
    for coding in (b"gzip", b"zstd"):
        sent = _sent(lambda: Response(bytes(10**6), media_type="text/plain"), coding)
        assert all(message["body"] for message in sent[1:])
        assert [message["more_body"] for message in sent[1:]] == [True] * (len(sent) - 2) + [False]


def test_the_zstd_window_is_one_that_clients_must_support() -> None:
    """A window of at most 8 MB (RFC 9659)."""
    body = b"".join(
        message["body"] for message in _sent(lambda: Response(bytes(10**7), media_type="text/csv"), b"zstd")[1:]
    )
    assert len(ZstdDecompressor(options={DecompressionParameter.window_log_max: 18}).decompress(body)) == 10**7


@pytest.mark.parametrize(("coding", "unpack"), [(b"gzip", zlib.decompressobj(31)), (b"zstd", ZstdDecompressor())])
def test_a_stream_stays_a_stream(coding: bytes, unpack: Any) -> None:
    """Each part that the route sends can be read at once, before the next one."""
    seen = bytearray()

    async def parts() -> AsyncIterator[bytes]:
        for number in range(3):
            part = b"part %d " % number
            yield part
            assert seen.endswith(part)

    async def send(message: Message) -> None:
        seen.extend(unpack.decompress(message.get("body", b"")))

    app = _client(lambda: StreamingResponse(parts(), media_type="application/json")).app
    anyio.run(app, _scope(coding), _never, send)
    assert bytes(seen) == b"part 0 part 1 part 2 "


def _scope(coding: bytes) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"spec_version": "2.4"},
        "method": "GET",
        "path": "/thing",
        "query_string": b"",
        "headers": [(b"accept-encoding", coding)],
    }


def _sent(answer: Callable[[], Response], coding: bytes) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    anyio.run(_client(answer).app, _scope(coding), _never, send)
    return sent


async def _never() -> Message:
    await anyio.sleep_forever()
    raise AssertionError


def test_answers_under_auth_and_for_sessions_are_not_compressed() -> None:
    """Attack: make a browser request pages that reflect a guess beside a secret, and compare their lengths."""
    client = _client(lambda: Response(LONG, media_type="text/html"), "/land/auth/account")
    assert "content-encoding" not in client.get("/land/auth/account").headers
    client = _client(lambda: Response(LONG, media_type="text/html"))
    assert "content-encoding" in client.get("/thing").headers
    assert "content-encoding" not in client.get("/thing", headers={"cookie": "__Host-landcast=x"}).headers


def test_pages_of_a_signed_in_browser_are_not_compressed(browser: Browser) -> None:
    headers = {"accept": "text/html", "accept-encoding": "gzip, deflate, br, zstd"}
    assert browser.http.get("/collections", headers=headers).headers["content-encoding"] == "zstd"
    assert "content-encoding" not in browser.http.get("/auth/login", headers=headers).headers
    browser.sign_in()
    for path in ("/auth/account", "/collections", "/"):
        answer = browser.http.get(path, headers=headers)
        assert answer.status_code == 200
        assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(("coding", "unpack"), [("gzip", gzip.decompress), ("zstd", decompress)])
def test_the_declared_encoding_is_the_actual_one(coding: str, unpack: Callable[[bytes], bytes]) -> None:
    client = _client(lambda: Response(LONG, media_type="text/html"))
    with client.stream("GET", "/thing", headers={"accept-encoding": coding}) as got:
        assert unpack(b"".join(got.iter_raw())) == LONG
