"""Messages about jobs to a broker, for all its subscribers (OGC API Publish-Subscribe Workflow, 25-030)."""

import json
from base64 import b64encode
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

from orchestration.errors import ReferenceRefused, Unreachable
from orchestration.job import Job, instant
from orchestration.net.post import AmqpMessage, Poster
from orchestration.notifications.outcome import Outcome
from orchestration.store.outbox import Entry, State
from sql.connect import microseconds

Publish = Callable[[str, str], Outcome]
"""Publishes a text to a channel, in bounded time."""
_TYPE = "org.ogc.api.job.result"
"""pygeoapi's type of every message about the status of a job."""
DOWNLOAD_TYPE = "landcast.job.result.download"
"""The type of a message about a download, for which the standard has none."""
COLLECTION_TYPE = "landcast.collection.download"
"""Likewise about a download of a file of a collection."""
_HTTP = "HTTP"
_RABBITMQ = "RabbitMQ"
_OK, _MOVED, _SERVER_ERROR = 200, 300, 500
_AGAIN = (408, 429)


@dataclass(frozen=True, slots=True)
class Broker:
    """The broker of the configuration; `url` may have a password, `address` has none."""

    name: str
    url: str = field(repr=False)
    channel: str | None = None
    hidden: bool = False
    definition: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, configuration: Mapping[str, Any]) -> "Broker | None":
        """Return the broker of the configuration's `pubsub`, None without one."""
        definition = configuration.get("pubsub")
        if definition is None:
            return None
        broker = definition["broker"]
        channel = broker.get("channel")
        return cls(definition["name"], broker["url"], channel, broker.get("hidden") is True, definition)

    @property
    def address(self) -> str:
        """The address without name and password."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    @property
    def is_amqp(self) -> bool:
        """Whether it is RabbitMQ by its own protocol."""
        return self.name == _RABBITMQ

    @property
    def is_http(self) -> bool:
        """Whether it speaks HTTP, which needs no other client."""
        return self.name == _HTTP

    def channel_of(self, kind: str, resource: str) -> str:
        """Return the channel of a process or collection; for HTTP and Kafka it has no slash, for RabbitMQ dots."""
        channel = "/".join(filter(None, (self.channel, kind, resource)))
        if self.is_amqp:
            return channel.replace("/", ".")
        return channel if self.name not in (_HTTP, "Kafka") else channel.replace("/", "-").replace(":", "-")


@dataclass(frozen=True, slots=True)
class JobMessage:
    """Publishes a job's id with its status or a download, or a collection's id with a download: never what is in them.

    Only for `announced` processes and collections.
    """

    publish: Publish
    url: str
    announced: Container[str]

    def __call__(self, entry: Entry, job: Job | None) -> Outcome:
        """Publish it once, and return the outcome."""
        if not self.is_announced(entry, job):
            return _HIDDEN
        return self.publish(entry.address, json.dumps(self.event(entry, job)))

    def is_announced(self, entry: Entry, job: Job | None) -> bool:
        """Return whether everybody may discover what the message is about."""
        return (entry.collection if job is None else job.order.process) in self.announced

    def event(self, entry: Entry, job: Job | None) -> dict[str, Any]:
        """Return the message as CloudEvents 1.0; a repeated one has the same id."""
        members = _about_collection(entry) if job is None else _about_job(entry, job)
        return {"specversion": "1.0", "source": self.url, "datacontenttype": "application/json", **members}


def _about_job(entry: Entry, job: Job) -> dict[str, Any]:
    return {
        "type": _TYPE if entry.at is None else DOWNLOAD_TYPE,
        "subject": f"processes/{job.order.process}",
        "id": f"{entry.number}-{job.id}",
        "time": instant(entry.at or job.updated),
        "data": {"jobID": job.id, "type": "process", "status": str(entry.event)},
    }


def _about_collection(entry: Entry) -> dict[str, Any]:
    at = entry.at or datetime.now(UTC)
    return {
        "type": COLLECTION_TYPE,
        "subject": f"collections/{entry.collection}",
        "id": f"{entry.number}-{microseconds(at)}",
        "time": instant(at),
        "data": {"collectionID": entry.collection, "type": "collection"},
    }


@dataclass(frozen=True, slots=True)
class JobMessages:
    """Publishes the messages of a `message` to RabbitMQ, many at a time, with publisher confirms.

    They go to the exchange `amq.topic`, which also serves subscribers by MQTT; the channel is the routing key.
    """

    message: JobMessage
    publish: Callable[[Sequence[AmqpMessage]], Sequence[bool]]

    def __call__(self, entries: Sequence[tuple[Entry, Job | None]]) -> list[Outcome]:
        """Publish them, and return the outcome of each. Raises BrokerAway."""
        shown = [(entry, job) for entry, job in entries if self.message.is_announced(entry, job)]
        messages = [self._message(self.message.event(entry, job), entry.address) for entry, job in shown]
        taken = self.publish(messages) if messages else []
        outcomes = {
            entry.number: _PUBLISHED if each else _UNCONFIRMED for (entry, _), each in zip(shown, taken, strict=True)
        }
        return [outcomes.get(entry.number, _HIDDEN) for entry, _ in entries]

    def _message(self, event: Mapping[str, Any], channel: str) -> AmqpMessage:
        body = json.dumps(event).encode()
        return AmqpMessage(EXCHANGE, channel, body, _CONTENT_TYPE, identity=str(event["id"]))


EXCHANGE = "amq.topic"
_CONTENT_TYPE = "application/cloudevents+json"
_HIDDEN = Outcome(State.FAILED, "not everybody may discover it any more")
_PUBLISHED = Outcome(State.DELIVERED, "published")
_UNCONFIRMED = Outcome(State.DUE, "the broker has not confirmed it")


@dataclass(frozen=True, slots=True)
class HttpPublisher:
    """Posts messages to the broker's address followed by the channel, with the name and password of the address."""

    post: Poster
    broker: Broker

    def __call__(self, channel: str, text: str) -> Outcome:
        """Post it once, and return the outcome."""
        headers = {"Content-Type": _CONTENT_TYPE, **self._login()}
        try:
            answer = self.post(f"{self.broker.address.rstrip('/')}/{channel}", text.encode(), headers)
        except ReferenceRefused:
            return Outcome(State.DUE, "the broker's name cannot be resolved")
        except Unreachable as error:
            return Outcome(State.DUE, str(error))
        refused = _MOVED <= answer.status < _SERVER_ERROR and answer.status not in _AGAIN
        taken = _OK <= answer.status < _MOVED
        state = State.DELIVERED if taken else State.FAILED if refused else State.DUE
        return Outcome(state, f"the broker answered with status {answer.status}", answer.retry_after)

    def _login(self) -> dict[str, str]:
        parts = urlsplit(self.broker.url)
        if parts.username is None:
            return {}
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}


class BoundedPublisher:
    """Publishes by a client that may hang: one message at a time, each for at most so many `seconds`."""

    def __init__(self, publish: Callable[[str, str], None], seconds: float) -> None:
        self._publish = publish
        self._seconds = seconds
        self._thread: Thread | None = None

    def __call__(self, channel: str, text: str) -> Outcome:
        """Publish it once, and return the outcome; a thread that hangs is left until it ends."""
        if self._thread is not None and self._thread.is_alive():
            return Outcome(State.DUE, "the broker has not answered the message before")
        outcomes: list[Outcome] = []
        self._thread = Thread(target=self._attempt, args=(channel, text, outcomes), daemon=True)
        self._thread.start()
        self._thread.join(self._seconds)
        return outcomes[0] if outcomes else Outcome(State.DUE, f"not answered in {self._seconds:g} s")

    def _attempt(self, channel: str, text: str, outcomes: list[Outcome]) -> None:
        try:
            self._publish(channel, text)
        except Exception as error:  # noqa: BLE001  a client may fail in any way, and its message may have the password
            outcomes.append(Outcome(State.DUE, f"the broker's client failed: {type(error).__name__}"))
        else:
            outcomes.append(Outcome(State.DELIVERED, "published"))
