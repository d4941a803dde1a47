"""Malicious clients on real sockets: the others are served."""

import copy
import json
import resource
import select
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import numpy as np
import pytest
import yaml

from auth.keys.text import new_key
from tests.auth.issuers import FakeIssuer
from tests.conftest import ROOT, StartServer, serving
from tests.odd.rasters import gdal_cog
from tests.server.served import eventually

pytestmark = pytest.mark.long

Open = Callable[..., socket.socket]
AT_ONCE = 15.0
"""Seconds; on an idle machine it is some hundredths, and what is held is held for longer."""


@pytest.fixture(scope="module")
def plain(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a server with the default settings."""
    with serving(sample, tmp_path_factory.mktemp("plain") / "server.log") as url:
        yield url


@pytest.fixture
def connect() -> Iterator[Open]:
    """Return a function that opens a connection and sends something on it; all are closed at the end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    with ExitStack() as opened:

        def start(url: str, sent: bytes = b"", *, sender: str = "127.0.0.1") -> socket.socket:
            parts = urlsplit(url)
            made = socket.socket()
            made.bind((sender, 0))
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            made.settimeout(60)
            made.connect((parts.hostname, parts.port))
            opened.enter_context(closing(made)).sendall(sent)
            return made

        yield start


def seconds_until_answered(url: str) -> float:
    began = time.monotonic()
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - ours
        assert answer.status == 200
        answer.read()
    return time.monotonic() - began


def seconds_until_ordered(url: str) -> float:
    began = time.monotonic()
    headers = {"Prefer": "respond-async"}
    order: dict[str, object] = {"inputs": {}}
    assert httpx2.post(f"{url}/processes/echo/execution", json=order, headers=headers, timeout=60).status_code == 201
    return time.monotonic() - began


def is_readable(connection: socket.socket) -> bool:
    looked = select.poll()
    looked.register(connection, select.POLLIN)
    return bool(looked.poll(0))


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0)
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


def answer_to(connection: socket.socket) -> bytes:
    said = b""
    while b"\r\n\r\n" not in said and (piece := connection.recv(4096)):
        said += piece
    return said


def all_of(connection: socket.socket) -> bytes:
    """Return the bytes received until it is closed, or until it is reset because the server has not read everything."""
    said = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(1_000_000):
            said += piece
    return said


def test_a_head_sent_byte_by_byte_is_not_waited_for(live_server: StartServer, connect: Open) -> None:
    """Attack: keep a connection open with a byte a second (slowloris), or with none."""
    url = live_server(LANDCAST_SERVER_IDLE="1")
    slow, silent, began = connect(url, b"GET / HTTP/1.1\r\nX: "), connect(url), time.monotonic()
    while not is_closed(slow):
        assert time.monotonic() - began < 30
        slow.settimeout(30)
        slow.sendall(b"x")
        time.sleep(0.1)
    assert time.monotonic() - began > 0.5
    silent.settimeout(30)
    assert silent.recv(1) == b""


JSON_HEAD = b"POST /processes/echo/execution HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
HEAD_AND_A_BYTE = JSON_HEAD + b"Content-Length: 100\r\n\r\n{"
CHUNKED = JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"
REFUSED = b"POST /processes/echo/execution HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"
LIVE = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Type: application/problem+json\r\nContent-Length: 102\r\n\r\n"
    b'{"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": "the server is busy"}'
)
LARGER_THAN_BUFFERS = 12_000_000
"""Bytes; what a sender's and a receiver's buffers hold of them is less (`net.ipv4.tcp_wmem` is 4 MB at most)."""
LARGE = b"GET /collections/large/files/large.tif HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
FILE = b"GET /collections/clcplus-raster/files/clcplus_2023_parks.tif HTTP/1.1\r\nHost: a\r\n\r\n"


def test_missing_bodies_occupy_no_slot(plain: str, connect: Open) -> None:
    """Attack: 4,400 connections with a head and one byte of a body, from one address: more than the limit."""
    held = [connect(plain, (HEAD_AND_A_BYTE, CHUNKED, REFUSED)[number % 3]) for number in range(4400)]
    for path in ("/collections", "/health/live", "/collections/parks/items?limit=1"):
        assert seconds_until_answered(plain + path) < AT_ONCE
    assert seconds_until_ordered(plain) < AT_ONCE
    eventually(lambda: sum(not is_closed(connection) for connection in held) <= 500)


