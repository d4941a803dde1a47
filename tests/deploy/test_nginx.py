"""A real nginx with the committed example, with other ports and paths, before a real `landcast serve`."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, which
from typing import Any

import pytest

from routes.http.body import MAX_BODY
from tests.ports import free_port
from tests.server.served import Served, end, eventually

HOST = "maps.example.org"
NGINX = which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin") or "nginx"
_MAIN = """
daemon off;
{user}
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/landcast.conf;
}}
"""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Proxy:
    """The public address, and the certificate that clients trust."""

    url: str
    plain: int
    certificate: Path
    folder: Path
    served: Served

    def curl(self, address: str, *options: str) -> Answer:
        port = self.url.removesuffix("/land").rpartition(":")[2]
        command = [
            "curl",
            "-s",
            "-S",
            "-m",
            "30",
            "--cacert",
            str(self.certificate),
            "-D",
            str(self.folder / "headers"),
        ]
        for each in (port, str(self.plain)):
            command += ["--resolve", f"{HOST}:{each}:127.0.0.1"]
        body = subprocess.run([*command, *options, address], capture_output=True, check=True).stdout
        *_, last = re.split(r"\r\n\r\n", (self.folder / "headers").read_text().removesuffix("\r\n\r\n"))
        first, *lines = last.splitlines()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return Answer(int(first.split()[1]), headers, body)

    def post(self, address: str, body: object, *options: str) -> Answer:
        return self.curl(address, "-H", "Content-Type: application/json", "-d", json.dumps(body), *options)


@pytest.fixture(scope="module")
def proxy(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("nginx")
    state = folder / "state"
    copytree(sample / "sample", state / "sample")
    secure, plain = free_port(), free_port()
    url = f"https://{HOST}:{secure}/land"
    served = Served(state, folder / "log", LANDCAST_SERVER_URL=url)
    certificate = certified(folder)
    (folder / "landcast.conf").write_text(adapted(folder, secure, plain, served.url.removeprefix("http://")))
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, user=user))
    nginx = subprocess.Popen([NGINX, "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"])
    made = Proxy(url, plain, certificate, folder, served)
    try:
        served.ready()
        eventually(lambda: nginx.poll() is not None or ((folder / "pid").exists() and (folder / "pid").read_text()))
        assert nginx.poll() is None, "nginx refuses the configuration; standard error says why"
        yield made
    finally:
        nginx.terminate()
        nginx.wait(60)
        end(served)


def certified(folder: Path) -> Path:
    """Make a self-signed certificate."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}"),
            *(
                "-addext",
                f"subjectAltName=DNS:{HOST}",
                "-keyout",
                folder / "key.pem",
                "-out",
                folder / "certificate.pem",
            ),
        ],
        capture_output=True,
        check=True,
    )
    return folder / "certificate.pem"


def adapted(folder: Path, secure: int, plain: int, upstream: str) -> str:
    """Return the example with other ports and paths."""
    text = Path("deploy/nginx.conf").read_text()
    for pattern, value, times in (
        (r"127\.0\.0\.1:5000", upstream, 1),
        (r"/var/www/acme", f"{folder}/acme", 1),
        (r"(listen (?:\[::\]:)?)80;", rf"\g<1>{plain};", 2),
        (r"(listen (?:\[::\]:)?)443 ssl http2;", rf"\g<1>{secure} ssl http2;", 2),
        (r"/etc/ssl/certs/maps\.example\.org\.pem", str(folder / "certificate.pem"), 1),
        (r"/etc/ssl/private/maps\.example\.org\.key", str(folder / "key.pem"), 1),
        (r"/var/log/nginx/", f"{folder}/", 1),
    ):
        text, found = re.subn(pattern, value, text)
        assert found == times, pattern
    return text


def test_every_link_of_the_landing_page_works_behind_the_prefix(proxy: Proxy) -> None:
    document = proxy.curl(f"{proxy.url}/?f=json").document
    ours = [link["href"] for link in document["links"] if link["href"].startswith("http") and HOST in link["href"]]
    assert len(ours) > 5
    for address in ours:
        assert address.startswith(proxy.url)
        assert proxy.curl(address).status == 200
    assert proxy.curl(proxy.url).status == 200
    assert proxy.curl(proxy.url.removesuffix("land") + "elsewhere").status == 404


