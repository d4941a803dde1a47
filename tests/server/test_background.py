import json
import logging
import os
import random
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import pytest

from routes.http.problem import current_request_id
from server.background import BackgroundHandler
from server.logs import _SECRETS, JsonFormatter, TextFormatter, _left, redact

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"
KEY = "lc_0123456789ab_" + "A" * 43 + "BCDEFG"
LINES = [
    (f"refused {JWT}", "refused …"),
    (f"Authorization: Bearer {JWT}", "Authorization: Bearer …"),
    (f"key {KEY} is bad", "key lc_… is bad"),
    ("Basic dXNlcjpwYXNzd29yZA==", "Basic …"),
    ("bEARER opaque-token", "bEARER …"),
    ("BASIC dXNlcjpwYXNzd29yZA==", "BASIC …"),
    ("GET /results/a/b?exp=1&sig=00ff&x=1", "GET /results/a/b?exp=1&sig=…&x=1"),
    ("/auth/callback?code=abc.def&state=ghi", "/auth/callback?code=…&state=…"),
    ("Cookie: __Host-landcast=abc; other=1", "Cookie: __Host-landcast=…; other=1"),
    ("Cookie: __Host-landcast-login=abc; b=1", "Cookie: __Host-landcast-login=…; b=1"),
    ("csrf=abc&name=x", "csrf=…&name=x"),
    ("/end?id_token_hint=abc&client_id=landcast", "/end?id_token_hint=…&client_id=landcast"),
    ("password=hunter2 client_secret=s3cret", "password=… client_secret=…"),
    ("postgresql://me:hunter2@db.example.org:5432/x", "postgresql://…@db.example.org:5432/x"),
    ("http://maps.example.org:8080/a@b", "http://maps.example.org:8080/a@b"),
    ("GET /collections/parks/items?limit=10", "GET /collections/parks/items?limit=10"),
]


@pytest.mark.parametrize(("line", "safe"), LINES)
def test_a_line_holds_no_secret(line: str, safe: str) -> None:
    assert redact(line) == safe


def test_the_quick_search_misses_no_secret() -> None:
    """A line is searched only if it has a sign of one; the lines consist of parts of secrets and similar texts."""
    pieces = sorted({piece for line, _ in LINES for piece in re.split(r"(\W)", line)} | {"İ", "\u212a", "eyJ", "="})
    lot = random.Random(2)  # noqa: S311
    for _ in range(5_000):
        line = "".join(lot.choices(pieces, k=lot.randint(1, 12)))
        assert redact(line) == _SECRETS.sub(_left, line)


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_no_log_format_contains_a_secret_in_any_position(formatter: logging.Formatter) -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "message %s", (JWT,), None)
    record.header = f"Bearer {KEY}"
    record.exc_info = (ValueError, ValueError(f"sig={'f' * 64}"), None)
    line = formatter.format(record)
    assert not [word for word in (JWT, KEY, "ffff") if word in line]


def test_a_stalled_reader_of_the_log_delays_no_request() -> None:
    """Attack: block every request that logs by stopping the reader of the log."""
    source, sink = os.pipe()
    handler = BackgroundHandler(os.fdopen(sink, "w"))
    handler.setFormatter(JsonFormatter())
    for number in range(30_000):
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "line %s", (number,), None))
    assert handler._dropped > 0
    with os.fdopen(source) as reader:
        lines = [json.loads(reader.readline())["message"]]
        while "were dropped" not in lines[-1]:
            lines.append(json.loads(reader.readline())["message"])
        while handler._lines.qsize():
            reader.readline()
    assert lines[0] == "line 0"
    assert len(lines) < 30_000


PROGRAM = """
import logging, sys
from server.logs import in_background, start_logging
start_logging(level="INFO", form="json")
log = logging.getLogger("x")
log.info("before")
with in_background():
    for number in range(1000):
        log.info("%s", number)
log.info("after")
with in_background():
    log.info("last")
    sys.exit(0)
"""


def test_every_line_is_written_in_order() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert [json.loads(line)["message"] for line in done.stderr.splitlines()] == [
        "before",
        *map(str, range(1000)),
        "after",
        "last",
    ]


def lines_of(*records: logging.LogRecord, named: str = "") -> list[dict[str, object]]:
    """Return the lines that the thread formats after the end of the request `named`."""
    source, sink = os.pipe()
    stream = os.fdopen(sink, "w")
    handler = BackgroundHandler(stream)
    handler.setFormatter(JsonFormatter())
    for record in records:
        token = current_request_id.set(named)
        handler.emit(record)
        current_request_id.reset(token)
    handler.close()
    stream.close()
    with os.fdopen(source) as reader:
        return [json.loads(line) for line in reader]


def test_a_line_names_the_request_that_it_was_written_in() -> None:
    (line,) = lines_of(logging.LogRecord("x", logging.INFO, "", 0, "allowed", (), None), named="0123456789")
    assert line["requestId"] == "0123456789"


@contextmanager
def stalled() -> Iterator[tuple[logging.Logger, IO[str]]]:
    """A logger with queued lines, and their reader, which has not started to read."""
    source, sink = os.pipe()
    handler = BackgroundHandler(os.fdopen(sink, "w"))
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("x")  # noqa: LOG001 - of this test alone
    logger.addHandler(handler)
    with os.fdopen(source) as reader:
        while handler._lines.qsize() < 100:
            logger.info("x" * 1000)
        yield logger, reader


def test_a_line_has_the_values_at_the_time_of_logging() -> None:
    found = ["before"]
    with stalled() as (logger, reader):
        logger.info("found %s", found)
        found[0] = "after"
        assert next(line for line in reader if "found" in line).count("before") == 1


def test_a_line_of_the_thread_holds_no_secret() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "message %s", (JWT,), None)
    record.header = f"Bearer {KEY}"
    text = json.dumps(lines_of(record))
    assert not [word for word in (JWT, KEY) if word in text]


def test_an_unwritable_line_is_reported_and_later_lines_are_written() -> None:
    endless: list[object] = []
    endless.append(endless)
    broken, good = (logging.LogRecord("x", logging.INFO, "", 0, word, (), None) for word in ("broken", "good"))
    broken.added = endless
    found, line = lines_of(broken, good, named="0123456789")
    assert "broken" in str(found["message"])
    assert "ValueError" in str(found["message"])
    assert found["requestId"] == "0123456789"
    assert line["message"] == "good"


def test_a_queued_traceback_keeps_no_objects_of_its_request() -> None:
    class Large:
        """An object of a request."""

    def fail(logger: logging.Logger) -> weakref.ref[Large]:
        large = Large()
        try:
            int(f"no number {large}")
        except ValueError:
            logger.exception("failed")
        return weakref.ref(large)

    with stalled() as (logger, _):
        assert fail(logger)() is None


def test_a_closed_stream_is_survived(capsys: pytest.CaptureFixture[str]) -> None:
    with open(os.devnull, "w") as stream:  # noqa: PTH123 - a stream to be closed
        handler = BackgroundHandler(stream)
    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "late", (), None))
    handler.flush()
    assert capsys.readouterr().err == ""
