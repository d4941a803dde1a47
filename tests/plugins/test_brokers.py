"""Clients of brokers: pygeoapi's short names, an operator's own, and MQTT."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from orchestration.notifications.broker import Broker
from plugins.brokers import publisher
from plugins.loading import plugin_class

CLIENT = """
from pygeoapi.pubsub.base import BasePubSubClient

SENT = []


class Client(BasePubSubClient):
    def connect(self):
        SENT.append(self.broker)

    def pub(self, channel, message):
        SENT.append((channel, message))
"""


def _broker(name: str, url: str = "mqtt://broker.example") -> Broker:
    found = Broker.of({"pubsub": {"name": name, "broker": {"url": url}}})
    assert found is not None
    return found


def test_a_client_of_the_operators_own_publishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "an_operators_broker.py").write_text(CLIENT)
    monkeypatch.syspath_prepend(str(tmp_path))
    broker = _broker("an_operators_broker.Client", "tcp://broker.example:1")
    assert plugin_class("pubsub", broker.name).__name__ == "Client"
    publisher(broker)("a channel", "a text")
    assert sys.modules["an_operators_broker"].SENT == ["tcp://broker.example:1", ("a channel", "a text")]


@pytest.mark.parametrize(
    ("url", "port", "login", "tls"),
    [
        ("mqtt://broker.example", 1883, None, None),
        ("mqtts://me:pass%20word@broker.example", 8883, {"username": "me", "password": "pass word"}, {}),
        ("mqtt://broker.example:1999", 1999, None, None),
    ],
)
def test_mqtt_waits_for_the_acknowledgement(
    monkeypatch: pytest.MonkeyPatch, url: str, port: int, login: dict[str, str] | None, tls: dict[str, Any] | None
) -> None:
    """paho-mqtt is not a dependency of Landcast; with quality of service 1, it returns after the acknowledgement."""
    asked: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    paho, mqtt, publish = ModuleType("paho"), ModuleType("paho.mqtt"), ModuleType("paho.mqtt.publish")
    vars(publish)["single"] = lambda *given, **named: asked.append((given, named))
    for module in (paho, mqtt, publish):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    publisher(_broker("MQTT", url))("land/processes/echo", "{}")
    assert asked == [
        (
            ("land/processes/echo", "{}"),
            {"qos": 1, "hostname": "broker.example", "port": port, "auth": login, "tls": tls},
        )
    ]
