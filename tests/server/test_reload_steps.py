"""The steps of a reload, with small processes in place of servers."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from products.held import hold
from server.control import Control
from server.examination import Examined
from server.reload import _TRIAL_SECONDS, HeldConfiguration, Reload, WorkerLine
from server.settings import CONCERNS, Settings
from server.supervise import Child, Liveness
from tests.server.served import eventually


def settings() -> Settings:
    kinds = {kind.__name__.removesuffix("Settings").lower(): kind for kind in CONCERNS}
    made: Any = {name: kind() for name, kind in kinds.items()}
    return Settings(**made)


def taken(name: str, *rows: str) -> HeldConfiguration:
    return HeldConfiguration(hold(name.encode()), None, hold(f"[{', '.join(rows)}]".encode()))


def serve(liveness: Liveness) -> None:
    liveness.ready()
    while True:
        liveness.beat()
        time.sleep(0.01)


def fail(_: Liveness) -> None:
    os._exit(os.EX_CONFIG)  # pytest has threads, whose locks a fork may hold for ever: nothing is tidied up


@pytest.fixture
def reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Reload]]:
    """Return a factory of a reload, by the result of each examination and the behaviour of each server process."""
    made: list[Reload] = []

    def make(results: list[Examined], *runs: Callable[[Liveness], None]) -> Reload:
        class Examining:
            def __init__(self, *_: Path | None) -> None:
                self._result = results.pop(0)

            def result(self) -> Examined:
                return self._result

            def end(self) -> None:
                pass

        monkeypatch.setattr("server.reload.Examination", Examining)
        servers = iter(runs)
        reload = Reload(
            tmp_path / "c.yml",
            taken("first"),
            settings(),
            make_server=lambda _: Child("server", next(servers)),
            line=WorkerLine(),
            control=Control(tmp_path),
        )
        made.append(reload)
        return reload

    yield make
    for reload in made:
        for child in (*reload.children, *reload.stop()):
            child.stop()
            child.end(time.monotonic())


def until(reload: Reload, holds: Callable[[], bool]) -> None:
    def step() -> bool:
        for child in reload.children:
            child.poll(time.monotonic())
        reload.poll(time.monotonic())
        return holds()

    eventually(step, seconds=_TRIAL_SECONDS + 30)


def test_an_unusable_configuration_is_refused(reload: Callable[..., Reload], caplog: pytest.LogCaptureFixture) -> None:
    made = reload([Examined(()), Examined(("a: wrong",))], serve, fail, serve)
    first, before = made.children[0], made.taken
    made.ask()
    until(made, lambda: "no server process starts with the configuration" in caplog.text)
    made.ask()
    until(made, lambda: "former configuration stays: a: wrong" in caplog.text)
    assert made.children == [first]
    assert made.taken is before
    assert first.process is not None
    assert first.process.is_alive()
    assert before.configuration.read_bytes() == b"first"


def test_a_reload_waits_while_two_former_generations_end(reload: Callable[..., Reload]) -> None:
    """Processes with long connections are not ended early; those of this test ignore the request to end."""
    examined = [Examined((), configuration=str(number).encode()) for number in range(3)]
    made = reload(examined, serve, serve, serve, serve)

    def retire_former() -> bool:
        for child in made._leaving:
            child.liveness.retire()
        return made._replaced is None

    for number in range(2):
        made.ask()
        until(made, lambda number=number: made.taken.configuration.read_bytes() == str(number).encode())  # type: ignore[misc]
        until(made, retire_former)
    made.ask()
    for _ in range(10):
        made.poll(time.monotonic())
    assert len(examined) == 1
    former = made._leaving[0].process
    assert former is not None
    former.terminate()
    until(made, lambda: examined == [])


def test_the_worker_gets_only_the_last_configuration() -> None:
    line = WorkerLine()
    with closing(line):
        jobs = settings().jobs
        assert line.renewed(jobs) is None
        open_files = len([*Path("/proc/self/fd").iterdir()])
        for number in range(300):
            each = taken(str(number), '"{\\"id\\": \\"echo\\"}"')
            line.send(each)
            each.release()
        found = line.renewed(jobs)
        assert found is not None
        assert found.path.read_text() == "299"
        assert [row.id for row in found.processes] == ["echo"]
        assert line.renewed(jobs) is None
        assert len([*Path("/proc/self/fd").iterdir()]) == open_files + 1
        os.close(int(found.path.name))
