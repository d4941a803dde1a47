"""`landcast serve` as an operator runs it: real processes, real signals."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from shutil import copytree
from threading import Event
from typing import Any

import httpx2
import psutil
import pytest
from click.testing import CliRunner

from server.cli import main
from tests.ports import free_port
from tests.server.served import Served, end, eventually, gone

pytestmark = pytest.mark.long


@pytest.fixture
def state(sample: Path, tmp_path: Path) -> Path:
    copytree(sample / "sample", tmp_path / "state" / "sample")
    return tmp_path / "state"


@pytest.fixture
def serve(state: Path, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(**environment: str) -> Served:
        started.append(Served(state, tmp_path / "log", **environment))
        return started[-1]

    yield start
    for served in started:
        end(served)


def test_it_serves_and_sigterm_ends_all_within_five_seconds(serve: Callable[..., Served]) -> None:
    served = serve()
    served.ready()
    eventually(lambda: len(served.tree()) >= 5)  # supervisor, gunicorn and two of its workers, worker
    tree = served.tree()
    began = time.monotonic()
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(6) == 0
    assert time.monotonic() - began < 5
    eventually(lambda: gone(tree), 1)


def test_each_killed_process_comes_back(serve: Callable[..., Served]) -> None:
    served = serve()
    served.ready()
    for victim in served.tree()[1:]:
        with suppress(psutil.NoSuchProcess):  # a worker of gunicorn ends with the one killed before it
            victim.kill()
        eventually(lambda: served.answers("/conformance"))
    served.ready()


def stopped(process: psutil.Process) -> psutil.Process:
    process.send_signal(signal.SIGSTOP)
    return process


def processes(served: Served) -> tuple[psutil.Process, list[psutil.Process], psutil.Process]:
    """Return gunicorn's parent, its server processes and the worker."""
    arbiter, worker = sorted(psutil.Process(served.process.pid).children(), key=lambda each: each.pid)
    return arbiter, arbiter.children(), worker


def health(served: Served, path: str) -> tuple[int, dict[str, Any]]:
    answer = httpx2.get(served.url + path, timeout=20, trust_env=False)
    return answer.status_code, answer.json()


def test_a_worker_and_a_server_process_that_hang_are_replaced(serve: Callable[..., Served]) -> None:
    served = serve()
    served.ready()
    _, web, worker = processes(served)
    victims = [stopped(worker), stopped(web[0])]
    job = served.post("/processes/echo/execution", {"inputs": {"stringInput": "x"}}, Prefer="respond-async")
    eventually(lambda: health(served, "/health/orders")[0] == 503, 60)
    code, ready = health(served, "/health/ready")
    assert (code, ready["orders"]) == (200, "down")
    assert served.answers("/collections/parks/items?limit=1")
    eventually(lambda: gone(victims), 120)
    eventually(lambda: served.get(f"/jobs/{job['jobID']}")["status"] == "successful", 60)
    served.ready()
    assert "worker gives no sign of life for 30 s" in served.log.read_text()


@pytest.mark.full
def test_all_that_hang_at_once_are_replaced(serve: Callable[..., Served]) -> None:
    served = serve()
    served.ready()
    arbiter, web, worker = processes(served)
    victims = [stopped(each) for each in (arbiter, *web, worker)]
    eventually(lambda: gone(victims), 180)
    served.ready()
    assert psutil.Process(served.process.pid).status() != psutil.STATUS_STOPPED


def test_server_processes_that_are_replaced_lose_no_request(serve: Callable[..., Served]) -> None:
    """As after many requests, or where an operator ends one; a request of some seconds is answered, too."""
    served = serve()
    served.ready()
    over = Event()

    def ask() -> int:
        with httpx2.Client(base_url=served.url, timeout=60, trust_env=False) as client:
            answers = 0
            while not over.is_set():
                assert client.get("/conformance", headers={"Accept": "application/json"}).status_code == 200
                answers += 1
            return answers

    def wait_long() -> int:
        body = {"inputs": {"stringInput": "x", "pause": 4}}
        return httpx2.post(f"{served.url}/processes/echo/execution", json=body, timeout=60, trust_env=False).status_code

    with ThreadPoolExecutor(7) as threads:
        asking = [threads.submit(ask) for _ in range(4)]
        waiting = [threads.submit(wait_long) for _ in range(3)]
        _, web, _ = processes(served)
        time.sleep(0.5)
        for victim in web:
            victim.terminate()
            eventually(lambda victim=victim: gone([victim]), 60)  # type: ignore[misc] # its type cannot be written
        over.set()
        assert [each.result(60) for each in waiting] == [200, 200, 200]
        assert all(each.result(60) for each in asking)


def test_running_work_is_handed_back_and_done_after_a_restart(serve: Callable[..., Served]) -> None:
    served = serve(LANDCAST_SERVER_WORKERS="1")
    served.ready()
    job = served.post("/processes/echo/execution", {"inputs": {"stringInput": "x", "pause": 3}}, Prefer="respond-async")
    eventually(lambda: served.get(f"/jobs/{job['jobID']}")["status"] == "running")
    served.process.send_signal(signal.SIGTERM)
    served.process.wait(6)
    again = serve(LANDCAST_SERVER_WORKERS="1")
    again.ready()
    eventually(lambda: again.get(f"/jobs/{job['jobID']}")["status"] == "successful", 20)


