import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.job import Job, Order, Output, ResultFile
from orchestration.registry import arguments_of
from orchestration.store.jobs import StoredJobs
from tests.databases import DatabaseOf, given_database
from tests.registry import OURS

_HERE = Path(__file__).parent

MakeStore = Callable[..., StoredJobs]
MakeOrder = Callable[..., Order]
Until = Callable[..., None]
StartWorker = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "the state"
    folder.mkdir()
    return folder


@pytest.fixture
def database_of(request: pytest.FixtureRequest, state_dir: Path) -> Iterator[DatabaseOf]:
    """Return the database of orders: the file in the state folder, or the parameter of the test."""
    with given_database(request, state_dir / "orders.sqlite") as database:
        yield database


@pytest.fixture
def make_store(database_of: DatabaseOf) -> Iterator[MakeStore]:
    stores = []

    def make(**options: Any) -> StoredJobs:
        stores.append(StoredJobs(database_of(), **options))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def make_order() -> MakeOrder:
    def make(process: str = "echo", **members: Any) -> Order:
        return Order(process, members.pop("inputs", {}), members.pop("owner", "local"), **members)

    return make


@pytest.fixture
def make_output() -> Callable[[str], Output]:
    def make(path: str) -> Output:
        file = ResultFile(Path(path).name, path, "application/zip", 3, "ab" * 32)
        return Output("result", None, "application/zip", file)

    return make


@pytest.fixture
def until() -> Until:
    def wait(condition: Callable[[], object], *, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not come to that in time"
            time.sleep(0.02)

    return wait


@pytest.fixture
def start_worker(state_dir: Path) -> Iterator[StartWorker]:
    """Start `landcast work`'s own function in a process, with the works of `works.py` and the real ones."""
    workers: list[subprocess.Popen[bytes]] = []

    def start(**settings: Any) -> subprocess.Popen[bytes]:
        chosen = {
            "parallel": 2,
            "results_days": 30,
            "jobs_days": 365,
            "results_cap": None,
            "allow_private_fetch": True,
            "work": [sys.executable, str(_HERE / "works.py")],
        } | settings
        paths = {"state_dir": str(state_dir), "config": str(_HERE.parents[1] / "pygeoapi-config.yml")}
        command = [sys.executable, str(_HERE / "worker.py"), json.dumps(paths | chosen), *arguments_of(OURS)]
        workers.append(subprocess.Popen(command))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
        worker.wait()


@pytest.fixture
def finished(make_store: MakeStore, until: Until) -> Callable[..., Job]:
    store = make_store()

    def wait(job: Job, *, seconds: float = 60) -> Job:
        until(lambda: (now := store.get(job.id)) and now.finished, seconds=seconds)
        found = store.get(job.id)
        assert found is not None
        return found

    return wait
