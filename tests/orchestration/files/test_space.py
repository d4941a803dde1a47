"""Which orders wait for space, and when they may start, with a clock and a disk that the test controls."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestration.files.space import DISK_FULL, Space
from orchestration.files.usage import known_usage
from orchestration.full import RESERVE
from orchestration.job import Job, Order, Status
from orchestration.runners import WAITS
from tests.registry import OURS

MB = 1 << 20
_NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Yard:
    """A folder of results, a clock and a disk."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, cap: int | None) -> None:
        self.root = folder / "results"
        self.root.mkdir()
        self.time, self.free = 0.0, 100 * MB
        monkeypatch.setattr("orchestration.files.space.free_bytes", lambda _folder: self.free)
        self.space = Space(self.root, cap=cap, without_files=OURS.without_files, clock=lambda: self.time)

    def write(self, name: str, size: int) -> None:
        (self.root / name).mkdir(exist_ok=True)
        (self.root / name / "file").write_bytes(b"x" * size)

    def look(self, *unfinished: Job) -> None:
        self.time += 1
        self.space.look(unfinished)

    def ran_short(self, job: Job, *others: Job) -> None:
        running = replace(job, status=Status.RUNNING, attempt=job.attempt + 1)
        self.space.begun(running)
        self.look(running, *others)
        self.space.ran_short(running)


def _job(name: str, process: str = "extract-product") -> Job:
    return Job(name, Order(process, {}, "local"), Status.ACCEPTED, _NOW, _NOW)


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Yard:
    return Yard(tmp_path, monkeypatch, None)


@pytest.fixture
def capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Yard:
    return Yard(tmp_path, monkeypatch, 10 * MB)


def test_only_orders_that_make_files_wait_at_the_cap(capped: Yard) -> None:
    capped.write("a", 9 * MB)
    capped.look()
    assert capped.space.why_wait(_job("b")) == ""
    capped.write("house", MB)
    capped.look()
    reason = capped.space.why_wait(_job("b"))
    assert "10 MiB" in reason
    assert reason.startswith(WAITS)
    assert capped.space.why_wait(_job("b", "echo")) == ""
    assert capped.space.why_wait(_job("b", "apply-model-testing")) == ""
    (capped.root / "a" / "file").unlink()
    capped.space.settle("a")
    assert capped.space.why_wait(_job("b")) == ""


def test_running_orders_are_measured_and_recorded_for_the_servers(capped: Yard) -> None:
    job = replace(_job("a"), status=Status.RUNNING)
    capped.look(job)
    capped.write("a", 11 * MB)
    assert not capped.space.is_over
    capped.look(job)
    assert capped.space.is_over
    assert 11 * MB <= (known_usage(capped.root) or 0) < 12 * MB
    (capped.root / "a" / "file").write_bytes(b"")
    capped.space.recount()
    assert not capped.space.is_over


def test_a_full_disk_prevents_orders_that_make_files(yard: Yard) -> None:
    yard.free = RESERVE - 1
    yard.look()
    assert yard.space.why_wait(_job("a")) == DISK_FULL
    assert yard.space.why_wait(_job("a", "echo")) == ""


def test_an_order_that_ran_out_of_space_waits_longer_each_time(yard: Yard) -> None:
    job = _job("a")
    yard.write("a", 5 * MB)
    yard.ran_short(job)
    yard.free = 5 * MB
    yard.time += 1000
    yard.look(job)
    assert yard.space.why_wait(job) == DISK_FULL
    yard.free = 7 * MB
    yard.look(job)
    assert yard.space.why_wait(job) == ""
    yard.ran_short(replace(job, attempt=1))
    yard.time += 1000
    yard.look(job)
    assert yard.space.why_wait(job) == DISK_FULL, "as it needs more than it could show"
    yard.free = 100 * MB
    yard.look(job)
    assert yard.space.why_wait(job) == ""
    yard.ran_short(replace(job, attempt=2))
    begin = yard.time
    while yard.space.why_wait(job):
        yard.look(job)
    assert 7 <= yard.time - begin <= 9


def test_orders_that_ran_out_of_space_start_one_at_a_time(yard: Yard) -> None:
    first, second = _job("a"), _job("b")
    yard.ran_short(first)
    yard.ran_short(second, first)
    yard.time += 10
    yard.look(first, second)
    assert (yard.space.why_wait(first), yard.space.why_wait(second)) == ("", "")
    yard.space.begun(first)
    assert yard.space.why_wait(second) == DISK_FULL
    yard.look(second)
    assert yard.space.why_wait(second) == "", "the first is over"


def test_an_order_that_never_fits_beside_prebuilt_products_fails(capped: Yard) -> None:
    running = replace(_job("a"), status=Status.RUNNING, attempt=1)
    capped.write("a", 8 * MB)
    capped.write("b", 2 * MB)
    capped.look(running)
    assert not capped.space.ran_short(running).hopeless, "others end"
    capped.write("house", 3 * MB)
    capped.look(running)
    short = capped.space.ran_short(replace(running, attempt=2))
    assert "keeps 10 MiB of results in all" in short.hopeless
    assert capped.space.shortage(running) is None
