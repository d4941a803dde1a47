"""The parameter `datetime`: an instant or an interval."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from starlette.requests import Request

from routes.http.problem import bad_parameter

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_DAY = len("2023-12-31")
_FORM = re.compile(r"(\d{4}-\d\d-\d\d)(?:[Tt](\d\d:\d\d)(?::(\d\d)(\.\d+)?)?([Zz]|[-+ ]\d\d:?\d\d)?)?", re.ASCII)
"""RFC 3339, and what people leave out of it; a `+` in a query arrives as a space."""
_ALLOWED = "allowed: an RFC 3339 time or date, or an interval of two such as 2023-01-01/.."


def meets_time(request: Request, collection: Mapping[str, Any]) -> bool:
    """Say whether the collection's time and `datetime` have anything in common. Raises the 400 Problem."""
    asked = read_time(request)
    if asked is None:
        return True
    begin, end = extent_of(collection)
    return asked[0] <= (end or _LAST) and asked[1] >= (begin or _FIRST)


def extent_of(collection: Mapping[str, Any]) -> tuple[datetime | None, datetime | None]:
    """Return when the collection's time begins and ends, None for open; YAML reads a day alone as a date.

    In quotes it is text. Raises ValueError where that is no time.
    """
    extent = (collection["extents"] or {}).get("temporal") or {}
    return _moment(extent.get("begin"), time.min), _moment(extent.get("end"), time.max)


def _moment(configured: date | str | None, at: time) -> datetime | None:
    if isinstance(configured, str):
        day = date.fromisoformat(configured) if len(configured) == _DAY else None
        configured = day or datetime.fromisoformat(configured)
    if configured is None or isinstance(configured, datetime):
        return _aware(configured)
    return datetime.combine(configured, at, UTC)


def read_time(request: Request) -> tuple[datetime, datetime] | None:
    """Return the first and last moment of `datetime`, None without it. Raises the 400 Problem."""
    text = request.query_params.get("datetime")
    if text is None:
        return None
    begin, slash, end = text.partition("/")
    if text in {"", "..", "../..", "/", "../", "/.."}:
        raise bad_parameter("datetime", text, _ALLOWED)
    asked = _begin(begin, text), _end(end if slash else begin, text)
    if asked[0] > asked[1]:
        raise bad_parameter("datetime", text, _ALLOWED)
    return asked


def _begin(word: str, text: str) -> datetime:
    return _FIRST if word in {"", ".."} else _instant(word, text)[0]


def _end(word: str, text: str) -> datetime:
    return _LAST if word in {"", ".."} else _instant(word, text)[1]


def _instant(word: str, text: str) -> tuple[datetime, datetime]:
    """Return the first and last moment that is meant: a date alone lasts to its end. The 400 Problem for none.

    Without an offset it is UTC, without seconds the minute's first; a leap second is the last moment before it ends.
    """
    match = _FORM.fullmatch(word)
    if match is None:
        raise bad_parameter("datetime", text, _ALLOWED)
    try:
        day, minute, second, fraction, offset = match.groups()
        if minute is None:
            begin = datetime.fromisoformat(day).replace(tzinfo=UTC)
            return begin, begin + timedelta(days=1, microseconds=-1)
        if second == "60":
            second, fraction = "59", ".999999"
        offset = (offset or "Z").upper().replace(" ", "+")
        moment = datetime.fromisoformat(f"{day}T{minute}:{second or '00'}{(fraction or '')[:7]}{offset}")
    except (ValueError, OverflowError) as error:
        raise bad_parameter("datetime", text, _ALLOWED) from error
    return moment, moment


def _aware(instant: datetime | None) -> datetime | None:
    if instant is None:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
