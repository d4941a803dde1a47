"""The supervisor as a real process over real children."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer

import psutil
import pytest

from server.supervise import listen

PARENT = """
import os, sys
from functools import partial
from server.supervise import Child, supervise
def execute(code):
    os.execv(sys.executable, [sys.executable, "-c", code])
supervise([Child(str(number), partial(execute, code)) for number, code in enumerate(sys.argv[1:])])
"""
OBEDIENT = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); time.sleep(60)"
)
HOPELESS = "import sys; sys.exit(3)"


def eventually(holds: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


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
    assert parent.wait(5) == 0
    assert not any(child.is_running() for child in children)


def test_children_do_not_outlive_a_killed_parent(obedient: tuple[subprocess.Popen[bytes], psutil.Process]) -> None:
    parent, process = obedient
    children = process.children()
    parent.kill()
    parent.wait()
    eventually(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))


def test_a_stubborn_child_and_what_it_started_are_killed_within_five_seconds() -> None:
    parent = start(STUBBORN)
    process = psutil.Process(parent.pid)
    eventually(lambda: len(process.children(recursive=True)) == 2)
    children = process.children(recursive=True)
    began = time.monotonic()
    parent.terminate()
    parent.wait(6)
    assert time.monotonic() - began < 5
    eventually(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))


def test_a_child_that_keeps_ending_is_started_ever_more_slowly(tmp_path: Path) -> None:
    note = tmp_path / "starts"
    parent = start(f"open({str(note)!r}, 'a').write('x'); {HOPELESS}")
    time.sleep(3)
    parent.terminate()
    parent.wait()
    assert 3 <= len(note.read_text()) <= 6


FAILING = """
import sys
from server.logs import start_logging
from server.supervise import Child, supervise
start_logging(level="INFO", form="json")
def fail():
    raise OSError("no disk")
supervise([Child("worker", fail)])
"""


def test_what_a_child_fails_with_is_one_entry_of_the_log() -> None:
    parent = subprocess.Popen([sys.executable, "-c", FAILING], stderr=subprocess.PIPE, text=True)
    time.sleep(1)
    parent.terminate()
    lines = [json.loads(line) for line in parent.communicate(timeout=6)[1].splitlines()]
    failed = next(line for line in lines if line["message"] == "worker failed")
    assert "OSError: no disk" in failed["traceback"]


@pytest.mark.parametrize(("bind", "family"), [("127.0.0.1:0", socket.AF_INET), ("[::1]:0", socket.AF_INET6)])
def test_the_socket_listens_and_can_be_handed_on(bind: str, family: int) -> None:
    if family == socket.AF_INET6 and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    with listen(bind) as listening:
        assert listening.family == family
        assert os.get_inheritable(listening.fileno())
        with socket.create_connection(listening.getsockname()[:2], timeout=2):
            pass


def test_an_address_is_waited_for_while_what_held_it_ends() -> None:
    held = socket.create_server(("127.0.0.1", 0))
    port = held.getsockname()[1]
    Timer(0.5, held.close).start()
    with listen(f"127.0.0.1:{port}") as listening:
        assert listening.getsockname()[1] == port


def test_an_address_that_stays_in_use_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held, pytest.raises(OSError, match="in use"):
        listen(f"127.0.0.1:{held.getsockname()[1]}")
