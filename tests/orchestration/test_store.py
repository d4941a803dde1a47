import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from orchestration.errors import IdempotencyConflict, StoreUnavailable
from orchestration.job import Job, JobCursor, JobQuery, JobVisibility, Notice, Order, Output, Status
from orchestration.store import JobStore
from orchestration.store.jobs import StoredJobs
from orchestration.store.listing import listing_of
from orchestration.store.outbox import Outbox, State
from sql.pool import PostgresPool
from sql.postgres import PostgresConnection
from tests.databases import BOTH, IN_A_PROCESS, DatabaseOf
from tests.postgres import Postgres

MakeStore = Callable[..., StoredJobs]
MakeOrder = Callable[..., Order]

both = pytest.mark.parametrize("database_of", BOTH, indirect=True)

_VALUE = (Output("stringOutput", "x"),)


def _accepted(store: JobStore) -> Job:
    return store.add(Order("echo", {}, "local"))[0]


def _running(store: JobStore) -> Job:
    job = store.begin(_accepted(store).id)
    assert job is not None
    return job


def _successful(store: JobStore) -> Job:
    job = _running(store)
    store.publish(job.id, 1, _VALUE)
    return job


def _failed(store: JobStore) -> Job:
    job = _running(store)
    store.fail(job.id, 1, "no")
    return job


def _dismissed(store: JobStore) -> Job:
    job = _running(store)
    store.dismiss(job.id)
    return job


def _deleted(store: JobStore) -> Job:
    job = _dismissed(store)
    store.dismiss(job.id)
    return job


_STATES = {
    "accepted": _accepted,
    "running": _running,
    "successful": _successful,
    "failed": _failed,
    "dismissed": _dismissed,
    "deleted": _deleted,
}
_CHANGES: dict[str, Callable[[JobStore, str], object]] = {
    "begin": lambda store, job_id: store.begin(job_id) is not None,
    "publish": lambda store, job_id: store.publish(job_id, 1, _VALUE),
    "publish stale": lambda store, job_id: store.publish(job_id, 0, _VALUE),
    "fail": lambda store, job_id: store.fail(job_id, 1, "why"),
    "fail stale": lambda store, job_id: store.fail(job_id, 2, "why"),
    "hand back": lambda store, job_id: store.hand_back(job_id, 1, counted=True),
    "hand back stale": lambda store, job_id: store.hand_back(job_id, 2, counted=True),
    "dismiss": lambda store, job_id: store.dismiss(job_id) is not None,
}
_ONLY_FROM = {
    ("accepted", "begin"): "running",
    ("accepted", "dismiss"): "dismissed",
    ("running", "publish"): "successful",
    ("running", "fail"): "failed",
    ("running", "hand back"): "accepted",
    ("running", "dismiss"): "dismissed",
    ("successful", "dismiss"): "deleted",
    ("failed", "dismiss"): "deleted",
    ("dismissed", "dismiss"): "deleted",
}


@pytest.mark.parametrize("state", _STATES)
@pytest.mark.parametrize("change", _CHANGES)
@both
def test_a_change_happens_only_from_the_state_it_names(make_store: MakeStore, state: str, change: str) -> None:
    store = make_store()
    job = _STATES[state](store)
    expected = _ONLY_FROM.get((state, change))
    assert _CHANGES[change](store, job.id) is (expected is not None)
    now = store.get(job.id)
    assert (now.status if now else "deleted") == (expected or state)


@both
def test_a_stored_order_is_read_unchanged(make_store: MakeStore) -> None:
    order = Order(
        "extract-product",
        {"aoi": "POLYGON((…))", "n": [1, 2.5, None, {"ä": "\x00'\";--"}]},
        "https://issuer|sub",
        outputs={"result": {"transmissionMode": "reference"}},
        response="document",
        email="a@example.org",
        idempotency_key="k",
        request_hash="h",
    )
    store = make_store()
    job, new = store.add(order)
    assert new
    assert UUID(job.id).version == 4
    assert make_store().get(job.id) == job
    assert job.order == order
    assert (job.status, job.attempt, job.progress, job.started) == (Status.ACCEPTED, 0, 0, None)
    assert job.created.tzinfo == UTC


@both
def test_unknown_jobs_are_missing(make_store: MakeStore) -> None:
    store = make_store()
    assert (store.get("x"), store.begin("x"), store.dismiss("x")) == (None, None, None)
    assert not store.publish("x", 1, ())


