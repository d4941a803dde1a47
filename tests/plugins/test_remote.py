"""Coverages of files on a server, by HTTP and S3 over sockets: pixels, replaced files, and servers that fail."""

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from plugins.cog import CogProvider
from products.errors import BrokenSource
from products.remote import RemoteFiles, RemoteOptions, configure, remote_state
from server.check import of_configuration
from tests.conftest import application
from tests.odd.rasters import PLACES, classes, gdal_cog, surface, written
from tests.routes.tiles.conftest import raster_alone

ONE = "/collections/clcplus-raster"
SIDE, WEST, NORTH = PLACES[3035]
VALUE = f"{ONE}/coverage?subset=E({WEST + 5 * SIDE}),N({NORTH - 5 * SIDE})"
QUICK = {"timeout": 0.5, "tries": 2, "refresh": 0.001}


@dataclass
class Files:
    """What the server has, how it behaves, and what it was asked."""

    content: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    fault: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    signed: list[str] = field(default_factory=list)
    address: str = ""

    def put(self, name: str, path: Path, tag: str = '"one"') -> str:
        self.content[f"/{name}"], self.tags[f"/{name}"] = path.read_bytes(), tag
        return f"{self.address}/{name}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: Files

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        files, asked = self.files, self.headers["range"]
        files.asked.append((self.command, asked))
        files.signed.append(self.headers["authorization"] or "")
        fault = files.fault
        if fault == "slow":
            time.sleep(0.8)
        if fault.isdigit() or self.path not in files.content:
            return self.answer(int(fault or 404), b"<Error>the signature is s3cret</Error>")
        content, tag = files.content[self.path], files.tags[self.path]
        if (wanted := self.headers["if-match"]) and wanted != tag:
            return self.answer(412, b"")
        if asked and fault != "no range":
            first, last = map(int, asked.removeprefix("bytes=").split("-"))
            part = content[first : last + 1]
            whole = {"content-range": f"bytes {first}-{first + len(part) - 1}/{len(content)}"}
            return self.answer(206, part[:100] if fault == "short" else part, {"etag": tag, **whole}, len(part))
        return self.answer(200, content, {"etag": tag} if fault != "no tag" else {})

    def answer(self, status: int, body: bytes, more: dict[str, str] | None = None, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-length": str(len(body) if length is None else length), **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
        self.close_connection = length is not None and length != len(body)


@pytest.fixture
def files() -> Iterator[Files]:
    found = Files()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"files": found}))
    found.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()
    configure(RemoteOptions())


def configuration_of(address: str) -> dict[str, object]:
    configuration = raster_alone()
    del configuration["products"]
    configuration["resources"]["clcplus-raster"]["providers"][0]["data"] = address
    return configuration


def client_of(address: str, state: Path, **remote: object) -> TestClient:
    app = application(configuration_of(address), state={"dir": state}, remote={**QUICK, **remote})
    return TestClient(app, headers={"accept": "*/*"})


def provider(address: str, **given: object) -> CogProvider:
    return CogProvider({"type": "coverage", "name": "plugins.cog.CogProvider", "data": address, **given})


def test_answers_are_those_of_the_file_here(files: Files, tmp_path: Path) -> None:
    values = classes(700, 900)
    here = gdal_cog(tmp_path / "land.tif", values, blocksize=256)
    with (
        client_of(str(here), tmp_path / "here") as near,
        client_of(files.put("a-b/land.tif", here), tmp_path / "there", timeout=10) as far,
    ):
        for path in (f"{ONE}/coverage?f=png", f"{ONE}/map?f=png&width=300", VALUE):
            answers = [client.get(path) for client in (far, near)]
            assert [each.status_code for each in answers] == [200, 200]
            assert answers[0].content == answers[1].content
        assert not [each for each in far.get(ONE).json()["links"] if each["rel"] == "enclosure"]
        assert far.get(f"{ONE}/files/land.tif").status_code == 404
    assert {method for method, _ in files.asked} == {"HEAD", "GET"}
    assert all(part for method, part in files.asked if method == "GET")


def test_what_is_known_of_a_file_is_not_asked_again(files: Files, tmp_path: Path) -> None:
    address = files.put("land.tif", gdal_cog(tmp_path / "land.tif", classes(700, 900), blocksize=256))
    with client_of(address, tmp_path / "state", refresh=600, timeout=10) as client:
        first = client.get(f"{ONE}/coverage?f=png").content
        asked = len(files.asked)
        assert [method for method, _ in files.asked].count("HEAD") == 1
        assert client.get(f"{ONE}/coverage?f=png").content == first
        assert client.get(ONE).status_code == 200
        assert len(files.asked) == asked


