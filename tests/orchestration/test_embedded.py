import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestration.errors import RunnerUnavailable
from orchestration.job import Job, Order, Status
from orchestration.runners import Done, Failed, Gone, Running, RunState, run_id
from orchestration.runners.embedded import EmbeddedRunner
from orchestration.store.jobs import StoredJobs

Until = Callable[..., None]
_WORKS = (sys.executable, str(Path(__file__).parent / "works.py"))


class Site:
    """A store, a runner on it, and jobs that run at once."""

    def __init__(self, state_dir: Path, store: StoredJobs, until: Until) -> None:
        self.results = state_dir / "results"
        self.store = store
        self.arguments = ("--state-dir", str(state_dir), "--config", "pygeoapi-config.yml")
        self.runner = EmbeddedRunner(self.results, self.arguments, work=_WORKS)
        self._until = until

    def start(self, process: str, inputs: dict[str, Any] | None = None) -> Job:
        accepted, _ = self.store.add(Order(process, inputs or {}, "local"))
        job = self.store.begin(accepted.id)
        assert job is not None
        self.runner.start(job)
        return job

    def look(self, job: Job) -> RunState:
        return self.runner.look(job)

    def end_of(self, job: Job) -> RunState:
        state = self.look(job)

        def is_over() -> bool:
            nonlocal state
            state = self.look(job)
            return not isinstance(state, Running)

        if isinstance(state, Running):
            self._until(is_over)
        return state

    def pid(self, job: Job) -> int:
        return self.runner._children[run_id(job.id, job.attempt)].process.pid


@pytest.fixture
def site(state_dir: Path, make_store: Callable[..., StoredJobs], until: Until) -> Site:
    return Site(state_dir, make_store(), until)


def test_a_run_ends_with_the_work_s_own_word(site: Site) -> None:
    done = site.end_of(site.start("echo", {"stringInput": "x"}))
    assert isinstance(done, Done)
    assert [(output.id, output.value) for output in done.manifest] == [("stringOutput", "x")]
    assert site.end_of(site.start("refuse")) == Failed("the moon is not covered", fault="WorkFailed")


def test_an_unexpected_error_is_told_to_the_log_not_to_the_caller(site: Site) -> None:
    end = site.end_of(site.start("break"))
    assert isinstance(end, Failed)
    assert "secret" not in end.reason
    assert "ZeroDivisionError: secret detail" in end.detail


def test_a_run_that_leaves_no_word_is_gone(site: Site) -> None:
    assert site.end_of(site.start("crash")) == Gone("its process was ended by signal SIGKILL")
    unknown, _ = site.store.add(Order("echo", {}, "local"))
    assert isinstance(site.runner.look(unknown), Gone)


def test_a_run_lives_as_long_as_its_lock_is_held_whatever_its_number(site: Site) -> None:
    """Process numbers are used again: who has the number of a dead run must neither look alive nor be killed."""
    job = site.start("echo", {"pause": 30})
    stranger = EmbeddedRunner(site.results, site.arguments, work=_WORKS)
    assert isinstance(stranger.look(job), Running)
    stranger.stop(job)
    assert isinstance(site.look(job), Running), "only who started a run ends it"
    os.kill(site.pid(job), signal.SIGKILL)
    assert isinstance(site.end_of(job), Gone)
    lock = site.results / job.id / "1" / "run.lock"
    lock.write_text(str(os.getpid()))
    assert isinstance(stranger.look(job), Gone)
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert isinstance(stranger.look(job), Running)


def test_stopping_ends_grandchildren_that_do_not_listen_within_two_seconds(site: Site, until: Until) -> None:
    job = site.start("family")
    family = site.results / job.id / "1" / "1" / "family"
    until(lambda: family.exists() and len(family.read_text().split()) == 2)
    pids = [int(pid) for pid in family.read_text().split()]
    begin = time.monotonic()
    while isinstance(site.look(job), Running):
        site.runner.stop(job)
        time.sleep(0.02)
    until(lambda: not any(map(_is_alive, pids)))
    assert time.monotonic() - begin < 15


def test_grandchildren_do_not_outlive_a_child_that_is_killed(site: Site, until: Until) -> None:
    job = site.start("family")
    family = site.results / job.id / "1" / "1" / "family"
    until(lambda: family.exists() and len(family.read_text().split()) == 2)
    child, grandchild = (int(pid) for pid in family.read_text().split())
    os.kill(child, signal.SIGKILL)
    assert isinstance(site.end_of(job), Gone)
    until(lambda: not _is_alive(grandchild), seconds=2)


def _is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_child_is_frugal_first_to_go_and_in_a_session_of_its_own(site: Site, until: Until) -> None:
    job = site.start("echo", {"pause": 30})
    pid = site.pid(job)
    until(lambda: Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "500")
    environment = psutil.Process(pid).environ()
    assert environment["GDAL_CACHEMAX"] == "64"
    assert environment["TMPDIR"] == str(site.results / job.id / "1" / "1")
    assert os.getsid(pid) == pid
    os.kill(pid, signal.SIGKILL)
    site.end_of(job)


def test_a_child_ends_with_its_parent_even_when_that_was_killed(
    state_dir: Path, make_store: Callable[..., StoredJobs], until: Until
) -> None:
    accepted, _ = make_store().add(Order("echo", {"pause": 30}, "local"))
    program = f"""if True:
        import time
        from pathlib import Path
        from orchestration.runners.embedded import EmbeddedRunner
        from orchestration.store.jobs import StoredJobs
        state = Path({str(state_dir)!r})
        job = StoredJobs(state / "orders.sqlite").begin({accepted.id!r})
        runner = EmbeddedRunner(state / "results", ["--state-dir", str(state), "--config", "x"])
        runner.start(job)
        print(runner._children[job.id + ".1"].process.pid, flush=True)
        time.sleep(30)"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert _is_alive(child)
        parent.kill()
    until(lambda: not _is_alive(child), seconds=2)


def test_a_child_whose_parent_died_before_it_asked_does_nothing(state_dir: Path) -> None:
    command = [sys.executable, "-m", "orchestration.work", "--state-dir", str(state_dir), "--config", "x"]
    subprocess.run([*command, "--parent", "1", "job", "1", "1"], check=True)
    assert list(state_dir.iterdir()) == []


def test_a_run_that_cannot_be_started_is_the_runner_s_failure(state_dir: Path, site: Site) -> None:
    now = datetime.now(UTC)
    job = Job("j", Order("echo", {}, "local"), Status.RUNNING, now, now)
    with pytest.raises(RunnerUnavailable):
        EmbeddedRunner(site.results, [], work=["/no/such/program"]).start(job)
    (state_dir / "results").joinpath("k").touch()
    with pytest.raises(RunnerUnavailable):
        site.runner.start(replace(job, id="k"))
    assert isinstance(site.runner.look(job), Gone)
