"""HTTP on the wire: real sockets, the real server."""

import gzip
import json
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import numpy as np
import pytest
import rasterio

from tests.conftest import ROOT, serving

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LARGE = "/collections/clcplus-vector/items?limit=2000"
FILE = "/collections/clcplus-raster/files/clcplus_2023_parks.tif"


@pytest.fixture(scope="module")
def server(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(sample, tmp_path_factory.mktemp("http") / "server.log") as url:
        yield url


def ask(url: str, *lines: str, version: str = "1.1") -> tuple[str, dict[str, str], bytes]:
    """Return status line, headers and body of the answer to a request of exactly these lines."""
    parts = urlsplit(url)
    first, *others = lines
    with socket.create_connection((parts.hostname, parts.port or 80), timeout=30) as connection:
        head = "\r\n".join([f"{first} HTTP/{version}", *others, "Connection: close", "", ""])
        connection.sendall(head.encode("latin-1"))
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    head_of, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head_of.decode("latin-1").split("\r\n")
    return status, {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}, body


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["GET /health/live", "Host: a"], "200 OK"),
        (["GET /health/live", "Host: 127.0.0.1:5000"], "200 OK"),
        (["GET /health/live", "Host: [::1]:5000"], "200 OK"),
        (["GET /health/live"], "400 Bad Request"),
        (["GET /health/live", "Host:"], "400 Bad Request"),
        (["GET /health/live", "Host: a", "Host: a"], "400 Bad Request"),
        (["GET /health/live", "Host: a b"], "400 Bad Request"),
        (["GET /collections", "Host: user@a"], "400 Bad Request"),
        (["GET http://other.example/health/live", "Host: a"], "200 OK"),
        (["GET http://other.example:81/collections?f=json", "Host: other.example:81"], "200 OK"),
        (["GET http://other.example", "Host: a"], "200 OK"),
        (["GET http://user@other.example/", "Host: a"], "400 Bad Request"),
        (["GET /collections", "Host: a", "Accept: image/png"], "406 Not Acceptable"),
        ([f"GET {FILE}", "Host: a", 'If-Match: "no"'], "412 Precondition Failed"),
        ([f"GET {FILE}", "Host: a", "Range: bytes=99999999999-"], "416 Range Not Satisfiable"),
        (["GET /favicon.ico", "Host: a"], "200 OK"),
    ],
)
def test_the_status_line_has_the_reason_phrase(server: str, lines: list[str], status: str) -> None:
    assert ask(server, *lines)[0] == f"HTTP/1.1 {status}"


def test_a_probe_of_http_1_0_needs_no_host(server: str) -> None:
    assert ask(server, "GET /health/live", version="1.0")[0].endswith(" 200 OK")


UNPACK = {"gzip": gzip.decompress, "zstd": zstd.decompress}


@pytest.mark.parametrize("coding", UNPACK)
@pytest.mark.parametrize("path", ["/collections?f=html", "/openapi", "/collections/parks/items?limit=9"])
def test_text_is_compressed_for_clients_that_accept_it(server: str, path: str, coding: str) -> None:
    _, plain, expected = ask(server, f"GET {path}", "Host: a")
    _, headers, body = ask(server, f"GET {path}", "Host: a", f"Accept-Encoding: br, {coding};q=0.5")
    assert headers["content-encoding"] == coding
    assert "content-encoding" not in plain
    assert all("Accept-Encoding" in message["vary"] for message in (plain, headers))
    body = _joined(body) if headers.get("transfer-encoding") == "chunked" else body
    assert int(headers.get("content-length", len(body))) == len(body) < len(expected) / 2
    unpacked = UNPACK[coding](body)
    assert json.loads(unpacked)["type"] if "items" in path else unpacked == expected


@pytest.mark.parametrize("coding", UNPACK)
def test_a_long_answer_is_chunked_and_complete(server: str, coding: str) -> None:
    lines = [f"GET {LARGE}", "Host: a"]
    _, headers, body = ask(server, *lines, f"Accept-Encoding: {coding}")
    assert headers["transfer-encoding"] == "chunked"
    assert len(json.loads(UNPACK[coding](_joined(body)))["features"]) == 2000


@pytest.mark.parametrize("coding", ["gzip", "zstd", "gzip, zstd", "identity"])
def test_a_client_reads_a_compressed_answer_and_reuses_its_connection(server: str, coding: str) -> None:
    with httpx2.Client(base_url=server, headers={"Accept-Encoding": coding}) as client:
        for path in (LARGE, "/collections/parks/items?limit=9", "/", LARGE):
            answer = client.get(path)
            expected = client.get(path, headers={"Accept-Encoding": "identity"})
            assert answer.headers.get("content-encoding", "identity") in coding
            assert untimed(answer.text) == untimed(expected.text)
            head = client.head(path)
            assert head.content == b""
            for name in ("content-encoding", "vary", "content-type"):
                assert head.headers.get(name) == answer.headers.get(name)


def untimed(text: str) -> str:
    return re.sub(r'"timeStamp": ?"[^"]+"', "", text)


