"""The log over a real RabbitMQ into a real PostgreSQL: no line is lost or stored twice."""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Event, Thread

import pika
import pytest

from orchestration.errors import BrokerAway
from orchestration.net.addresses import is_amqp
from orchestration.net.post import AmqpMessage
from server.log_consumer import LogConsumer, read_lines
from server.logs import JsonFormatter
from server.shipping import QUEUE, ShippingHandler, publisher
from sql.log_table import LogLine, LogTable
from tests.postgres import Postgres
from tests.rabbitmq import RabbitMQ
from tests.server.served import eventually

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


class Broker:
    """Stores published lines; if `away`, it stores none, if `half-way`, it stores them without confirming."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.mode = "there"

    def __call__(self, messages: Sequence[AmqpMessage]) -> list[bool]:
        if self.mode == "away":
            raise BrokerAway("away")
        self.bodies += [message.body for message in messages]
        return [self.mode == "there"] * len(messages)

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for body in self.bodies for line in body.split(b"\n")]


@contextmanager
def _logger(publish: Callable[[Sequence[AmqpMessage]], list[bool]], **given: int) -> Iterator[logging.Logger]:
    logger = logging.Logger("landcast.test")  # noqa: LOG001  no other test hears it
    handler = ShippingHandler(lambda: publish, service="test", **given)
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    yield logger
    handler.close()


def _handler(logger: logging.Logger) -> ShippingHandler:
    (handler,) = logger.handlers
    assert isinstance(handler, ShippingHandler)
    return handler


def test_a_shipped_line_has_its_identity() -> None:
    broker = Broker()
    with _logger(broker) as logger:
        logger.warning("the %s", "order", extra={"job": "j1"})
        try:
            int("x")
        except ValueError:
            logger.exception("failed")
        logger.warning("key %s", "https://user:hunter22@host/")
        eventually(_handler(logger).is_idle)
    first, second, third = broker.lines()
    assert (first["message"], first["job"], first["level"], first["service"]) == ("the order", "j1", "WARNING", "test")
    assert "ValueError: invalid" in str(second["traceback"])
    assert "hunter22" not in str(third)
    assert len({line["sender"] for line in broker.lines()}) == 1
    assert isinstance(first["at"], int)
    assert len({line["at"] for line in broker.lines()}) == 3


def test_without_the_broker_no_request_waits_and_dropped_lines_are_counted() -> None:
    broker = Broker()
    broker.mode = "away"
    with _logger(broker, lines=2000) as logger:
        costs = []
        for _ in range(5):
            began = time.process_time()
            for number in range(1000):
                logger.info("line %d", number)
            costs.append((time.process_time() - began) / 1000)
        lost = _handler(logger).lost
        assert 1000 <= lost <= 3000  # some lines are already taken as messages
        assert min(costs) < 150e-6  # 30 us on an idle machine, with the other thread's work
        broker.mode = "there"
        eventually(_handler(logger).is_idle)
    messages = [line["message"] for line in broker.lines()]
    assert messages.count(f"{lost} log lines were dropped: the broker was away") == 1
    assert len(messages) == 5000 - lost + 1


def test_an_unconfirmed_line_is_published_again_with_the_same_key() -> None:
    broker = Broker()
    broker.mode = "half-way"
    with _logger(broker) as logger:
        logger.info("once")
        eventually(lambda: len(broker.bodies) >= 2)
        broker.mode = "there"
        eventually(_handler(logger).is_idle)
    assert len({(str(line["sender"]), str(line["at"])) for line in broker.lines()}) == 1


def test_an_unwritable_record_does_not_stop_shipping() -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    broker = Broker()
    with _logger(broker) as logger:
        logger.info("odd", extra={"value": Odd()})
        logger.info("\ud800 lone, and \n a line end")
        eventually(_handler(logger).is_idle)
    assert [line["message"] for line in broker.lines()] == ["no record: RuntimeError", "? lone, and \n a line end"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_ships_its_own_lines_as_another_sender(tmp_path: Path) -> None:
    broker = Broker()
    with _logger(broker) as logger:
        logger.info("parent")
        eventually(_handler(logger).is_idle)
        if (child := os.fork()) == 0:  # pragma: no cover
            broker.bodies.clear()
            logger.info("child")
            _handler(logger).close()
            (tmp_path / "sent").write_bytes(b"\n".join(broker.bodies))
            os._exit(0)
        os.waitpid(child, 0)
    sent = json.loads((tmp_path / "sent").read_bytes())
    assert sent["message"] == "child"
    assert sent["sender"] != broker.lines()[0]["sender"]


def _encoded(**changed: object) -> bytes:
    at = int(NOW.timestamp() * 1_000_000)
    line = {"sender": "s", "at": at, "service": "x", "level": "INFO", "logger": "l", "message": "m"}
    return json.dumps(line | changed).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"7", b'"text"', b"{", b"\xff\xfe", b"[" * 100_000,
        _encoded(at="1"), _encoded(at=True), _encoded(at=1.5), _encoded(at=0), _encoded(at=10**30),
        _encoded(at=-(10**30)),
        _encoded(at=int(NOW.timestamp() + 200_000) * 1_000_000),
        _encoded(message=None), _encoded(sender=7), _encoded(level=[]),
    ],
)  # fmt: skip
def test_an_invalid_line_is_counted_and_does_not_stop_the_consumer(body: bytes) -> None:
    lines, wrong = read_lines(body + b"\n" + _encoded(), NOW)
    assert (len(lines), wrong) == (1, 1)


def test_unusual_lines_are_stored(postgres: Postgres) -> None:
    long = "x" * 1_000_000
    bodies = [
        _encoded(message="nul \0 and \ud800", at=1_796_000_000_000_000),
        _encoded(message=long, more={"a": long}, at=1_796_000_000_000_001),
        _encoded(job=12, requestId="r", at=1_796_000_000_000_002),
    ]
    lines = [line for body in bodies for line in read_lines(body, NOW)[0]]
    with closing(LogTable(postgres.empty())) as table:
        assert table.write(lines) == 3
        assert table.write(lines) == 0
        stored = postgres.run(table._url, "select message, job, request, length(details) from log_lines order by time")
    assert stored[0][0] == "nul \ufffd and ?"
    assert len(str(stored[1][0])) == 64_000
    assert stored[1][3] is not None
    assert int(str(stored[1][3])) < 70_000
    assert stored[2][1:3] == ("12", "r")


def test_old_months_are_dropped_and_new_ones_made(postgres: Postgres) -> None:
    url = postgres.empty()
    months = [(2025, 12, 31), (2026, 1, 1), (2026, 10, 31), (2026, 11, 30)]
    lines = [LogLine(datetime(*day, 23, 59, tzinfo=UTC), "s", "x", "INFO", "l", "m") for day in months]
    with closing(LogTable(url)) as table:
        assert table.drop_before(date(2026, 1, 1)) == []
        table.write(lines)
        assert table.drop_before(date(2026, 1, 31)) == ["log_lines_2025_12"]
        assert table.drop_before(date(2026, 2, 1)) == ["log_lines_2026_01"]
        assert table.write(lines) == 2
        assert table.write(lines) == 0
    names = postgres.run(url, "select relname from pg_class where relname ~ '^log_lines_20..._..$|^log_lines_...._..$'")
    assert len(names) == 4


@pytest.mark.parametrize(
    "url", ["amqp://", "http://h", "amqp://h:x", "amqp://[h", "", "amqp://h:0", "amqp:h", "amqp://h#f"]
)
def test_an_invalid_address_of_rabbitmq_is_refused(url: str) -> None:
    assert not is_amqp(url)
    assert is_amqp("amqps://user:p%40ss@host:5671/vhost")


_SHIP = """
import logging, sys, time
from server.logs import JsonFormatter
from server.shipping import ShippingHandler, ship
logging.basicConfig(level="INFO", handlers=[])
ship(sys.argv[1], service="test", formatter=JsonFormatter())
handler = logging.getLogger().handlers[0]
log, many, cost = logging.getLogger("test"), int(sys.argv[2]), 0
for begin in range(0, many, 1000):
    began = time.thread_time()
    for number in range(begin, begin + 1000):
        log.info("line %d", number, extra={"job": "job"})
    cost += time.thread_time() - began
    time.sleep(float(sys.argv[3]))
