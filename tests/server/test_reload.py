"""The reload of a running server: real processes, real signals, continuous requests."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import yaml
from click.testing import CliRunner

from server.cli import main
from server.supervise import Child, Liveness
from tests.reaper import kill_each
from tests.server.served import Served, end, eventually, gone

pytestmark = pytest.mark.long

NATIONS = Path("products/nations/nations.gpkg").absolute()
ECHO = {"type": "process", "processor": {"name": "processes.echo.Echo"}}


class Site:
    """A configuration file, and the server that serves it."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.path = folder / "configuration.yml"
        self.write("first")
        self.log = folder / "log"
        self.served = Served(
            self.state, self.log, "--config", str(self.path), LANDCAST_SERVER_WORKERS="1", LANDCAST_SERVER_IDLE="2"
        )

    def write(self, title: str, **processes: Any) -> None:
        texts = {"title": title, "description": "Of a test", "keywords": ["test"]}
        named = {"name": "Nobody", "url": "https://example.org"}
        identification = {**texts, "terms_of_service": "https://example.org", "url": "https://example.org"}
        nations = {
            "type": "collection",
            **texts,
            "extents": {"spatial": {"bbox": [-180, -90, 180, 90]}},
            "providers": [
                {"type": "feature", "name": "plugins.geopackage.GeoPackageProvider", "data": str(NATIONS)},
            ],
        }
        self.path.write_text(
            yaml.safe_dump(
                {
                    "metadata": {"identification": identification, "license": named, "provider": named}
                    | {"contact": {"name": "Nobody"}},
                    "resources": {"nations": nations, "echo": ECHO, **processes},
                }
            )
        )

    def reload(self) -> subprocess.CompletedProcess[str]:
        """Request a reload in a separate process, because tests request several at once with different environments."""
        environment = {**os.environ, "LANDCAST_STATE_DIR": str(self.state)}
        command = [sys.executable, "-m", "server.cli", "reload"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def title(self) -> str:
        return str(self.served.get("/")["title"])

    def web(self) -> list[psutil.Process]:
        """Return the parents of the server processes: the first children of the supervisor except the worker."""
        return psutil.Process(self.served.process.pid).children()

    def execute(self, process: str, pause: float = 0) -> str:
        inputs = {"inputs": {"stringInput": "x", "pause": pause}}
        return str(self.served.post(f"/processes/{process}/execution", inputs, Prefer="respond-async")["jobID"])

    def stands(self, job: str) -> str:
        return str(self.served.get(f"/jobs/{job}")["status"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("reload"))
    made.served.ready()
    yield made
    end(made.served)


class Asking:
    """A client that sends requests until `over`, and counts the answers by their title."""

    def __init__(self, url: str, over: Event, *, kept_alive: bool) -> None:
        self._address = urlsplit(url).netloc
        self._over = over
        self._kept_alive = kept_alive
        self.titles: list[str] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=60)
        while not self._over.is_set():
            connection.request("GET", "/", headers={"Accept": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status == 200, text
            self.titles.append(text.partition('"title":"')[2].partition('"')[0])
            if not self._kept_alive:
                connection.close()
            time.sleep(0.1)
        connection.close()


@contextmanager
def asking(site: Site) -> Iterator[list[Asking]]:
    """Send requests with several clients in the context; fail if a request has failed."""
    over = Event()
    clients = [Asking(site.served.url, over, kept_alive=kept_alive) for kept_alive in (True, True, False, False)]
    with ThreadPoolExecutor(len(clients)) as threads:
        began: list[Future[None]] = [threads.submit(client.run) for client in clients]
        try:
            eventually(lambda: all(client.titles for client in clients))
            yield clients
        finally:
            over.set()
        assert [each.result(60) for each in began] == [None] * len(clients)


def test_two_reloads_change_the_answers_without_a_failed_request(site: Site) -> None:
    with asking(site) as clients, ThreadPoolExecutor(1) as threads:
        for number in ("second", "third"):
            site.write(number)
            waiting = threads.submit(
                site.served.post, "/processes/echo/execution", {"inputs": {"stringInput": "x", "pause": 4}}
            )
            done = site.reload()
            assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "taken")
            assert site.title() == number
            eventually(lambda: all(client.titles[-1] == number for client in clients))  # noqa: B023 - of this round
            assert waiting.result(60)
    for client in clients:
        assert set(client.titles) == {"first", "second", "third"}
    for client in clients[:2]:  # of the others one may meet an old process once more, until it is said to be taken
        assert client.titles == sorted(client.titles, key=["first", "second", "third"].index)
    eventually(lambda: len(site.web()) == 2, 60)  # the old ones have ended


def test_an_invalid_configuration_is_refused_and_the_former_stays(site: Site) -> None:
    """It stays even if processes restart, as they do not read the file."""
    before = site.title()
    site.write("wrong", **{"no-process": {"type": "process", "processor": {"name": "no.such.Plugin"}}, "empty": {}})
    with asking(site) as clients:
        done = site.reload()
    assert done.returncode == 1
    assert "resources.no-process.processor.name: no.such.Plugin" in done.stderr
    assert "resources.empty" in done.stderr
    assert done.stderr.splitlines()[-1] == "refused; the former configuration stays"
    assert {title for client in clients for title in client.titles} == {before}
    assert "is refused, and the former configuration stays: resources.no-process" in site.log.read_text()
    victims = site.served.tree()[1:]
    kill_each(victims)
    eventually(lambda: gone(victims))
    site.served.ready()
    assert site.title() == before
    job = site.execute("echo")
    eventually(lambda: site.stands(job) == "successful")


def test_a_reload_during_a_reload_follows_it_and_sighup_does_the_same(site: Site) -> None:
    site.write("fourth")
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(site.reload)
        eventually(lambda: [each for each in site.served.tree() if "server.examination" in " ".join(command(each))])
        site.write("fifth")
        second = threads.submit(site.reload)
        assert (first.result(120).returncode, second.result(120).returncode) == (0, 0)
    assert site.title() == "fifth"
    site.write("sixth")
    site.served.process.send_signal(signal.SIGHUP)
    eventually(lambda: site.title() == "sixth", 120)


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def test_running_orders_continue_and_new_ones_use_the_new_configuration(site: Site) -> None:
    running = site.execute("echo", pause=60)
    eventually(lambda: site.stands(running) == "running")
    site.write("after", another=ECHO)
    assert site.reload().returncode == 0
    job = site.execute("another")
    eventually(lambda: site.stands(job) == "successful")
    assert site.stands(running) in {"running", "successful"}
    found = [json.loads(line)["message"] for line in site.log.read_text().splitlines() if f'"job": "{running}"' in line]
    assert found in (["attempt started"], ["attempt started", "result published"])


def test_a_reload_without_a_server_is_an_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["reload"], env={"LANDCAST_STATE_DIR": str(tmp_path)})
    assert (done.exit_code, done.stderr) == (1, f"Error: no server runs on the state folder {tmp_path}\n")


def test_a_process_that_ignores_the_stop_is_killed() -> None:
    def ignore(liveness: Liveness) -> None:
        liveness.ready()
        signal.signal(signal.SIGWINCH, signal.SIG_IGN)
        while True:
            liveness.beat()
            time.sleep(0.01)

    child = Child("server", ignore)
    child.poll(time.monotonic())
    process = child.process
    assert process
    eventually(lambda: child.liveness.is_ready)
    assert not child.leave(time.monotonic(), within=60)
    assert process.is_alive()
    child.leave(time.monotonic() + 61, within=60)
    assert process.exitcode == -signal.SIGKILL
    eventually(lambda: child.leave(time.monotonic(), within=60))
