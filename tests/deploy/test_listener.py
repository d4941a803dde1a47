"""The events that Airflow's plugin sends to the server, without delaying Airflow."""

import json
import subprocess
import time
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from hmac import HMAC
from pathlib import Path
from socket import create_server
from threading import Event

from tests.airflow import HOME, ROOT, Airflow
from tests.orchestration.receivers import Receiver

Taken = tuple[str, dict[str, str], bytes]
_TELL = """
import time, landcast_listener
(listener,) = landcast_listener.LandcastPlugin.listeners
run = type("", (), {"dag_id": "echo", "run_id": "01234567-89ab-cdef-0123-456789abcdef.1"})
begun = time.monotonic()
for _ in range(3000):
    listener.on_dag_run_success(run, "")
print(f"took {time.monotonic() - begun:.3f} s")
"""


def _receiver(answer: Callable[[int], int], port: int) -> Receiver:
    """Listen on the port; a connection of another program may occupy it for a moment."""
    until = time.monotonic() + 90
    while True:
        try:
            return Receiver(answer, port=port)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(1)


@contextmanager
def listening(airflow: Airflow, answer: Callable[[int], int] = lambda _: 204) -> Iterator[Receiver]:
    receiver = _receiver(answer, int(airflow.server_bind.split(":")[1]))
    try:
        yield receiver
    finally:
        receiver.close()


def event_of(receiver: Receiver, run: str, within: float = 30) -> Taken:
    """Wait for the event of a run."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        for taken in list(receiver.taken):
            if json.loads(taken[2])["run"] == run:
                return taken
        time.sleep(0.02)
    raise AssertionError(receiver.taken)


def order() -> str:
    return f"{uuid.uuid4()}.1"


def test_each_ended_run_has_a_signed_event(airflow: Airflow) -> None:
    with listening(airflow) as receiver:
        for dag, state in (("test-quick", "success"), ("test-bad", "failed")):
            run = order()
            airflow.begin(dag, run)
            assert airflow.ended(dag, run) == state
            path, headers, body = event_of(receiver, run)
            assert path == "/airflow/events"
            assert json.loads(body) == {"dag": dag, "run": run, "state": state}
            assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
            signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
            signature = b64encode(HMAC(airflow.key.encode(), signed, sha256).digest()).decode()
            assert headers["webhook-signature"] == f"v1,{signature}"


def test_a_run_ended_by_a_user_has_an_event_from_the_api_server(airflow: Airflow) -> None:
    run = order()
    with listening(airflow) as receiver:
        airflow.begin("test-slow", run)
        airflow.ask("PATCH", f"/dags/test-slow/dagRuns/{run}", {"state": "failed"})
        assert json.loads(event_of(receiver, run)[2]) == {"dag": "test-slow", "run": run, "state": "failed"}


def test_runs_of_other_dags_have_no_events(airflow: Airflow) -> None:
    with listening(airflow) as receiver:
        airflow.begin("test-quick", "somebodys~own")
        airflow.ended("test-quick", "somebodys~own")
        run = order()
        airflow.begin("test-quick", run)
        event_of(receiver, run)
        assert "somebodys~own" not in {json.loads(body)["run"] for _, _, body in receiver.taken}


def test_airflow_does_not_wait_for_a_silent_server(airflow: Airflow) -> None:
    hanging = Event()

    def answer(number: int) -> int:
        if number == 1:
            hanging.wait(60)
        return 204

    with listening(airflow, answer) as receiver:
        runs = [order() for _ in range(4)]
        for run in runs:
            airflow.begin("test-quick", run)
        assert {airflow.ended("test-quick", run) for run in runs} == {"success"}
        for run in runs:
            event_of(receiver, run)
        hanging.set()
    assert "was not accepted: TimeoutError" in airflow.log("scheduler").read_text()


def test_sending_never_blocks_if_the_server_hangs_or_is_unavailable(tmp_path: Path) -> None:
    with create_server(("127.0.0.1", 0)) as silent:
        for port in (silent.getsockname()[1], 1):
            done = telling(tmp_path, f"http://127.0.0.1:{port}")
            printed = done.stdout + done.stderr
            assert (done.returncode, printed.count("Traceback")) == (0, 0), printed
            assert "is dropped: the server is slow" in printed
            assert float(printed.split("took ")[1].split(" s")[0]) < 60, "3,000 of 2 s each, where each waited"


def telling(home: Path, url: str) -> "subprocess.CompletedProcess[str]":
    """Send the ends of 3000 runs in Airflow's environment, without an Airflow."""
    environment = {
        "AIRFLOW_HOME": str(home),
        "PYTHONPATH": f"{ROOT}:{ROOT}/deploy/airflow/plugins",
        "LANDCAST_SERVER_URL": url,
        "LANDCAST_AIRFLOW_KEY": "a key of thirty-two characters or more",
    }
    command = [str(HOME / "bin" / "python"), "-B", "-c", _TELL]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_key_is_in_no_log(airflow: Airflow) -> None:
    logs = [path for path in airflow.folder.rglob("*.log") if airflow.key in path.read_text(errors="replace")]
    assert logs == []
