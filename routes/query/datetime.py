"""The parameter `datetime`: an instant or an interval."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any

from starlette.requests import Request

from plugins.literals import Interval, interval_of
from routes.http.problem import bad_parameter

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_DAY = len("2023-12-31")


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


def read_time(request: Request) -> Interval | None:
    """Return the first and last moment of `datetime`, None without it. Raises the 400 Problem."""
    text = request.query_params.get("datetime")
    if text is None:
        return None
    try:
        return interval_of(text)
    except ValueError as error:
        raise bad_parameter("datetime", text, str(error)) from error


def _aware(instant: datetime | None) -> datetime | None:
    if instant is None:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
