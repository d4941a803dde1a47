import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from orchestration.backend import BackendUpdate
from orchestration.errors import RunnerUnavailable, StoreUnavailable
from orchestration.files.results import ResultFiles
from orchestration.files.space import DISK_FULL, Space
from orchestration.job import Job, Order, Output, Status
from orchestration.pools import RunnerPool, pools_on_airflow, pools_on_this_machine
from orchestration.reconcile import Reconciler
from orchestration.runners import Done, Failed, Gone, NoSpace, NotBegun, Queued, Running, RunState, run_id
from orchestration.store.jobs import StoredJobs
from tests.registry import OURS

_LONG = "extract-product"


class Stage:
    """A runner whose runs stand as the test says; it notes what it is asked."""

    def __init__(self) -> None:
        self.runs: dict[str, RunState] = {}
        self.stopped: list[str] = []
        self.adopted: list[Job] = []
        self.refuses = False
        self.survives = False
        self.why = ""

    def why_wait(self, _job: Job) -> str:
        return self.why

    def start(self, job: Job, *, again: bool = False) -> None:
        if self.refuses:
            raise RunnerUnavailable("no more processes")
        if again:
            self.adopted.append(job)
        self.runs.setdefault(run_id(job.id, job.attempt), Queued())

    def look(self, job: Job) -> RunState:
        return self.runs.get(run_id(job.id, job.attempt), Gone())

    def stop(self, job: Job) -> None:
        self.stopped.append(run_id(job.id, job.attempt))

    def close(self) -> None:
        pass


class Scene:
    """A real store and real files, a staged runner, and the reconciler between them."""

    def __init__(self, state_dir: Path, store: StoredJobs) -> None:
        self.state_dir = state_dir
        self.store = store
        self.stage = Stage()
        self.files = ResultFiles(state_dir / "results")
        self.restart()

    def restart(self, jobs_days: float = 365, cap: int | None = None) -> None:
        space = Space(self.files.root, cap=cap, without_files=OURS.without_files)
        pools = pools_on_this_machine(self.stage, 2, OURS.quick)
        self.reconciler = Reconciler(self.store, pools, self.files, jobs_days=jobs_days, space=space)

    def order(self, process: str = _LONG) -> str:
        return self.store.add(Order(process, {}, "local"))[0].id

    def go_round(self) -> bool:
        self.reconciler._next_read = 0
        return self.reconciler._try(self.reconciler._round)

    def running(self, process: str = _LONG) -> str:
        job_id = self.order(process)
        self.go_round()
        return job_id

    def set(self, job_id: str, state: RunState, attempt: int = 1) -> None:
        self.stage.runs[run_id(job_id, attempt)] = state
        self.go_round()

    def job(self, job_id: str) -> Job:
        job = self.store.get(job_id)
        assert job is not None
        return job

    def stand(self, job_id: str) -> tuple[str, int, int]:
        job = self.job(job_id)
        return job.status.value, job.attempt, job.failures

    def write(self, path: str) -> Path:
        target = self.files.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
        return target


@pytest.fixture
def scene(state_dir: Path, make_store: Callable[..., StoredJobs]) -> Scene:
    return Scene(state_dir, make_store(busy_seconds=0.1))


def test_so_many_orders_run_at_once_oldest_first(scene: Scene) -> None:
    ids = [scene.order() for _ in range(4)]
    scene.go_round()
    scene.go_round()
    assert list(scene.stage.runs) == [f"{ids[0]}.1", f"{ids[1]}.1"]
    scene.set(ids[0], Done(()))
    scene.go_round()
    assert list(scene.stage.runs)[2:] == [f"{ids[2]}.1"]


def test_quick_orders_have_places_of_their_own(scene: Scene) -> None:
    for _ in range(3):
        scene.order()
    quick = [scene.order("echo") for _ in range(3)]
    scene.go_round()
    assert [scene.job(job_id).status for job_id in quick] == [Status.RUNNING, Status.RUNNING, Status.ACCEPTED]
    assert len(scene.stage.runs) == 4


def test_a_result_is_published_and_everything_else_swept(scene: Scene, make_output: Callable[[str], Output]) -> None:
    job_id = scene.running()
    kept = scene.write(f"{job_id}/1/1/r.zip")
    for path in ("1/1/manifest.json", "1/1/members/a.tif", "1/run.lock", "1/2/r.zip"):
        scene.write(f"{job_id}/{path}")
    scene.set(job_id, Done((make_output(f"{job_id}/1/1/r.zip"),)))
    job = scene.job(job_id)
    assert (job.status, job.progress, len(job.manifest)) == (Status.SUCCESSFUL, 100, 1)
    assert [path for path in scene.files.root.rglob("*") if path.is_file()] == [kept]