def test_curl_reads_a_compressed_answer(server: str, tmp_path: Path) -> None:
    for path in (LARGE, "/openapi", "/collections?f=html"):
        run = ["curl", "-sS", "--fail", "--compressed", "-D", "head", "-o", "body", f"{server}{path}"]
        subprocess.run(run, cwd=tmp_path, check=True, timeout=60)
        head = (tmp_path / "head").read_text().lower()
        assert re.search(r"^content-encoding: (zstd|gzip)\r?$", head, re.MULTILINE)
        expected = httpx2.get(f"{server}{path}", headers={"Accept-Encoding": "identity"}).text
        assert untimed((tmp_path / "body").read_text()) == untimed(expected)


@pytest.mark.parametrize("path", [FILE, "/static/landcast.css"])
@pytest.mark.parametrize("accept", ["zstd, gzip", "gzip", "zstd, identity;q=0", ""])
def test_an_etag_does_not_depend_on_the_encoding(server: str, path: str, accept: str) -> None:
    """An answer with a strong tag and ranges is never compressed, so that its parts fit together."""
    lines = ("Host: a", f"Accept-Encoding: {accept}")
    _, plain, _ = ask(server, f"HEAD {path}", "Host: a")
    _, headers, body = ask(server, f"GET {path}", *lines)
    assert headers["etag"] == plain["etag"]
    assert (int(headers["content-length"]), headers["accept-ranges"]) == (len(body), "bytes")
    assert headers.get("vary") == plain.get("vary")
    status, part, piece = ask(server, f"GET {path}", *lines, "Range: bytes=10-99", f"If-Range: {headers['etag']}")
    assert status == "HTTP/1.1 206 Partial Content"
    assert (part["content-range"], piece) == (f"bytes 10-99/{len(body)}", body[10:100])
    assert "content-encoding" not in headers | part
    status, current, nothing = ask(server, f"GET {path}", *lines, f"If-None-Match: {headers['etag']}")
    assert (status, nothing) == ("HTTP/1.1 304 Not Modified", b"")
    assert current["etag"] == headers["etag"]
    assert current.get("vary") == plain.get("vary")


def _joined(chunks: bytes) -> bytes:
    whole = b""
    while chunks:
        size, _, chunks = chunks.partition(b"\r\n")
        whole, chunks = whole + chunks[: int(size, 16)], chunks[int(size, 16) + 2 :]
    return whole


@pytest.mark.parametrize("asked", [[], ["Range: bytes=0-99"]])
def test_a_file_is_never_compressed(server: str, asked: list[str]) -> None:
    status, headers, _ = ask(server, f"HEAD {FILE}", "Host: a", "Accept-Encoding: gzip", *asked)
    assert status.startswith("HTTP/1.1 200")
    assert "content-encoding" not in headers
    assert headers["etag"].startswith('"')
    _, ranged, body = ask(server, f"GET {FILE}", "Host: a", "Accept-Encoding: gzip", "Range: bytes=0-1")
    assert body in (b"II", b"MM")
    assert "content-encoding" not in ranged


def test_a_client_that_reads_only_after_sending_gets_the_413(server: str) -> None:
    request = urllib.request.Request(  # noqa: S310 - ours
        f"{server}/processes/echo/execution", b"x" * 30_000_000, {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)  # noqa: S310 - ours
    assert refused.value.code == 413
    assert b"larger than" in refused.value.read()
    refused.value.close()


def test_links_name_the_server_and_a_head_the_file(server: str) -> None:
    answer = httpx2.get(f"{server}/collections", timeout=60)
    assert answer.json()["links"][0]["href"] == f"{server}/collections?f=json"
    assert "x-powered-by" not in answer.headers
    head = httpx2.head(f"{server}{FILE}", timeout=60)
    assert head.headers["content-length"] == str((ROOT / "sample" / "clcplus_2023_parks.tif").stat().st_size)


def test_gdal_and_rasterio_read_a_file_in_place(server: str) -> None:
    address = f"/vsicurl/{server}{FILE}"
    done = subprocess.run(["gdalinfo", "-json", address], check=True, capture_output=True, text=True, timeout=60)
    document = json.loads(done.stdout)
    assert document["size"] == [58_880, 47_104]
    assert document["bands"][0]["overviews"]
    window = rasterio.windows.Window(33_656, 45_127, 456, 333)
    with rasterio.open(address) as remote, rasterio.open(ROOT / "sample" / "clcplus_2023_parks.tif") as local:
        expected = local.read(1, window=window)
        assert (expected != 255).any()
        assert np.array_equal(remote.read(1, window=window), expected)


def test_gdal_reads_the_collections(server: str) -> None:
    for name, arguments, expected in (
        ("parks", ["-al"], "Białowieski National Park"),
        ("nations", ["-al", "-where", "code = 'PL'"], "POLAND"),
        ("clcplus-vector", ["-al", "-spat", "20.37", "49.41", "20.371", "49.411"], "class_name (String)"),
    ):
        command = ["ogrinfo", "-ro", f"OAPIF:{server}/collections/{name}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        assert "ERROR" not in done.stderr
        assert expected in done.stdout