@both
def test_attempts_and_failures_are_counted_separately(make_store: MakeStore) -> None:
    store = make_store()
    job = _running(store)
    store.hand_back(job.id, 1, counted=False)
    store.begin(job.id)
    store.hand_back(job.id, 2, counted=True)
    again = store.begin(job.id)
    assert again is not None
    assert (again.attempt, again.failures) == (3, 1)


@both
def test_the_history_has_every_change_of_the_status(make_store: MakeStore, database_of: DatabaseOf) -> None:
    store = make_store()
    job, other = _running(store), _running(store)
    store.report(job.id, 1, 40, "reading")
    store.hand_back(job.id, 1, counted=True)
    store.begin(job.id)
    store.fail(job.id, 2, "the source is broken")
    store.dismiss(other.id)
    told = [(event.status, event.attempt, event.message) for event in store.history(job.id)]
    assert told == [
        (Status.RUNNING, 1, ""),
        (Status.ACCEPTED, 1, "waits to be run again"),
        (Status.RUNNING, 2, ""),
        (Status.FAILED, 2, "the source is broken"),
    ]
    ended = store.get(job.id)
    assert ended is not None
    assert store.history(job.id)[-1].at == ended.finished
    assert [event.status for event in store.history(other.id)] == [Status.RUNNING, Status.DISMISSED]
    store.dismiss(job.id)
    store.files_removed(job.id)
    assert store.purge(datetime.now(UTC) + timedelta(days=1)) == 1
    left = database_of.run("select status from history where job in (:job, :other)", job=job.id, other=other.id)
    assert left == [("running",), ("dismissed",)], "gone with its job"


@both
def test_only_the_running_attempt_reports_progress(make_store: MakeStore) -> None:
    store = make_store()
    job = _running(store)
    store.report(job.id, 1, 40, "reading")
    store.report(job.id, 2, 90, "a stale one")
    now = store.get(job.id)
    assert now is not None
    assert (now.progress, now.message) == (40, "reading")
    store.hand_back(job.id, 1, counted=False)
    store.report(job.id, 1, 50, "late")
    back = store.get(job.id)
    assert back is not None
    assert (back.progress, back.started) == (0, None)


@both
def test_messages_about_downloads_are_dropped_while_too_many_wait(
    make_store: MakeStore, database_of: DatabaseOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.store.jobs._MOST_WAITING", 3)
    store = make_store()
    job = _successful(store)
    store.downloaded("no such job", "downloads/echo")
    store.downloaded(job.id, "downloads/echo")
    for _ in range(4):
        store.collection_downloaded("parks", "downloads/parks")
    store.downloaded(job.id, "downloads/echo")
    assert store.dropped_downloads == 3
    assert database_of.run("select count(*) from outbox") == [(3,)]
    store.add(Order("echo", {}, "local", notices=(Notice("message", Status.ACCEPTED, "processes/echo"),)))
    assert database_of.run("select count(*) from outbox") == [(4,)], "one about a job is kept"
    with closing(Outbox(database_of())) as outbox:
        outbox.settle_many(outbox.take_many("message", 9), State.DELIVERED)
    store.collection_downloaded("parks", "downloads/parks")
    assert database_of.run("select count(*) from outbox where state = 'due'") == [(1,)]
    assert store.dropped_downloads == 3


@both
def test_a_deleted_job_is_returned_once_as_dismissed(make_store: MakeStore) -> None:
    store = make_store()
    job = _successful(store)
    last = store.dismiss(job.id)
    assert last is not None
    assert last.status is Status.DISMISSED
    assert store.dismiss(job.id) is None
    assert store.find(JobQuery()).matched == 0


@both
def test_a_dismissed_job_stays_listed(make_store: MakeStore) -> None:
    store = make_store()
    job = _dismissed(store)
    assert [found.id for found in store.find(JobQuery(statuses=(Status.DISMISSED,))).jobs] == [job.id]


@both
def test_a_repeated_request_is_the_same_job(make_store: MakeStore, make_order: MakeOrder) -> None:
    store = make_store()
    order = make_order(idempotency_key="k", request_hash="h")
    first, _ = store.add(order)
    assert store.add(order) == (first, False)
    with pytest.raises(IdempotencyConflict):
        store.add(make_order(idempotency_key="k", request_hash="other"))
    assert store.add(make_order(owner="another", idempotency_key="k", request_hash="other"))[1]
    store.dismiss(first.id)
    assert store.add(order)[1] is False
    store.dismiss(first.id)
    assert store.add(order)[1], "the deleted job is not there any more"


@both
def test_threads_with_one_key_store_one_job(make_store: MakeStore, make_order: MakeOrder) -> None:
    store = make_store()
    order = make_order(idempotency_key="k", request_hash="h")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: store.add(order), range(40)))
    assert len({job.id for job, _ in answers}) == 1
    assert sum(new for _, new in answers) == 1