def test_http_2_and_http_1_are_supported(proxy: Proxy) -> None:
    for option, version in (("--http2", "2"), ("--http1.1", "1.1")):
        answer = proxy.curl(f"{proxy.url}/health/live", option, "-w", "%{http_version}", "-o", "/dev/null")
        assert answer.body.decode() == version


def test_plain_http_is_redirected_to_https(proxy: Proxy) -> None:
    answer = proxy.curl(f"http://{HOST}:{proxy.plain}/land/collections?f=json")
    assert (answer.status, answer.headers["location"]) == (308, f"https://{HOST}/land/collections?f=json")


def test_an_order_is_executed_and_fetched_by_range(proxy: Proxy) -> None:
    order = {"inputs": {"product": "Raster", "aoi": {"bbox": [23.80, 52.70, 23.90, 52.76]}}}
    placed = proxy.post(f"{proxy.url}/processes/extract-product/execution", order, "-H", "Prefer: respond-async")
    assert placed.status == 201
    job = placed.headers["location"]
    assert job.startswith(f"{proxy.url}/jobs/")
    eventually(lambda: proxy.curl(f"{job}?f=json").document["status"] == "successful", 60)
    whole = proxy.curl(f"{job}/results")
    assert whole.body[:2] == b"PK"
    part = proxy.curl(f"{job}/results", "-r", "100-199")
    assert (part.status, part.body) == (206, whole.body[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.body)}"


def test_a_signed_link_works_and_its_signature_is_in_no_log(proxy: Proxy) -> None:
    order = {
        "inputs": {"product": "Raster"},
        "outputs": {"result": {"transmissionMode": "reference"}},
        "response": "document",
    }
    answer = proxy.post(f"{proxy.url}/processes/european-product/execution", order)
    link = answer.document["result"]["href"]
    assert link.startswith(f"{proxy.url}/results/")
    assert proxy.curl(link, "-r", "0-3").status == 206
    until = time.monotonic() + 60
    while "GET /land/results/" not in (log := (proxy.folder / "landcast.log").read_text()):
        assert time.monotonic() < until, "a line is written after its answer is read"
        time.sleep(0.05)
    assert "sig=" not in log


def test_a_large_file_is_not_buffered_by_the_proxy(proxy: Proxy) -> None:
    source = Path("sample/clcplus_2023_parks.tif")
    address = f"{proxy.url}/collections/clcplus-raster/files/{source.name}"
    part = proxy.curl(address, "-r", "1000000-1999999")
    assert (part.status, part.body) == (206, source.read_bytes()[1_000_000:2_000_000])
    assert proxy.curl(address).body == source.read_bytes()
    assert list((proxy.folder / "proxy").rglob("*")) == []


def test_a_body_above_the_limit_is_a_problem_and_one_at_the_limit_is_read(proxy: Proxy) -> None:
    body = proxy.folder / "body.json"
    address = f"{proxy.url}/processes/echo/execution"
    sent = ("-H", "Content-Type: application/json", "--data-binary", f"@{body}")
    order = json.dumps({"inputs": {"stringInput": "x"}})
    for size, status in ((MAX_BODY, 200), (MAX_BODY + 1, 413)):
        body.write_text(order.ljust(size))
        answer = proxy.curl(address, *sent)
        assert answer.status == status, answer.body[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.document["status"] == 413
    assert f"larger than {MAX_BODY} bytes" in answer.document["detail"]


def test_a_forged_address_of_the_client_and_a_forged_host_change_no_link(proxy: Proxy) -> None:
    forged = ("-H", "X-Forwarded-Host: evil.example", "-H", "X-Forwarded-Proto: ftp", "-H", "X-Forwarded-Prefix: /evil")
    document = proxy.curl(f"{proxy.url}/?f=json", *forged).body.decode()
    assert "evil" not in document
    assert "ftp:" not in document


def test_the_proxy_reports_an_unavailable_server_as_a_problem(proxy: Proxy) -> None:
    """It is the last test, because it ends the server."""
    end(proxy.served)
    time.sleep(0.1)
    answer = proxy.curl(f"{proxy.url}/collections")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.document["status"] == 503
