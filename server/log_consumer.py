"""Store the lines of the log from RabbitMQ, each exactly once."""

import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pika
from pika.exceptions import AMQPError

from orchestration.net.amqp import parameters_of
from server.shipping import QUEUE
from sql.connections import DatabaseAway
from sql.log_table import LogLine, LogTable

_log = logging.getLogger(__name__)

_LARGEST = 64_000
"""Maximum characters of a text in a line; the rest is cut off."""
_PREFETCH = 20
_BATCH_SECONDS = 0.5
_RETRY_SECONDS = 1.0
_SWEEP_SECONDS = 3600.0
_OLDEST, _NEWEST = timedelta(days=400), timedelta(days=1)
"""Maximum distance of a line's time from now, as each month has a table."""
_TAKEN = frozenset({"sender", "at", "service", "time", "level", "logger", "message", "job", "requestId"})


def read_lines(body: bytes, now: datetime) -> tuple[list[LogLine], int]:
    """Return the lines of a message, and the number of its entries that are not lines of the log."""
    lines, wrong = [], 0
    for text in body.decode(errors="replace").split("\n"):
        try:
            lines.append(_line(json.loads(text), now))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            wrong += 1
    return lines, wrong


def _line(members: Any, now: datetime) -> LogLine:
    at = members["at"]
    if not isinstance(members, dict) or type(at) is not int:
        raise TypeError("no line")
    time_ = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)
    if not now - _OLDEST <= time_ <= now + _NEWEST:
        raise ValueError("not of now")
    further = {name: value for name, value in members.items() if name not in _TAKEN}
    return LogLine(
        time_,
        sender=_text(members["sender"])[:200],
        service=_text(members["service"])[:200],
        level=_text(members["level"])[:20],
        logger=_text(members["logger"])[:200],
        message=_text(members["message"]),
        job=_optional(members.get("job")),
        request=_optional(members.get("requestId")),
        details=_cut(json.dumps(further, ensure_ascii=True)),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value[:_LARGEST].replace("\0", "\ufffd").encode(errors="replace").decode()


def _optional(value: Any) -> str | None:
    return None if value is None else _text(str(value))[:200]


def _cut(details: str) -> str:
    return details if len(details) <= _LARGEST else json.dumps({"cut": details[:_LARGEST]})


class LogConsumer:
    """Receives lines from the queue and stores them; a message is acknowledged once its lines are committed."""

    def __init__(self, url: str, table: LogTable, *, days: int, now: Callable[[], datetime] | None = None) -> None:
        self._url = url
        self._table = table
        self._days = days
        self._now = now or (lambda: datetime.now(UTC))
        self._next_sweep = 0.0
        self.stored = self.wrong = 0

    def run(self, stop: Callable[[], bool]) -> None:
        """Store until `stop`; while broker or database are unavailable, the lines wait in the queue."""
        while not stop():
            try:
                self._consume(stop)
            except (AMQPError, OSError, DatabaseAway) as error:
                _log.warning(
                    "log lines wait: %s", str(error) if isinstance(error, DatabaseAway) else type(error).__name__
                )
                time.sleep(_RETRY_SECONDS)

    def _consume(self, stop: Callable[[], bool]) -> None:
        connection = pika.BlockingConnection(parameters_of(self._url, 10))
        try:
            channel = connection.channel()
            channel.queue_declare(QUEUE, durable=True)
            channel.basic_qos(prefetch_count=_PREFETCH)
            batch: list[LogLine] = []
            tag = 0
            for method, _, body in channel.consume(QUEUE, inactivity_timeout=_BATCH_SECONDS):
                if method is not None and body is not None:
                    lines, wrong = read_lines(body, self._now())
                    batch, tag = [*batch, *lines], int(method.delivery_tag or 0)
                    self._refuse(wrong)
                if tag and (method is None or channel.get_waiting_message_count() == 0):
                    self.stored += self._table.write(batch)
                    channel.basic_ack(tag, multiple=True)
                    batch, tag = [], 0
                self._sweep()
                if stop():
                    return
        finally:
            if connection.is_open:
                connection.close()

    def _refuse(self, wrong: int) -> None:
        self.wrong += wrong
        if wrong:
            _log.warning("%d lines in the queue are no lines of the log", wrong)

    def _sweep(self) -> None:
        if time.monotonic() < self._next_sweep:
            return
        self._next_sweep = time.monotonic() + _SWEEP_SECONDS
        last: date = (self._now() - timedelta(days=self._days)).date()
        for name in self._table.drop_before(last):
            _log.info("dropped %s: older than %d days", name, self._days)