def test_the_loser_is_not_published_and_its_files_go(scene: Scene, make_output: Callable[[str], Output]) -> None:
    """An attempt that was taken for lost and finishes after all, while the next one runs."""
    job_id = scene.running()
    loser = scene.job(job_id)
    scene.set(job_id, Gone("lost from sight"))
    scene.go_round()
    assert scene.stand(job_id) == ("running", 2, 1)
    late = scene.write(f"{job_id}/1/1/r.zip")
    current = scene.write(f"{job_id}/2/1/half.zip")
    scene.reconciler._follower.publish(loser, (make_output(f"{job_id}/1/1/r.zip"),))
    assert scene.stand(job_id) == ("running", 2, 1)
    assert not late.exists()
    assert current.exists()


def test_a_failure_ends_the_order_with_its_reason(scene: Scene) -> None:
    job_id = scene.running()
    half = scene.write(f"{job_id}/1/1/half.zip")
    scene.set(job_id, Failed("nothing but sea", fault="NothingInside"))
    assert (scene.job(job_id).status, scene.job(job_id).message) == (Status.FAILED, "nothing but sea")
    assert scene.job(job_id).fault == "NothingInside"
    assert not half.exists()


def test_three_attempts_that_leave_no_word_are_enough(scene: Scene) -> None:
    job_id = scene.running()
    for attempt in (1, 2):
        assert scene.stand(job_id) == ("running", attempt, attempt - 1)
        scene.set(job_id, Gone("its process was ended by signal SIGKILL"), attempt)
        scene.go_round()
    scene.set(job_id, Gone("its process was ended by signal SIGKILL"), 3)
    assert scene.stand(job_id)[:2] == ("failed", 3)
    assert scene.job(job_id).message == (
        "The work ended 3 times without a result; the last time its process was ended by signal SIGKILL."
    )


def test_attempts_lost_to_a_restart_are_numbered_but_not_counted(scene: Scene) -> None:
    job_id = scene.running()
    for attempt in range(1, 6):
        assert scene.stand(job_id) == ("running", attempt, 0)
        scene.stage.runs.clear()
        scene.restart()
        scene.go_round()
        scene.go_round()


def test_a_run_that_outlived_a_restart_is_followed_not_started_again(scene: Scene) -> None:
    job_id = scene.running()
    scene.restart()
    scene.go_round()
    assert scene.stand(job_id) == ("running", 1, 0)
    scene.set(job_id, Done(()))
    assert scene.stand(job_id) == ("successful", 1, 0)


def test_runs_that_survive_are_neither_ended_nor_counted_as_lost_at_a_stop(scene: Scene) -> None:
    scene.stage.survives = True
    job_id = scene.running()
    scene.reconciler.run(lambda: True, beat=lambda: None)
    assert scene.stage.stopped == []
    assert scene.stand(job_id) == ("running", 1, 0)


def test_a_run_that_survived_is_started_once_more_under_its_own_id(scene: Scene) -> None:
    """Who was stopped between its two steps may have noted an attempt that nobody was told of."""
    scene.stage.survives = True
    job_id = scene.store.add(Order(_LONG, {"year": 2018}, "local"))[0].id
    scene.store.begin(job_id)
    scene.go_round()
    scene.go_round()
    (adopted,) = scene.stage.adopted
    assert (adopted.id, adopted.attempt, adopted.order.inputs) == (job_id, 1, {"year": 2018})
    scene.stage.runs[f"{job_id}.1"] = Gone("it was deleted")
    scene.go_round()
    assert scene.stand(job_id)[2] == 1, "the failure of a run that goes on without us is its own"


def test_why_the_runner_lets_an_order_wait_is_told_and_taken_back(scene: Scene) -> None:
    scene.stage.why = "Waits: nobody is there."
    job_id = scene.order()
    scene.go_round()
    assert (scene.stand(job_id), scene.job(job_id).message) == (("accepted", 0, 0), "Waits: nobody is there.")
    scene.stage.why = ""
    scene.go_round()
    assert (scene.stand(job_id), scene.job(job_id).message) == (("running", 1, 0), "")


