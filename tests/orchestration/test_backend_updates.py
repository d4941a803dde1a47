"""Updates by an external back end: one compare-and-set in either database, also with concurrent changes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from orchestration.backend import BackendUpdate
from orchestration.errors import UpdateRefused
from orchestration.job import Job, JobQuery, Notice, Order, Output, ResultFile, Status
from orchestration.store import JobStore
from orchestration.store.jobs import StoredJobs
from orchestration.store.outbox import Outbox
from orchestration.store.past import count_unfinished
from tests.databases import BOTH, DatabaseOf

pytestmark = pytest.mark.parametrize("database_of", BOTH, indirect=True)
MakeStore = Callable[..., StoredJobs]

LINK = (Output("result", media_type="", href="https://files.example.org/r.zip"),)
OTHER = (Output("result", {"n": [1, 2.5, None, "\x00'\";--"]}),)
FILE = (Output("result", None, "application/zip", ResultFile("r.zip", "x/1/1/r.zip", "application/zip", 3, "ab" * 32)),)
QUEUED = BackendUpdate(Status.ACCEPTED)
RUNNING = BackendUpdate(Status.RUNNING)
DONE = BackendUpdate(Status.SUCCESSFUL, LINK)
FAILED = BackendUpdate(Status.FAILED, reason="no scene", fault="WorkFailed")
UPDATES = {
    "queued": QUEUED,
    "running": RUNNING,
    "done": DONE,
    "done otherwise": BackendUpdate(Status.SUCCESSFUL, OTHER),
    "failed": FAILED,
    "failed otherwise": BackendUpdate(Status.FAILED, reason="another reason"),
}


def accepted(store: JobStore, *notices: Notice) -> Job:
    return store.add(Order("extract-product", {}, "local", notices=notices))[0]


def begun(store: JobStore, *notices: Notice) -> Job:
    job = store.begin(accepted(store, *notices).id)
    assert job is not None
    return job


def ended(store: JobStore, end: Callable[[str], object]) -> Job:
    job = begun(store)
    end(job.id)
    return job


def updated(store: JobStore, *updates: BackendUpdate) -> Job:
    job = accepted(store)
    for update in updates:
        store.update(job.id, update)
    return job


STATES: dict[str, Callable[[JobStore], Job]] = {
    "accepted": accepted,
    "running": begun,
    "successful": lambda store: ended(store, lambda job: store.publish(job, 1, LINK)),
    "failed": lambda store: ended(store, lambda job: store.fail(job, 1, "no scene", fault="WorkFailed")),
    "dismissed": lambda store: ended(store, store.dismiss),
    "queued there": lambda store: updated(store, QUEUED),
    "running there": lambda store: updated(store, RUNNING),
    "done there": lambda store: updated(store, DONE),
    "failed there": lambda store: updated(store, FAILED),
}
_ENDS = {"done": "successful", "done otherwise": "successful", "failed": "failed", "failed otherwise": "failed"}
LEADS_TO: dict[str, dict[str, str]] = {
    "accepted": {"queued": "accepted", "running": "running", **_ENDS},
    "running": {"running": "running", **_ENDS},
    "successful": {},
    "failed": {},
    "dismissed": {},
    "queued there": {"queued": "accepted", "running": "running", **_ENDS},
    "running there": {"running": "running", **_ENDS},
    "done there": {"done": "successful"},
    "failed there": {"failed": "failed"},
}
"""Where each update leads from each state; what is not here is refused."""


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("said", UPDATES)
def test_only_allowed_changes_of_the_status_are_accepted(make_store: MakeStore, state: str, said: str) -> None:
    store = make_store()
    job_id = STATES[state](store).id
    before = store.get(job_id)
    assert before is not None
    if (expected := LEADS_TO[state].get(said)) is None:
        with pytest.raises(UpdateRefused, match=f"the order is {before.status}.* cannot change to"):
            store.update(job_id, UPDATES[said])
        assert store.get(job_id) == before, "to the letter"
        return
    after = store.update(job_id, UPDATES[said])
    assert after is not None
    assert after == store.get(job_id)
    assert (after.status, after.backend) == (expected, True)
    assert (after.manifest, after.message, after.fault) == (
        UPDATES[said].manifest,
        UPDATES[said].reason,
        UPDATES[said].fault,
    )


def test_a_repeated_update_changes_nothing(make_store: MakeStore) -> None:
    store = make_store()
    for updates in ((QUEUED,), (QUEUED, RUNNING), (RUNNING, DONE), (FAILED,)):
        job = updated(store, *updates)
        assert store.update(job.id, updates[-1]) == store.update(job.id, updates[-1]) == store.get(job.id)


def test_the_times_of_an_order_are_those_of_its_back_end(make_store: MakeStore) -> None:
    store = make_store()
    job = updated(store, RUNNING)
    running = store.get(job.id)
    done = store.update(job.id, DONE)
    assert running
    assert done
    assert running.started
    assert (done.started, done.progress, done.files_until) == (running.started, 100, None)
    assert done.finished
    at_once = store.update(accepted(store).id, DONE)
    assert at_once
    assert at_once.started == at_once.finished


def test_a_missing_order_is_not_updated(make_store: MakeStore) -> None:
    store = make_store()
    deleted = updated(store, DONE)
    store.dismiss(deleted.id)
    for job_id in (deleted.id, "nothing", ""):
        assert store.update(job_id, DONE) is None


def test_no_run_of_ours_changes_an_order_that_a_back_end_has(make_store: MakeStore) -> None:
    """The run continues for a moment with the same attempt; all its changes have no effect."""
    store = make_store()
    job = begun(store)
    store.report(job.id, 1, 20, "ours")
    store.update(job.id, RUNNING)
    before = store.get(job.id)
    store.report(job.id, 1, 90, "late")
    assert not store.publish(job.id, 1, FILE)
    assert not store.fail(job.id, 1, "late")
    assert not store.hand_back(job.id, 1, counted=True)
    waiting = updated(store, QUEUED)
    store.tell([waiting.id], "waits for space")
    assert store.begin(waiting.id) is None
    assert store.get(job.id) == before
    assert (before and (before.progress, before.message)) == (0, "")
    assert (queued := store.get(waiting.id)) is not None
    assert queued.message == ""


def test_only_our_own_orders_are_run_but_all_are_listed(make_store: MakeStore, database_of: DatabaseOf) -> None:
    store = make_store()
    ours = [accepted(store).id, begun(store).id]
    theirs = [updated(store, QUEUED).id, updated(store, RUNNING).id]
    assert [job.id for job in store.unfinished()] == ours
    assert count_unfinished(database_of(), beside=()) == 2
    assert store.waiting({"extract-product"}, 10) == 1
    listed = store.find(JobQuery(statuses=(Status.ACCEPTED, Status.RUNNING))).jobs
    assert {job.id: job.backend for job in listed} == {**dict.fromkeys(ours, False), **dict.fromkeys(theirs, True)}


@pytest.mark.parametrize("update", [QUEUED, RUNNING, DONE, FAILED], ids=lambda update: update.status)
def test_files_of_our_own_run_are_removed_and_the_result_stays(make_store: MakeStore, update: BackendUpdate) -> None:
    store = make_store()
    job = begun(store)
    if update is QUEUED:
        store.hand_back(job.id, 1, counted=False)
    assert store.files_to_remove(datetime.now(UTC)) == ()
    store.update(job.id, update)
    (left,) = store.files_to_remove(datetime.now(UTC))
    assert (left.id, left.attempt) == (job.id, 1)
    store.files_removed(job.id)
    assert store.files_to_remove(datetime.now(UTC) + timedelta(days=99)) == ()
    now = store.get(job.id)
    assert now is not None
    assert (now.status, now.manifest, now.expired) == (update.status, update.manifest, False)


def test_the_first_of_our_result_and_a_back_ends_result_counts(make_store: MakeStore) -> None:
    store = make_store()
    with ThreadPoolExecutor(4) as threads:
        for _ in range(25):
            job = begun(store)
            acts = [
                partial(store.publish, job.id, 1, FILE),
                partial(_updated, store, job.id, DONE),
                partial(_updated, store, job.id, FAILED),
            ]
            ours, done, failed = [each.result() for each in [threads.submit(act) for act in acts]]
            assert ours + done + failed == 1
            now = store.get(job.id)
            assert now is not None
            assert now.manifest == (FILE if ours else LINK if done else ())
            assert now.status == ("failed" if failed else "successful")


def _updated(store: StoredJobs, job_id: str, update: BackendUpdate) -> bool:
    try:
        return store.update(job_id, update) is not None
    except UpdateRefused:
        return False


def test_an_order_started_here_and_by_a_back_end_belongs_to_the_back_end(make_store: MakeStore) -> None:
    """If both start it, the order belongs to the back end from then on, and our run is ended."""
    store = make_store()
    with ThreadPoolExecutor(2) as threads:
        for _ in range(15):
            job = accepted(store)
            first, second = threads.submit(store.begin, job.id), threads.submit(store.update, job.id, RUNNING)
            begun_here, there = first.result(), second.result()
            assert there is not None
            assert (there.backend, there.attempt) == (True, 1 if begun_here else 0)
            assert store.unfinished() == ()


_CALLBACK = "https://example.org/told"
_NEWS = tuple(Notice("callback", event, _CALLBACK) for event in (Status.RUNNING, Status.SUCCESSFUL, Status.FAILED))


def entries(database_of: DatabaseOf, job_id: str) -> list[tuple[str, str, str]]:
    with closing(Outbox(database_of())) as outbox:
        return [(found.kind, found.event, found.state) for found in outbox.notifications(job_id)]


def test_callbacks_are_sent_as_for_our_own_results(make_store: MakeStore, database_of: DatabaseOf) -> None:
    store = make_store()
    ours, theirs = (accepted(store, *_NEWS).id for _ in range(2))
    store.begin(ours)
    store.update(theirs, RUNNING)
    assert entries(database_of, ours) == entries(database_of, theirs)
    store.publish(ours, 1, LINK)
    store.update(theirs, DONE)
    found = entries(database_of, theirs)
    assert found == entries(database_of, ours) == [("callback", "running", "due"), ("callback", "successful", "due")]


def test_taking_over_a_running_order_sends_no_notification(make_store: MakeStore, database_of: DatabaseOf) -> None:
    store = make_store()
    job = begun(store, *_NEWS)
    before = entries(database_of, job.id)
    with closing(Outbox(database_of())) as outbox:
        assert outbox.take("callback")
        store.update(job.id, RUNNING)
        assert outbox.take("callback") is None
    assert len(before) == 3


@pytest.mark.parametrize("end", [DONE, FAILED], ids=lambda update: update.status)
def test_a_mail_requested_by_a_back_end_is_sent_once(
    make_store: MakeStore, database_of: DatabaseOf, end: BackendUpdate
) -> None:
    store = make_store()
    update = BackendUpdate(end.status, end.manifest, end.reason, end.fault, mail_to="back@example.org")
    job, ordered = accepted(store), accepted(store, Notice("mail", end.status, "own@example.org"))
    for each in (job, ordered):
        for _ in range(2):
            store.update(each.id, update)
        assert entries(database_of, each.id) == [("mail", end.status, "due")]
    with closing(Outbox(database_of())) as outbox:
        addresses = [entry.address for _ in range(2) if (entry := outbox.take("mail"))]
    assert addresses == ["back@example.org", "own@example.org"]
    assert "back@" not in repr(update)


def test_a_refused_update_sends_no_mail(make_store: MakeStore, database_of: DatabaseOf) -> None:
    store = make_store()
    job = updated(store, DONE)
    with pytest.raises(UpdateRefused):
        store.update(job.id, BackendUpdate(Status.FAILED, reason="no", mail_to="a@example.org"))
    assert entries(database_of, job.id) == []
