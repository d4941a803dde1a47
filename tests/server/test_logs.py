import json
import logging
import sys

import httpx2
import pytest

from routes.http.problem import current_request_id
from server.logs import JsonFormatter, TextFormatter, start_logging
from tests.auth.issuers import FakeIssuer


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "a", "levelname": "INFO", "msg": message, "created": 0.5})
    vars(made).update(extra)
    return made


def test_a_json_line_has_utc_time_request_id_and_extra_members() -> None:
    token = current_request_id.set("abc")
    try:
        line = json.loads(JsonFormatter().format(record("öne\nline", path="/jobs")))
    finally:
        current_request_id.reset(token)
    assert line["time"] == "1970-01-01T00:00:00.500Z"
    assert (line["message"], line["path"], line["requestId"]) == ("öne\nline", "/jobs", "abc")


def test_a_json_line_is_one_line_even_with_a_traceback() -> None:
    try:
        int("two\nlines")
    except ValueError:
        made = record("failed", exc_info=sys.exc_info())
    text = JsonFormatter().format(made)
    assert "\n" not in text
    assert "ValueError" in json.loads(text)["traceback"]


@pytest.mark.parametrize("request_id", [None, "0123456789"])
def test_a_text_line_is_readable(request_id: str | None) -> None:
    token = current_request_id.set(request_id) if request_id else None
    try:
        text = TextFormatter().format(record("done", ms=3))
    finally:
        if token:
            current_request_id.reset(token)
    assert text.startswith("00:00:00.500Z INFO")
    assert text.endswith("done ms=3")
    assert ("[01234567]" in text) == bool(request_id)


def test_a_caller_cannot_inject_a_line_into_a_text_log() -> None:
    """Attack: a line end in a path or an id, followed by a forged decision."""
    forged = "x\n00:00:00.500Z INFO allowed who=boss\x1b[2K\u2028"
    text = TextFormatter().format(record(f"GET /{forged}", resource=forged))
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text
    assert text.count("who=boss") == 2


def test_our_own_requests_are_not_logged_with_their_address(
    capfd: pytest.CaptureFixture[str], issuer: FakeIssuer
) -> None:
    """The address of a receiver may contain its secret, in a parameter of any name."""
    before = logging.getLogger().handlers[:], logging.getLogger().level
    start_logging(level="INFO", form="json")
    try:
        httpx2.get(f"{issuer.url}/certs?theirs=hunter2", trust_env=False)
    finally:
        logging.captureWarnings(capture=False)
        logging.basicConfig(handlers=before[0], level=before[1], force=True)
    assert "hunter2" not in capfd.readouterr().err
