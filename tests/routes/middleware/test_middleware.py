import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message, Send

from auth.identity import LOCAL, current_identity
from products.errors import AreaTooLarge, BrokenSource
from routes.errors import HANDLERS
from routes.http.body import MAX_BODY
from routes.http.file_response import send_file
from routes.middleware.authentication import Authentication, Options
from routes.middleware.bounds import Bounds, Failures
from routes.middleware.edge import Edge
from routes.pages.respond import response_file
from tests.server.served import eventually

Endpoint = Callable[[Request], Any]
PUBLIC = "https://maps.example.org/land"


def _client(
    endpoint: Endpoint, *, url: str = PUBLIC, requests: int = 5, seconds: float = 30, body_seconds: float = 30
) -> TestClient:
    routes = [
        Route("/", endpoint),
        Route("/thing", endpoint, methods=["GET"]),
        Route("/thing", endpoint, methods=["DELETE", "POST"]),
        Route("/health/live", endpoint),
    ]
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(Edge, url=url),
            Middleware(Bounds, requests=requests, seconds=seconds, body_seconds=body_seconds),
            Middleware(Failures),
            Middleware(Authentication, url=url),
            Middleware(Options, routes=routes),
        ],
        exception_handlers=HANDLERS,
    )
    app.state.authenticator = None
    return TestClient(app, base_url="http://inside.invalid", follow_redirects=False)


async def _path(request: Request) -> Response:
    return JSONResponse({"path": request.scope["path"], "owner": current_identity.get().owner})


async def _body(request: Request) -> Response:
    return JSONResponse({"length": len(await request.body())})


@pytest.mark.parametrize(
    ("inbound", "kept"),
    [
        ("a1b2c3d4-e5f6", True),
        ("short", False),
        ("x" * 65, False),
        ('evil"\\n{"level"', False),
        ("spaces are not sane", False),
    ],
)
def test_a_valid_request_id_is_kept_and_an_invalid_one_replaced(inbound: str, kept: bool) -> None:  # noqa: FBT001
    expected = _client(_path).get("/thing", headers={"x-request-id": inbound}).headers["x-request-id"]
    assert (expected == inbound) is kept
    assert len(expected) >= 8


def test_the_problem_names_the_same_request_id() -> None:
    answer = _client(_path).get("/nowhere")
    assert answer.json()["requestId"] == answer.headers["x-request-id"]


def test_the_log_has_a_line_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "landcast.access"):
        _client(_path).get("/thing?exp=1&sig=abcdef&SIG=ghijkl&f=json")
    [record] = [entry for entry in caplog.records if entry.name == "landcast.access"]
    assert record.getMessage() == "GET /thing?exp=1&sig=…&SIG=…&f=json"
    assert vars(record)["status"] == 200
    assert vars(record)["ms"] >= 0


def test_the_identity_is_available_in_threads() -> None:
    async def owner(_request: Request) -> Response:
        return JSONResponse(await anyio.to_thread.run_sync(lambda: current_identity.get().owner))

    assert _client(owner).get("/thing").json() == LOCAL.owner


def test_every_answer_has_security_and_cors_headers() -> None:
    client = _client(_path)
    for answer in (client.get("/thing"), client.get("/nowhere"), client.put("/thing"), client.options("/thing")):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
        assert {"Link", "Location", "Content-Crs", "ETag", "Content-Range", "Retry-After", "X-Request-Id"} <= exposed
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "x-powered-by" not in answer.headers


def test_preflight_allows_what_clients_send() -> None:
    headers = {
        "origin": "https://map.example.com",
        "access-control-request-method": "POST",
        "access-control-request-headers": "prefer",
    }
    answer = _client(_path).options("/thing", headers=headers)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-methods"] == "DELETE, GET, HEAD, OPTIONS, POST"
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert {"prefer", "idempotency-key", "range", "content-type", "authorization", "x-api-key"} <= allowed


def test_an_unsupported_method_is_405_with_the_allowed_ones() -> None:
    answer = _client(_path).put("/thing")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, POST"
    assert answer.headers["content-type"] == "application/problem+json"


def test_head_has_the_length_and_no_body() -> None:
    client = _client(_path)
    head = client.head("/thing")
    assert head.content == b""
    assert head.headers["content-length"] == client.get("/thing").headers["content-length"]


@pytest.mark.parametrize(
    ("asked", "path"),
    [("/thing", "/thing"), ("/land/thing", "/thing"), ("/land", "/"), ("/land/", "/"), ("/", "/")],
)
def test_the_prefix_may_be_stripped_by_the_proxy_or_not(asked: str, path: str) -> None:
    assert _client(_path).get(asked).json()["path"] == path


