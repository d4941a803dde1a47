"""Build the publisher of messages to the configured broker; the worker imports this only if there is one."""

from collections.abc import Mapping
from typing import Any

from orchestration.net.addresses import any_address
from orchestration.net.amqp import ConfirmingPublisher
from orchestration.net.post import Poster
from orchestration.notifications.broker import BoundedPublisher, Broker, HttpPublisher, JobMessage, JobMessages, Publish
from orchestration.notifications.outcome import Outcome
from orchestration.store.outbox import State
from plugins.brokers import publisher
from server.access import announced, make_policy
from server.settings import Settings


def make_message(settings: Settings, configuration: Mapping[str, Any], broker: Broker) -> JobMessage | JobMessages:
    """Return the publisher of the status of jobs, for processes that everybody may discover."""
    seconds = settings.callbacks.timeout
    allowed = announced(configuration, make_policy(configuration, settings))
    if broker.is_amqp:
        message = JobMessage(lambda _, __: Outcome(State.DUE), settings.server.public_url, allowed)
        return JobMessages(message, ConfirmingPublisher(broker.url, lambda _: None, seconds=seconds).publish)
    publish: Publish = (
        HttpPublisher(Poster(seconds, any_address), broker)
        if broker.is_http
        else BoundedPublisher(publisher(broker), seconds)
    )
    return JobMessage(publish, settings.server.public_url, allowed)
