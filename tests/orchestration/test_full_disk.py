"""The real worker on a full disk: a small file system that the test mounts."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from orchestration.errors import StoreUnavailable
from orchestration.files.usage import known_usage
from orchestration.job import Job, Order, Status
from orchestration.store.jobs import StoredJobs

MakeStore = Callable[..., StoredJobs]
Start = Callable[..., "subprocess.Popen[bytes]"]
Finished = Callable[..., Job]
Until = Callable[..., None]

_SIZE = 8 << 20


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    """Return a state folder on a disk of 8 MB."""
    assert os.geteuid() == 0, "a small disk can be mounted by root only: run this test as root, as CI does"
    folder = tmp_path / "small disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(folder: Path, *, leaving: int) -> Path:
    """Fill the disk except for this number of bytes."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while (disk := os.statvfs(folder)).f_bavail * disk.f_frsize > leaving:
            file.write(b"x" * 16_384)
    return ballast


def _files_of(megabytes: int) -> dict[str, int]:
    return {"steps": megabytes * 10, "size": 100_000}


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def _waits(store: StoredJobs, job: Job) -> bool:
    now = store.get(job.id)
    return now is not None and now.status is Status.ACCEPTED and now.message.startswith("Waits for space")


def test_an_order_waits_on_a_full_disk_and_succeeds_once_there_is_space(
    make_store: MakeStore, start_worker: Start, finished: Finished, until: Until, state_dir: Path
) -> None:
    store = make_store()
    start_worker()
    ballast = _fill(state_dir, leaving=3_000_000)
    job, _ = store.add(Order("files", _files_of(4), "local"))
    until(lambda: _waits(store, job), seconds=30)
    assert _files(state_dir / "results") == [], "half-written files are gone"
    tried = store.get(job.id)
    assert tried is not None
    assert (tried.attempt, tried.failures) == (1, 0)
    time.sleep(3)
    again = store.get(job.id)
    assert again is not None
    assert again.attempt == 1, "it is not run again before there is more space"
    ballast.unlink()
    done = finished(job, seconds=30)
    assert (done.status, done.failures) == (Status.SUCCESSFUL, 0)
    until(lambda: len(_files(state_dir / "results")) == 1)


def test_a_disk_without_a_byte_left_loses_nothing_and_comes_back(
    make_store: MakeStore, start_worker: Start, finished: Finished, until: Until, state_dir: Path
) -> None:
    store = make_store()
    start_worker()
    job, _ = store.add(Order("files", _files_of(2), "local"))
    until((state_dir / "results" / job.id / "1" / "1" / f"{job.id}.bin").exists)
    ballast = _fill(state_dir, leaving=0)
    with pytest.raises(StoreUnavailable, match="full"):
        store.add(Order("files", {"note": "x" * 1_000_000}, "local"))
    until(lambda: not _files(state_dir / "results"), seconds=30)
    ballast.unlink()
    done = finished(job, seconds=40)
    assert (done.status, done.failures) == (Status.SUCCESSFUL, 0)
    late, _ = store.add(Order("echo", {"stringInput": "x"}, "local"))
    assert finished(late).status is Status.SUCCESSFUL


def test_results_above_the_cap_wait_until_others_expire(
    make_store: MakeStore, start_worker: Start, finished: Finished, until: Until, state_dir: Path
) -> None:
    store, cap = make_store(), 3 << 20
    start_worker(results_cap=cap)
    first = finished(store.add(Order("files", _files_of(2), "local"))[0])
    assert first.status is Status.SUCCESSFUL
    second, _ = store.add(Order("files", _files_of(2), "local"))
    until(lambda: _waits(store, second))
    until(lambda: (known_usage(state_dir / "results") or cap) < cap)
    echo, _ = store.add(Order("echo", {"stringInput": "x"}, "local"))
    assert finished(echo).status is Status.SUCCESSFUL
    assert _waits(store, second)
    store.dismiss(first.id)
    freed = time.monotonic()
    until(lambda: (now := store.get(second.id)) and now.status is Status.RUNNING)
    assert time.monotonic() - freed < 30
    assert finished(second).status is Status.SUCCESSFUL
    assert (known_usage(state_dir / "results") or cap) <= cap


def test_a_result_larger_than_the_cap_fails_with_that_reason(
    make_store: MakeStore, start_worker: Start, finished: Finished, until: Until, state_dir: Path
) -> None:
    store = make_store()
    start_worker(results_cap=2 << 20)
    job = finished(store.add(Order("files", _files_of(4), "local"))[0])
    assert job.status is Status.FAILED
    assert "keeps 2 MiB of results in all" in job.message
    assert job.attempt == 1
    until(lambda: not _files(state_dir / "results"))