def test_a_path_that_only_begins_like_the_prefix_is_not_stripped() -> None:
    answer = _client(_path).get("/landing")
    assert answer.status_code == 404
    assert answer.json()["instance"] == "/land/landing"


@pytest.mark.parametrize("asked", ["/thing/?a=b", "/land/thing/?a=b", "/thing//?a=b"])
def test_a_slash_at_the_end_redirects_to_the_public_address(asked: str) -> None:
    headers = {"host": "evil.example", "x-forwarded-host": "evil.example", "x-forwarded-proto": "gopher"}
    answer = _client(_path).get(asked, headers=headers)
    assert answer.status_code == 308
    assert answer.headers["location"] == f"{PUBLIC}/thing?a=b"


def test_a_slash_at_the_end_reveals_nothing() -> None:
    """Attack: learn from the redirect, which precedes authentication, whether a resource exists."""
    for path in ("/thing", "/no-such", "/thing/of/nobody"):
        for headers in ({}, {"authorization": "Bearer x"}):
            answer = _client(_path).get(f"{path}/", headers=headers)
            assert (answer.status_code, answer.headers["location"], answer.text) == (308, PUBLIC + path, "")


def test_two_leading_slashes_do_not_redirect_to_another_host() -> None:
    answer = _client(_path).get("http://inside.invalid//evil.example/")
    assert answer.headers["location"].startswith(f"{PUBLIC}/")


def _answered(path: bytes, *headers: tuple[bytes, bytes], version: str = "1.1") -> tuple[int, dict[bytes, bytes]]:
    """Return status and headers of the answer to a request with exactly these headers."""
    sent: list[Message] = []

    async def ask() -> None:
        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "http_version": version,
            "method": "GET",
            "path": unquote_to_bytes(path).decode(),
            "raw_path": path,
            "query_string": b"",
            "headers": list(headers),
        }
        await _client(_path, url="https://maps.example.org").app(scope, _nothing, send)

    anyio.run(ask)
    return sent[0]["status"], dict(sent[0]["headers"])


@pytest.mark.parametrize(
    ("path", "location"),
    [
        (b"http://maps.example.org/thing", None),
        (b"http://other.example:8080/thing", None),
        (b"HTTPS://[::1]/thing", None),
        (b"http://other.example", None),
        (b"http://.evil.example/thing/", b"https://maps.example.org/thing"),
        (b"http://evil.example//x.example/", b"https://maps.example.org//x.example"),
    ],
)
def test_an_absolute_address_in_place_of_a_path_is_accepted(path: bytes, location: bytes | None) -> None:
    """Attack: an open redirect to another host by the redirect of a final slash."""
    status, headers = _answered(path, (b"host", b"a"))
    assert status == (308 if location else 200)
    assert headers.get(b"location") == location


@pytest.mark.parametrize(
    "path", [b"http:///thing", b"http://a b/thing", b"http://user@a/thing", b"http://a%zz/thing", b"http://a:99999/"]
)
def test_an_absolute_address_without_a_host_is_400(path: bytes) -> None:
    assert _answered(path, (b"host", b"a"))[0] == 400


@pytest.mark.parametrize(
    "host",
    [
        b"a",
        b"maps.example.org",
        b"A.B:80",
        b"10.0.0.1",
        b"10.0.0.1:5000",
        b"[::1]",
        b"[fe80::1]:80",
        b"a:",
        b"x_y",
        b"%20b",
    ],
)
def test_any_host_is_accepted(host: bytes) -> None:
    """Probes use the server's address as host, proxies an internal name."""
    assert _answered(b"/thing", (b"host", host))[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        b"", b" ", b"a b", b"a/b", b"a@b", b"user:word@b", b"[::1", b"[:::]", b"[1.2.3.4]", b"::1", b"a:b", b"a:99999",
        b"a:80:80", b"a,b c", b"\xc3\xa4", b"a?b", b"a#b", b"a\\b", b"<a>", b"a%zz", b"[]", b"http://a",
    ],
)  # fmt: skip
def test_a_malformed_host_is_400(host: bytes) -> None:
    assert _answered(b"/thing", (b"host", host))[0] == 400


