"""`landcast serve` as an operator runs it: real processes, real signals."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from threading import Event
from typing import Any

import httpx2
import psutil
import pytest
from click.testing import CliRunner

from server.cli import main
from tests.reaper import kill_each
from tests.server.served import Served, end, eventually, gone

pytestmark = pytest.mark.long


Up = Callable[[int], Served]


@pytest.fixture(scope="module")
def up(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Return a running server of this number of processes; one ended by a test is restarted with its state."""
    running: dict[int, Served] = {}

    def running_of(workers: int) -> Served:
        if workers not in running:
            folder = tmp_path_factory.mktemp(f"of_{workers}")
            copytree(sample / "sample", folder / "sample")
        elif running[workers].process.poll() is None:
            return running[workers]
        else:
            folder = running[workers].log.parent
        running[workers] = Served(folder, folder / "log", LANDCAST_SERVER_WORKERS=str(workers))
        return running[workers]

    yield running_of
    for served in running.values():
        end(served)


def test_readiness_is_announced_when_requests_are_served(up: Up) -> None:
    """The socket listens earlier, so early clients wait; the announcement comes when a process answers."""
    served = up(1)
    eventually(lambda: "serving http://127.0.0.1" in served.log.read_text(), 120)
    assert len(processes(served)[1]) == 1
    assert served.answers("/collections/parks")
    messages = [json.loads(line)["message"] for line in served.log.read_text().splitlines()]
    assert messages[0].startswith("open server: ")
    assert messages[1].startswith("serving ")


def stopped(process: psutil.Process) -> psutil.Process:
    process.send_signal(signal.SIGSTOP)
    return process


def processes(served: Served) -> tuple[psutil.Process, list[psutil.Process], psutil.Process]:
    """Return gunicorn's parent, its server processes and the worker."""
    arbiter, worker = sorted(psutil.Process(served.process.pid).children(), key=lambda each: each.pid)
    return arbiter, arbiter.children(), worker


def health(served: Served, path: str) -> tuple[int, dict[str, Any]]:
    answer = httpx2.get(served.url + path, timeout=60, trust_env=False)
    return answer.status_code, answer.json()


@pytest.mark.full
def test_a_worker_and_a_server_process_that_hang_are_replaced(up: Up) -> None:
    served = up(2)
    served.ready()
    _, web, worker = processes(served)
    victims = [stopped(worker), stopped(web[0])]
    job = served.post("/processes/echo/execution", {"inputs": {"stringInput": "x"}}, Prefer="respond-async")
    eventually(lambda: health(served, "/health/orders")[0] == 503, 120)
    eventually(lambda: health(served, "/health/ready")[1]["orders"] == "down")
    assert health(served, "/health/ready")[0] == 200
    assert served.answers("/collections/parks/items?limit=1")
    eventually(lambda: gone(victims), 300)
    eventually(lambda: served.get(f"/jobs/{job['jobID']}")["status"] == "successful", 60)
    served.ready()
    assert "worker has sent no heartbeat for 30 s" in served.log.read_text()


@pytest.mark.full
def test_processes_that_hang_at_the_same_time_are_replaced(up: Up) -> None:
    served = up(2)
    served.ready()
    arbiter, web, worker = processes(served)
    victims = [stopped(each) for each in (arbiter, *web, worker)]
    eventually(lambda: gone(victims), 180)
    served.ready()
    assert psutil.Process(served.process.pid).status() != psutil.STATUS_STOPPED


@dataclass
class Asking:
    """A client that sends requests one after another; it is made before, as this takes seconds on a busy machine."""

    client: httpx2.Client
    slowest: float = 0.0
    answers: int = 0

    def until(self, over: Event) -> None:
        with self.client as client:
            while not over.is_set():
                began = time.monotonic()
                assert client.get("/conformance", headers={"Accept": "application/json"}).status_code == 200
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.answers += 1


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.full)])
def test_a_replaced_server_process_loses_no_request(up: Up, workers: int) -> None:
    """It is replaced like after many requests, or when an operator ends all; a request of some seconds is answered too.

    Each accepts connections until its successor does, so no client waits for a start.
    """
    served = up(workers)
    served.ready()
    over = Event()
    asking = [Asking(httpx2.Client(base_url=served.url, timeout=60, trust_env=False)) for _ in range(4)]
    patient = httpx2.Client(base_url=served.url, timeout=90, trust_env=False)

    def wait_long() -> int:
        body = {"inputs": {"stringInput": "x", "pause": 4}}
        return patient.post("/processes/echo/execution", json=body).status_code

    def all_answered(times: int) -> bool:
        return all(each.answers >= times for each in asking)

    with patient, ThreadPoolExecutor(7) as threads:
        began = [threads.submit(each.until, over) for each in asking]
        waiting = [threads.submit(wait_long) for _ in range(3)]
        try:
            eventually(lambda: all_answered(10), 60)
            victims = processes(served)[1]
            for victim in victims:
                victim.terminate()
            eventually(lambda: gone(victims), 120)
            seen = max(each.answers for each in asking)
            eventually(lambda: all_answered(seen + 10), 60)
        finally:
            over.set()
        assert [each.result(90) for each in waiting] == [200, 200, 200]
        assert [each.result(60) for each in began] == [None] * 4
    assert len(processes(served)[1]) == workers
    assert max(each.slowest for each in asking) < 10


