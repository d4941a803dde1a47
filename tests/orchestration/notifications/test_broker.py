"""Messages to a broker: a real one that takes HTTP, and clients that fail or hang."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import pytest

from orchestration.job import Job, Notice, Order, Status
from orchestration.net.addresses import any_address
from orchestration.net.post import Poster
from orchestration.notifications.broker import BoundedPublisher, Broker, HttpPublisher, JobMessage
from orchestration.notifications.courier import Courier, Retry
from orchestration.notifications.notifier import Notifier, delivering
from orchestration.notifications.outcome import Outcome
from orchestration.store.jobs import StoredJobs
from orchestration.store.outbox import Entry, Outbox, State
from tests.orchestration.receivers import Receiver

NOW = datetime(2026, 1, 2, tzinfo=UTC)
URL = "https://maps.example.org/land"
JOB = Job("an-id", Order("echo", {"secret": "input"}, "iss|sub", email="a@b.example"), Status.RUNNING, NOW, NOW)
ENTRY = Entry(7, "an-id", "message", Status.RUNNING, "land-processes-echo")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with closing(Receiver(lambda number: HTTPStatus.OK if number > 1 else HTTPStatus.SERVICE_UNAVAILABLE)) as receiver:
        yield receiver


def _broker(url: str, name: str = "HTTP", channel: str | None = "land") -> Broker:
    found = Broker.of({"pubsub": {"name": name, "broker": {"url": url, "channel": channel}}})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "channel", "asked", "expected"),
    [
        ("MQTT", "my/channel", "echo", "my/channel/processes/echo"),
        ("MQTT", None, "a/b:c", "processes/a/b:c"),
        ("HTTP", "my/channel", "a:b", "my-channel-processes-a-b"),
        ("Kafka", None, "echo", "processes-echo"),
    ],
)
def test_channels_have_the_names_of_pygeoapi(name: str, channel: str | None, asked: str, expected: str) -> None:
    assert _broker("mqtt://x", name, channel).channel_of("processes", asked) == expected


def test_the_password_is_only_in_the_login() -> None:
    broker = _broker("https://me:pass%20word@broker.example:8443/x?y=1")
    assert broker.address == "https://broker.example:8443/x?y=1"
    assert "pass" not in repr(broker) + repr(HttpPublisher(Poster(), broker))
    assert Broker.of({}) is None


def test_a_message_has_only_id_and_status(receiver: Receiver) -> None:
    broker = _broker(receiver.url.replace("://", "://me:pass%20word@"))
    message = JobMessage(HttpPublisher(Poster(5, any_address), broker), URL, {"echo"})
    first, second = message(ENTRY, JOB), message(ENTRY, JOB)
    assert (first.state, second.state) == (State.DUE, State.DELIVERED)
    (path, headers, body), (_, _, again) = receiver.taken
    assert (path, body) == ("/land-processes-echo", again)
    assert headers["content-type"] == "application/cloudevents+json"
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"me:pass word"
    assert json.loads(body) == {
        "specversion": "1.0",
        "type": "org.ogc.api.job.result",
        "source": URL,
        "subject": "processes/echo",
        "id": "7-an-id",
        "time": "2026-01-02T00:00:00Z",
        "datacontenttype": "application/json",
        "data": {"jobID": "an-id", "type": "process", "status": "running"},
    }


def test_a_courier_delivers_a_message_about_a_collection(receiver: Receiver, tmp_path: Path) -> None:
    message = JobMessage(HttpPublisher(Poster(5, any_address), _broker(receiver.url)), URL, {"parks"})
    database = tmp_path / "orders.sqlite"
    with closing(StoredJobs(database)) as store, closing(Outbox(database)) as outbox:
        for collection in ("parks", "hidden"):
            store.collection_downloaded(collection, f"land-downloads-{collection}")
        courier = Courier("message", outbox, store, message, retry=Retry(pause=0.01))
        while len(receiver.taken) < 2:
            courier._round(lambda: False)
        while courier._round(lambda: False):
            pass
    (path, _, first), (_, _, again) = receiver.taken
    assert path == "/land-downloads-parks"
    assert first == again, "a repeated message has the same id"
    event = json.loads(again)
    assert (event["type"], event["subject"]) == ("landcast.collection.download", "collections/parks")
    assert event["data"] == {"collectionID": "parks", "type": "collection"}


def test_nothing_is_sent_about_a_process_that_is_hidden_now(receiver: Receiver) -> None:
    message = JobMessage(HttpPublisher(Poster(5, any_address), _broker(receiver.url)), URL, {"other"})
    assert message(ENTRY, JOB).state is State.FAILED
    assert receiver.taken == []


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (204, State.DELIVERED),
        (302, State.FAILED),
        (401, State.FAILED),
        (408, State.DUE),
        (429, State.DUE),
        (500, State.DUE),
    ],
)
def test_the_answer_of_a_broker_decides(status: int, state: State) -> None:
    with closing(Receiver(lambda _: status)) as receiver:
        publish = HttpPublisher(Poster(5, any_address), _broker(receiver.url))
        assert publish("channel", "{}").state is state


def test_an_unavailable_broker_is_tried_again() -> None:
    for url in ("http://127.0.0.1:1", "http://no-such-host.invalid"):
        assert HttpPublisher(Poster(5, any_address), _broker(url))("channel", "{}").state is State.DUE


def test_a_failing_client_does_not_reveal_its_address() -> None:
    def fail(_channel: str, _text: str) -> None:
        raise ConnectionError("mqtt://me:password@broker")

    outcome = BoundedPublisher(fail, 5)("channel", "{}")
    assert outcome == Outcome(State.DUE, "the broker's client failed: ConnectionError")


def test_a_hanging_client_delays_one_message_and_uses_one_thread() -> None:
    go_on, published = threading.Event(), []

    def hang(channel: str, text: str) -> None:
        go_on.wait(60)
        published.append((channel, text))

    publish = BoundedPublisher(hang, 0.05)
    before = threading.active_count()
    outcomes = [publish("channel", str(number)) for number in range(3)]
    assert threading.active_count() == before + 1
    assert [outcome.state for outcome in outcomes] == [State.DUE] * 3
    assert "the message before" in outcomes[1].why
    go_on.set()
    _wait_for(lambda: published == [("channel", "0")])
    _wait_for(lambda: BoundedPublisher(hang, 30)("channel", "3").state is State.DELIVERED)


def _wait_for(true: object) -> None:
    until = time.monotonic() + 30
    assert callable(true)
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_message_for_each_status_is_sent_in_order(tmp_path: Path, receiver: Receiver) -> None:
    database = tmp_path / "orders.sqlite"
    notices = tuple(Notice("message", status, "land-processes-echo") for status in Status)
    message = JobMessage(HttpPublisher(Poster(5, any_address), _broker(receiver.url)), URL, {"echo"})

    def never(entry: Entry, job: Job) -> Outcome:
        raise AssertionError(entry, job)

    notifier = Notifier(never, retry=Retry(pause=0.05), message=message)
    over = threading.Event()
    with closing(StoredJobs(database)) as store, closing(Outbox(database)) as outbox:
        done, _ = store.add(Order("echo", {}, "iss|sub", notices=notices))
        dismissed, _ = store.add(Order("echo", {}, "iss|sub", notices=notices))
        assert store.begin(done.id)
        assert store.publish(done.id, 1, ())
        store.dismiss(dismissed.id)
        assert outbox.notifications(done.id) == ()
        with delivering(notifier, database, over.is_set, left=lambda: 5.0):
            _wait_for(lambda: len(receiver.taken) >= 6)
    sent = [json.loads(body)["data"] for _, _, body in receiver.taken]
    statuses = [each["status"] for each in sent if each["jobID"] == done.id]
    assert list(dict.fromkeys(statuses)) == ["accepted", "running", "successful"]
    assert {each["status"] for each in sent if each["jobID"] == dismissed.id} == {"accepted", "dismissed"}


def test_a_message_that_a_worker_left_is_sent_again(tmp_path: Path) -> None:
    database = tmp_path / "orders.sqlite"
    with closing(StoredJobs(database)) as store, closing(Outbox(database)) as outbox:
        store.add(Order("echo", {}, "iss|sub", notices=(Notice("message", Status.ACCEPTED, "c"),)))
        assert outbox.take("message") is not None
        assert outbox.take("message") is None
        outbox.recover()
        again = outbox.take("message")
    assert again is not None
    assert (again.tries, again.address) == (2, "c")
