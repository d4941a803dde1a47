"""A restore drill: a backup while orders run, everything is killed, deleted, restored and restarted."""

import hashlib
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import pytest

from tests.server.served import Served, end, eventually

pytestmark = pytest.mark.full

ASYNC = {"Prefer": "respond-async"}
AREA = {"bbox": [23.80, 52.70, 23.90, 52.76]}


@pytest.fixture
def state(sample: Path, tmp_path: Path) -> Path:
    copytree(sample / "sample", tmp_path / "state" / "sample")
    return tmp_path / "state"


@pytest.fixture
def serve(state: Path, tmp_path: Path) -> Iterator[Callable[[], Served]]:
    started: list[Served] = []

    def start() -> Served:
        url = {"LANDCAST_SERVER_URL": started[0].url, "LANDCAST_SERVER_BIND": started[0].url[7:]} if started else {}
        started.append(Served(state, tmp_path / "log", **url))
        started[-1].url = started[0].url
        started[-1].ready()
        return started[-1]

    yield start
    for served in started:
        end(served)


def landcast(state: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LANDCAST_")}
    return subprocess.run(
        [sys.executable, "-m", "server.cli", *map(str, arguments)],
        env={**clean, "LANDCAST_STATE_DIR": str(state)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def ordered(served: Served, process: str, **inputs: Any) -> str:
    outputs = {} if process == "echo" else {"outputs": {"result": {"transmissionMode": "reference"}}}
    order = {"inputs": inputs, "response": "document", **outputs}
    return str(served.post(f"/processes/{process}/execution", order, **ASYNC)["jobID"])


def is_successful(served: Served, job: str) -> bool:
    return served.get(f"/jobs/{job}")["status"] == "successful"


def checksum(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - ours
        return hashlib.sha256(answer.read()).hexdigest()


def link_of(served: Served, job: str) -> str:
    document: Any = served.get(f"/jobs/{job}/results")
    return str(document["result"]["href"])


def test_everything_acknowledged_survives_the_loss_of_the_state_folder(
    serve: Callable[[], Served], state: Path, sample: Path, tmp_path: Path
) -> None:
    served = serve()
    done = [
        ordered(served, "extract-product", product="Raster", aoi=AREA),
        ordered(served, "national-product", product="Raster", nation="Poland"),
        ordered(served, "european-product", product="Raster"),
    ]
    for job in done:
        eventually(lambda job=job: is_successful(served, job), 60)  # type: ignore[misc]
    links = [link_of(served, job) for job in done]
    checksums = [checksum(link) for link in links]
    running = [ordered(served, "echo", stringInput=str(number), pause=4) for number in range(4)]
    eventually(lambda: served.get(f"/jobs/{running[0]}")["status"] == "running")

    taken = landcast(state, "backup", tmp_path / "backup.tar")
    assert taken.returncode == 0, taken.stderr
    assert served.get(f"/jobs/{running[-1]}")["status"] in ("accepted", "running")
    assert "is in use: stop the server" in landcast(state, "restore", tmp_path / "backup.tar", "--force").stderr

    end(served)
    rmtree(state)
    restored = landcast(state, "restore", tmp_path / "backup.tar")
    assert restored.returncode == 0, restored.stderr
    copytree(sample / "sample", state / "sample")
    again = serve()
    for job in (*done, *running):
        eventually(lambda job=job: is_successful(again, job), 60)  # type: ignore[misc]
    assert [checksum(link) for link in links] == checksums
