import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from orchestration.backend import BackendUpdate
from orchestration.errors import RunnerUnavailable, StoreUnavailable
from orchestration.files.results import ResultFiles
from orchestration.files.space import DISK_FULL, Space
from orchestration.job import Job, Order, Output, Status
from orchestration.pools import RunnerPool, pools_on_airflow, pools_on_this_machine
from orchestration.reconcile import Reconciler
from orchestration.registry import ProcessRow, Registry
from orchestration.runners import Done, Failed, Gone, NoSpace, NotBegun, Queued, Running, RunState, run_id
from orchestration.store.changes import StoredChanges
from orchestration.store.jobs import StoredJobs
from tests.registry import OURS

_LONG = "extract-product"


class Stage:
    """A runner whose runs have the states that the test sets; it records its calls."""

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
    """A real store and real files, a staged runner, and a reconciler with its own connection to the store."""

    def __init__(self, state_dir: Path, store: StoredJobs, own_store: StoredJobs) -> None:
        self.state_dir = state_dir
        self.store = store
        self.own_store = own_store
        self.stage = Stage()
        self.files = ResultFiles(state_dir / "results")
        self.restart()

    def restart(self, jobs_days: float = 365, cap: int | None = None) -> None:
        space = Space(self.files.root, cap=cap, without_files=OURS.without_files)
        pools = pools_on_this_machine(self.stage, 2, OURS.quick)
        self.reconciler = Reconciler(self.own_store, pools, self.files, jobs_days=jobs_days, space=space)

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
    return Scene(state_dir, make_store(busy_seconds=0.1), make_store(busy_seconds=0.1))


def test_the_oldest_orders_run_up_to_the_limit(scene: Scene) -> None:
    ids = [scene.order() for _ in range(4)]
    scene.go_round()
    scene.go_round()
    assert list(scene.stage.runs) == [f"{ids[0]}.1", f"{ids[1]}.1"]
    scene.set(ids[0], Done(()))
    scene.go_round()
    assert list(scene.stage.runs)[2:] == [f"{ids[2]}.1"]


