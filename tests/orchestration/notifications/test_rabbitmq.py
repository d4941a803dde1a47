"""Messages about jobs from the outbox to a real RabbitMQ, many at a time."""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pika
import pytest

from orchestration.errors import BrokerAway
from orchestration.job import Notice, Order, Status
from orchestration.net.amqp import ConfirmingPublisher
from orchestration.net.post import AmqpMessage
from orchestration.notifications.broker import EXCHANGE, Broker, JobMessage, JobMessages
from orchestration.notifications.courier import BatchCourier, Retry
from orchestration.notifications.outcome import Outcome
from orchestration.store.jobs import StoredJobs
from orchestration.store.outbox import Outbox, State
from tests.databases import BOTH, DatabaseOf
from tests.rabbitmq import RabbitMQ

URL = "https://maps.example.org/land"


class Subscriber:
    """Collects the messages of its own queue for a pattern of routing keys."""

    def __init__(self, url: str, pattern: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._queue = str(self._channel.queue_declare("", exclusive=True).method.queue)
        self._channel.queue_bind(self._queue, EXCHANGE, pattern)

    def heard(self, number: int) -> list[dict[str, Any]]:
        """Wait for this number of events and return them."""
        events: list[dict[str, Any]] = []
        for _, _, body in self._channel.consume(self._queue, auto_ack=True, inactivity_timeout=60):
            assert body is not None, f"only {len(events)} of {number} events came"
            events.append(json.loads(body))
            if len(events) == number:
                break
        self._channel.cancel()
        return events

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def channel() -> str:
    return f"land{uuid4().hex[:8]}"


@pytest.fixture
def subscriber(rabbitmq: RabbitMQ, channel: str) -> Iterator[Subscriber]:
    with closing(Subscriber(rabbitmq.url, f"{channel}.#")) as made:
        yield made


def _broker(url: str, channel: str) -> Broker:
    broker = Broker.of({"pubsub": {"name": "RabbitMQ", "broker": {"url": url, "channel": channel}}})
    assert broker is not None
    return broker


def _orders(database_of: DatabaseOf, broker: Broker, number: int, process: str = "echo") -> StoredJobs:
    store = StoredJobs(database_of())
    notices = tuple(Notice("message", status, broker.channel_of("processes", process)) for status in Status)
    for _ in range(number):
        store.add(Order(process, {}, "iss|sub", notices=notices))
    return store


def _messages(publisher: ConfirmingPublisher, *announced: str) -> JobMessages:
    return JobMessages(JobMessage(lambda _, __: Outcome(State.DUE), URL, set(announced)), publisher.publish)


def _publisher(url: str) -> ConfirmingPublisher:
    return ConfirmingPublisher(url, lambda _: None, seconds=30)


@pytest.mark.parametrize("database_of", BOTH, indirect=True)
def test_each_status_is_an_event_in_order(
    database_of: DatabaseOf, rabbitmq: RabbitMQ, subscriber: Subscriber, channel: str
) -> None:
    broker = _broker(rabbitmq.url, channel)
    assert broker.channel_of("processes", "echo") == f"{channel}.processes.echo"
    with closing(_orders(database_of, broker, 3)) as store, closing(Outbox(database_of())) as outbox:
        publisher = _publisher(rabbitmq.url)
        courier = BatchCourier("message", outbox, store.listed, _messages(publisher, "echo"), retry=Retry())
        jobs = list(store.unfinished())
        for job in jobs:
            store.dismiss(job.id)
        assert courier._round(lambda: False)
        assert not courier._round(lambda: False)
        events = subscriber.heard(6)
        publisher.close()
    for job in jobs:
        mine = [event for event in events if event["data"]["jobID"] == job.id]
        assert [event["data"]["status"] for event in mine] == ["accepted", "dismissed"]
        assert mine[0]["type"] == "org.ogc.api.job.result"
        assert mine[0]["subject"] == "processes/echo"
        assert mine[0]["source"] == URL
    assert len({event["id"] for event in events}) == 6
    states = {state for (state,) in database_of.run("select state from outbox where kind = 'message'")}
    assert states == {"delivered"}


@pytest.mark.parametrize("database_of", BOTH, indirect=True)
def test_a_download_is_an_event_on_a_channel_of_its_own(
    database_of: DatabaseOf,
    rabbitmq: RabbitMQ,
    subscriber: Subscriber,
    channel: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = _broker(rabbitmq.url, channel)
    keys = Subscriber(rabbitmq.url, f"{channel}.downloads.echo")
    with closing(_orders(database_of, broker, 1)) as store, closing(Outbox(database_of())) as outbox, closing(keys):
        (job,) = store.unfinished()
        store.begin(job.id)
        store.publish(job.id, 1, ())
        with monkeypatch.context() as at:
            at.setattr("orchestration.store.jobs.now", lambda: 1_577_840_461_000_000)  # 2020-01-01T01:01:01Z
            store.downloaded(job.id, broker.channel_of("downloads", "echo"))
            store.downloaded("no such job", broker.channel_of("downloads", "echo"))
            for collection in ("parks", "hidden"):
                store.collection_downloaded(collection, broker.channel_of("downloads", collection))
        publisher = _publisher(rabbitmq.url)
        announced = _messages(publisher, "echo", "parks")
        BatchCourier("message", outbox, store.listed, announced, retry=Retry())._round(lambda: False)
        events = subscriber.heard(5)
        (alone,) = keys.heard(1)
        publisher.close()
        assert not outbox.take_many("message", 9)
        states = [row[0] for row in database_of.run("select state from outbox where collection = 'hidden'")]
        assert states == ["failed"]
        store.purge(datetime(2020, 1, 1, tzinfo=UTC))
        assert len(database_of.run("select 1 from outbox where job is null")) == 2
        store.purge(datetime(2020, 1, 2, tzinfo=UTC))
        assert database_of.run("select 1 from outbox where job is null") == []
    of_job, of_collection = events[:4], events[4]
    assert [event["data"]["status"] for event in of_job] == ["accepted", "running", "successful", "successful"]
    assert [event["type"] for event in events] == [
        *["org.ogc.api.job.result"] * 3,
        "landcast.job.result.download",
        "landcast.collection.download",
    ]
    assert of_collection["data"] == {"collectionID": "parks", "type": "collection"}
    assert (of_collection["time"], of_collection["subject"]) == ("2020-01-01T01:01:01Z", "collections/parks")
    assert len({event["id"] for event in events}) == 5
    assert alone == events[3]
    assert (alone["time"], alone["subject"]) == ("2020-01-01T01:01:01Z", "processes/echo")
    assert alone["data"] == {"jobID": job.id, "type": "process", "status": "successful"}


def test_a_hidden_process_has_no_event(
    database_of: DatabaseOf, rabbitmq: RabbitMQ, subscriber: Subscriber, channel: str
) -> None:
    broker = _broker(rabbitmq.url, channel)
    with closing(_orders(database_of, broker, 1, "secret")) as store, closing(Outbox(database_of())) as outbox:
        _orders(database_of, broker, 1, "echo").close()
        publisher = _publisher(rabbitmq.url)
        BatchCourier("message", outbox, store.listed, _messages(publisher, "echo"), retry=Retry())._round(lambda: False)
        publisher.close()
    assert [event["subject"] for event in subscriber.heard(1)] == ["processes/echo"]
    assert database_of.run(
        "select state from outbox where kind = 'message' and event = 'accepted' order by number"
    ) == [
        ("failed",),
        ("delivered",),
    ]


@pytest.mark.parametrize("database_of", BOTH, indirect=True)
def test_messages_wait_without_counted_tries_while_the_broker_is_unavailable(
    database_of: DatabaseOf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    secret = "amqp://guest:hunter22@127.0.0.1:9/"  # noqa: S105  of nobody
    broker = _broker(secret, "land")
    with closing(_orders(database_of, broker, 2)) as store, closing(Outbox(database_of())) as outbox:
        courier = BatchCourier("message", outbox, store.listed, _messages(_publisher(secret), "echo"), retry=Retry())
        for _ in range(3):
            database_of.run("update outbox set due = 0 where state = 'due'")
            assert not courier._round(lambda: False)
    assert database_of.run("select distinct state, tries from outbox where event = 'accepted'") == [("due", 0)]
    assert "2 messages wait" in caplog.text
    assert "hunter22" not in caplog.text


def test_an_unconfirmed_message_is_sent_again(database_of: DatabaseOf) -> None:
    def publish(messages: Sequence[AmqpMessage]) -> list[bool]:
        return [number == 0 for number in range(len(messages))]

    broker = _broker("amqp://h", "land")
    with closing(_orders(database_of, broker, 2)) as store, closing(Outbox(database_of())) as outbox:
        messages = JobMessages(JobMessage(lambda _, __: Outcome(State.DUE), URL, {"echo"}), publish)
        BatchCourier("message", outbox, store.listed, messages, retry=Retry())._round(lambda: False)
    states = database_of.run("select state, tries from outbox where event = 'accepted' order by number")
    assert states == [("delivered", 1), ("due", 1)]


def test_a_closed_connection_is_replaced(rabbitmq: RabbitMQ, subscriber: Subscriber, channel: str) -> None:
    message = AmqpMessage(EXCHANGE, f"{channel}.x", b"{}", "application/json")
    publisher = _publisher(rabbitmq.url)
    assert publisher.publish([message]) == [True]
    assert publisher._connection is not None
    publisher._channel.close()
    assert publisher.publish([message, message]) == [True, True]
    publisher.close()
    assert len(subscriber.heard(3)) == 3


def test_an_unknown_exchange_or_login_is_reported(rabbitmq: RabbitMQ) -> None:
    publisher = _publisher(rabbitmq.url)
    assert publisher.publish([AmqpMessage("no.such", "x", b"{}", "application/json")]) == [False]
    publisher.close()
    with pytest.raises(BrokerAway):
        _publisher(rabbitmq.url.replace("guest:guest", "guest:wrong")).publish([])


@pytest.mark.parametrize("database_of", ["postgresql"], indirect=True)
def test_a_thousand_events_a_second(
    database_of: DatabaseOf, rabbitmq: RabbitMQ, subscriber: Subscriber, channel: str
) -> None:
    broker = _broker(rabbitmq.url, channel)
    with closing(_orders(database_of, broker, 1)) as store, closing(Outbox(database_of())) as outbox:
        database_of.run(
            "insert into outbox (job, kind, event, address, state, due) select job, kind, event, address, state, due"
            " from outbox, generate_series(1, 1999) where state = 'due'"
        )
        publisher = _publisher(rabbitmq.url)
        courier = BatchCourier("message", outbox, store.listed, _messages(publisher, "echo"), retry=Retry())
        began, cpu = time.monotonic(), time.process_time()
        while courier._round(lambda: False):
            pass
        print(f"{2000 / (time.monotonic() - began):.0f} events a second, {time.process_time() - cpu:.2f} s of CPU")  # noqa: T201  a figure
        assert time.process_time() - cpu < 2  # a fifth of a second on an idle machine
        publisher.close()
    assert len({event["id"] for event in subscriber.heard(2000)}) == 2000
