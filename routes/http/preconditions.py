"""Conditional requests, evaluated in the order of RFC 9110, section 13."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from starlette.requests import Request

from routes.http.problem import Problem

_LONGEST_DATE = 64


@dataclass(frozen=True, slots=True)
class Validators:
    """The validators of a file: a strong `etag` and the second of its last modification, `modified`."""

    etag: str
    modified: int


def check_preconditions(request: Request, validators: Validators) -> HTTPStatus:
    """Return 200, or 304 if the caller's copy is current. Raises Problem 412 (RFC 9110 13.2.2)."""
    headers = request.headers
    if "if-match" in headers:
        if not _names(headers.getlist("if-match"), validators.etag, weak=False):
            raise _failed("If-Match")
    elif (since := _seconds(headers.get("if-unmodified-since"))) is not None and validators.modified > since:
        raise _failed("If-Unmodified-Since")
    if "if-none-match" in headers:
        current = _names(headers.getlist("if-none-match"), validators.etag, weak=True)
    else:
        since = _seconds(headers.get("if-modified-since"))
        current = since is not None and validators.modified <= since
    return HTTPStatus.NOT_MODIFIED if current else HTTPStatus.OK


def matches(request: Request, etag: str) -> bool:
    """Return whether If-Match has the tag, or any."""
    return _names(request.headers.getlist("if-match"), etag, weak=False)


def range_applies(request: Request, validators: Validators) -> bool:
    """Return whether Range applies: the method is GET, and If-Range, if sent, matches this state (13.1.5)."""
    if request.method != "GET" or "range" not in request.headers:
        return False
    if_range = request.headers.get("if-range")
    if if_range is None or if_range.strip() == validators.etag:
        return True
    return _seconds(if_range) == validators.modified


def _names(lines: Sequence[str], etag: str, *, weak: bool) -> bool:
    """Return whether the lines of a header contain the tag (RFC 9110 5.3)."""
    tags = [tag.strip() for line in lines for tag in line.split(",")]
    if weak:
        tags = [tag.removeprefix("W/") for tag in tags]
    return "*" in tags or etag in tags


def _seconds(header: str | None) -> float | None:
    """Return the time of a date, None if it is invalid; a date without a zone is in UTC (5.6.7), not in local time."""
    if not header or len(header) > _LONGEST_DATE:
        return None
    try:
        date = parsedate_to_datetime(header)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _failed(header: str) -> Problem:
    return Problem(HTTPStatus.PRECONDITION_FAILED, f"{header}: the file has changed")
