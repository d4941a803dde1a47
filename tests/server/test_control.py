"""The socket for reloads of a server."""

import os
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from server.control import Control, ReloadAnswer, answer, ask_servers, hang_up
from tests.server.served import eventually


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a path longer than the maximum address of a socket."""
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    return deep


def accepted(*controls: Control) -> list[socket.socket]:
    callers: list[socket.socket] = []

    def has_callers() -> bool:
        for control in controls:
            callers.extend(control.accept())
        return bool(callers)

    eventually(has_callers)
    return callers


def test_every_client_of_the_socket_is_answered(folder: Path) -> None:
    found = ReloadAnswer(("a: wrong",), ("b: " + "x" * 1_000_000,))
    with closing(Control(folder)) as first, closing(Control(folder)) as second, ThreadPoolExecutor(1) as threads:
        asked = threads.submit(lambda: list(ask_servers(folder)))
        for _ in range(2):
            answer(accepted(first, second), found)
        assert asked.result(60) == [found, found]
    assert list(folder.iterdir()) == []


def test_only_its_user_can_use_the_socket(folder: Path) -> None:
    with closing(Control(folder)):
        (path,) = folder.iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_socket_of_a_server_that_was_killed_is_removed(folder: Path) -> None:
    dead = Control(folder)
    dead._socket.close()
    assert list(ask_servers(folder)) == []
    assert list(folder.iterdir()) == []
    dead = Control(folder)
    dead._socket.close()
    with closing(Control(folder)):
        assert len(list(folder.iterdir())) == 1


def test_a_server_that_ends_before_it_answers_is_reported(folder: Path) -> None:
    with closing(Control(folder)) as control, ThreadPoolExecutor(1) as threads:
        asked = threads.submit(lambda: list(ask_servers(folder)))
        callers = accepted(control)
        kept = os.dup(callers[0].fileno())  # as a process has it that was forked meanwhile
        hang_up(callers)
        assert asked.result(60)[0].problems == ("the server ended before it had accepted the configuration",)
        os.close(kept)


def test_a_disconnected_caller_is_not_waited_for(folder: Path) -> None:
    with closing(Control(folder)) as control, socket.socket(socket.AF_UNIX) as gone:
        (path,) = folder.iterdir()
        descriptor = os.open(folder, os.O_PATH)
        gone.connect(f"/proc/self/fd/{descriptor}/{path.name}")
        os.close(descriptor)
        callers = accepted(control)
        gone.close()
        answer(callers, ReloadAnswer(("x" * 10_000_000,)))