def test_what_the_work_reported_stays_when_its_run_waits_no_more(scene: Scene) -> None:
    job_id = scene.running()
    scene.set(job_id, Queued("Waits in a queue."))
    assert scene.job(job_id).message == "Waits in a queue."
    scene.go_round()
    scene.set(job_id, Running())
    assert scene.job(job_id).message == ""
    scene.store.report(job_id, 1, 40, "part 2 of 5")
    scene.go_round()
    assert (scene.job(job_id).progress, scene.job(job_id).message) == (40, "part 2 of 5")


def test_a_run_that_was_never_begun_costs_no_attempt_that_counts(scene: Scene) -> None:
    job_id = scene.running()
    scene.set(job_id, NotBegun("there is no such DAG"))
    assert scene.job(job_id).failures == 0
    assert scene.job(job_id).attempt == 1


def test_an_order_goes_to_the_first_lane_that_takes_it(scene: Scene) -> None:
    elsewhere = Stage()
    pools = [RunnerPool(elsewhere, 1, frozenset({"echo"})), *pools_on_this_machine(scene.stage, 1, OURS.quick)]
    scene.reconciler = Reconciler(scene.store, pools, scene.files, jobs_days=365)
    echo, waiting, quick, long = (scene.order(process) for process in ("echo", "echo", "area-statistics", _LONG))
    scene.go_round()
    assert list(elsewhere.runs) == [f"{echo}.1"]
    assert list(scene.stage.runs) == [f"{quick}.1", f"{long}.1"]
    assert scene.stand(waiting)[0] == "accepted"


