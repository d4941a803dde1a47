"""The supervisor as a real process with real children."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from threading import Timer

import psutil
import pytest

from server.supervise import Child, Systemd, listen
from tests.reaper import lives
from tests.server.served import eventually

PARENT = """
import os, sys
from functools import partial
from server.supervise import Child, supervise
def execute(code, _liveness):
    os.execv(sys.executable, [sys.executable, "-c", code])
supervise([Child(str(number), partial(execute, code)) for number, code in enumerate(sys.argv[1:])])
"""
OBEDIENT = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); time.sleep(60)"
)
HOPELESS = "import sys; sys.exit(3)"


def start(*codes: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PARENT, *codes])


@pytest.fixture
def obedient() -> Iterator[tuple[subprocess.Popen[bytes], psutil.Process]]:
    parent = start(OBEDIENT, OBEDIENT)
    process = psutil.Process(parent.pid)
    eventually(lambda: len(process.children()) == 2)
    yield parent, process
    if parent.poll() is None:
        parent.kill()
        parent.wait()


def test_a_killed_child_is_started_again(obedient: tuple[subprocess.Popen[bytes], psutil.Process]) -> None:
    _, process = obedient
    first, second = process.children()
    first.kill()
    eventually(lambda: len({child.pid for child in process.children()} - {first.pid}) == 2)
    assert second.is_running()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all(obedient: tuple[subprocess.Popen[bytes], psutil.Process], number: signal.Signals) -> None:
    parent, process = obedient
    children = process.children()
    parent.send_signal(number)
    assert parent.wait(60) == 0
    assert not any(child.is_running() for child in children)


def test_children_do_not_outlive_a_killed_parent(obedient: tuple[subprocess.Popen[bytes], psutil.Process]) -> None:
    parent, process = obedient
    children = process.children()
    parent.kill()
    parent.wait()
    eventually(lambda: not any(map(lives, children)))


def test_a_child_that_ignores_signals_is_killed_with_its_children_in_five_seconds() -> None:
    """The best of several tries counts, as a busy machine may delay one."""
    assert any(seconds_to_kill_a_stubborn_child() < 5 for _ in range(5))


def seconds_to_kill_a_stubborn_child() -> float:
    parent = start(STUBBORN)
    process = psutil.Process(parent.pid)
    eventually(lambda: len(process.children(recursive=True)) == 2)
    children = process.children(recursive=True)
    began = time.monotonic()
    parent.terminate()
    parent.wait(60)
    took = time.monotonic() - began
    assert took >= 4
    eventually(lambda: not any(map(lives, children)))
    return took


def test_a_child_that_keeps_ending_is_restarted_with_growing_pauses(tmp_path: Path) -> None:
    note = tmp_path / "starts"
    note.touch()
    parent = start(f"import time; print(time.monotonic(), file=open({str(note)!r}, 'a')); {HOPELESS}")
    eventually(lambda: note.read_text().count("\n") >= 5, 120)
    parent.terminate()
    parent.wait()
    starts = [float(line) for line in note.read_text().splitlines()]
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert all(pause >= least for pause, least in zip(pauses, (0.2, 0.4, 0.8, 1.6), strict=False))


FAILING = """
import sys
from server.logs import start_logging
from server.supervise import Child, supervise
start_logging(level="INFO", form="json")
def fail(_liveness):
    raise OSError("no disk")