until = time.monotonic() + 300
while not handler.is_idle() and time.monotonic() < until:
    time.sleep(0.1)
print(handler.lost, cost / many * 1e6)
"""


@pytest.mark.parametrize("many", [3_000, pytest.param(100_000, marks=pytest.mark.full)])
def test_every_line_survives_a_restart_of_the_broker_exactly_once(
    rabbitmq: RabbitMQ, postgres: Postgres, many: int
) -> None:
    url, over = postgres.empty(), Event()
    pause = "0.4" if many > 10_000 else "0.05"
    command = [sys.executable, "-c", _SHIP, rabbitmq.url, str(many), pause]
    shipping = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    table = LogTable(url)
    consumer = LogConsumer(rabbitmq.url, table, days=90)
    consuming = Thread(target=consumer.run, args=(over.is_set,))
    consuming.start()
    try:
        if many > 10_000:
            eventually(lambda: consumer.stored > many / 20, 300)
            rabbitmq.kill()
            rabbitmq.start()
        out, _ = shipping.communicate(timeout=500)
        eventually(lambda: consumer.stored >= many, 300)
    finally:
        over.set()
        consuming.join()
        table.close()
    lost, cost = out.split()
    assert (lost, consumer.wrong, consumer.stored) == ("0", 0, many)
    assert postgres.run(url, "select count(*), count(distinct message), count(job) from log_lines") == [
        (many, many, many)
    ]
    assert float(cost) < 150  # microseconds; 30 on an idle machine


def test_the_consumer_survives_an_outage_of_the_database_and_invalid_lines(
    rabbitmq: RabbitMQ, postgres: Postgres
) -> None:
    url, over = postgres.empty(), Event()
    publish = publisher(rabbitmq.url).publish
    with _logger(publish) as logger:
        logger.info("before")
        eventually(_handler(logger).is_idle)
    with closing(pika.BlockingConnection(pika.URLParameters(rabbitmq.url))) as connection:
        connection.channel().basic_publish("", QUEUE, b"\xffnonsense")
    table = LogTable(url.replace("landcast_test", "no_such"))
    consumer = LogConsumer(rabbitmq.url, table, days=90)
    consuming = Thread(target=consumer.run, args=(over.is_set,))
    consuming.start()
    eventually(lambda: consumer.wrong >= 1)
    time.sleep(0.1)
    assert consumer.stored == 0
    table._url = url
    eventually(lambda: consumer.stored == 1)
    over.set()
    consuming.join()
    table.close()
    assert postgres.run(url, "select message from log_lines") == [("before",)]