def test_ends_and_starts_of_a_round_are_one_transaction(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round flushes to disk once, for any number of orders that end and start."""
    ended = [scene.running(), scene.running(), scene.running("echo")]
    begun = [scene.order(), scene.order(), scene.order("echo")]
    together, commits = scene.own_store.together, []

    def counted() -> AbstractContextManager[StoredChanges]:
        commits.append(list(scene.stage.runs))
        return together()

    monkeypatch.setattr(scene.own_store, "together", counted)
    states: list[RunState] = [Done(()), Failed("nothing but sea"), Gone("lost")]
    for job_id, state in zip(ended, states, strict=True):
        scene.stage.runs[f"{job_id}.1"] = state
    scene.go_round()
    assert [scene.stand(job_id)[0] for job_id in ended] == ["successful", "failed", "accepted"]
    assert [scene.stand(job_id)[0] for job_id in begun] == ["running"] * 3
    assert commits == [[f"{job_id}.1" for job_id in ended]], "no run is started before its order has begun for good"
    assert list(scene.stage.runs) == [f"{job_id}.1" for job_id in [*ended, *begun]]


def test_an_error_after_the_end_of_an_order_does_not_affect_others(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, waiting = [scene.running(), scene.running()], [scene.order(), scene.order()]
    remove = scene.files.remove

    def fails_once(job_id: str) -> None:
        if job_id == ended[0]:
            raise OSError("Input/output error")
        remove(job_id)

    monkeypatch.setattr(scene.files, "remove", fails_once)
    left = scene.write(f"{ended[1]}/1/1/half.zip")
    for job_id in ended:
        scene.stage.runs[f"{job_id}.1"] = Failed("nothing but sea")
    assert not scene.go_round(), "it is tried again"
    assert not left.exists()
    assert list(scene.stage.runs)[2:] == [f"{job_id}.1" for job_id in waiting]


def test_empty_result_folders_are_removed_while_other_orders_start(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, until: Callable[..., None]
) -> None:
    """Removing a folder waits for the disk several times, and nothing depends on it."""
    job_id, waiting = scene.running("echo"), [scene.order("echo"), scene.order("echo")]
    left = scene.write(f"{job_id}/1/1/manifest.json")
    left.write_bytes(b"x" * 100_000)
    scene.reconciler._context.space.recount()
    used = scene.reconciler._context.space._used
    go, remove = threading.Event(), scene.files.remove

    def remove_later(job_id: str) -> None:
        assert go.wait(30)
        remove(job_id)

    monkeypatch.setattr(scene.files, "remove", remove_later)
    scene.set(job_id, Done((Output("stringOutput", "x"),)))
    assert scene.stand(job_id)[0] == "successful"
    assert [scene.stand(each)[0] for each in waiting] == ["running", "running"]
    assert left.exists()
    go.set()
    until(lambda: scene.go_round() and scene.reconciler._context.space._used <= used - 100_000)
    assert not (scene.files.root / job_id).exists()


def test_quick_orders_have_their_own_places(scene: Scene) -> None:
    for _ in range(3):
        scene.order()
    quick = [scene.order("echo") for _ in range(3)]
    scene.go_round()
    assert [scene.job(job_id).status for job_id in quick] == [Status.RUNNING, Status.RUNNING, Status.ACCEPTED]
    assert len(scene.stage.runs) == 4


def test_a_result_is_published_and_other_files_are_removed(scene: Scene, make_output: Callable[[str], Output]) -> None:
    job_id = scene.running()
    kept = scene.write(f"{job_id}/1/1/r.zip")
    for path in ("1/1/manifest.json", "1/1/members/a.tif", "1/run.lock", "1/2/r.zip"):
        scene.write(f"{job_id}/{path}")
    scene.set(job_id, Done((make_output(f"{job_id}/1/1/r.zip"),)))
    job = scene.job(job_id)
    assert (job.status, job.progress, len(job.manifest)) == (Status.SUCCESSFUL, 100, 1)
    assert [path for path in scene.files.root.rglob("*") if path.is_file()] == [kept]


def test_a_late_result_is_not_published_and_its_files_are_removed(
    scene: Scene, make_output: Callable[[str], Output]
) -> None:
    """An attempt that was considered lost finishes while the next one runs."""
    job_id = scene.running()
    loser = scene.job(job_id)
    scene.set(job_id, Gone("lost from sight"))
    scene.go_round()
    assert scene.stand(job_id) == ("running", 2, 1)
    late = scene.write(f"{job_id}/1/1/r.zip")
    current = scene.write(f"{job_id}/2/1/half.zip")
    scene.reconciler._follower.publish(loser, (make_output(f"{job_id}/1/1/r.zip"),))
    scene.reconciler._context.commit()
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


def test_three_attempts_without_an_ending_fail_the_order(scene: Scene) -> None:
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


def test_attempts_lost_by_a_restart_are_numbered_but_not_counted(scene: Scene) -> None:
    job_id = scene.running()
    for attempt in range(1, 6):
        assert scene.stand(job_id) == ("running", attempt, 0)
        scene.stage.runs.clear()
        scene.restart()
        scene.go_round()
        scene.go_round()


def test_a_run_that_survived_a_restart_is_followed(scene: Scene) -> None:
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


def test_a_surviving_run_is_started_again_under_the_same_id(scene: Scene) -> None:
    """A worker that stops between two steps may have recorded an attempt without a run."""
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


def test_a_run_stays_on_its_runner_after_a_change_of_configuration(scene: Scene) -> None:
    job_id, waiting = scene.running(), scene.order("echo")
    other = Stage()
    scene.reconciler.renew([RunnerPool(other, 2)], OURS)
    scene.set(job_id, Running(40, "Half of it"))
    assert scene.job(job_id).progress == 40
    assert list(other.runs) == [f"{waiting}.1"]
    scene.set(job_id, Gone("it crashed"))
    scene.go_round()
    assert scene.stand(job_id) == ("running", 2, 1), "it was ours, and its next attempt goes to the other runner"
    assert f"{job_id}.2" in other.runs


def test_a_run_that_survives_its_runner_is_followed_by_the_new_one(scene: Scene) -> None:
    scene.stage.survives = True
    job_id = scene.running()
    after = Stage()
    after.survives = True
    after.runs = {f"{job_id}.1": Running(10, "")}
    scene.reconciler.renew([RunnerPool(after, 2)], OURS)
    scene.go_round()
    assert [job.id for job in after.adopted] == [job_id]
    after.runs[f"{job_id}.1"] = Done(())
    scene.go_round()
    assert scene.stand(job_id) == ("successful", 1, 0)


def test_a_new_configuration_takes_effect_at_once(scene: Scene) -> None:
    """The number of attempts, and processes without files."""
    job_id = scene.running()
    once = Registry((ProcessRow(_LONG, work="some.work", attempts=1, files=False),))
    scene.reconciler.renew(pools_on_this_machine(scene.stage, 2, once.quick), once)
    assert scene.reconciler._context.space.without_files == {_LONG}
    scene.set(job_id, Gone("it crashed"))
    assert scene.stand(job_id)[0] == "failed"


def test_the_reason_of_waiting_is_shown_and_removed(scene: Scene) -> None:
    scene.stage.why = "Waits: nobody is there."
    job_id = scene.order()
    scene.go_round()
    assert (scene.stand(job_id), scene.job(job_id).message) == (("accepted", 0, 0), "Waits: nobody is there.")
    scene.stage.why = ""
    scene.go_round()
    assert (scene.stand(job_id), scene.job(job_id).message) == (("running", 1, 0), "")


def test_reported_progress_stays_after_waiting(scene: Scene) -> None:
    job_id = scene.running()
    scene.set(job_id, Queued("Waits in a queue."))
    assert scene.job(job_id).message == "Waits in a queue."
    scene.go_round()
    scene.set(job_id, Running())
    assert scene.job(job_id).message == ""
    scene.store.report(job_id, 1, 40, "part 2 of 5")
    scene.go_round()
    assert (scene.job(job_id).progress, scene.job(job_id).message) == (40, "part 2 of 5")


def test_a_run_that_was_never_started_costs_no_attempt(scene: Scene) -> None:
    job_id = scene.running()
    scene.set(job_id, NotBegun("there is no such DAG"))
    assert scene.job(job_id).failures == 0
    assert scene.job(job_id).attempt == 1


def test_an_order_goes_to_the_first_matching_pool(scene: Scene) -> None:
    elsewhere = Stage()
    pools = [RunnerPool(elsewhere, 1, frozenset({"echo"})), *pools_on_this_machine(scene.stage, 1, OURS.quick)]
    scene.reconciler = Reconciler(scene.own_store, pools, scene.files, jobs_days=365)
    echo, waiting, quick, long = (scene.order(process) for process in ("echo", "echo", "area-statistics", _LONG))
    scene.go_round()
    assert list(elsewhere.runs) == [f"{echo}.1"]
    assert list(scene.stage.runs) == [f"{quick}.1", f"{long}.1"]
    assert scene.stand(waiting)[0] == "accepted"


def test_reading_new_orders_takes_at_most_a_fifth_of_the_time(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[float] = []
    unfinished = scene.own_store.unfinished

    def slow(known: Mapping[str, Job]) -> tuple[Job, ...]:
        reads.append(time.monotonic())
        time.sleep(0.05)
        return unfinished(known)

    monkeypatch.setattr(scene.own_store, "unfinished", slow)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        scene.order()
        scene.reconciler._try(scene.reconciler._round)
    assert 2 <= len(reads) <= 5
    scene.order()
    while reads[-1] < end:
        scene.reconciler._try(scene.reconciler._round)
        assert time.monotonic() < end + 5, "what came in meanwhile is read"


def test_on_airflow_processes_do_not_wait_for_each_other(scene: Scene) -> None:
    elsewhere = Stage()
    pools = [*pools_on_airflow(elsewhere, 1, OURS.on_airflow), *pools_on_this_machine(scene.stage, 1, OURS.quick)]
    scene.reconciler = Reconciler(scene.own_store, pools, scene.files, jobs_days=365)
    ordered = [
        scene.order(process) for process in ("apply-model", "apply-model", "sample-extraction", "extract-product")
    ]
    scene.go_round()
    assert list(elsewhere.runs) == [f"{ordered[number]}.1" for number in (0, 2, 3)]


def test_the_progress_of_a_runner_is_that_of_the_order(scene: Scene) -> None:
    job_id = scene.running()
    scene.set(job_id, Running(30, "in the queue of a cluster"))
    assert (scene.job(job_id).progress, scene.job(job_id).message) == (30, "in the queue of a cluster")
    scene.set(job_id, Running())
    assert scene.job(job_id).progress == 30


def test_an_order_waits_while_the_runner_is_unavailable(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.reconcile.start._PATIENCE", 0)
    scene.stage.refuses = True
    job_id = scene.order()
    scene.go_round()
    assert scene.stand(job_id) == ("accepted", 1, 0)
    scene.stage.refuses = False
    scene.go_round()
    assert scene.stand(job_id) == ("running", 2, 0)


def test_dismissed_work_stops_before_its_files_are_removed(scene: Scene) -> None:
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


def test_a_late_result_of_a_dismissed_order_is_removed(scene: Scene, make_output: Callable[[str], Output]) -> None:
    job_id = scene.running()
    late = scene.write(f"{job_id}/1/1/r.zip")
    scene.store.dismiss(job_id)
    scene.set(job_id, Done((make_output(f"{job_id}/1/1/r.zip"),)))
    assert scene.job(job_id).status is Status.DISMISSED
    assert not late.exists()


@pytest.mark.parametrize("status", [Status.RUNNING, Status.SUCCESSFUL, Status.FAILED])
def test_work_on_an_order_taken_over_by_a_back_end_is_stopped(scene: Scene, status: Status) -> None:
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


def test_our_result_after_that_of_a_back_end_is_dropped(scene: Scene, make_output: Callable[[str], Output]) -> None:
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


def test_files_and_entries_have_their_own_retention(
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


def test_a_full_disk_costs_no_attempt(scene: Scene) -> None:
    job_id = scene.running()
    half = scene.write(f"{job_id}/1/1/half.zip")
    scene.set(job_id, NoSpace())
    assert scene.stand(job_id) == ("accepted", 1, 0)
    assert not half.exists()
    scene.go_round()
    assert scene.job(job_id).message == DISK_FULL


def test_a_full_disk_without_an_ending_loses_no_order(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are removed first, which makes space to store that the order waits."""
    job_id = scene.running()
    half = scene.write(f"{job_id}/1/1/half.zip")
    other = scene.running()
    result = scene.write(f"{other}/1/1/r.zip")
    scene.store.dismiss(other)
    scene.stage.runs[f"{other}.1"] = Gone()
    with monkeypatch.context() as full:
        full.setattr(scene.own_store, "together", _raising)
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


def test_the_youngest_run_is_stopped_when_the_cap_is_exceeded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_result_larger_than_the_cap_fails_the_order(scene: Scene, make_output: Callable[[str], Output]) -> None:
    scene.restart(cap=2 << 20)
    job_id = scene.running()
    scene.write(f"{job_id}/1/1/r.zip").write_bytes(b"x" * (3 << 20))
    scene.set(job_id, Done((make_output(f"{job_id}/1/1/r.zip"),)))
    assert scene.job(job_id).status is Status.FAILED
    assert "keeps 2 MiB" in scene.job(job_id).message


def test_the_message_of_waiting_is_removed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_stop_interrupts_runs_and_publishes_finished_results(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
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
