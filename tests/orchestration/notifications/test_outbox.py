"""The outbox of the orders: entries are due with the change of the order, claimed once, and survive a crash."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestration.errors import StoreUnavailable
from orchestration.job import JobQuery, Notice, Order, Status
from orchestration.store.jobs import StoredJobs
from orchestration.store.outbox import Notification, Outbox, State
from tests.databases import BOTH, DatabaseOf

MakeStore = Callable[..., StoredJobs]
both = pytest.mark.parametrize("database_of", BOTH, indirect=True)
NOTICES = (
    Notice("callback", Status.RUNNING, "https://example.org/running"),
    Notice("callback", Status.SUCCESSFUL, "https://example.org/done"),
    Notice("callback", Status.FAILED, "https://example.org/failed"),
    Notice("mail", Status.SUCCESSFUL, "a@example.org"),
)


@pytest.fixture
def outbox(database_of: DatabaseOf, make_store: MakeStore) -> Outbox:
    make_store()
    return Outbox(database_of())


def states(outbox: Outbox, job_id: str) -> list[tuple[str, str, str]]:
    return [(found.kind, found.event, found.state) for found in outbox.notifications(job_id)]


def ordered(store: StoredJobs) -> str:
    return store.add(Order("echo", {}, "local", notices=NOTICES))[0].id


@both
def test_a_notification_is_due_only_at_its_status(make_store: MakeStore, outbox: Outbox) -> None:
    store = make_store()
    job = ordered(store)
    assert outbox.take("callback") is None
    assert {state for _, _, state in states(outbox, job)} == {"waiting"}
    store.begin(job)
    entry = outbox.take("callback")
    assert entry is not None
    assert (entry.job_id, entry.event, entry.address, entry.tries) == (job, "running", NOTICES[0].address, 1)
    assert outbox.take("callback") is None


@both
def test_notifications_of_impossible_statuses_are_removed(make_store: MakeStore, outbox: Outbox) -> None:
    store = make_store()
    done, failed, dismissed = ordered(store), ordered(store), ordered(store)
    for job in (done, failed):
        store.begin(job)
    assert store.publish(done, 1, ())
    assert store.fail(failed, 1, "no")
    store.dismiss(dismissed)
    callbacks = ("callback", "running", "due")
    assert states(outbox, done) == [callbacks, ("callback", "successful", "due"), ("mail", "successful", "due")]
    assert states(outbox, failed) == [callbacks, ("callback", "failed", "due")]
    assert states(outbox, dismissed) == []


@both
def test_notifications_of_an_order_with_an_existing_result_are_due_at_once(
    make_store: MakeStore, outbox: Outbox
) -> None:
    job, _ = make_store().add(Order("echo", {}, "local", notices=NOTICES), ())
    assert states(outbox, job.id) == [("callback", "successful", "due"), ("mail", "successful", "due")]


@both
def test_a_dropped_result_sends_no_notification(make_store: MakeStore, outbox: Outbox) -> None:
    """One compare-and-set decides on the result and on its notifications."""
    store = make_store()
    job = ordered(store)
    store.begin(job)
    assert not store.publish(job, 2, ())
    assert states(outbox, job)[1:] == [(notice.kind, notice.event, "waiting") for notice in NOTICES[1:]]


@both
def test_a_second_attempt_sends_no_notification(make_store: MakeStore, outbox: Outbox) -> None:
    store = make_store()
    job = ordered(store)
    store.begin(job)
    entry = outbox.take("callback")
    assert entry is not None
    outbox.settle(entry, State.DELIVERED)
    store.hand_back(job, 1, counted=True)
    store.begin(job)
    assert outbox.take("callback") is None


@both
def test_notifications_of_an_order_are_sent_in_order(make_store: MakeStore, outbox: Outbox) -> None:
    """The success is not sent during the first try to notify of the start; a later try delays nothing."""
    store = make_store()
    job = ordered(store)
    store.begin(job)
    store.publish(job, 1, ())
    first = outbox.take("callback")
    assert first is not None
    assert first.event == "running"
    assert outbox.take("callback") is None
    outbox.postpone(first, 60)
    second = outbox.take("callback")
    assert second is not None
    assert second.event == "successful"


@both
def test_a_postponed_notification_is_due_later(make_store: MakeStore, outbox: Outbox) -> None:
    store = make_store()
    job = ordered(store)
    store.begin(job)
    entry = outbox.take("callback")
    assert entry is not None
    outbox.postpone(entry, 60)
    assert outbox.take("callback") is None
    assert outbox.notifications(job)[0] == Notification("callback", Status.RUNNING, State.DUE, 1)


@both
def test_after_a_crash_a_callback_is_due_again_and_a_mail_is_unknown(
    make_store: MakeStore, outbox: Outbox, database_of: DatabaseOf
) -> None:
    store = make_store()
    job = ordered(store)
    store.begin(job)
    store.publish(job, 1, ())
    assert outbox.take("callback")
    mail = outbox.take("mail")
    assert mail is not None
    after = Outbox(database_of())
    after.recover()
    assert after.take("mail") is None
    assert after.take("callback") is not None
    assert states(after, job)[-1] == ("mail", "successful", "unknown")
    outbox.settle(mail, State.DELIVERED)
    assert states(after, job)[-1] == ("mail", "successful", "unknown")


@both
def test_a_purged_order_removes_its_entries(make_store: MakeStore, outbox: Outbox) -> None:
    store = make_store()
    job = ordered(store)
    store.begin(job)
    store.publish(job, 1, ())
    store.files_removed(job)
    assert store.purge(datetime.now(UTC) + timedelta(seconds=1)) == 1
    assert outbox.notifications(job) == ()


@both
def test_a_deleted_order_removes_its_entries(make_store: MakeStore, outbox: Outbox) -> None:
    store = make_store()
    job = ordered(store)
    store.begin(job)
    store.publish(job, 1, ())
    store.dismiss(job)
    assert outbox.notifications(job) == ()
    assert outbox.take("mail") is None


@both
def test_a_repeated_order_is_notified_once(make_store: MakeStore, outbox: Outbox) -> None:
    store = make_store()
    order = Order("echo", {}, "local", notices=NOTICES, idempotency_key="k", request_hash="h")
    job, _ = store.add(order)
    assert store.add(order) == (job, False)
    assert len(outbox.notifications(job.id)) == len(NOTICES)


def test_an_unavailable_outbox_is_reported(tmp_path: Path) -> None:
    (tmp_path / "orders.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(StoreUnavailable):
        Outbox(tmp_path / "orders.sqlite", lazy=True).take("mail")


def test_no_address_is_in_a_repr() -> None:
    assert "example.org" not in repr(Order("echo", {}, "local", notices=NOTICES))


@both
def test_an_order_keeps_its_subscribers_until_it_is_deleted(make_store: MakeStore, database_of: DatabaseOf) -> None:
    store = make_store()
    job = ordered(store)
    store.dismiss(job)
    found = store.get(job)
    assert found is not None
    assert found.order.notices == NOTICES
    assert "example.org" not in repr(found)
    assert store.find(JobQuery()).jobs[0].order.notices == ()
    store.dismiss(job)
    assert database_of.run("select notices from jobs") == [("[]",)]