def test_a_replaced_file_is_served_and_never_mixed(files: Files, tmp_path: Path) -> None:
    one = gdal_cog(tmp_path / "one.tif", np.full((700, 900), 1, np.uint8), compress="none")
    two = gdal_cog(tmp_path / "two.tif", np.full((700, 900), 2, np.uint8), compress="none")
    address = files.put("land.tif", one)
    with client_of(address, tmp_path / "state", timeout=10) as client:
        assert client.get(VALUE).json() == 1
        files.put("land.tif", two, '"two"')
        assert client.get(VALUE).json() == 2
    store = RemoteFiles(RemoteOptions(refresh=600))
    version = store.version(address)
    assert store.read(address, version, 0, 4) == two.read_bytes()[:4]
    files.put("land.tif", one, '"three"')
    with pytest.raises(BrokenSource, match=r"land\.tif was replaced while it was read"):
        store.read(address, version, version.size - 10, version.size)
    assert store.version(address).tag == '"three"'


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("slow", r"the server did not answer within 0\.5 s, at 2 tries"),
        ("403", r"the server does not allow it \(403\)"),
        ("404", r"the server has no such file \(404\)"),
        ("401", r"the server wants other credentials \(401\)"),
        ("500", r"the server failed \(500\)"),
        ("no tag", "sends neither ETag nor Last-Modified"),
        ("no range", r"answers no requests for a part \(Range\)"),
        ("short", "the server.* cannot be used|cannot be reached|instead of"),
    ],
)
def test_a_server_that_fails_is_503_and_named_for_the_operator(
    fault: str, why: str, files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = files.put("land.tif", gdal_cog(tmp_path / "land.tif", classes(700, 900)))
    files.fault = fault
    with client_of(address, tmp_path / "state") as client:
        began = time.monotonic()
        answer = client.get(f"{ONE}/coverage?f=png")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "land.tif" not in answer.text
        assert time.monotonic() - began < 10
        assert client.get("/collections").status_code == 200
        problems = of_configuration(configuration_of(address), None)
        assert [each for each in problems if re.search(f"providers.0..data: land.tif: .*{why}", each)]
    assert re.search(why, caplog.text)
    assert "s3cret" not in caplog.text


def test_a_server_that_fails_later_is_503_until_it_is_back(files: Files, tmp_path: Path) -> None:
    address = files.put("land.tif", gdal_cog(tmp_path / "land.tif", classes(700, 900), compress="none"))
    with client_of(address, tmp_path / "state", refresh=600) as client:
        assert client.get(ONE).status_code == 200
        files.fault = "500"
        box = f"{NORTH - 6_900},{WEST + 8_000},{NORTH - 6_500},{WEST + 8_400}"
        part = f"{ONE}/coverage?f=png&bbox-crs=EPSG:3035&bbox={box}"
        assert client.get(part).status_code == 503
        files.fault = ""
        assert client.get(part).status_code == 200


def test_values_of_a_server(files: Files, tmp_path: Path) -> None:
    values = surface(2, "float32")
    address = files.put("v.tif", written(tmp_path / "v.tif", values, nodata=-1))
    cog = provider(address, bands=[{"name": "height"}, {"name": "slope"}])
    np.testing.assert_array_equal(cog.read(cog.whole, (411, 300)).values, values)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://example.org/a.tif", "allowed: https; http only on this machine"),
        ("https://me:s3cret@example.org/a.tif", "without a user or a query"),
        ("https://example.org/a.tif?sig=s3cret", "without a user or a query"),
        ("s3://bucket", "without a user or a query"),
    ],
)
def test_odd_addresses_are_refused_without_a_request(address: str, why: str) -> None:
    with pytest.raises(BrokenSource, match=why) as refused:
        RemoteFiles(RemoteOptions()).version(address)
    assert "s3cret" not in str(refused.value)
    assert remote_state(address) == ()


@pytest.mark.parametrize("key", ["AKIAEXAMPLE", None])
def test_requests_to_s3_are_signed_if_there_is_a_key(key: str | None, files: Files, tmp_path: Path) -> None:
    here = gdal_cog(tmp_path / "land.tif", classes(70, 90))
    files.put("bucket/a/land.tif", here)
    options = RemoteOptions(endpoint=files.address, region="eu-west-1", key=key, secret=key and "s3cret")
    assert "s3cret" not in repr(options)
    store = RemoteFiles(options)
    version = store.version("s3:/bucket/a/land.tif")
    assert store.read("s3://bucket/a/land.tif", version, 0, 4) == here.read_bytes()[:4]
    assert len(files.signed) == 2
    for each in files.signed:
        assert each.startswith(f"AWS4-HMAC-SHA256 Credential={key}/") if key else not each
        assert ("/eu-west-1/s3/" in each) == bool(key)
