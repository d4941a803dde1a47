"""`landcast serve` in a separate process, for tests."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil

from tests.ports import free_port
from tests.reaper import kill_each, lives


class Served:
    """One running `landcast serve` on a free port."""

    def __init__(self, state: Path, log: Path, *arguments: str, **environment: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = log
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LANDCAST_")}
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server.cli", "serve", *arguments],
                env={
                    **clean,
                    "LANDCAST_AUTH_OPEN": "yes",
                    "LANDCAST_STATE_DIR": str(state),
                    "LANDCAST_SERVER_BIND": self.url.removeprefix("http://"),
                    "LANDCAST_SERVER_WORKERS": "2",
                    **environment,
                },
                stderr=stream,
            )

    def get(self, path: str, **headers: str) -> dict[str, object]:
        request = urllib.request.Request(self.url + path, headers={"Accept": "application/json", **headers})  # noqa: S310 - ours
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - ours
            document: dict[str, object] = json.load(answer)
            return document

    def post(self, path: str, body: object, **headers: str) -> dict[str, object]:
        return self.get_with_body(path, json.dumps(body).encode(), headers)

    def get_with_body(self, path: str, body: bytes, headers: dict[str, str]) -> dict[str, object]:
        request = urllib.request.Request(  # noqa: S310 - ours
            self.url + path, body, {"Content-Type": "application/json", **headers}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - ours
            document: dict[str, object] = json.load(answer)
            return document

    def ready(self, seconds: float = 120) -> None:
        """Wait until orders are accepted and executed too."""
        eventually(lambda: self.answers("/health/orders"), seconds)

    def answers(self, path: str) -> bool:
        try:
            self.get(path)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        return True

    def tree(self) -> list[psutil.Process]:
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]


def eventually(holds: Callable[[], object], seconds: float = 60) -> None:
    """Wait until it is true; the limit only prevents hanging."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.05)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(map(lives, processes))


def end(served: Served) -> None:
    """Kill it and its descendants."""
    if served.process.poll() is None:
        tree = served.tree()
        kill_each(tree)
        served.process.wait()
        eventually(lambda: gone(tree))
    served.process.wait()


@contextmanager
def serving(state: Path, log: Path, *arguments: str, **environment: str) -> Iterator[httpx2.Client]:
    """Yield a client of a server of one process with its worker; fail if it does not end cleanly."""
    served = Served(state, log, *arguments, **{"LANDCAST_SERVER_WORKERS": "1", **environment})
    try:
        eventually(lambda: served.answers("/health/live"), 120)
        with httpx2.Client(base_url=served.url, timeout=90) as client:
            yield client
        served.process.terminate()
        assert served.process.wait(60) == 0, log.read_text()
    finally:
        end(served)
