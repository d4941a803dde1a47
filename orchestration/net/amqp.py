"""Publish to RabbitMQ with publisher confirms, many messages at a time (AMQP 0-9-1)."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pika
from pika.adapters.select_connection import SelectConnection
from pika.exceptions import AMQPError
from pika.spec import Basic

from orchestration.errors import BrokerAway
from orchestration.net.post import AmqpMessage

_HEARTBEAT = 60
_FAREWELL_SECONDS = 0.1
_LARGEST_NAME = 255


def parameters_of(url: str, seconds: float) -> pika.URLParameters:
    """Return the parameters of a connection that is made, or fails, within about so many seconds."""
    parameters = pika.URLParameters(url)
    parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = seconds
    parameters.connection_attempts, parameters.retry_delay = 1, 0
    parameters.heartbeat = _HEARTBEAT
    return parameters


class ConfirmingPublisher:
    """Publishes from one thread, and returns what the broker has confirmed: pika's blocking channel waits for each.

    `declare` is called with each new channel, to declare what is published to. The connection is kept; one that was
    closed while idle is replaced.
    """

    def __init__(self, url: str, declare: Callable[[Any], None], *, seconds: float = 10) -> None:
        self._url = url
        self._declare = declare
        self._seconds = seconds
        self._connection: SelectConnection | None = None
        self._channel: Any = None
        self._next_tag = 1
        self._waiting: dict[int, int] = {}
        self._confirmed: set[int] = set()

    def publish(self, messages: Sequence[AmqpMessage]) -> list[bool]:
        """Return for each message whether the broker has it. Raises BrokerAway if none was sent."""
        self._connect()
        self._waiting, self._confirmed = {}, set()
        try:
            for number, message in enumerate(messages):
                self._send(number, message)
            self._run(lambda: not self._waiting)
        except (AMQPError, OSError):
            self.close()
        if self._waiting:  # the broker may have them, but that is not known
            self.close()
        return [number in self._confirmed for number in range(len(messages))]

    def close(self) -> None:
        """Close the connection, without waiting for the broker."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is None:
            return
        loop = connection.ioloop
        with suppress(AMQPError, OSError):
            connection.close()
            loop.call_later(_FAREWELL_SECONDS, loop.stop)
            loop.start()
        loop.close()

    def _send(self, number: int, message: AmqpMessage) -> None:
        properties = pika.BasicProperties(
            content_type=message.content_type, delivery_mode=pika.DeliveryMode.Persistent, message_id=message.identity
        )
        self._channel.basic_publish(
            message.exchange,
            message.routing_key.encode()[:_LARGEST_NAME].decode(errors="ignore"),
            message.body,
            properties,
        )
        self._waiting[self._next_tag] = number
        self._next_tag += 1

    def _connect(self) -> None:
        """Connect, unless the connection is open. Raises BrokerAway."""
        if self._connection is not None and self._channel is not None:
            self._run(lambda: True)  # what came while idle, such as its end, is read now
            if self._channel is not None and self._channel.is_open:
                return
        self.close()
        try:
            self._connection = SelectConnection(
                parameters_of(self._url, self._seconds),
                on_open_callback=lambda made: made.channel(on_open_callback=self._opened),
                on_open_error_callback=self._lost,
                on_close_callback=self._lost,
            )
            self._run(lambda: self._channel is not None)
        except (AMQPError, OSError, ValueError) as error:
            self.close()
            raise BrokerAway(f"the broker cannot be reached: {type(error).__name__}") from error
        if self._channel is None:
            self.close()
            raise BrokerAway("the broker cannot be reached")

    def _opened(self, channel: Any) -> None:
        channel.add_on_close_callback(self._lost)
        self._next_tag = 1
        channel.confirm_delivery(self._answered)
        self._declare(channel)
        channel.basic_qos(prefetch_count=1, callback=lambda _: self._ready(channel))  # answered after what was declared

    def _ready(self, channel: Any) -> None:
        self._channel = channel
        self._stop()

    def _lost(self, *_: Any) -> None:
        self._channel = None
        self._stop()

    def _answered(self, frame: Any) -> None:
        """Note an ack or a nack, which may be of all messages up to its tag."""
        tag, ack = frame.method.delivery_tag, isinstance(frame.method, Basic.Ack)
        tags = [each for each in self._waiting if each <= tag] if frame.method.multiple else [tag]
        for each in tags:
            if (number := self._waiting.pop(each, None)) is not None and ack:
                self._confirmed.add(number)
        if not self._waiting:
            self._stop()

    def _stop(self) -> None:
        if self._connection is not None:
            self._connection.ioloop.stop()

    def _run(self, is_done: Callable[[], bool]) -> None:
        """Let pika work until a callback stops it, for at most as long as an answer may take."""
        connection = self._connection
        if connection is None:
            return
        timer = connection.ioloop.call_later(0 if is_done() else self._seconds, connection.ioloop.stop)
        connection.ioloop.start()
        connection.ioloop.remove_timeout(timer)