@both
def test_processes_with_one_key_store_one_job(make_store: MakeStore, database_of: DatabaseOf) -> None:
    store = make_store()
    program = """
from orchestration.job import Order
from orchestration.store.jobs import StoredJobs
store = StoredJobs(database)
sys.stdin.readline()
order = Order("echo", {}, "local", idempotency_key="k", request_hash="h")
print(store.add(order)[0].id, end="")
store.close()"""
    command = [sys.executable, "-c", IN_A_PROCESS + program, database_of.text]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    answers = {process.communicate("go\n")[0] for process in processes}
    assert len(answers) == 1
    assert store.find(JobQuery()).matched == 1


@both
def test_the_list_is_newest_first_and_paged(make_store: MakeStore, make_order: MakeOrder) -> None:
    store = make_store()
    ids = [store.add(make_order(inputs={"n": number}))[0].id for number in range(5)]
    newest_first = ids[::-1]
    page = store.find(JobQuery(limit=2, offset=1))
    assert [job.id for job in page.jobs] == newest_first[1:3]
    assert page.matched == 5
    for limit in range(7):
        for offset in range(7):
            found = [job.id for job in store.find(JobQuery(limit=limit, offset=offset)).jobs]
            assert found == newest_first[offset : offset + limit]
    assert store.find(JobQuery(offset=10**30)).jobs == ()
    assert [job.id for job in store.unfinished()] == ids


@both
def test_every_filter_selects_jobs(make_store: MakeStore, make_order: MakeOrder) -> None:
    store = make_store()
    mine, _ = store.add(make_order("extract-product", owner="me"))
    done = _successful(store)
    running = _running(store)
    later = datetime.now(UTC) + timedelta(hours=1)

    def found(**filters: Any) -> list[str]:
        page = store.find(JobQuery(**filters))
        assert page.matched == len(page.jobs)
        return [job.id for job in page.jobs]

    assert found() == [running.id, done.id, mine.id]
    assert found(owner="me") == [mine.id]
    assert found(owner="me' or '1'='1") == []
    assert found(processes=("echo",)) == [running.id, done.id]
    assert found(processes=("extract-product", "echo")) == [running.id, done.id, mine.id]
    assert found(statuses=(Status.SUCCESSFUL, Status.ACCEPTED)) == [done.id, mine.id]
    assert found(begin=mine.created, end=mine.created) == [mine.id]
    assert found(begin=later) == []
    assert found(end=later, owner="me") == [mine.id]
    assert found(min_duration=0) == [running.id, done.id], "an order that was never started has no duration"
    assert found(min_duration=3600) == []
    assert found(max_duration=3600) == [running.id, done.id]
    assert found(max_duration=float("inf"), min_duration=-1e300) == [running.id, done.id]


@both
def test_the_duration_of_a_running_job_grows(make_store: MakeStore, database_of: DatabaseOf) -> None:
    store = make_store()
    running, done = _running(store), _successful(store)
    database_of.run("update jobs set started = started - 100 * 1000000")
    assert [job.id for job in store.find(JobQuery(min_duration=99, max_duration=110)).jobs] == [done.id, running.id]
    database_of.run("update jobs set finished = started + 1000000 where finished is not null")
    assert [job.id for job in store.find(JobQuery(min_duration=99)).jobs] == [running.id]