def test_reading_many_orders_takes_a_fifth_of_the_time_whatever_comes_in(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[float] = []
    unfinished = scene.store.unfinished

    def slow(known: Mapping[str, Job]) -> tuple[Job, ...]:
        reads.append(time.monotonic())
        time.sleep(0.05)
        return unfinished(known)

    monkeypatch.setattr(scene.store, "unfinished", slow)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        scene.order()
        scene.reconciler._try(scene.reconciler._round)
    assert 2 <= len(reads) <= 5
    scene.order()
    while reads[-1] < end:
        scene.reconciler._try(scene.reconciler._round)
        assert time.monotonic() < end + 5, "what came in meanwhile is read"


def test_on_airflow_no_process_waits_for_the_orders_of_another(scene: Scene) -> None:
    elsewhere = Stage()
    pools = [*pools_on_airflow(elsewhere, 1, OURS.on_airflow), *pools_on_this_machine(scene.stage, 1, OURS.quick)]
    scene.reconciler = Reconciler(scene.store, pools, scene.files, jobs_days=365)
    ordered = [
        scene.order(process) for process in ("apply-model", "apply-model", "sample-extraction", "extract-product")
    ]
    scene.go_round()
    assert list(elsewhere.runs) == [f"{ordered[number]}.1" for number in (0, 2, 3)]


def test_a_runner_s_own_figures_are_the_order_s_progress(scene: Scene) -> None:
    job_id = scene.running()
    scene.set(job_id, Running(30, "in the queue of a cluster"))
    assert (scene.job(job_id).progress, scene.job(job_id).message) == (30, "in the queue of a cluster")
    scene.set(job_id, Running())
    assert scene.job(job_id).progress == 30


def test_an_order_waits_while_the_runner_is_away(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.reconcile.start._PATIENCE", 0)
    scene.stage.refuses = True
    job_id = scene.order()
    scene.go_round()
    assert scene.stand(job_id) == ("accepted", 1, 0)
    scene.stage.refuses = False
    scene.go_round()
    assert scene.stand(job_id) == ("running", 2, 0)


def test_dismissed_work_is_stopped_before_its_files_go(scene: Scene) -> None:
    job_id = scene.running()
    half = scene.write(f"{job_id}/1/1/half.zip")
    scene.store.dismiss(job_id)
    scene.go_round()
    scene.go_round()
    assert scene.stage.stopped == [f"{job_id}.1", f"{job_id}.1"]
    assert half.exists()
    scene.set(job_id, Gone())
    assert not half.exists()
    scene.go_round()
    assert len(scene.stage.stopped) == 2
    assert scene.job(job_id).status is Status.DISMISSED


def test_a_result_that_came_too_late_for_a_dismissed_order_goes(
    scene: Scene, make_output: Callable[[str], Output]
) -> None:
    job_id = scene.running()
    late = scene.write(f"{job_id}/1/1/r.zip")
    scene.store.dismiss(job_id)
    scene.set(job_id, Done((make_output(f"{job_id}/1/1/r.zip"),)))
    assert scene.job(job_id).status is Status.DISMISSED
    assert not late.exists()


@pytest.mark.parametrize("status", [Status.RUNNING, Status.SUCCESSFUL, Status.FAILED])
def test_work_on_an_order_that_a_back_end_takes_over_is_stopped_and_its_files_go(scene: Scene, status: Status) -> None:
    job_id = scene.running()
    half = scene.write(f"{job_id}/1/1/half.zip")
    manifest = (Output("result", {"n": 1}),) if status is Status.SUCCESSFUL else ()
    scene.store.update(job_id, BackendUpdate(status, manifest, reason="no" if status is Status.FAILED else ""))
    before = scene.job(job_id)
    scene.go_round()
    scene.go_round()
    assert scene.stage.stopped == [f"{job_id}.1", f"{job_id}.1"]
    assert half.exists()
    scene.set(job_id, Gone())
    assert not half.exists()
    scene.restart()
    scene.go_round()
    assert scene.job(job_id) == before
    assert list(scene.stage.runs) == [f"{job_id}.1"], "nothing is begun again"


def test_a_result_of_ours_that_came_after_a_back_end_s_is_dropped(
    scene: Scene, make_output: Callable[[str], Output]
) -> None:
    job_id = scene.running()
    late = scene.write(f"{job_id}/1/1/r.zip")
    theirs = (Output("result", {"n": 1}),)
    scene.store.update(job_id, BackendUpdate(Status.SUCCESSFUL, theirs))
    scene.set(job_id, Done((make_output(f"{job_id}/1/1/r.zip"),)))
    assert scene.job(job_id).manifest == theirs
    assert not late.exists()


def test_deleting_a_finished_order_removes_its_files(scene: Scene, make_output: Callable[[str], Output]) -> None:
    job_id = scene.running()
    result = scene.write(f"{job_id}/1/1/r.zip")
    scene.set(job_id, Done((make_output(f"{job_id}/1/1/r.zip"),)))
    scene.store.dismiss(job_id)
    scene.go_round()
    assert not result.exists()


def test_files_end_with_their_time_and_entries_with_theirs(
    scene: Scene, make_output: Callable[[str], Output], monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = scene.running()
    result = scene.write(f"{job_id}/1/1/r.zip")
    scene.set(job_id, Done((make_output(f"{job_id}/1/1/r.zip"),)))
    monkeypatch.setattr("orchestration.reconcile._CHORES", 0)
    monkeypatch.setattr("orchestration.reconcile._EXPIRY", 0)
    scene.restart(jobs_days=1)
    scene.go_round()
    assert result.exists()
    with closing(sqlite3.connect(scene.state_dir / "orders.sqlite")) as connection, connection:
        connection.execute("update jobs set files_until = 1")
    scene.go_round()
    assert not result.exists()
    assert scene.job(job_id).expired
    with closing(sqlite3.connect(scene.state_dir / "orders.sqlite")) as connection, connection:
        connection.execute("update jobs set updated = 1")
    scene.go_round()
    assert scene.store.get(job_id) is None


def test_a_locked_store_is_waited_for(scene: Scene, make_output: Callable[[str], Output]) -> None:
    job_id = scene.running()
    waiting = scene.order()
    result = scene.write(f"{job_id}/1/1/r.zip")
    with closing(sqlite3.connect(scene.state_dir / "orders.sqlite", isolation_level=None)) as other:
        other.execute("begin immediate")
        scene.stage.runs[f"{job_id}.1"] = Done((make_output(f"{job_id}/1/1/r.zip"),))
        assert not scene.go_round()
        assert scene.job(job_id).status is Status.RUNNING
    assert scene.go_round()
    assert scene.job(job_id).status is Status.SUCCESSFUL
    assert result.exists()
    assert scene.job(waiting).status is Status.RUNNING


def test_a_full_disk_costs_no_attempt_that_counts(scene: Scene) -> None:
    job_id = scene.running()
    half = scene.write(f"{job_id}/1/1/half.zip")
    scene.set(job_id, NoSpace())
    assert scene.stand(job_id) == ("accepted", 1, 0)
    assert not half.exists()
    scene.go_round()
    assert scene.job(job_id).message == DISK_FULL


def test_a_full_disk_that_takes_no_word_either_loses_no_order(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files go first, as that is what makes space to note that the order waits."""
    job_id = scene.running()
    half = scene.write(f"{job_id}/1/1/half.zip")
    other = scene.running()
    result = scene.write(f"{other}/1/1/r.zip")
    scene.store.dismiss(other)
    scene.stage.runs[f"{other}.1"] = Gone()
    with monkeypatch.context() as full:
        full.setattr(scene.store, "hand_back", _raising)
        scene.stage.runs[f"{job_id}.1"] = NoSpace()
        assert not scene.go_round()
        assert not half.exists()
        assert not result.exists(), "the steps after the one that failed are done too"
        scene.stage.runs[f"{job_id}.1"] = Gone()
        assert not scene.go_round()
    assert scene.go_round()
    assert scene.stand(job_id) == ("accepted", 1, 0)


def _raising(*_: object, **__: object) -> bool:
    raise StoreUnavailable("database or disk is full")


def test_the_youngest_run_is_ended_when_the_cap_is_crossed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.files.space._EVERY", 0)
    scene.restart(cap=2 << 20)
    older, younger, quick = scene.running(), scene.running(), scene.running("echo")
    for job_id in (older, younger):
        scene.write(f"{job_id}/1/1/half.zip").write_bytes(b"x" * (5 << 18))
    scene.go_round()
    assert set(scene.stage.stopped) == {f"{younger}.1"}
    scene.set(younger, Gone("its process was ended by signal SIGTERM"))
    assert scene.stand(younger) == ("accepted", 1, 0)
    assert [scene.job(job_id).status for job_id in (older, quick)] == [Status.RUNNING, Status.RUNNING]
    scene.go_round()
    assert scene.job(younger).message.startswith("Waits for space: ")
    assert set(scene.stage.stopped) == {f"{younger}.1"}


def test_a_result_above_the_cap_is_not_published(scene: Scene, make_output: Callable[[str], Output]) -> None:
    scene.restart(cap=2 << 20)
    kept = scene.running()
    scene.write(f"{kept}/1/1/r.zip").write_bytes(b"x" * (1 << 20))
    scene.set(kept, Done((make_output(f"{kept}/1/1/r.zip"),)))
    job_id = scene.running()
    scene.write(f"{job_id}/1/1/r.zip").write_bytes(b"x" * (3 << 19))
    scene.set(job_id, Done((make_output(f"{job_id}/1/1/r.zip"),)))
    assert scene.stand(kept) == ("successful", 1, 0)
    assert scene.stand(job_id) == ("accepted", 1, 0)


def test_a_result_larger_than_the_cap_is_failed(scene: Scene, make_output: Callable[[str], Output]) -> None:
    scene.restart(cap=2 << 20)
    job_id = scene.running()
    scene.write(f"{job_id}/1/1/r.zip").write_bytes(b"x" * (3 << 20))
    scene.set(job_id, Done((make_output(f"{job_id}/1/1/r.zip"),)))
    assert scene.job(job_id).status is Status.FAILED
    assert "keeps 2 MiB" in scene.job(job_id).message


def test_an_order_that_need_not_wait_any_more_says_so(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.files.space._EVERY", 0)
    busy = [scene.running(), scene.running()]
    waiting = scene.order()
    monkeypatch.setattr("orchestration.files.space.free_bytes", lambda _folder: 0)
    scene.go_round()
    assert scene.job(waiting).message == DISK_FULL
    monkeypatch.undo()
    scene.restart()
    scene.go_round()
    assert scene.job(waiting).message == ""
    assert scene.stand(busy[0])[0] == "running"


def test_a_stop_hands_back_what_runs_and_publishes_what_is_done(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.reconcile._END", 0.2)
    done, lost, failed = scene.running(), scene.running(), scene.running("echo")

    def stop(job: Job) -> None:
        ends: dict[str, RunState] = {done: Done(()), failed: Failed("stopped")}
        scene.stage.runs[run_id(job.id, job.attempt)] = ends.get(job.id, Gone())

    monkeypatch.setattr(scene.stage, "stop", stop)
    scene.reconciler.run(lambda: True, beat=lambda: None)
    assert scene.stand(done) == ("successful", 1, 0)
    assert scene.stand(lost) == ("accepted", 1, 0)
    assert scene.stand(failed) == ("accepted", 1, 0), "a stop makes work fail that would have gone well"


def test_a_new_order_starts_at_once(scene: Scene, until: Callable[..., None]) -> None:
    over = threading.Event()
    thread = threading.Thread(target=scene.reconciler.run, args=(over.is_set,), kwargs={"beat": lambda: None})
    thread.start()
    try:
        time.sleep(0.3)
        delays = []
        for _ in range(2):
            begin = time.monotonic()
            job_id = scene.order()
            until(lambda job_id=job_id: f"{job_id}.1" in scene.stage.runs)
            delays.append(time.monotonic() - begin)
        assert min(delays) < 1
    finally:
        over.set()
        for run in scene.stage.runs:
            scene.stage.runs[run] = Gone()
        thread.join()
