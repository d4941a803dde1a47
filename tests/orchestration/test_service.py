"""The worker as a real process with real children: it is killed, stopped or started twice, and loses no order."""

import hashlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from orchestration.backend import BackendUpdate
from orchestration.heartbeat import heartbeat_age
from orchestration.job import Job, JobQuery, Order, Output, Status
from orchestration.store.jobs import StoredJobs
from tests.reaper import kill_each
from tests.server.served import eventually

if TYPE_CHECKING:
    import subprocess

MakeStore = Callable[..., StoredJobs]
Start = Callable[..., "subprocess.Popen[bytes]"]
Finished = Callable[..., Job]
Until = Callable[..., None]


def _servers(worker: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """Return the fork servers."""
    try:
        return psutil.Process(worker.pid).children()
    except psutil.NoSuchProcess:
        return []


def _children(worker: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """Return the processes of all runs."""
    found = []
    for server in _servers(worker):
        with suppress(psutil.NoSuchProcess):
            found += server.children(recursive=True)
    return found


def _children_of_fewer_failures(worker: "subprocess.Popen[bytes]", store: StoredJobs) -> list[psutil.Process]:
    """Return the children whose order can lose one more attempt without failing."""
    spare = {job.id for job in store.unfinished() if job.failures == 0}
    found = []
    for child in _children(worker):
        try:
            if any(
                each.path.endswith("run.lock") and spare & set(Path(each.path).parts) for each in child.open_files()
            ):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def _strike(victim: str, worker: "subprocess.Popen[bytes]", store: StoredJobs) -> int:
    """Kill the worker, a child, both, or the fork server and so all children; return how many children are affected."""
    children = _children_of_fewer_failures(worker, store)[:1] if victim in {"child", "both"} else []
    kill_each(children)
    if victim == "server" and not any(job.failures for job in store.unfinished()):
        kill_each(_servers(worker))
    if victim in {"worker", "both"}:
        worker.kill()
    return len(children)


def _assert_whole(job: Job, results: Path) -> None:
    """Check that the order's folder has one complete result, of the last attempt, and nothing else."""
    assert job.status is Status.SUCCESSFUL, job.message
    (output,) = job.manifest
    assert output.file is not None
    path = results / output.file.path
    assert output.file.path.split("/")[:2] == [job.id, str(job.attempt)]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == output.file.sha256
    assert path.stat().st_size == output.file.size
    eventually(lambda: [entry for entry in (results / job.id).rglob("*") if entry.is_file()] == [path])


def test_a_kill_at_any_moment_neither_loses_nor_repeats_an_order(
    make_store: MakeStore, start_worker: Start, finished: Finished, state_dir: Path
) -> None:
    seed = time.time_ns()
    sys.stdout.write(f"seed {seed}\n")
    dice = random.Random(seed)  # noqa: S311  no secret
    store = make_store()
    jobs = [store.add(Order("files", {"steps": 40}, "local"))[0] for _ in range(6)]
    worker = start_worker(parallel=3)
    lost = 0
    for number in range(300):
        if number >= 20 and lost:
            break
        time.sleep(dice.uniform(0.05, 0.6))
        victim = dice.choice(["worker", "child", "both", "server"] if number < 20 else ["child"])
        lost += _strike(victim, worker, store)
        if victim in {"worker", "both"}:
            worker.wait()
            worker = start_worker(parallel=3)
        if not store.unfinished():
            jobs.append(store.add(Order("files", {"steps": 40}, "local"))[0])
    for job in jobs:
        _assert_whole(finished(job, seconds=40), state_dir / "results")
    assert store.find(JobQuery()).matched == len(jobs)
    assert {entry.name for entry in (state_dir / "results").iterdir()} == {job.id for job in jobs}
    assert lost, "no child was ever killed: the test shows nothing"


def test_work_that_kills_its_own_process_fails_after_three_attempts(
    start_worker: Start, finished: Finished, make_store: MakeStore
) -> None:
    job, _ = make_store().add(Order("crash", {}, "local"))
    start_worker()
    end = finished(job)
    assert (end.status, end.attempt) == (Status.FAILED, 3)
    assert "3 times without a result" in end.message
    assert "SIGKILL" in end.message


def test_dismissed_work_ends_in_two_seconds_with_its_processes_and_files(
    start_worker: Start, make_store: MakeStore, state_dir: Path, until: Until
) -> None:
    store = make_store()
    job, _ = store.add(Order("family", {}, "local"))
    worker = start_worker()
    family = state_dir / "results" / job.id / "1" / "1" / "family"
    until(lambda: family.exists() and len(family.read_text().split()) == 2)
    assert len(_children(worker)) == 2
    begin = time.monotonic()
    store.dismiss(job.id)
    until(lambda: not _children(worker) and not (state_dir / "results" / job.id).exists())
    assert time.monotonic() - begin < 15
    now = store.get(job.id)
    assert now is not None
    assert now.status is Status.DISMISSED


def test_work_ends_in_two_seconds_after_a_back_end_ended_the_order(
    start_worker: Start, make_store: MakeStore, state_dir: Path, until: Until
) -> None:
    store = make_store()
    job, _ = store.add(Order("family", {}, "local"))
    worker = start_worker()
    family = state_dir / "results" / job.id / "1" / "1" / "family"
    until(lambda: family.exists() and len(family.read_text().split()) == 2)
    begin = time.monotonic()
    ended = store.update(job.id, BackendUpdate(Status.SUCCESSFUL, (Output("result", [1]),)))
    until(lambda: not _children(worker) and not (state_dir / "results" / job.id).exists())
    assert time.monotonic() - begin < 15
    assert store.get(job.id) == ended


def test_interrupted_work_is_continued_by_the_next_worker(
    start_worker: Start, make_store: MakeStore, finished: Finished, state_dir: Path, until: Until
) -> None:
    store = make_store()
    job, _ = store.add(Order("files", {"steps": 30}, "local"))

    def seconds_to_stop(attempt: int) -> float:
        worker = start_worker()
        until(lambda: (now := store.get(job.id)) and now.attempt == attempt and now.progress > 10)
        begin = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
        took = time.monotonic() - begin
        back = store.get(job.id)
        assert back is not None
        assert (back.status, back.attempt, back.failures) == (Status.ACCEPTED, attempt, 0)
        assert list((state_dir / "results").iterdir()) == []
        return took

    assert any(seconds_to_stop(attempt) < 5 for attempt in range(1, 6))  # a busy machine may take longer at times
    start_worker()
    _assert_whole(finished(job), state_dir / "results")


def test_a_second_worker_stands_by_until_the_first_ends(
    start_worker: Start, make_store: MakeStore, finished: Finished, until: Until, state_dir: Path
) -> None:
    store = make_store()
    first = start_worker()
    until(lambda: heartbeat_age(state_dir) is not None)
    second = start_worker()
    finished(store.add(Order("echo", {}, "local"))[0])
    job, _ = store.add(Order("echo", {"pause": 1}, "local"))
    until(lambda: _children(first))
    assert _children(second) == []
    first.kill()
    first.wait()
    until(lambda: _children(second))
    assert finished(job).status is Status.SUCCESSFUL
    second.send_signal(signal.SIGTERM)
    assert second.wait(60) == 0


def _catches(pid: int, number: signal.Signals) -> bool:
    """Return whether the process has its own handler for the signal, according to Linux."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(caught >> (number - 1) & 1)


def test_standing_by_ends_at_a_signal(start_worker: Start, until: Until, state_dir: Path) -> None:
    start_worker()
    until(lambda: heartbeat_age(state_dir) is not None)
    second = start_worker()
    until(lambda: _catches(second.pid, signal.SIGTERM))
    second.send_signal(signal.SIGINT)
    assert second.wait(60) == 0


def test_an_idle_worker_uses_little_cpu(start_worker: Start, until: Until, state_dir: Path) -> None:
    worker = start_worker()
    until(lambda: heartbeat_age(state_dir) is not None)
    process = psutil.Process(worker.pid)

    def is_idle() -> bool:
        """Return whether the process uses almost no CPU in three seconds, which is so after its start."""
        before = sum(process.cpu_times()[:2])
        time.sleep(3)
        return sum(process.cpu_times()[:2]) - before < 0.02 * 3

    until(is_idle)
    assert (heartbeat_age(state_dir) or 0) < 5


def test_a_real_order_of_echo_from_start_to_end(start_worker: Start, make_store: MakeStore, finished: Finished) -> None:
    job, _ = make_store().add(Order("echo", {"stringInput": "é", "pause": 0.2}, "local"))
    start_worker()
    end = finished(job)
    assert (end.status, end.progress) == (Status.SUCCESSFUL, 100)
    assert [(output.id, output.value) for output in end.manifest] == [("stringOutput", "é")]
    assert end.started is not None
    assert end.finished is not None
    assert (end.finished - end.started).total_seconds() >= 0.2


def test_no_descriptor_of_ours_reaches_a_grandchild(
    start_worker: Start, make_store: MakeStore, state_dir: Path, until: Until
) -> None:
    """If a grandchild inherited the lock, a dead run would appear alive."""
    job, _ = make_store().add(Order("family", {}, "local"))
    start_worker()
    family = state_dir / "results" / job.id / "1" / "1" / "family"
    until(lambda: family.exists() and len(family.read_text().split()) == 2)
    grandchild = family.read_text().split()[1]
    open_files = [os.readlink(entry) for entry in Path(f"/proc/{grandchild}/fd").iterdir()]  # noqa: PTH115  pipes too
    assert not [path for path in open_files if path.startswith(str(state_dir))]