_OWN = JobVisibility("local", own=("echo",))
_ALSO = JobVisibility("local", own=("echo",), foreign=("extract-product",))
_INDEXES: dict[str, tuple[JobQuery, str]] = {
    "all": (JobQuery(), "jobs_listed"),
    "an owner's": (JobQuery(owner="local"), "jobs_owner_listed"),
    "one's own": (JobQuery(sight=_OWN), "jobs_owner_listed"),
    "one's own that succeeded": (JobQuery(sight=_OWN, statuses=(Status.SUCCESSFUL,)), "jobs_owner_listed"),
    "an owner's of a process": (JobQuery(owner="local", processes=("echo",)), "jobs_owner_listed"),
    "one's own and a process's": (JobQuery(sight=_ALSO), "jobs_listed"),
    "failed": (JobQuery(statuses=(Status.FAILED,)), "jobs_status_listed"),
    "unfinished": (JobQuery(statuses=(Status.ACCEPTED, Status.RUNNING)), "jobs_status_listed"),
    "failed of a process": (JobQuery(statuses=(Status.FAILED,), processes=("echo",)), "jobs_status_listed"),
    "since a day": (JobQuery(begin=datetime(2026, 1, 1, tzinfo=UTC)), "jobs_listed"),
    "long ones": (JobQuery(min_duration=60), "jobs_listed"),
    "of a process": (JobQuery(processes=("echo",)), "jobs_listed"),
}


@pytest.mark.parametrize("kind", _INDEXES)
def test_a_list_is_counted_and_read_from_an_index_in_its_order(
    make_store: MakeStore, state_dir: Path, kind: str
) -> None:
    make_store()
    query, index = _INDEXES[kind]
    cursor = JobCursor(datetime(2026, 1, 1, tzinfo=UTC), "x")
    with closing(sqlite3.connect(state_dir / "orders.sqlite")) as connection:
        counted = "jobs_counted" if query == JobQuery() else index
        for asked in (query, replace(query, cursor=cursor), replace(query, cursor=replace(cursor, newer=True))):
            listing = listing_of(asked, now=1)
            found, values = listing.page()
            inner = found.partition(" in (")[2].rpartition(") order by")[0]
            for statement, used in ((listing.count()[0], counted), (inner, index)):
                plan = [row[3] for row in connection.execute(f"explain query plan {statement}", values)]
                assert f"USING COVERING INDEX {used}" in plan[0]
                assert len(query.statuses) > 1 or "TEMP B-TREE" not in str(plan), plan


def test_all_jobs_are_counted_by_a_small_index(postgres: Postgres) -> None:
    """PostgreSQL chooses it by its statistics, SQLite in the test above."""
    url = postgres.migrated()
    with closing(StoredJobs(PostgresPool(url, size=1, wait=60))) as store:
        with closing(PostgresConnection(url)) as connection:
            connection.execute("select set_config('landcast.owner', '*', false)")
            connection.execute(
                """insert into jobs (id, owner, process, inputs, response, created, updated, status, finished)
                select n::text, 'owner ' || n % 100, 'echo', '{"a": "' || repeat('b', 300) || '"}', 'raw', n, n,
                    'successful', n from generate_series(1, 5000) as n"""
            )
            connection.execute("vacuum analyze jobs")
            statement, values = listing_of(JobQuery(), now=1).count()
            plan = "\n".join(row[0] for row in connection.execute(f"explain {statement}", values))
        assert "Index Only Scan using jobs_counted" in plan, plan
        assert store.find(JobQuery()).matched == 5000
        store.check_readable()
    postgres.give_back(url)


@both
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_a_page_continues_from_a_job_of_another_page(make_store: MakeStore, limit: int) -> None:
    store = make_store()
    jobs = [_accepted(store) for _ in range(8)][::-1]
    ids = [job.id for job in jobs]
    for database, job in enumerate(jobs):
        cursor = JobCursor(job.created, job.id)
        page = store.find(JobQuery(limit=limit, cursor=cursor))
        assert [each.id for each in page.jobs] == ids[database + 1 : database + 1 + limit]
        assert (page.matched, page.newer, page.older) == (8, True, database + 1 + limit < 8)
        page = store.find(JobQuery(limit=limit, cursor=replace(cursor, newer=True)))
        assert [each.id for each in page.jobs] == ids[max(0, database - limit) : database]
        assert (page.newer, page.older) == (database > limit, True)
    for _ in range(2):
        store.dismiss(ids[3])
    gone = JobCursor(jobs[3].created, ids[3])
    assert [each.id for each in store.find(JobQuery(limit=limit, cursor=gone)).jobs] == ids[4 : 4 + limit]


@both
def test_jobs_of_the_same_time_are_listed_once(make_store: MakeStore, database_of: DatabaseOf) -> None:
    store = make_store()
    ids = sorted((_accepted(store).id for _ in range(9)), reverse=True)
    database_of.run("update jobs set created = 1764000000123456")
    seen: list[str] = []
    cursor = None
    while (page := store.find(JobQuery(limit=2, cursor=cursor))).jobs:
        seen += [job.id for job in page.jobs]
        cursor = JobCursor(page.jobs[-1].created, page.jobs[-1].id)
    assert seen == ids


