"""Clients of brokers: MQTT, and those that pygeoapi loads as `pubsub`."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any
from urllib.parse import unquote, urlsplit

from pygeoapi.plugin import load_plugin

from orchestration.notifications.broker import Broker

_PORTS: Mapping[str, int] = {"mqtt": 1883, "mqtts": 8883}


def publisher(broker: Broker) -> Callable[[str, str], None]:
    """Return a function that publishes a text to a channel, with a connection for each text."""
    if broker.name == "MQTT":
        return lambda channel, text: _by_mqtt(broker, channel, text)
    return lambda channel, text: _by_plugin(broker, channel, text)


def _by_mqtt(broker: Broker, channel: str, text: str) -> None:
    """Return after the broker's acknowledgement; pygeoapi's client disconnects earlier, and may lose the message."""
    publish = import_module("paho.mqtt.publish")
    parts = urlsplit(broker.url)
    login = None
    if parts.username is not None:
        login = {"username": unquote(parts.username), "password": unquote(parts.password or "")}
    tls: dict[str, Any] | None = {} if parts.scheme == "mqtts" else None
    port = parts.port or _PORTS.get(parts.scheme, _PORTS["mqtt"])
    publish.single(channel, text, qos=1, hostname=parts.hostname, port=port, auth=login, tls=tls)


def _by_plugin(broker: Broker, channel: str, text: str) -> None:
    client = load_plugin("pubsub", dict(broker.definition))
    client.connect()
    client.pub(channel, text)
