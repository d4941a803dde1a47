"""From `landcast serve` to the first answered request, workers included, and from SIGTERM to the end."""

import statistics
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from shutil import copytree

from bench.run import run, serve

_PORT = 5099
_ROUNDS = 5


def measure() -> None:
    run([".venv/bin/python", "-m", "server.cli", "sample"])
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        copytree("var/sample", state / "sample")
        rounds = [_round(state) for _ in range(_ROUNDS)]
    for name, seconds in zip(
        ("start to first answer", "start to ready", "SIGTERM to end"), zip(*rounds, strict=True), strict=True
    ):
        print(f"{name}: median {statistics.median(seconds):.2f} s of {sorted(round(s, 2) for s in seconds)}")


def _round(state: Path) -> tuple[float, float, float]:
    with (state / "log").open("a") as log:
        began = time.perf_counter()
        process = serve(state, _PORT, log)
        answered, ready = (_wait(path, began) for path in ("/", "/health/ready"))
        began = time.perf_counter()
        process.terminate()
        process.wait(10)
    return answered, ready, time.perf_counter() - began


def _wait(path: str, began: float) -> float:
    while not _answers(path):
        time.sleep(0.01)
    return time.perf_counter() - began


def _answers(path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{_PORT}{path}", timeout=30):
            return True
    except (urllib.error.URLError, ConnectionError):
        return False