@both
def test_a_change_by_any_connection_is_noticed_once(make_store: MakeStore) -> None:
    one, other = make_store(), make_store()
    assert one.changed()
    assert not one.changed()
    job = _accepted(other)
    assert one.changed()
    assert not one.changed()
    other.begin(job.id)
    assert one.changed()
    assert not one.changed()


def test_a_stores_own_changes_are_ignored_and_hide_no_others(make_store: MakeStore) -> None:
    one, other = make_store(), make_store()
    job = _accepted(other)
    one.changed()
    one.begin(job.id)
    assert not one.changed()
    other.report(job.id, 1, 10, "")
    one.report(job.id, 1, 20, "")
    assert one.changed()
    assert not one.changed()


@both
def test_changes_in_one_transaction_are_atomic(make_store: MakeStore) -> None:
    store, other = make_store(), make_store()
    ends, begins = _running(store), _accepted(store)

    def change() -> None:
        with store.together() as changes:
            assert changes.publish(ends.id, 1, ())
            assert changes.begin(begins.id)
            assert not changes.fail(ends.id, 1, "it is over"), "each sees those before it"
            assert [_status(other, job) for job in (ends, begins)] == ["running", "accepted"]
            if fails:
                raise KeyError

    fails = True
    with pytest.raises(KeyError):
        change()
    assert [_status(other, job) for job in (ends, begins)] == ["running", "accepted"]
    fails = False
    change()
    assert [_status(other, job) for job in (ends, begins)] == ["successful", "running"]


def _status(store: StoredJobs, job: Job) -> str:
    found = store.get(job.id)
    assert found is not None
    return found.status.value


