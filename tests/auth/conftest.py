"""Programs that run during the test, each in a separate process on the same database."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def start_program() -> Iterator[Callable[[str, str], tuple[Callable[[str], None], Callable[[], str]]]]:
    """Return a function that starts a program on a database and returns functions to write and read a line."""
    running: list[subprocess.Popen[str]] = []

    def start(program: str, place: str) -> tuple[Callable[[str], None], Callable[[], str]]:
        command = [sys.executable, "-u", "-c", program, place]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(process)

        def tell(line: str) -> None:
            assert process.stdin is not None
            process.stdin.write(f"{line}\n")
            process.stdin.flush()

        def hear() -> str:
            assert process.stdout is not None
            return process.stdout.readline().strip()

        return tell, hear

    yield start
    for process in running:
        process.kill()
        process.communicate()