supervise([Child("worker", fail)])
"""


def test_the_error_of_a_child_is_one_log_entry() -> None:
    parent = subprocess.Popen([sys.executable, "-c", FAILING], stderr=subprocess.PIPE, text=True)
    assert parent.stderr
    failed = next(line for line in map(json.loads, parent.stderr) if line["message"] == "worker failed")
    parent.terminate()
    parent.communicate(timeout=60)
    assert "OSError: no disk" in failed["traceback"]


@pytest.mark.parametrize(("bind", "family"), [("127.0.0.1:0", socket.AF_INET), ("[::1]:0", socket.AF_INET6)])
def test_the_socket_listens_and_can_be_handed_on(bind: str, family: int) -> None:
    if family == socket.AF_INET6 and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    with listen(bind) as listening:
        assert listening.family == family
        assert os.get_inheritable(listening.fileno())
        with socket.create_connection(listening.getsockname()[:2], timeout=30):
            pass


def test_an_address_in_use_is_awaited_while_its_holder_ends() -> None:
    held = socket.create_server(("127.0.0.1", 0))
    port = held.getsockname()[1]
    Timer(0.5, held.close).start()
    with listen(f"127.0.0.1:{port}") as listening:
        assert listening.getsockname()[1] == port


def test_an_address_that_stays_in_use_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held, pytest.raises(OSError, match="in use"):
        listen(f"127.0.0.1:{held.getsockname()[1]}")


HANGING = """
import os, signal, sys, time
from server.supervise import Child, supervise
def run(liveness):
    print(os.getpid(), flush=True)
    child = os.fork()
    if not child:
        os.kill(os.getpid(), signal.SIGSTOP)
    for _ in range(int(sys.argv[1])):
        liveness.beat()
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGSTOP)
supervise([Child("worker", run, patience=0.3)])
"""


@pytest.fixture
def supervised(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    arguments = [sys.executable, "-c", *request.param]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
        yield parent
        parent.kill()


@pytest.mark.parametrize("supervised", [[HANGING, "3"]], indirect=True)
def test_a_hanging_child_is_replaced_and_its_children_end(supervised: subprocess.Popen[str]) -> None:
    assert supervised.stdout
    pids = [int(supervised.stdout.readline()) for _ in range(2)]
    assert len(set(pids)) == 2
    assert not psutil.pid_exists(pids[0])
    supervised.terminate()
    assert supervised.wait(30) == 0
    eventually(lambda: not any(map(group_lives, pids)), 30)


def group_lives(number: int) -> bool:
    """Return whether a process of the group is left; signal 0 asks without a signal."""
    with suppress(ProcessLookupError):
        os.killpg(number, 0)
        return True
    return False


@pytest.mark.parametrize("supervised", [[HANGING, "1000"]], indirect=True)
def test_a_child_with_a_heartbeat_keeps_running(supervised: subprocess.Popen[str]) -> None:
    assert supervised.stdout
    first = psutil.Process(int(supervised.stdout.readline()))
    time.sleep(1.5)
    assert first.is_running()
    supervised.terminate()
    assert supervised.wait(30) == 0


def test_a_repeatedly_hanging_child_gets_more_time() -> None:
    child = Child("worker", lambda _: time.sleep(60), patience=0.1)
    child.poll(time.monotonic())
    process = child.process
    assert process
    child.liveness.beat()
    child.poll(time.monotonic() + 0.05)
    assert process.is_alive()
    child.poll(time.monotonic() + 1)
    assert not process.is_alive()
    assert child.patience == 0.2


def test_a_child_may_take_long_to_start() -> None:
    child = Child("worker", lambda _: time.sleep(60), patience=0.1)
    child.poll(now := time.monotonic())
    assert child.process
    child.poll(now + 100)
    assert child.process.is_alive()
    child.poll(now + 121)
    assert not child.process.is_alive()


READY = """
import os, sys, time
from server.supervise import Child, supervise
def run(liveness):
    assert "NOTIFY_SOCKET" not in os.environ
    liveness.ready()
    time.sleep(60)
supervise([Child("server", run)], announce=lambda: print("it serves", flush=True))
"""


def test_systemd_gets_readiness_and_heartbeats_except_while_stopped(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(30)
        configuration = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
        with subprocess.Popen(
            [sys.executable, "-c", READY], env={**os.environ, **configuration}, stdout=subprocess.PIPE, text=True
        ) as parent:
            assert parent.stdout
            heard = [notified.recv(100) for _ in range(20)]
            assert heard.count(b"READY=1") == 1
            assert set(heard) == {b"READY=1", b"WATCHDOG=1"}
            assert parent.stdout.readline() == "it serves\n"
            parent.send_signal(signal.SIGSTOP)
            eventually(lambda: psutil.Process(parent.pid).status() == psutil.STATUS_STOPPED, 30)
            notified.settimeout(0.5)
            with pytest.raises(TimeoutError):
                [notified.recv(100) for _ in range(100)]
            notified.settimeout(30)
            parent.send_signal(signal.SIGCONT)
            assert notified.recv(100) == b"WATCHDOG=1"
            parent.terminate()
            while notified.recv(100) != b"STOPPING=1":
                pass
            assert parent.wait(30) == 0


@pytest.mark.parametrize(
    "environment",
    [{}, {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}],
)
def test_without_systemd_nothing_is_sent(environment: dict[str, str]) -> None:
    systemd = Systemd(environment)
    systemd.notify("READY=1")
    systemd.beat(time.monotonic())
    assert environment == {}
