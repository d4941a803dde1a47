"""A real Caddy in front of the server, with the committed example, another port and its own CA."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import pytest

from tests.deploy.test_containers import TOOLS
from tests.deploy.test_nginx import HOST, Proxy
from tests.ports import free_port
from tests.server.served import Served, end, eventually

pytestmark = pytest.mark.full
_OPTIONS = """{{
	admin off
	skip_install_trust
	auto_https disable_redirects
	storage file_system {folder}/caddy
}}
"""


@pytest.fixture(scope="module")
def proxy(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("caddy")
    copytree(sample / "sample", folder / "state" / "sample")
    port = free_port()
    url = f"https://{HOST}:{port}"
    served = Served(folder / "state", folder / "log", LANDCAST_SERVER_URL=url)
    text = Path("deploy/Caddyfile").read_text()
    for written, other in ((f"{HOST} {{\n", f"{HOST}:{port} {{\n\ttls internal\n"), ("127.0.0.1:5000", served.url[7:])):
        assert text.count(written) == 1
        text = text.replace(written, other)
    (folder / "Caddyfile").write_text(_OPTIONS.format(folder=folder) + text)
    environment = {**os.environ, "HOME": str(folder)}
    command: list[str | Path] = [
        TOOLS / "caddyserver",
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        folder / "Caddyfile",
    ]
    with (folder / "output").open("w") as output:
        caddy = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    root = folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    made = Proxy(url, free_port(), root, folder, served)
    try:
        served.ready()
        eventually(lambda: caddy.poll() is not None or (root.exists() and answers(made)))
        assert caddy.poll() is None, (folder / "output").read_text()
        yield made
    finally:
        caddy.terminate()
        caddy.wait(60)
        end(served)


def answers(proxy: Proxy) -> bool:
    try:
        return proxy.curl(f"{proxy.url}/health/live").status == 200
    except subprocess.CalledProcessError:
        return False


def test_links_and_an_order_work_behind_caddy(proxy: Proxy) -> None:
    forged = ("-H", "X-Forwarded-Host: evil.example", "-H", "X-Forwarded-For: 192.0.2.1")
    links = proxy.curl(f"{proxy.url}/?f=json", *forged).document["links"]
    ours = [link["href"] for link in links if HOST in link["href"]]
    assert len(ours) > 5
    assert all(address.startswith(proxy.url) and proxy.curl(address).status == 200 for address in ours)
    done = proxy.post(f"{proxy.url}/processes/echo/execution", {"inputs": {"stringInput": "x"}})
    assert (done.status, done.document) == (200, "x")
    source = Path("sample/clcplus_2023_parks.tif")
    part = proxy.curl(f"{proxy.url}/collections/clcplus-raster/files/{source.name}", "-r", "1000-1999")
    assert (part.status, part.body) == (206, source.read_bytes()[1000:2000])


def test_an_unavailable_server_is_a_problem_document(proxy: Proxy) -> None:
    """It is the last test, because it ends the server."""
    end(proxy.served)
    answer = proxy.curl(f"{proxy.url}/collections")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.document["status"] == 503
