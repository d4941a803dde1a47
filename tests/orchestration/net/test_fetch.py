"""Attacks by an input by reference, each explained in its test, with a real server if needed."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override

import pytest

from orchestration.errors import ReferenceRefused
from orchestration.net.addresses import any_address
from orchestration.net.fetch import Fetcher

Answer = Callable[[BaseHTTPRequestHandler], None]
Serve = Callable[..., str]


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Expect clients that hang up."""


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers = []

    def start(answer: Answer, *, host: str = "127.0.0.1") -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            @override
            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = _Quiet((host, 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return f"http://{host}:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content_Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def _greet(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"220 smtp ready\r\n")


def _fetcher(**limits: Any) -> Fetcher:
    chosen: dict[str, Any] = {"allowed": any_address, "seconds": 5}
    return Fetcher(**chosen | limits)


def test_an_address_is_fetched_with_its_media_type(serve: Serve) -> None:
    url = serve(lambda handler: _send(handler, b'{"a": 1}', Content_Type="application/geo+json; charset=utf-8"))
    fetched = _fetcher()(f"{url}/a?b=c#d")
    assert (fetched.body, fetched.media_type) == (b'{"a": 1}', "application/geo+json")


def test_path_query_and_host_are_sent_as_in_the_address(serve: Serve) -> None:
    seen: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.extend([handler.path, handler.headers["Host"], handler.headers.get("Accept-Encoding", "")])
        _send(handler, b"")

    url = serve(answer)
    _fetcher()(f"{url}/a%20b?c=d&e")
    assert seen == ["/a%20b?c=d&e", url.removeprefix("http://"), "identity"]


def test_chunked_answers_and_answers_without_a_length_are_read(serve: Serve) -> None:
    def chunked(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    def open_ended(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"abcde")

    assert _fetcher()(serve(chunked)).body == b"abcde"
    assert _fetcher()(serve(open_ended)).body == b"abcde"


def test_private_addresses_are_not_fetched(serve: Serve) -> None:
    """A caller names an address that only this machine can reach, to read it through the server."""
    asked: list[str] = []
    url = serve(lambda handler: asked.append(handler.path))
    with pytest.raises(ReferenceRefused, match="public"):
        Fetcher()(url)
    assert asked == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/x",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "data:text/plain,x",
        "//example.org/x",
        "example.org",
        "",
        "http://",
        "http:///x",
        "http://user@example.org/",
        "http://user:password@example.org/",
        "http://example.org\\@127.0.0.1/",
        "http://example.org/\r\nX-Evil: 1",
        "http://exa\tmple.org/",
        "http://example.org/ x",
        "http://exämple.org/",
        "http://example.org:99999/",
        "http://example.org:0/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://example.org/" + "x" * 3000,
    ],
)
def test_other_schemes_and_malformed_addresses_are_refused(url: str) -> None:
    """Other schemes read files or call other services; parsers find different hosts in unusual characters."""
    with pytest.raises(ReferenceRefused):
        Fetcher(resolve=lambda *_: [])(url)


def test_a_name_is_resolved_once_and_this_address_is_used(serve: Serve) -> None:
    """DNS rebinding: a name is public when it is checked, and private when the connection is made."""
    url = serve(lambda handler: _send(handler, handler.headers["Host"].encode()))
    port = url.rsplit(":", 1)[1]
    answers = iter([["127.0.0.1"]])
    fetched = _fetcher(resolve=lambda *_: next(answers))(f"http://rebinding.example:{port}/")
    assert fetched.body == f"rebinding.example:{port}".encode()
    assert next(answers, None) is None


def test_every_hop_of_a_redirect_is_checked(serve: Serve) -> None:
    """A public server, here 127.0.0.1, redirects to a private one."""
    asked: list[str] = []
    inner = serve(lambda handler: asked.append(handler.path), host="127.0.0.2")
    outer = serve(lambda handler: _send(handler, b"", 302, Location=f"{inner}/secret"))
    with pytest.raises(ReferenceRefused, match=r"127\.0\.0\.2: not an address of the public internet"):
        _fetcher(allowed=lambda address: address == "127.0.0.1")(outer)
    assert asked == []


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://user@127.0.0.1/", "ftp://127.0.0.1/"])
def test_a_redirect_to_a_forbidden_address_is_refused(serve: Serve, location: str) -> None:
    url = serve(lambda handler: _send(handler, b"", 301, Location=location))
    with pytest.raises(ReferenceRefused):
        _fetcher()(url)


def test_the_number_of_redirects_is_limited(serve: Serve) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        left = int(handler.path[1:])
        _send(handler, b"there", 302 if left else 200, Location=str(left - 1))

    url = serve(answer)
    assert _fetcher(redirects=3)(f"{url}/3").body == b"there"
    with pytest.raises(ReferenceRefused, match="more than 3 redirects"):
        _fetcher(redirects=3)(f"{url}/4")


def test_too_large_answers_are_refused_by_length_and_by_content(serve: Serve) -> None:
    """A caller makes the server read more than its memory, with or without a declared length."""

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 100_000)

    with pytest.raises(ReferenceRefused, match="1000 bytes"):
        _fetcher(size=1000)(serve(lambda handler: _send(handler, b"x" * 1001)))
    with pytest.raises(ReferenceRefused, match="1000000 bytes"):
        _fetcher(size=1_000_000)(serve(endless))
    assert len(_fetcher(size=1000)(serve(lambda handler: _send(handler, b"x" * 1000))).body) == 1000