def test_a_locked_database_is_unavailable_and_loses_nothing(make_store: MakeStore, state_dir: Path) -> None:
    store = make_store(busy_seconds=0.1)
    job = _running(store)
    with closing(sqlite3.connect(state_dir / "orders.sqlite", isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(StoreUnavailable, match="locked"):
            _accepted(store)
        with pytest.raises(StoreUnavailable):
            store.publish(job.id, 1, _VALUE)
        assert store.find(JobQuery()).matched == 1, "reading goes on"
    assert store.publish(job.id, 1, _VALUE)
    assert store.find(JobQuery()).matched == 1


def test_a_full_disk_makes_the_store_unavailable_without_partial_rows(make_store: MakeStore, state_dir: Path) -> None:
    store = make_store()
    job = _accepted(store)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((state_dir / "orders.sqlite-wal").stat().st_size + 5000, hard))
    try:
        with pytest.raises(StoreUnavailable):
            store.add(Order("echo", {"stringInput": "x" * 100_000}, "local"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [found.id for found in make_store().find(JobQuery()).jobs] == [job.id]
    assert store.add(Order("echo", {"stringInput": "x" * 100_000}, "local"))[1]


def test_an_invalid_folder_and_a_newer_database_are_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable):
        StoredJobs(tmp_path / "file" / "orders.sqlite")
    with closing(sqlite3.connect(tmp_path / "newer.sqlite")) as connection:
        connection.execute("pragma user_version = 99")
    with pytest.raises(StoreUnavailable, match="99"):
        StoredJobs(tmp_path / "newer.sqlite")


@both
def test_a_committed_order_survives_the_death_of_its_process(make_store: MakeStore, database_of: DatabaseOf) -> None:
    program = """
import os, signal
from orchestration.job import Order
from orchestration.store.jobs import StoredJobs
print(StoredJobs(database).add(Order("echo", {"a": 1}, "local"))[0].id, end="", flush=True)
os.kill(os.getpid(), signal.SIGKILL)"""
    command = [sys.executable, "-c", IN_A_PROCESS + program, database_of.text]
    job_id = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    job = make_store().get(job_id)
    assert job is not None
    assert job.order.inputs == {"a": 1}


@both
def test_files_expire(make_store: MakeStore, make_output: Callable[[str], Output]) -> None:
    store = make_store(files_days=30)
    job = _running(store)
    store.publish(job.id, 1, (make_output(f"{job.id}/1/1/r.zip"),))
    stored = store.get(job.id)
    assert stored is not None
    assert stored.files_until is not None
    assert stored.finished is not None
    assert timedelta(days=29, hours=23) < stored.files_until - stored.finished <= timedelta(days=30, seconds=1)
    assert store.files_to_remove(stored.files_until - timedelta(seconds=1)) == ()
    assert [due.id for due in store.files_to_remove(stored.files_until)] == [job.id]
    store.files_removed(job.id)
    assert store.files_to_remove(stored.files_until) == ()
    expired = store.get(job.id)
    assert expired is not None
    assert (expired.status, expired.files_until, expired.expired) == (Status.SUCCESSFUL, None, True)
    assert expired.updated == stored.updated


@pytest.mark.parametrize("state", ["failed", "dismissed", "deleted"])
@both
def test_files_of_a_job_without_a_result_are_removed_at_once(make_store: MakeStore, state: str) -> None:
    store = make_store()
    job = _STATES[state](store)
    assert [due.id for due in store.files_to_remove(datetime.now(UTC))] == [job.id]
    store.files_removed(job.id)
    assert store.files_to_remove(datetime.now(UTC)) == ()
    now = store.get(job.id)
    assert now is None or not now.expired


@both
def test_values_alone_neither_expire_nor_hold_files(make_store: MakeStore) -> None:
    store = make_store()
    job = store.get(_successful(store).id)
    assert job is not None
    assert job.files_until is None
    assert job.manifest == _VALUE
    assert store.files_to_remove(datetime.now(UTC) + timedelta(days=9999)) == ()


@both
def test_purge_removes_finished_jobs_without_files(make_store: MakeStore) -> None:
    store = make_store()
    kept = [_accepted(store).id, _running(store).id, _dismissed(store).id]
    _successful(store)
    assert store.purge(datetime.now(UTC) - timedelta(hours=1)) == 0
    assert store.purge(datetime.now(UTC) + timedelta(seconds=1)) == 1
    assert sorted(job.id for job in store.find(JobQuery()).jobs) == sorted(kept)


@both
def test_a_manifest_that_is_not_json_is_refused_before_it_is_stored(make_store: MakeStore) -> None:
    store = make_store()
    job = _running(store)
    with pytest.raises(ValueError, match="JSON"):
        store.publish(job.id, 1, (Output("x", float("nan")),))
    assert store.publish(job.id, 1, _VALUE)


@both
def test_an_order_with_an_existing_result_is_successful_at_once(
    make_store: MakeStore, make_output: Callable[[str], Output]
) -> None:
    store = make_store(files_days=3)
    output = make_output("house/key/r.zip")
    order = Order("echo", {}, "local", idempotency_key="k", request_hash="h")
    job, new = store.add(order, (output,))
    assert new
    assert (job.status, job.progress, job.attempt, job.manifest) == (Status.SUCCESSFUL, 100, 0, (output,))
    assert job.created == job.started == job.finished
    assert job.files_until is not None
    assert timedelta(days=3) <= job.files_until - job.created < timedelta(days=3, minutes=1)
    assert store.unfinished() == ()
    assert store.begin(job.id) is None
    assert store.add(order) == (job, False)
    assert store.stored_paths() == {"house/key/r.zip"}
    assert [each.id for each in store.files_to_remove(job.files_until)] == [job.id]
    store.files_removed(job.id)
    after = store.get(job.id)
    assert after is not None
    assert after.expired
    assert store.stored_paths() == frozenset()
    value, _ = store.add(Order("echo", {}, "local"), _VALUE)
    assert (value.status, value.files_until) == (Status.SUCCESSFUL, None)


def test_unchanged_jobs_are_not_read_again(
    make_store: Callable[..., StoredJobs], make_order: Callable[..., Order]
) -> None:
    store = make_store()
    ids = [store.add(make_order())[0].id for _ in range(4)]
    known = {job.id: job for job in store.unfinished()}
    store.begin(ids[0])
    store.tell([ids[1]], "Waits")
    store.dismiss(ids[2])
    begun, told, same = store.unfinished(known)
    assert (begun.status, told.message) == (Status.RUNNING, "Waits")
    assert same is known[ids[3]]
    known = {job.id: job for job in (begun, told, same)}
    store.report(ids[0], 1, 50, "half")
    store.hand_back(ids[0], 1, counted=True)
    again = store.unfinished(known)[0]
    assert (again.status, again.failures, again.attempt) == (Status.ACCEPTED, 1, 1)
