import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestration.errors import RunnerUnavailable
from orchestration.job import Job, Order, Status
from orchestration.registry import ProcessRow, Registry, arguments_of
from orchestration.runners import Done, Failed, Gone, NoSpace, NotBegun, Running, RunState, run_id
from orchestration.runners.embedded import EmbeddedRunner
from orchestration.store.jobs import StoredJobs
from tests.reaper import lives
from tests.registry import OURS

Until = Callable[..., None]
_WORKS = (sys.executable, str(Path(__file__).parent / "works.py"))


class Site:
    """A store, a runner on it, and jobs that run at once."""

    def __init__(self, state_dir: Path, store: StoredJobs, until: Until) -> None:
        self.results = state_dir / "results"
        self.store = store
        self.arguments = ("--state-dir", str(state_dir), "--config", "pygeoapi-config.yml", *arguments_of(OURS))
        self.runner = EmbeddedRunner(self.results, self.arguments, work=_WORKS)
        self._until = until

    def with_servers(self, **more: Any) -> None:
        self.runner.close()
        self.runner = EmbeddedRunner(self.results, self.arguments, work=_WORKS, **more)

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
        """Return the process id of the run, once it has started."""
        child = self.runner._children[run_id(job.id, job.attempt)]
        self._until(lambda: self.look(job) and child.pid)
        assert child.pid is not None
        return child.pid

    def server(self, warm: str = "") -> psutil.Process:
        """Return the fork server of a module, once it has loaded it."""
        self._until(lambda: self._serves(warm))
        serving = self.runner._servers[warm]._serving
        assert serving is not None
        return psutil.Process(serving.process.pid)

    def _serves(self, warm: str) -> bool:
        self.runner.wait(0.02)
        serving = self.runner._servers[warm]._serving
        return serving is not None and serving.is_ready


@pytest.fixture
def site(state_dir: Path, make_store: Callable[..., StoredJobs], until: Until) -> Iterator[Site]:
    made = Site(state_dir, make_store(), until)
    yield made
    made.runner.close()


def test_a_run_ends_with_the_ending_of_its_work(site: Site) -> None:
    done = site.end_of(site.start("echo", {"stringInput": "x"}))
    assert isinstance(done, Done)
    assert [(output.id, output.value) for output in done.manifest] == [("stringOutput", "x")]
    assert site.end_of(site.start("refuse")) == Failed("the moon is not covered", fault="WorkFailed")


def test_an_unexpected_error_is_in_the_log_and_not_in_the_answer(site: Site) -> None:
    end = site.end_of(site.start("break"))
    assert isinstance(end, Failed)
    assert "secret" not in end.reason
    assert "ZeroDivisionError: secret detail" in end.detail


def test_a_run_without_an_ending_is_lost(site: Site) -> None:
    assert site.end_of(site.start("crash")) == Gone("its process was ended by signal SIGKILL")
    unknown, _ = site.store.add(Order("echo", {}, "local"))
    assert isinstance(site.runner.look(unknown), Gone)


def test_a_run_is_alive_while_its_lock_is_held(site: Site) -> None:
    """Process ids are reused: a process with the id of a dead run must neither count as the run nor be killed."""
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


def test_stopping_kills_grandchildren_that_ignore_signals_within_two_seconds(site: Site, until: Until) -> None:
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


def test_grandchildren_do_not_outlive_a_killed_child(site: Site, until: Until) -> None:
    job = site.start("family")
    family = site.results / job.id / "1" / "1" / "family"
    until(lambda: family.exists() and len(family.read_text().split()) == 2)
    child, grandchild = (int(pid) for pid in family.read_text().split())
    os.kill(child, signal.SIGKILL)
    assert isinstance(site.end_of(job), Gone)
    until(lambda: not _is_alive(grandchild))