def test_many_references_share_one_limit(serve: Serve) -> None:
    """150 images, each just below the limit."""
    url = serve(lambda handler: _send(handler, b"x" * 400))
    fetcher = _fetcher(size=1000)
    fetcher(url)
    fetcher(url)
    with pytest.raises(ReferenceRefused, match="in total"):
        fetcher(url)


def test_a_compressed_answer_is_not_unpacked(serve: Serve) -> None:
    """A decompression bomb: kilobytes that become gigabytes."""
    bomb = gzip.compress(b"0" * 10_000_000)
    with pytest.raises(ReferenceRefused, match="compressed"):
        _fetcher()(serve(lambda handler: _send(handler, bomb, Content_Encoding="gzip")))


@pytest.mark.parametrize("part", ["silence", "headers", "body"])
def test_a_slow_answer_ends_in_time(serve: Serve, part: str) -> None:
    """Each byte arrives before the timeout of a read, the last one never."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        if part == "silence":
            time.sleep(3)
            return
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"" if part == "headers" else b"\r\n"))
        with suppress(OSError):  # nobody is there any more
            for _ in range(300):
                handler.wfile.write(b"x")
                time.sleep(0.1)

    url = serve(drip)
    begin = time.monotonic()
    with pytest.raises(ReferenceRefused, match=r"completely in 0\.5 s"):
        _fetcher(seconds=0.5)(url)
    assert time.monotonic() - begin < 15


def test_a_truncated_answer_is_refused(serve: Serve) -> None:
    with pytest.raises(ReferenceRefused, match="too early"):
        _fetcher()(serve(lambda handler: _send(handler, b"half", Content_Length="8")))


@pytest.mark.parametrize("status", [204, 206, 304, 401, 404, 500])
def test_any_status_except_200_is_refused(serve: Serve, status: int) -> None:
    with pytest.raises(ReferenceRefused, match=str(status)):
        _fetcher()(serve(lambda handler: _send(handler, b"", status)))


def test_invalid_and_missing_servers_are_refused_with_a_reason(serve: Serve) -> None:
    url = serve(_greet)
    with pytest.raises(ReferenceRefused, match="cannot be fetched"):
        _fetcher()(url)
    with pytest.raises(ReferenceRefused, match="cannot be fetched"):
        _fetcher()("http://127.0.0.1:1/")
    with pytest.raises(ReferenceRefused, match="cannot be fetched"):
        _fetcher()(url.replace("http:", "https:"))


def test_proxy_variables_of_the_environment_are_ignored(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would connect for the server, to addresses that were not checked."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert _fetcher()(serve(lambda handler: _send(handler, b"direct"))).body == b"direct"
