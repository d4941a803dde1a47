"""`landcast orders` with a real store."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestration.job import Job, Notice, Order, Status
from orchestration.store.jobs import StoredJobs
from orchestration.store.outbox import Outbox
from server.cli import main

NOTICES = (
    Notice("callback", Status.SUCCESSFUL, "https://example.org/done"),
    Notice("callback", Status.FAILED, "https://example.org/failed"),
    Notice("mail", Status.SUCCESSFUL, "ann@example.org"),
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoredJobs]:
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(tmp_path))
    with closing(StoredJobs(tmp_path / "orders.sqlite")) as store:
        yield store


def orders(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["orders", *arguments])


def ordered(store: StoredJobs, process: str = "echo") -> Job:
    inputs = {"message": "hello"}
    order = Order(process, inputs, "iss|ann", {"echo": {}}, "document", "ann@example.org", "k", "h", NOTICES)
    return store.add(order)[0]


def failed(store: StoredJobs) -> Job:
    job = store.begin(ordered(store).id)
    assert job is not None
    assert store.fail(job.id, job.attempt, "the disk\x1b[2J burned", fault="WorkFailed")
    return job


def test_orders_are_listed_newest_first_by_status_and_process(store: StoredJobs) -> None:
    first = failed(store)
    second = store.add(Order("extract-product", {}, "iss|bob"))[0]
    lines = orders("list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ID", second.id, first.id]
    assert "\x1b" not in lines[2]
    assert "the disk" in lines[2]
    for filters, found in [
        (["--status", "failed"], first),
        (["--process", "extract-product"], second),
        (["--limit", "1"], second),
    ]:
        assert [job["id"] for job in json.loads(orders("list", "--json", *filters).stdout)] == [found.id]


def test_an_order_is_shown_with_its_inputs(store: StoredJobs) -> None:
    job = failed(store)
    shown = json.loads(orders("show", job.id, "--json").stdout)
    assert (shown["inputs"], shown["status"], shown["fault"]) == ({"message": "hello"}, "failed", "WorkFailed")
    assert '{"message": "hello"}' in orders("show", job.id).stdout


@pytest.mark.parametrize("end", [Status.FAILED, Status.DISMISSED])
def test_an_order_is_retried_as_a_new_one_with_the_same_inputs(store: StoredJobs, end: Status) -> None:
    if end is Status.FAILED:
        job = failed(store)
    else:
        job = ordered(store)
        store.dismiss(job.id)
    new = store.get(orders("retry", job.id).stdout.strip())
    assert new is not None
    assert new.id != job.id
    assert new.status is Status.ACCEPTED
    first, again = job.order, new.order
    assert (again.process, again.inputs, again.owner) == (first.process, first.inputs, first.owner)
    assert (again.outputs, again.response, again.email) == (first.outputs, first.response, first.email)
    assert again.idempotency_key is None, "the first order still has it"


@pytest.mark.parametrize("end", [Status.FAILED, Status.DISMISSED])
def test_subscribers_of_the_order_are_notified_of_the_new_one(store: StoredJobs, tmp_path: Path, end: Status) -> None:
    job = failed(store) if end is Status.FAILED else ordered(store)
    if end is Status.DISMISSED:
        store.dismiss(job.id)
    new = store.begin(orders("retry", job.id).stdout.strip())
    assert new is not None
    assert store.publish(new.id, new.attempt, ())
    with closing(Outbox(tmp_path / "orders.sqlite")) as outbox:
        expected = [(found.kind, found.event) for found in outbox.notifications(new.id)]
        taken = [outbox.take(kind) for kind in ("callback", "callback", "mail")]
    assert expected == [("callback", "successful"), ("mail", "successful")]
    addresses = [entry.address for entry in taken if entry and entry.job_id == new.id]
    assert addresses == ["https://example.org/done", "ann@example.org"]


def test_a_waiting_order_is_cancelled_not_retried(store: StoredJobs) -> None:
    job = ordered(store)
    refused = orders("retry", job.id)
    assert refused.exit_code == 1
    assert "is accepted; only a failed or dismissed one" in refused.stderr
    assert orders("cancel", job.id).exit_code == 0
    after = store.get(job.id)
    assert after is not None
    assert after.status is Status.DISMISSED


def test_a_finished_order_is_not_cancelled(store: StoredJobs) -> None:
    job = failed(store)
    refused = orders("cancel", job.id)
    assert refused.exit_code == 1
    assert "is failed" in refused.stderr
    assert store.get(job.id) is not None


@pytest.mark.parametrize("command", ["show", "retry", "cancel"])
def test_an_unknown_order_is_reported(store: StoredJobs, command: str) -> None:
    ordered(store)
    done = orders(command, "nobody")
    assert done.exit_code == 1
    assert "there is no order nobody" in done.stderr


def test_a_missing_store_is_not_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(tmp_path))
    done = orders("list")
    assert done.exit_code == 1
    assert "orders.sqlite does not exist" in done.stderr
    assert not list(tmp_path.iterdir())