def _is_alive(pid: int) -> bool:
    try:
        return lives(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def test_a_child_has_a_small_cache_a_high_oom_score_and_its_own_session(site: Site, until: Until) -> None:
    job = site.start("echo", {"pause": 30})
    pid = site.pid(job)
    until(lambda: Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "500")
    assert psutil.Process(pid).environ()["GDAL_CACHEMAX"] == "64"
    assert os.getsid(pid) == pid
    os.kill(pid, signal.SIGKILL)
    site.end_of(job)


def test_each_child_has_its_own_environment_and_temporary_folder(site: Site) -> None:
    """Libraries that were loaded before the fork use the folder too: GDAL, Python and SQLite."""
    jobs = [site.start("environment", {"name": name}) for name in ("ONE", "TWO")]
    for job, name, other in zip(jobs, ("ONE", "TWO"), ("TWO", "ONE"), strict=True):
        done = site.end_of(job)
        assert isinstance(done, Done)
        found = done.manifest[0].value
        folder = str(site.results / job.id / "1" / "1")
        assert found["environment"][name] == "set"
        assert other not in found["environment"]
        assert {found["environment"][each] for each in ("TMPDIR", "SQLITE_TMPDIR", "CPL_TMPDIR")} == {folder}
        assert found["python"] == found["sqlite"] == folder
        assert found["spilled"], "what SQLite does not keep in memory lies in the folder"


def test_private_variables_are_on_no_command_line(site: Site) -> None:
    site.with_servers(environment={"LANDCAST_DATABASE_URL": ""}, patience=20)
    pid = site.pid(site.start("echo", {"pause": 30, "stringInput": "a secret"}))
    for process in (psutil.Process(pid), site.server()):
        assert "secret" not in " ".join(process.cmdline())
        assert "LANDCAST" not in " ".join(process.cmdline())


def test_a_child_ends_with_its_killed_parent(
    state_dir: Path, make_store: Callable[..., StoredJobs], until: Until
) -> None:
    accepted, _ = make_store().add(Order("echo", {"pause": 30}, "local"))
    arguments = ["--state-dir", str(state_dir), "--config", "x", *arguments_of(OURS)]
    program = f"""if True:
        import time
        from pathlib import Path
        from orchestration.runners.embedded import EmbeddedRunner
        from orchestration.store.jobs import StoredJobs
        state = Path({str(state_dir)!r})
        job = StoredJobs(state / "orders.sqlite").begin({accepted.id!r})
        runner = EmbeddedRunner(state / "results", {arguments!r})
        runner.start(job)
        child = runner._children[job.id + ".1"]
        while child.pid is None:
            runner.wait(1)
        print(child.server.process.pid, child.pid, flush=True)
        time.sleep(30)"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server, child = map(int, parent.stdout.readline().split())
        assert _is_alive(server)
        assert _is_alive(child)
        parent.kill()
    until(lambda: not _is_alive(child) and not _is_alive(server), seconds=15)


def test_a_fork_server_without_a_parent_ends(state_dir: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "orchestration.work", "--state-dir", str(state_dir), "--config", "x"]
    with ours, theirs:
        given = ["--parent", "1", "--control", str(theirs.fileno())]
        subprocess.run([*command, *given], check=True, pass_fds=[theirs.fileno()])
        theirs.close()
        assert ours.recv(100) == b"", "it said nothing"
    assert list(state_dir.iterdir()) == []


def test_a_run_that_cannot_be_started_raises_runner_unavailable(state_dir: Path, site: Site) -> None:
    now = datetime.now(UTC)
    job = Job("j", Order("echo", {}, "local"), Status.RUNNING, now, now)
    with pytest.raises(RunnerUnavailable):
        EmbeddedRunner(site.results, [], work=["/no/such/program"]).start(job)
    (state_dir / "results").mkdir(exist_ok=True)
    (state_dir / "results").joinpath("k").touch()
    with pytest.raises(RunnerUnavailable):
        site.runner.start(replace(job, id="k"))
    assert isinstance(site.runner.look(job), Gone)


@pytest.mark.parametrize(
    ("warm", "loaded"),
    [
        ("", ("rasterio", "shapely", "pyproj", "numpy")),
        ("orchestration.work.echo", ()),
        ("processes.foreign", ("pyproj", "_pydantic_core")),
    ],
    ids=["ours", "echo", "pygeoapi"],
)
def test_a_fork_server_has_one_thread_and_no_open_files(site: Site, warm: str, loaded: Sequence[str]) -> None:
    site.with_servers(processes=Registry((ProcessRow("refuse", warm=warm),)))
    site.end_of(site.start("refuse"))
    server = site.server(warm)
    assert len(list(Path(f"/proc/{server.pid}/task").iterdir())) == 1
    opened = {str(each.readlink()) for each in Path(f"/proc/{server.pid}/fd").iterdir()}
    assert {name for name in opened if name.startswith("/") and not name.startswith("/dev/")} <= _own_outputs()
    assert sum(name.startswith("socket:") for name in opened - _own_outputs()) == 1
    maps = Path(f"/proc/{server.pid}/maps").read_text()
    assert all(name in maps for name in loaded)
    assert ("rasterio" in maps) == ("rasterio" in loaded), "nothing else is loaded"


def test_each_kind_of_order_has_its_own_fork_server(site: Site, until: Until) -> None:
    site.with_servers(processes=OURS)
    ours = site.server()
    children = site.start("echo", {"pause": 30, "stringInput": "x"}), site.start("family")
    parents = [psutil.Process(site.pid(child)).ppid() for child in children]
    assert parents == [site.server("orchestration.work.echo").pid, ours.pid]
    site.runner.close()
    until(lambda: not any(map(_is_alive, parents)))


def _own_outputs() -> set[str]:
    """Return the inherited standard output and error."""
    return {str(Path(f"/proc/self/fd/{each}").readlink()) for each in (1, 2)}


def test_a_child_uses_little_cpu(site: Site) -> None:
    server = site.server()
    site.end_of(site.start("echo"))
    before = server.cpu_times()
    for _ in range(10):
        assert isinstance(site.end_of(site.start("echo", {"stringInput": "x"})), Done)
    after = server.cpu_times()
    fields = ("user", "system", "children_user", "children_system")
    cost = sum(getattr(after, each) - getattr(before, each) for each in fields) / 10
    assert cost < 0.1, "0.015 s on an idle machine, an interpreter takes 0.2"


def test_a_killed_fork_server_is_replaced_and_its_children_end(site: Site, until: Until) -> None:
    job = site.start("family")
    family = site.results / job.id / "1" / "1" / "family"
    until(lambda: site.look(job) and family.exists() and len(family.read_text().split()) == 2)
    first = site.server()
    first.kill()
    assert site.end_of(job) == Gone("the process that begins orders has ended")
    until(lambda: not any(_is_alive(int(pid)) for pid in family.read_text().split()), seconds=20)
    assert site.server().pid != first.pid
    assert isinstance(site.end_of(site.start("echo")), Done)


def test_a_hanging_fork_server_is_replaced(site: Site, until: Until) -> None:
    site.with_servers(patience=3)
    first = site.server()
    working = site.start("family")
    family = site.results / working.id / "1" / "1" / "family"
    until(lambda: site.look(working) and family.exists() and len(family.read_text().split()) == 2)
    first.suspend()
    asked = site.start("echo")
    begin = time.thread_time()
    assert site.end_of(asked) == Gone("the process that begins orders has ended")
    assert isinstance(site.end_of(working), Gone)
    assert time.thread_time() - begin < 5, "nothing waits for it, and nothing turns round and round"
    until(lambda: not any(_is_alive(int(pid)) for pid in family.read_text().split()), seconds=20)
    assert site.server().pid != first.pid
    assert isinstance(site.end_of(site.start("echo")), Done)


def test_after_many_forks_another_server_takes_over(site: Site, until: Until) -> None:
    site.with_servers(forks=2)
    first = site.server()
    long = site.start("echo", {"pause": 5, "stringInput": "x"})
    parent = psutil.Process(site.pid(long)).ppid()
    until(lambda: isinstance(site.end_of(site.start("echo")), Done) and site.server().pid != first.pid)
    assert parent == first.pid
    assert isinstance(site.look(long), Running)
    assert isinstance(site.end_of(long), Done)
    until(lambda: site.server() and not _is_alive(first.pid))


def test_grandchildren_are_killed_after_their_try(site: Site, until: Until) -> None:
    job = site.start("orphans")
    pid = site.pid(job)
    assert isinstance(site.end_of(job), Done)
    until(lambda: not _group(pid), seconds=20)
    until(lambda: not psutil.pid_exists(pid))


def _group(number: int) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def test_a_full_disk_has_its_own_exit_code(site: Site) -> None:
    assert site.end_of(site.start("full")) == NoSpace()


def test_the_exit_code_of_a_child_is_reported(site: Site) -> None:
    assert site.end_of(site.start("leave")) == Gone("its process ended with code 7")


def test_an_order_may_be_large(site: Site) -> None:
    text = "x" * 5_000_000
    done = site.end_of(site.start("echo", {"stringInput": text}))
    assert isinstance(done, Done)
    assert done.manifest[0].value == text


def test_a_fork_server_that_cannot_load_is_not_restarted_immediately(site: Site, tmp_path: Path, until: Until) -> None:
    program = tmp_path / "broken.py"
    program.write_text("import sys; open(sys.argv[1], 'a').write('x'); raise SystemExit(1)")
    count = tmp_path / "count"
    runner = EmbeddedRunner(site.results, [], work=[sys.executable, str(program), str(count)])
    accepted, _ = site.store.add(Order("echo", {}, "local"))
    job = site.store.begin(accepted.id)
    assert job is not None
    runner.start(job)
    until(lambda: isinstance(runner.look(job), NotBegun))
    with pytest.raises(RunnerUnavailable, match="has just ended"):
        runner.start(job)
    assert count.read_text() == "x"
    runner.close()