def test_http_1_1_requires_one_host() -> None:
    assert _answered(b"/thing")[0] == 400
    assert _answered(b"/thing", version="1.0")[0] == 200
    assert _answered(b"/thing", (b"host", b"a"), (b"host", b"a"))[0] == 400
    assert _answered(b"/thing", (b"host", b"a"), (b"Host", b"b"), version="1.0")[0] == 400


def test_every_503_has_retry_after() -> None:
    async def away(_request: Request) -> Response:
        return JSONResponse({}, 503)

    assert _client(away).get("/thing").headers["retry-after"] == "5"
    assert _client(away, requests=0).get("/thing").headers["retry-after"] == "1"


def test_a_too_large_body_is_refused_by_its_length() -> None:
    answer = _client(_body).post("/thing", content=b"x" * (MAX_BODY + 1))
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("method", "expected"), [("PUT", "close"), ("POST", None)])
def test_an_answer_before_the_end_of_the_body_closes_the_connection(method: str, expected: str | None) -> None:
    """Otherwise a client sends its next request over a closed connection."""
    assert _client(_body).request(method, "/thing", content=b"x").headers.get("connection") == expected


def test_a_chunked_body_is_refused_before_all_of_it_is_read() -> None:
    def chunks() -> Iterator[bytes]:
        yield from [b"x" * 1_000_000] * 11

    async def count(request: Request) -> Response:
        async for _ in request.stream():
            pass
        return Response()

    assert _client(count).post("/thing", content=chunks()).status_code == 413


def test_a_body_of_the_largest_size_is_accepted() -> None:
    assert _client(_body).post("/thing", content=b"x" * MAX_BODY).json() == {"length": MAX_BODY}


def test_too_many_requests_are_503_except_for_health() -> None:
    go, inside = threading.Event(), threading.Event()

    async def wait(request: Request) -> Response:
        if request.url.path == "/thing":
            inside.set()
            await anyio.to_thread.run_sync(go.wait)
        return Response()

    with _client(wait, requests=1) as client:
        first = threading.Thread(target=client.get, args=("/thing",))
        first.start()
        assert inside.wait(60)
        refused, live = client.get("/"), client.get("/health/live")
        go.set()
        first.join()
        after = client.get("/")
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert live.status_code == 200
    assert after.status_code == 200


def test_a_request_that_takes_too_long_is_aborted() -> None:
    async def sleep(_request: Request) -> Response:
        await anyio.sleep(30)
        return Response()

    began = time.monotonic()
    answer = _client(sleep, seconds=0.2).get("/thing")
    assert time.monotonic() - began < 25
    assert answer.status_code == 503
    assert "0.2 seconds" in answer.json()["detail"]
    assert answer.headers["retry-after"]


def test_the_thread_of_an_aborted_request_keeps_its_place() -> None:
    go = threading.Event()
    limiter: list[CapacityLimiter] = []

    async def work(_request: Request) -> Response:
        limiter.append(CapacityLimiter(1))
        await anyio.to_thread.run_sync(go.wait, limiter=limiter[0])
        return Response()

    answers = []
    with _client(work, requests=1, seconds=0.2) as client:
        late = threading.Thread(target=lambda: answers.append(client.get("/thing")))
        late.start()
        eventually(lambda: limiter)
        time.sleep(0.5)
        busy = client.get("/")
        go.set()
        late.join()
    assert busy.status_code == 503
    assert "busy" in busy.json()["detail"]
    assert answers[0].status_code == 503


def test_the_time_of_a_body_is_not_that_of_its_request() -> None:
    assert _received(parts=4, pause=0.2, seconds=0.5, body_seconds=30) == [200]


def test_a_missing_body_is_408() -> None:
    assert _received(parts=100, pause=0.1, seconds=30, body_seconds=0.5) == [408]


def test_a_silent_sender_gets_408() -> None:
    """gunicorn reports a silent client as disconnected after a while, though it may only be silent."""
    assert _received(parts=1, pause=0, seconds=30, body_seconds=30, last={"type": "http.disconnect"}) == [408]


