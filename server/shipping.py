"""Ship the log to RabbitMQ in a separate thread: no request waits, and no confirmed line is lost.

Each line has the sender and a time that is unique for the sender, by which `landcast logs consume` stores it once,
even if it is published several times.
"""

import json
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from threading import Thread
from typing import Any, override
from uuid import uuid4

from orchestration.errors import BrokerAway
from orchestration.net.amqp import ConfirmingPublisher
from orchestration.net.post import AmqpMessage

QUEUE = "landcast.log"
"""The durable queue of the log."""
CONTENT_TYPE = "application/x-ndjson"
LINES = 100_000
"""Maximum number of lines that wait for the broker; further ones are dropped and counted."""
_TOGETHER = 500
"""Lines of one message."""
_MESSAGES = 20
_IDLE, _AWAY = 0.05, 0.5
_FLUSH_SECONDS = 2.0

type Publish = Callable[[Sequence[AmqpMessage]], list[bool]]


def publisher(url: str) -> ConfirmingPublisher:
    """Return a publisher to the queue of the log, which it declares."""
    return ConfirmingPublisher(url, lambda channel: channel.queue_declare(QUEUE, durable=True))


class ShippingHandler(logging.Handler):
    """Sends the records of this process, and of each fork of it, to the broker of `publish`.

    The caller only queues a record; the publishing thread formats it in its own context, which has the request id.
    """

    def __init__(self, make_publish: Callable[[], Publish], *, service: str, lines: int = LINES) -> None:
        super().__init__()
        self._make_publish = make_publish
        self._service = service
        self._lines = lines
        self.lost = 0
        """Number of dropped lines."""
        self._reported = 0
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """Begin as another sender, without lines and thread, as a fork has neither."""
        self._sender = f"{socket.gethostname()[:60]}-{os.getpid()}-{uuid4().hex[:12]}"
        self._waiting: deque[tuple[Context, logging.LogRecord]] = deque()
        self._unconfirmed: list[AmqpMessage] = []
        self._last = 0
        self._thread: Thread | None = None
        self._closed = False
        self.lost = self._reported = 0

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record without waiting."""
        if len(self._waiting) >= self._lines:
            self.lost += 1
            return
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.msg, record.args = record.getMessage(), None
        self._waiting.append((copy_context(), record))
        if self._thread is None and not self._closed:
            self._thread = Thread(target=self._publish_all, name="log shipping", daemon=True)
            self._thread.start()

    def is_idle(self) -> bool:
        """Return whether the broker has confirmed every line."""
        return not self._waiting and not self._unconfirmed

    @override
    def close(self) -> None:
        """Publish the waiting lines, for at most two seconds."""
        until = time.monotonic() + _FLUSH_SECONDS
        while self._thread is not None and not self.is_idle() and time.monotonic() < until:
            time.sleep(_IDLE)
        self._closed = True
        super().close()

    def _publish_all(self) -> None:
        publish = self._make_publish()
        while not (self._closed and self.is_idle()):
            self._unconfirmed = self._unconfirmed or self._next()
            if not self._unconfirmed:
                time.sleep(_IDLE)
                continue
            try:
                taken = publish(self._unconfirmed)
            except BrokerAway:
                time.sleep(_AWAY)
                continue
            self._unconfirmed = [each for each, done in zip(self._unconfirmed, taken, strict=True) if not done]

    def _next(self) -> list[AmqpMessage]:
        """Take the next lines as messages. Only this thread takes lines, so a line is either queued or in a message."""
        messages: list[AmqpMessage] = []
        while self._waiting and len(messages) < _MESSAGES:
            lines = [self._line(*self._waiting[number]) for number in range(min(_TOGETHER, len(self._waiting)))]
            messages.append(AmqpMessage("", QUEUE, "\n".join(lines).encode(errors="replace"), CONTENT_TYPE))
            self._unconfirmed = messages
            for _ in lines:
                self._waiting.popleft()
        if self.lost > self._reported:
            text, self._reported = (
                f"{self.lost - self._reported} log lines were dropped: the broker was away",
                self.lost,
            )
            record = logging.LogRecord("landcast", logging.ERROR, "", 0, text, None, None)
            line = self._line(copy_context(), record)
            messages.append(AmqpMessage("", QUEUE, line.encode(), CONTENT_TYPE))
        return messages

    def _line(self, context: Context, record: logging.LogRecord) -> str:
        """Return the line with the sender and its time in microseconds."""
        self._last = max(self._last + 1, int(record.created * 1_000_000))
        head = json.dumps({"sender": self._sender, "at": self._last, "service": self._service})
        try:
            line: str = context.run(self.format, record)
        except Exception as error:  # noqa: BLE001 - the outermost handler: an unwritable record does not end the thread
            line = json.dumps(
                {"level": "ERROR", "logger": record.name, "message": f"no record: {type(error).__name__}"}
            )
        return f"{head[:-1]}, {line[1:]}"


def ship(url: str, *, service: str, formatter: logging.Formatter) -> None:
    """Send every log record of this process, and of its forks, to the broker at `url`."""

    def make_publish() -> Publish:
        return publisher(url).publish

    handler = ShippingHandler(make_publish, service=service)
    handler.setFormatter(formatter)
    root: Any = logging.getLogger()
    root.addHandler(handler)
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # it would log errors of the broker to the broker