@pytest.fixture(scope="module")
def narrow(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a server with low limits."""
    settings = {
        "LANDCAST_SERVER_CONNECTIONS": "60",
        "LANDCAST_SERVER_ADDRESS_CONNECTIONS": "10",
        "LANDCAST_SERVER_BODY_TIMEOUT": "12",
        "LANDCAST_SERVER_IDLE": "60",
        "LANDCAST_SERVER_PROXIES": "127.0.9.1",
    }
    folder = tmp_path_factory.mktemp("narrow")
    configuration = with_large_file(folder)
    with serving(sample, folder / "server.log", configuration=str(configuration), **settings) as url:
        yield url


def with_large_file(folder: Path) -> Path:
    """Make a configuration that serves the sample and a file that no buffer holds."""
    noise = np.random.default_rng(1).integers(1, 12, (3500, 3500), np.uint8)
    path = gdal_cog(folder / "large.tif", noise, compress="none")
    assert path.stat().st_size > LARGER_THAN_BUFFERS
    document = yaml.safe_load((ROOT / "pygeoapi-config.yml").read_text())
    for provider in (each for entry in document["resources"].values() for each in entry.get("providers", ())):
        provider["data"] = provider["data"] if provider["data"].startswith("$") else str(ROOT / provider["data"])
    document["resources"]["large"] = copy.deepcopy(document["resources"]["clcplus-raster"])
    document["resources"]["large"]["providers"][0]["data"] = str(path)
    (folder / "configuration.yml").write_text(yaml.safe_dump(document))
    return folder / "configuration.yml"


def test_idle_connections_give_way_to_a_request(narrow: str, connect: Open) -> None:
    """Attack: open connections until nobody else gets one."""
    begun = (b"GET / HTTP/1.1\r\n", b"")
    held = [connect(narrow, begun[number % 2], sender=f"127.0.1.{number % 50 + 1}") for number in range(200)]
    assert seconds_until_answered(f"{narrow}/collections") < AT_ONCE
    eventually(lambda: sum(map(is_closed, held)) >= 140)
    assert not is_closed(held[-1])


def test_incomplete_bodies_of_many_addresses_give_way_too(narrow: str, connect: Open) -> None:
    held = [connect(narrow, HEAD_AND_A_BYTE, sender=f"127.0.1.{number % 50 + 1}") for number in range(200)]
    assert seconds_until_answered(f"{narrow}/collections") < AT_ONCE
    assert seconds_until_ordered(narrow) < AT_ONCE
    eventually(lambda: sum(map(is_closed, held)) >= 140)
    assert is_closed(held[0])


def test_one_address_is_limited_to_its_share(narrow: str, connect: Open) -> None:
    other = connect(narrow, HEAD_AND_A_BYTE, sender="127.0.1.2")
    first = connect(narrow, JSON_HEAD + b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n")
    assert answer_to(first) == b"HTTP/1.1 100 Continue\r\n\r\n"
    held = [connect(narrow, HEAD_AND_A_BYTE) for _ in range(30)]
    assert answer_to(connect(narrow, LIVE)).startswith(b"HTTP/1.1 200")
    reply = answer_to(first)
    assert reply.startswith(b"HTTP/1.1 503")
    assert b"Retry-After: 1" in reply
    eventually(lambda: sum(not is_closed(connection) for connection in held) <= 10)
    assert is_readable(held[0])
    assert not is_readable(other)


def test_a_trusted_proxy_may_hold_many_connections(narrow: str, connect: Open) -> None:
    held = [connect(narrow, HEAD_AND_A_BYTE, sender="127.0.9.1") for _ in range(30)]
    assert seconds_until_answered(f"{narrow}/collections") < AT_ONCE
    assert not any(map(is_readable, held))


def test_a_body_has_a_time_limit(narrow: str, connect: Open) -> None:
    """Attack: send a byte from time to time, so that no read times out."""
    slow, silent, chunked = (connect(narrow, sent) for sent in (HEAD_AND_A_BYTE, HEAD_AND_A_BYTE, CHUNKED))
    until = time.monotonic() + 60
    while not is_readable(slow):
        assert time.monotonic() < until
        slow.sendall(b" ")
        time.sleep(0.5)
    for connection in (slow, silent, chunked):
        reply = answer_to(connection)
        assert reply.startswith(b"HTTP/1.1 408 Request Timeout")
        assert b"connection: close" in reply.lower()


@pytest.mark.parametrize(
    ("sender", "sent"),
    [("127.0.2.1", LIVE), ("127.0.2.2", b""), ("127.0.2.3", JSON_HEAD), ("127.0.2.4", b"GET / HT")],
    ids=["a request", "nothing", "a head whose body does not come", "a part of a head"],
)
def test_a_request_beyond_the_limit_gets_retry_after(narrow: str, connect: Open, sender: str, sent: bytes) -> None:
    """This is independent of the bytes that the additional client has sent; running requests are not ended for it."""
    working = [connect(narrow, LARGE, sender=sender) for _ in range(10)]
    assert all(each.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200" for each in working)
    for _ in range(3):
        assert all_of(connect(narrow, sent, sender=sender)) == BUSY
    assert answer_to(connect(narrow, LIVE, sender="127.0.2.9")).startswith(b"HTTP/1.1 200")
    working[0].close()
    eventually(lambda: answer_to(connect(narrow, LIVE, sender=sender)).startswith(b"HTTP/1.1 200"))
    working[1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
    answer = all_of(working[1])
    assert answer.startswith(b"HTTP/1.1 200")
    assert len(answer) > LARGER_THAN_BUFFERS


def test_a_completely_sent_answer_occupies_no_slot(narrow: str, connect: Open) -> None:
    """The kernel has all of it, so its connection counts as waiting for a request."""
    done = [connect(narrow, FILE, sender="127.0.2.8") for _ in range(10)]
    assert all(each.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200" for each in done)
    eventually(lambda: answer_to(connect(narrow, LIVE, sender="127.0.2.8")).startswith(b"HTTP/1.1 200"))


def test_slow_clients_hold_no_thread(plain: str, connect: Open) -> None:
    """Attack: send a body, or read an answer, so slowly that every thread waits for it."""
    file = b"GET /collections/clcplus-raster/files/clcplus_2023_parks.tif HTTP/1.1\r\nHost: a\r\n\r\n"
    body = b"POST /processes/echo/execution HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"
    held = [connect(plain, sent) for sent in (file, body) for _ in range(60)]
    time.sleep(0.5)
    assert seconds_until_answered(f"{plain}/collections/parks/items?limit=1") < AT_ONCE
    assert seconds_until_answered(f"{plain}/collections/clcplus-raster/map?width=8") < AT_ONCE
    assert not any(map(is_closed, held[60:]))


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: x\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"414"),
    ],
)
def test_a_too_large_head_is_refused(plain: str, connect: Open, sent: bytes, status: bytes) -> None:
    connection = connect(plain)
    try:
        connection.sendall(sent)
        said = answer_to(connection)
    except ConnectionError:
        said = b""  # closed with the rest unread: the answer may be lost, which is the client's loss
    assert said == b"" or said.split(b" ")[1] == status
    assert seconds_until_answered(f"{plain}/health/live") < AT_ONCE


@pytest.mark.parametrize("head", ["Content-Length: " + "9" * 5_000, "Content-Length: " + "0" * 4_400 + "1"])
def test_a_length_of_thousands_of_digits_is_refused(plain: str, connect: Open, head: str) -> None:
    connection = connect(plain)
    connection.sendall(f"POST /processes/echo/execution HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n".encode())
    assert answer_to(connection).startswith(b"HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize(
    ("sent", "status", "detail"),
    [
        (b"GET /" + b"x" * 8_200 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "Request line is too large"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 8_300 + b"\r\n\r\n", 431, None),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: foo, chunked\r\n\r\n", 501, None),
        (b'GET "<a>" b c HTTP/9\r\nHost: a\r\n\r\n', 400, None),
    ],
)
def test_errors_before_the_application_are_problems_too(
    plain: str, connect: Open, sent: bytes, status: int, detail: str | None
) -> None:
    head, _, body = all_of(connect(plain, sent)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-Type: application/problem+json" in head
    expected = json.loads(body)
    assert expected["status"] == status
    assert expected["type"] == "about:blank"
    assert expected["detail"] == detail or (detail is None and expected["detail"])


@pytest.fixture(scope="module")
def guarded(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with closing(FakeIssuer()) as issuer:
        settings = {
            "LANDCAST_AUTH_OPEN": "no",
            "LANDCAST_AUTH_ISSUER": issuer.url,
            "LANDCAST_AUTH_POLICY": "deploy/policy.yml",
            "LANDCAST_SERVER_PROXIES": "127.0.0.1",
        }
        with serving(sample, tmp_path_factory.mktemp("guarded") / "server.log", **settings) as url:
            yield url


@pytest.mark.parametrize(
    ("path", "length", "status"),
    [
        ("/processes/echo/execution", 1_000_000_000, b"413"),
        ("/processes/echo/execution", 5_000_000, b"401"),
        ("/jobs", 5_000_000, b"405"),
    ],
)
def test_a_body_of_a_refused_caller_is_not_requested(
    guarded: str, connect: Open, path: str, length: int, status: bytes
) -> None:
    """Attack: make the server receive a body that it refuses anyway."""
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    said = answer_to(connect(guarded, head.encode()))
    assert said.split(b" ")[1] == status
    assert b"connection: close" in said.lower()


def tried(url: str, key: str, times: int, *, sender: str) -> list[httpx2.Response]:
    headers = {"X-Api-Key": key, "X-Forwarded-For": sender}
    with httpx2.Client(base_url=url, headers=headers, trust_env=False) as http:
        return [http.get("/") for _ in range(times)]


def test_guessing_is_slowed_by_key_and_address_and_affects_no_other_caller(guarded: str) -> None:
    """Attack: guess the secret of a key, or keys, as fast as the server answers."""
    key = new_key().text
    answers = tried(guarded, key, 12, sender="192.0.2.1")
    assert [answer.status_code for answer in answers] == [401] * 11 + [429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert tried(guarded, new_key().text, 1, sender="192.0.2.1")[0].status_code == 401
    assert tried(guarded, key, 1, sender="192.0.2.2")[0].status_code == 401
    many = [tried(guarded, new_key().text, 1, sender="192.0.2.3")[0] for _ in range(32)]
    assert [answer.status_code for answer in many] == [401] * 31 + [429]
    assert int(many[-1].headers["retry-after"]) >= 1
    assert httpx2.get(guarded, headers={"X-Forwarded-For": "192.0.2.3"}, trust_env=False).status_code == 200