def test_no_order_is_lost_when_all_is_killed(serve: Callable[..., Served]) -> None:
    served = serve()
    served.ready()
    jobs = [
        served.post("/processes/echo/execution", {"inputs": {"stringInput": str(number)}}, Prefer="respond-async")
        for number in range(5)
    ]
    tree = served.tree()
    for process in tree:
        process.kill()
    served.process.wait()
    eventually(lambda: gone(tree))
    again = serve()
    again.ready()
    for job in jobs:
        eventually(lambda job=job: again.get(f"/jobs/{job['jobID']}")["status"] == "successful", 20)  # type: ignore[misc]


def test_every_log_line_is_json_with_a_request_id_for_a_request(serve: Callable[..., Served]) -> None:
    served = serve(LANDCAST_SERVER_WORKERS="1")
    served.ready()
    served.get("/collections", **{"X-Request-Id": "my-own-request"})
    served.process.send_signal(signal.SIGTERM)
    served.process.wait(6)
    lines = [json.loads(line) for line in served.log.read_text().splitlines()]
    assert any(line.get("requestId") == "my-own-request" for line in lines)
    assert all(line["time"].endswith("Z") for line in lines)


def test_a_database_that_is_none_stops_orders_and_nothing_else(serve: Callable[..., Served], state: Path) -> None:
    (state / "orders.sqlite").write_bytes(b"no database" * 1000)
    served = serve(LANDCAST_SERVER_WORKERS="1")
    eventually(lambda: served.answers("/collections/parks"), 60)
    ready = served.get("/health/ready")
    assert (ready["status"], ready["orders"]) == ("degraded", "down")
    with pytest.raises(urllib.error.HTTPError) as refused:
        served.get("/health/orders")
    assert refused.value.code == 503
    assert json.load(refused.value)["checks"]["orders"]["status"] == "unavailable"
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(6) == 0
    messages = [json.loads(line)["message"] for line in served.log.read_text().splitlines()]
    assert any(message.startswith("open: ") for message in messages)
    assert any(message.startswith("orders wait: ") for message in messages)


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({}, "LANDCAST_AUTH_OPEN"),
        ({"LANDCAST_AUTH_OPEN": "yes", "LANDCAST_AUTH_ISSUER": "https://example.org"}, "LANDCAST_AUTH_ISSUER"),
        ({"LANDCAST_AUTH_OPEN": "yes", "LANDCAST_AUTH_POLICY": "deploy/policy.yml"}, "LANDCAST_AUTH_POLICY"),
        ({"LANDCAST_AUTH_OPEN": "yes", "LANDCAST_TYPO": "1"}, "LANDCAST_TYPO"),
        ({"LANDCAST_AUTH_OPEN": "yes", "LANDCAST_SERVER_BIND": "203.0.113.1:1"}, "LANDCAST_SERVER_BIND"),
        ({"LANDCAST_AUTH_OPEN": "yes", "LANDCAST_SERVER_BIND": "127.0.0.1:99999"}, "LANDCAST_SERVER_BIND"),
        ({"LANDCAST_AUTH_OPEN": "yes", "LANDCAST_STATE_DIR": "/etc/passwd"}, "LANDCAST_STATE_DIR"),
    ],
)
def test_it_refuses_to_start_and_says_why(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], named: str
) -> None:
    """In this process, which spares the seconds that a new one's imports take; the next is as an operator sees it."""
    monkeypatch.setattr("server.logs.start_logging", lambda **_: None)  # the log of the tests stays theirs
    monkeypatch.setattr("server.supervise.supervise", lambda _: pytest.fail("it started"))
    clean = {name: None for name in os.environ if name.startswith("LANDCAST_")}
    done = CliRunner().invoke(main, ["serve"], env={**clean, **environment})
    assert isinstance(done.exception, SystemExit)
    assert done.exit_code == 1
    assert named in done.stderr


def test_it_ends_with_the_plain_word_alone() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LANDCAST_")}
    command = [sys.executable, "-m", "server.cli", "serve"]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "LANDCAST_AUTH_OPEN" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_process_that_cannot_be_loaded_ends_it_with_a_plain_word(tmp_path: Path, sample: Path) -> None:
    text = Path("pygeoapi-config.yml").read_text().replace("processes.echo.Echo", "processes.nowhere.Echo")
    configuration = tmp_path / "config.yml"
    configuration.write_text(text)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LANDCAST_")}
    done = subprocess.run(
        [sys.executable, "-m", "server.cli", "serve", "--config", str(configuration)],
        env={
            **clean,
            "LANDCAST_AUTH_OPEN": "yes",
            "LANDCAST_STATE_DIR": str(sample),
            "LANDCAST_SERVER_BIND": f"127.0.0.1:{free_port()}",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "No module named 'processes.nowhere'" in done.stderr
    assert "Traceback" not in done.stderr
