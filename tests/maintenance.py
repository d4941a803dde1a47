"""Restarts services as systemd does: two seconds after their end, without their remaining processes."""

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Protocol

from tests.reaper import kill_session

PAUSE = 2.0


class Unit(Protocol):
    """A service that can be killed with its children and started."""

    def start(self) -> None: ...

    def kill(self) -> None: ...

    def lives(self) -> bool: ...


@dataclass
class Program:
    """A program of ours, in its own session."""

    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        if self.process is not None:
            kill_session(self.process.pid)
            self.process.wait(60)

    def kill_alone(self) -> None:
        """Kill the first process only; its children notice by themselves."""
        assert self.process is not None
        self.process.kill()

    def lives(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Restarter:
    """Restarts ended processes; `ended` counts how often each ended, including by itself."""

    def __init__(self, units: Mapping[str, Unit]) -> None:
        self.units = units
        self.ended = dict.fromkeys(units, 0)
        self._due: dict[str, float] = {}
        self._lock = Lock()

    def check(self) -> None:
        """Check the units once."""
        with self._lock:
            for name, unit in self.units.items():
                if unit.lives():
                    continue
                if name not in self._due:
                    unit.kill()
                    self.ended[name] += 1
                    self._due[name] = time.monotonic() + PAUSE
                elif time.monotonic() >= self._due[name]:
                    del self._due[name]
                    unit.start()


@contextmanager
def restarting(units: Mapping[str, Unit]) -> Iterator[Restarter]:
    """Restart running units when they end, until the context ends."""
    restarter, over = Restarter(units), Event()

    def run() -> None:
        while not over.wait(0.05):
            restarter.check()

    thread = Thread(target=run)
    thread.start()
    try:
        yield restarter
    finally:
        over.set()
        thread.join()