def _received(
    *, parts: int, pause: float, seconds: float, body_seconds: float, last: Message | None = None
) -> list[int]:
    """Return the statuses of the answers if the body arrives in parts with pauses before each."""
    app, statuses, left = _client(_body, seconds=seconds, body_seconds=body_seconds).app, [], iter(range(parts))
    end = last or {"type": "http.request", "body": b"", "more_body": False}

    async def receive() -> Message:
        await anyio.sleep(pause)
        return {"type": "http.request", "body": b" ", "more_body": True} if next(left, None) is not None else end

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = [(b"host", b"a"), (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "POST", "path": "/thing", "query_string": b"", "headers": headers}
    anyio.run(app, scope, receive, send)
    return statuses


def test_requests_that_wait_for_their_body_take_no_place() -> None:
    go, arrived = anyio.Event(), []

    async def both() -> None:
        app = _client(_body, requests=1).app

        async def receive() -> Message:
            arrived.append(1)
            await go.wait()
            return {"type": "http.request", "body": b"x", "more_body": False}

        async def ask(headers: list[tuple[bytes, bytes]], method: str, reports: list[int]) -> None:
            async def send(message: Message) -> None:
                reports.append(message.get("status", 0))

            scope = {"type": "http", "method": method, "path": "/thing", "query_string": b"", "headers": headers}
            await app(scope, receive if method == "POST" else _nothing, send)

        begun: list[int] = []
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ask, [(b"host", b"a"), (b"content-length", b"1")], "POST", begun)
            while len(arrived) < 20:
                await anyio.lowlevel.checkpoint()
            other: list[int] = []
            await ask([(b"host", b"a")], "GET", other)
            go.set()
        assert 200 in other
        assert 200 in begun

    anyio.run(both)


@pytest.mark.parametrize("kind", ["whole", "in pieces", "a file", "a page of items"])
def test_unread_answers_occupy_no_slot(kind: str, tmp_path: Path) -> None:
    """Attack: request answers larger than all buffers and read none, until everybody else gets 503."""
    (tmp_path / "file").write_bytes(b"x" * 600_000)

    async def pieces() -> Any:
        yield b"x"
        yield b"x"

    async def answered(request: Request) -> Response:
        if kind == "whole":
            return Response(b"x")
        if kind == "in pieces":
            return StreamingResponse(pieces())
        if kind == "a file":
            return send_file(request, tmp_path / "file", media_type="image/tiff")
        with response_file() as file:
            file.write(b"x" * 600_000)
            return file.response(b"[", b"]", headers={}, media_type="application/json")

    assert _held(answered, readers=20, after="http.response.body") == [200]
    assert _held(answered, readers=20, after="http.response.start") == [200]


def test_unstarted_answers_keep_their_places() -> None:
    async def never(_request: Request) -> Response:
        await anyio.sleep_forever()
        return Response()

    assert _held(never, readers=1) == [503]


def _held(answered: Callable[[Request], Any], *, readers: int, after: str = "") -> list[int]:
    """Return the status of another request while clients read nothing more from such a message on."""
    app, statuses = _client(answered, requests=1).app, []
    scope = {"type": "http", "method": "GET", "path": "/thing", "query_string": b"", "headers": [(b"host", b"a")]}

    async def ask(send: Send) -> None:
        await app(dict(scope), _silent, send)

    async def take(message: Message) -> None:
        statuses.append(message.get("status", 0))

    async def all_of_them() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(readers):
                reached = anyio.Event()
                group.start_soon(ask, _holding(after, reached))
                if after:
                    await reached.wait()
            await anyio.wait_all_tasks_blocked()
            await ask(take)
            group.cancel_scope.cancel()

    anyio.run(all_of_them)
    return [status for status in statuses if status]


def _holding(after: str, reached: anyio.Event) -> Send:
    async def hold(message: Message) -> None:
        if message["type"] == after:
            reached.set()
            await anyio.sleep_forever()

    return hold


async def _silent() -> Message:
    await anyio.sleep_forever()
    return {}


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def test_a_started_answer_is_not_cut_off() -> None:
    async def slowly() -> Any:
        for _ in range(5):
            yield b"x"
            await anyio.sleep(0.1)

    async def stream(_request: Request) -> Response:
        return StreamingResponse(slowly())

    assert _client(stream, seconds=0.2).get("/thing").content == b"xxxxx"


def test_unexpected_errors_are_logged_and_not_revealed(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_request: Request) -> Response:
        raise RuntimeError("the password is hunter2")

    answer = _client(fail).get("/thing")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text
    assert "hunter2" in caplog.text


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (AreaTooLarge("the area has 6,000,000 km2"), 400, "6,000,000"),
        (BrokenSource("/secret/place.tif is malformed"), 503, "missing or malformed"),
        (KeyError("x"), 500, "log"),
    ],
)
def test_errors_have_the_statuses_of_the_table(error: Exception, status: int, expected: str) -> None:
    async def fail(_request: Request) -> Response:
        raise error

    answer = _client(fail).get("/thing")
    assert answer.status_code == status
    assert expected in answer.json()["detail"]
    assert "/secret" not in answer.text
