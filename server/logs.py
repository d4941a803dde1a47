"""The log: JSON lines for machines or text for people, both with UTC time and request id."""

import json
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, override

from orchestration.trace import current_trace
from routes.http.problem import current_request_id
from server.background import BackgroundHandler

_encode = json.JSONEncoder(default=str, ensure_ascii=False).encode
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _one_line(text: str) -> str:
    """Return the text with line ends and control characters escaped, so that a caller cannot forge a line."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


class JsonFormatter(logging.Formatter):
    """Formats a record as a line of JSON: time, level, logger, message, requestId, traceId, more members, traceback."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if (current := current_request_id.get(None)) is not None:
            line["requestId"] = current
        if (trace := current_trace.get()) is not None:
            line["traceId"] = trace.trace
        line |= _extra(record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return redact(_encode(line))


class TextFormatter(logging.Formatter):
    """Formats a record as a line of text: time, level, request id, message, extra members."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        current = current_request_id.get(None)
        parts = [
            _time(record)[11:],
            f"{record.levelname:7}",
            f"[{current[:8]}]" if current else "",
            _one_line(record.getMessage()),
        ]
        parts += [f"{name}={_one_line(str(value))}" for name, value in _extra(record).items()]
        if record.exc_info:
            parts.append("\n" + self.formatException(record.exc_info))
        return redact(" ".join(part for part in parts if part))


def start_logging(*, level: str, form: str) -> None:
    """Send every log record of this process to standard error in `form`: json, text, or auto."""
    handler = logging.StreamHandler(sys.stderr)
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(capture=True)
    # Values that are not in the output are not determined: threads, tasks, and the line of code, which needs the stack.
    logging.logThreads = logging.logMultiprocessing = False
    logging.logAsyncioTasks = False  # type: ignore[attr-defined]  # typeshed lacks it
    logging._srcfile = None  # noqa: SLF001  documented: "Optimization" in Python's "Logging HOWTO"
    for noisy in ("pygeoapi", "rasterio", "fiona", "httpx2", "httpcore2"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


@contextmanager
def in_background() -> Iterator[None]:
    """Write the log in a background thread until the context ends; enter it after the fork."""
    root = logging.getLogger()
    waiting = [handler for handler in root.handlers if type(handler) is logging.StreamHandler]
    for handler in waiting:
        background = BackgroundHandler(handler.stream)
        background.setFormatter(handler.formatter)
        root.addHandler(background)
        root.removeHandler(handler)
    try:
        yield
    finally:
        for background in [handler for handler in root.handlers if isinstance(handler, BackgroundHandler)]:
            background.close()
            root.removeHandler(background)
        for handler in waiting:
            root.addHandler(handler)


def lost_lines() -> int:
    """Return the number of log lines that this process has dropped."""
    return sum(getattr(each, "lost", 0) for each in logging.getLogger().handlers)


_PARAMETERS = ("sig", "code", "state", "password", "token", "secret", "csrf", "hint")
_SECRETS = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"  # a token (JWT)
    r"|(lc_)[0-9a-z]{12}_[0-9A-Za-z]{20,}"  # an API key
    r"|(__Host-landcast(?:-login)?=)[^;\s\"']+"  # a session, a pending login
    r"|(://)[^\s/@:\"']*:[^\s/@\"']+(?=@)"  # user and password in an address
    r"|([Bb][Ee][Aa][Rr][Ee][Rr] |[Bb][Aa][Ss][Ii][Cc] )[\w.~+/=-]{8,}"
    rf"|((?:{'|'.join(_PARAMETERS)})=)[^&\s\"']+"
)
"""Each alternative begins with a literal prefix: twice as fast as a lookbehind."""
_SIGNS = ("eyJ", "lc_", "__Host-landcast", "@", *(f"{name}=" for name in _PARAMETERS))
_SCHEMES = ("bearer ", "basic ")
"""Every match of an alternative has one of these signs, or one of these schemes in any case."""


def redact(line: str) -> str:
    """Return the line without tokens, keys, signatures, cookies and passwords."""
    return _SECRETS.sub(_left, line) if _is_suspect(line) else line


def _is_suspect(line: str) -> bool:
    """Return whether one of the alternatives may match: most lines have none of their signs, and the search is slow."""
    lower = line.lower()
    return any(sign in line for sign in _SIGNS) or any(scheme in lower for scheme in _SCHEMES)


def _left(found: re.Match[str]) -> str:
    return f"{found[found.lastindex] if found.lastindex else ''}…"