def test_an_ending_server_process_serves_until_its_successor_does(up: Up) -> None:
    served = up(1)
    served.ready()
    arbiter, web, _ = processes(served)
    stopped(arbiter)
    web[0].terminate()
    until = time.monotonic() + 3  # it looks twice a second whether it is to end
    while time.monotonic() < until:
        assert served.answers("/conformance")
    assert arbiter.status() == psutil.STATUS_STOPPED, "it was replaced meanwhile"
    assert not gone(web)
    arbiter.send_signal(signal.SIGCONT)
    eventually(lambda: gone(web), 120)
    assert served.answers("/conformance")


def test_interrupted_work_runs_again_after_a_restart(up: Up) -> None:
    served = up(1)
    served.ready()
    job = served.post("/processes/echo/execution", {"inputs": {"stringInput": "x", "pause": 3}}, Prefer="respond-async")
    eventually(lambda: served.get(f"/jobs/{job['jobID']}")["status"] == "running")
    served.process.send_signal(signal.SIGTERM)
    served.process.wait(60)
    again = up(1)
    again.ready()
    eventually(lambda: again.get(f"/jobs/{job['jobID']}")["status"] == "successful", 60)


def test_each_killed_process_comes_back(up: Up) -> None:
    """This test is after those that look for processes by the order of their starts."""
    served = up(2)
    served.ready()
    for victim in served.tree()[1:]:
        with suppress(psutil.NoSuchProcess):  # a worker of gunicorn ends with the one killed before it
            victim.kill()
        eventually(lambda: served.answers("/conformance"))
    served.ready()


def test_no_order_is_lost_when_all_processes_are_killed(up: Up) -> None:
    served = up(2)
    served.ready()
    jobs = [
        served.post("/processes/echo/execution", {"inputs": {"stringInput": str(number)}}, Prefer="respond-async")
        for number in range(5)
    ]
    tree = served.tree()
    kill_each(tree)
    served.process.wait()
    eventually(lambda: gone(tree))
    again = up(2)
    again.ready()
    for job in jobs:
        eventually(lambda job=job: again.get(f"/jobs/{job['jobID']}")["status"] == "successful", 60)  # type: ignore[misc]


def test_sigterm_ends_all_within_five_seconds(up: Up) -> None:
    """The best of several tries counts, as a busy machine may delay one."""
    assert any(seconds_to_end(up(2)) < 5 for _ in range(5))


def seconds_to_end(served: Served) -> float:
    """Return the seconds until all of its processes have ended."""
    served.ready()
    eventually(lambda: len(served.tree()) >= 5)  # supervisor, gunicorn and two of its workers, worker
    tree = served.tree()
    began = time.monotonic()
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(60) == 0
    took = time.monotonic() - began
    eventually(lambda: gone(tree))
    return took


def test_every_log_line_is_json_with_a_request_id_for_a_request(up: Up) -> None:
    served = up(1)
    served.ready()
    served.get("/collections", **{"X-Request-Id": "my-own-request"})
    eventually(lambda: "my-own-request" in served.log.read_text())
    whole, _, _ = served.log.read_text().rpartition("\n")
    lines = [json.loads(line) for line in whole.splitlines()]
    assert any(line.get("requestId") == "my-own-request" for line in lines)
    assert all(line["time"].endswith("Z") for line in lines)


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
def test_an_invalid_setup_prevents_the_start_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], named: str
) -> None:
    """It runs in this process, which saves the imports of a new one; the next test runs the program."""
    monkeypatch.setattr("server.logs.start_logging", lambda **_: None)  # the log of the tests stays theirs
    monkeypatch.setattr("server.supervise.supervise", lambda _: pytest.fail("it started"))
    clean = {name: None for name in os.environ if name.startswith("LANDCAST_")}
    done = CliRunner().invoke(main, ["serve"], env={**clean, **environment})
    assert isinstance(done.exception, SystemExit)
    assert done.exit_code == 1
    assert named in done.stderr
