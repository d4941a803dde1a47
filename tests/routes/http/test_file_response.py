import hashlib
import os
import time
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from routes.http.file_response import RangeNotSatisfiable, parse_ranges, send_file
from routes.http.problem import Problem

CONTENT = bytes(range(256)) * 2000
MODIFIED = 1_700_000_000
BEFORE, AT, AFTER = (
    "Tue, 14 Nov 2023 22:13:19 GMT",
    "Tue, 14 Nov 2023 22:13:20 GMT",
    "Tue, 14 Nov 2023 22:13:21 GMT",
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a file.bin"
    path.write_bytes(CONTENT)
    os.utime(path, (MODIFIED, MODIFIED))
    return path


@pytest.fixture
def client(file: Path) -> Iterator[TestClient]:
    async def plain(request: Request) -> Response:
        return send_file(request, file, media_type="application/x-test")

    async def known(request: Request) -> Response:
        digest = hashlib.sha256(CONTENT).hexdigest()
        return send_file(request, file, media_type="application/zip", filename="Größe 1.zip", sha256=digest)

    async def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return JSONResponse({}, error.status, error.headers)

    app = Starlette(
        routes=[Route("/plain", plain), Route("/known", known)],
        exception_handlers={Problem: refused},
    )
    with TestClient(app) as made:
        yield made


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9", [(0, 10)]),
        ("bytes=90-", [(90, 100)]),
        ("bytes=90-999", [(90, 100)]),
        ("bytes=-10", [(90, 100)]),
        ("bytes=-1000", [(0, 100)]),
        ("BYTES=0-0", [(0, 1)]),
        ("bytes=50-59, 0-9", [(0, 10), (50, 60)]),
        ("bytes=0-9,5-19,20-29", [(0, 30)]),
        ("bytes=0-9,200-300", [(0, 10)]),
        ("bytes=0-9,,20-29", [(0, 10), (20, 30)]),
        ("bytes=9-0", None),
        ("bytes=a-b", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes", None),
        ("lines=0-9", None),
        ("bytes=0-9,x", None),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(0, 99, 2)), None),
    ],
)
def test_ranges_follow_rfc_9110(header: str, expected: list[tuple[int, int]] | None) -> None:
    assert parse_ranges(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=200-300", "bytes=-0"])
def test_ranges_beyond_the_end_are_not_satisfiable(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_ranges(header, 100)


def test_the_whole_file_is_described(client: TestClient) -> None:
    answer = client.get("/plain")
    assert answer.status_code == 200
    assert answer.content == CONTENT
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["last-modified"] == AT
    assert answer.headers["etag"].startswith('"')


def test_head_is_get_without_the_body(client: TestClient) -> None:
    got, head = client.get("/known"), client.head("/known", headers={"range": "bytes=0-9"})
    assert head.status_code == 200
    assert head.content == b""
    names = ("content-length", "content-type", "etag", "last-modified", "repr-digest", "content-disposition")
    assert {name: head.headers[name] for name in names} == {name: got.headers[name] for name in names}


def test_a_known_digest_is_etag_and_repr_digest(client: TestClient) -> None:
    headers = client.get("/known").headers
    assert headers["etag"] == f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    assert headers["repr-digest"].startswith("sha-256=:")
    assert headers["content-disposition"] == "attachment; filename*=UTF-8''Gr%C3%B6%C3%9Fe%201.zip"


def test_consecutive_ranges_make_the_whole_file(client: TestClient) -> None:
    first = client.get("/plain", headers={"range": "bytes=0-299999"})
    second = client.get("/plain", headers={"range": "bytes=300000-", "if-range": first.headers["etag"]})
    assert (first.status_code, second.status_code) == (206, 206)
    assert first.headers["content-range"] == f"bytes 0-299999/{len(CONTENT)}"
    assert second.headers["content-length"] == str(len(CONTENT) - 300_000)
    assert first.content + second.content == CONTENT


def test_several_ranges_are_parts(client: TestClient) -> None:
    answer = client.get("/plain", headers={"range": "bytes=10-19,-5"})
    assert answer.status_code == 206
    assert answer.headers["content-length"] == str(len(answer.content))
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    parts = BytesParser().parsebytes(head + answer.content).get_payload()
    assert isinstance(parts, list)
    assert [_read(part) for part in parts] == [
        (f"bytes 10-19/{len(CONTENT)}", CONTENT[10:20]),
        (f"bytes {len(CONTENT) - 5}-{len(CONTENT) - 1}/{len(CONTENT)}", CONTENT[-5:]),
    ]


def _read(part: object) -> tuple[str, bytes]:
    assert isinstance(part, Message)
    body = part.get_payload(decode=True)
    assert isinstance(body, bytes)
    return part["content-range"], body


def test_a_range_beyond_the_end_is_416_with_the_size(client: TestClient) -> None:
    answer = client.get("/plain", headers={"range": f"bytes={len(CONTENT)}-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(CONTENT)}"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if-none-match": "ETAG"}, 304),
        ({"if-none-match": 'W/ETAG, "other"'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"other"'}, 200),
        ({"if-none-match": '"other"', "if-modified-since": AFTER}, 200),
        ({"if-modified-since": AT}, 304),
        ({"if-modified-since": BEFORE}, 200),
        ({"if-modified-since": "yesterday"}, 200),
        ({"if-match": "ETAG"}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": "W/ETAG"}, 412),
        ({"if-match": '"other"'}, 412),
        ({"if-match": "ETAG", "if-unmodified-since": BEFORE}, 200),
        ({"if-unmodified-since": AT}, 200),
        ({"if-unmodified-since": BEFORE}, 412),
        ({"range": "bytes=0-9", "if-range": "ETAG"}, 206),
        ({"range": "bytes=0-9", "if-range": "W/ETAG"}, 200),
        ({"range": "bytes=0-9", "if-range": '"other"'}, 200),
        ({"range": "bytes=0-9", "if-range": AT}, 206),
        ({"range": "bytes=0-9", "if-range": AFTER}, 200),
        ({"range": "bytes=0-9", "if-range": "nonsense"}, 200),
        ({"range": "bytes=0-9", "if-none-match": "ETAG"}, 304),
        ({"range": "bytes=0-9", "if-match": '"other"'}, 412),
        ({"range": "nonsense"}, 200),
    ],
)
def test_conditional_requests_are_answered(client: TestClient, headers: dict[str, str], status: int) -> None:
    etag = client.head("/plain").headers["etag"]
    answer = client.get("/plain", headers={name: value.replace("ETAG", etag) for name, value in headers.items()})
    assert answer.status_code == status
    if status == 304:
        assert answer.content == b""
        assert answer.headers["etag"] == etag


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([("if-match", '"other"'), ("if-match", "ETAG")], 200),
        ([("if-match", '"other"'), ("if-match", '"another"')], 412),
        ([("if-none-match", '"other"'), ("if-none-match", '"another", ETAG')], 304),
        ([("if-none-match", '"other"'), ("if-none-match", "W/ETAG")], 304),
        ([("if-none-match", '"other"'), ("if-none-match", '"another"')], 200),
    ],
)
def test_etags_may_be_in_several_header_lines(client: TestClient, lines: list[tuple[str, str]], status: int) -> None:
    etag = client.head("/plain").headers["etag"]
    headers = [(name, value.replace("ETAG", etag)) for name, value in lines]
    assert client.get("/plain", headers=headers).status_code == status


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def test_dates_without_a_zone_are_utc_in_any_zone_of_the_server(
    client: TestClient, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, at, after = (f"Tue Nov 14 22:13:{second} 2023" for second in (19, 20, 21))  # of C's asctime, RFC 9110 5.6.7
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        answers = [client.get("/plain", headers={"if-modified-since": date}) for date in (before, at, after)]
        states = [client.get("/plain", headers={"if-unmodified-since": date}) for date in (before, at, after)]
        parts = [client.get("/plain", headers={"range": "bytes=0-9", "if-range": date}) for date in (before, at, after)]
    finally:
        monkeypatch.undo()
        time.tzset()
    assert [answer.status_code for answer in answers] == [200, 304, 304]
    assert [answer.status_code for answer in states] == [412, 200, 200]
    assert [answer.status_code for answer in parts] == [200, 206, 200]


def test_a_changed_file_has_another_etag(client: TestClient, file: Path) -> None:
    before = client.head("/plain").headers["etag"]
    file.write_bytes(CONTENT[::-1])
    os.utime(file, (MODIFIED, MODIFIED + 1e-3))
    assert client.head("/plain").headers["etag"] != before


def test_a_missing_file_is_404(client: TestClient, file: Path) -> None:
    file.unlink()
    assert client.get("/plain").status_code == 404
