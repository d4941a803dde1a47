"""Times in the columns of a layer: the temporal columns, their values, and their conditions in SQL."""

# ruff: noqa: S608 - identifiers come from the layer, quoted; values are never formatted in

import re
import sqlite3
from calendar import monthrange
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from products.errors import BrokenSource
from products.vector.layer import Column, quote

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_YEARS = range(1, 10_000)
_FORM = re.compile(
    r"(\d{4})(?:([-/]?)(\d\d)(?:\2(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?"
    r"\s?(Z|[+-]\d\d(?::?\d\d)?)?)?)?)?",
    re.ASCII | re.IGNORECASE,
)

Span = tuple[int, int]
"""First and last microsecond since 1970, UTC."""


@dataclass(frozen=True, slots=True)
class TimeColumns:
    """The column of a feature's time, or those of its begin and its end."""

    begin: str
    end: str

    @property
    def single(self) -> bool:
        """Whether one column is both."""
        return self.begin == self.end


def time_columns(columns: Iterable[Column], given: Sequence[str] = ()) -> TimeColumns | None:
    """Return the given columns; otherwise `year`, else `start_datetime` with `end_datetime`, else the only date.

    None if the layer has no such column, or several dates. Raises BrokenSource for a missing given column.
    """
    types = {column.name: column.type for column in columns}
    for name in given:
        if name not in types:
            raise BrokenSource(f"there is no column {name}; there are {', '.join(types)}")
    if given:
        return TimeColumns(given[0], given[-1])
    if "year" in types:
        return TimeColumns("year", "year")
    if {"start_datetime", "end_datetime"} <= types.keys():
        return TimeColumns("start_datetime", "end_datetime")
    dates = [name for name, kind in types.items() if kind in {"DATE", "DATETIME"}]
    return TimeColumns(dates[0], dates[0]) if len(dates) == 1 else None


def microseconds(instant: datetime) -> int:
    """Return the microseconds since 1970."""
    return (instant - _EPOCH) // _MICROSECOND


def moment(count: int) -> datetime:
    """Return the instant that is so many microseconds after 1970."""
    return _EPOCH + count * _MICROSECOND


@lru_cache(65_536)
def span(value: Any) -> Span | None:
    """Return the time of a value: a year, a month, a day or an instant; UTC unless it has a zone.

    None for everything else, such as NULL, a word or the number 20230131.
    """
    if isinstance(value, str):
        match = _FORM.fullmatch(value.strip())
        return _span_of(match) if match else None
    if isinstance(value, int | float) and value in _YEARS:
        return _whole(int(value))
    return None


def _span_of(match: re.Match[str]) -> Span | None:
    year, _, month, day, hour, minute, second, fraction, zone = match.groups()
    if "00" in {month, day}:
        return None
    try:
        if hour is None:
            return _whole(int(year), int(month or 0), int(day or 0))
        instant = datetime(int(year), int(month), int(day), int(hour), int(minute), tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    if int(second or 0) > 60:  # noqa: PLR2004 - 60 is a leap second
        return None
    micros = microseconds(instant) + int(second or 0) * 1_000_000 + int((fraction or "0").ljust(6, "0")[:6])
    micros -= _offset(zone or "Z")
    return micros, micros


def _offset(zone: str) -> int:
    if zone in "Zz":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return (1 if zone[0] == "+" else -1) * (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * 1_000_000


def _whole(year: int, month: int = 0, day: int = 0) -> Span:
    """Return the whole year, month or day. Raises ValueError."""
    first = date(year, month or 1, day or 1)
    last = first if day else date(year, month or 12, monthrange(year, month or 12)[1])
    begin = microseconds(datetime.combine(first, datetime.min.time(), UTC))
    end = microseconds(datetime.combine(last, datetime.max.time(), UTC))
    return begin, end


def written(value: Any, kind: str) -> Any:
    """Return a value of a DATE or DATETIME column as in RFC 3339; unchanged if it is not a time."""
    if not isinstance(value, str) or (found := span(value)) is None:
        return value
    begin, end = found
    day = moment(begin).strftime("%Y-%m-%d").rjust(10, "0")
    if kind == "DATE":
        return day if end - begin < 86_400_000_000 and begin != end else value  # noqa: PLR2004 - a day
    if end - begin > 86_400_000_000:  # noqa: PLR2004 - a month or a year, which has no such form
        return value
    return moment(begin).isoformat().replace("+00:00", "Z")


def add_functions(connection: sqlite3.Connection) -> None:
    """Define SQL functions for the first and the last microsecond of a value."""

    def first(value: Any) -> int | None:
        found = span(value)
        return found and found[0]

    def last(value: Any) -> int | None:
        found = span(value)
        return found and found[1]

    connection.create_function("first_moment", 1, first, deterministic=True)
    connection.create_function("last_moment", 1, last, deterministic=True)


def condition(columns: TimeColumns, asked: tuple[datetime, datetime]) -> tuple[str, tuple[int, ...]]:
    """Return the condition of features that intersect the time, and its values; a feature without a time always does.

    A begin or an end that is missing is open (17-069r4 /req/core/fc-time-response). Years are compared as numbers.
    """
    first, last = (min(max(microseconds(instant), _FIRST), _LAST) for instant in asked)
    begin, end = quote(columns.begin), quote(columns.end)
    sql = f"(coalesce(first_moment({begin}) <= ?, TRUE) AND coalesce(last_moment({end}) >= ?, TRUE))"
    if not columns.single:
        return sql, (last, first)
    as_year = f"({begin} BETWEEN ? AND ? OR {begin} NOT BETWEEN {_YEARS[0]} AND {_YEARS[-1]})"
    return (
        f"CASE typeof({begin}) WHEN 'integer' THEN {as_year} WHEN 'null' THEN TRUE ELSE {sql} END",
        (moment(first).year, moment(last).year, last, first),
    )


def extent_sql(columns: TimeColumns, table: str) -> str:
    """Return the SQL of the first and the last microsecond of a layer; NULL is open or none."""
    begin, end = quote(columns.begin), quote(columns.end)
    if columns.single:
        return f"SELECT min(first_moment({begin})), max(last_moment({begin})) FROM {quote(table)}"
    return (
        f"SELECT iif(sum({begin} IS NULL AND {end} IS NOT NULL), NULL, min(first_moment({begin}))),"
        f" iif(sum({end} IS NULL AND {begin} IS NOT NULL), NULL, max(last_moment({end}))) FROM {quote(table)}"
    )
