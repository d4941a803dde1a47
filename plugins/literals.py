"""What the texts of a query mean: numbers, times and the values of fields."""

import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

Interval = tuple[datetime, datetime]
"""First and last moment."""

_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)
_LARGEST = 1 << 63

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_FORM = re.compile(r"(\d{4}-\d\d-\d\d)(?:[Tt](\d\d:\d\d)(?::(\d\d)(\.\d+)?)?([Zz]|[-+ ]\d\d:?\d\d)?)?", re.ASCII)
"""RFC 3339, and what people leave out of it; a `+` in a query arrives as a space."""
_ALLOWED_TIMES = "allowed: an RFC 3339 time or date, or an interval of two such as 2023-01-01/.."


def number(text: str) -> float:
    """Return the number that a text is, infinite where it is too large. Raises ValueError.

    Python's `float` takes more: `1_0` for ten, digits of every script, `nan`.
    """
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return float(text)


def whole_number(text: str) -> int:
    """Return the whole number that a text is. Raises ValueError, as for `1_0` and digits of other scripts."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(text)
    return int(text)


_TYPES: Mapping[str, Callable[[str], Any]] = {
    "integer": whole_number,
    "number": number,
    "boolean": {"true": True, "false": False}.__getitem__,
    "bytes": lambda text: b64decode(text, validate=True),
}
_WORDS = {"integer": "whole numbers", "number": "numbers", "boolean": "true, false", "bytes": "base64"}


def value_of(text: str, field: Mapping[str, Any]) -> Any:
    """Return the value of a field, described by its JSON schema, that a text is. Raises ValueError: what is allowed."""
    kind = "bytes" if "contentEncoding" in field else field["type"]
    try:
        value = _TYPES.get(kind, str)(text)
    except (ValueError, KeyError) as error:
        raise ValueError(f"allowed: {_WORDS[kind]}") from error
    if isinstance(value, int) and abs(value) >= _LARGEST:
        raise ValueError("allowed: whole numbers of 64 bits")
    return value


def interval_of(text: str) -> Interval:
    """Return the first and last moment that a `datetime` means. Raises ValueError: what is allowed."""
    begin, slash, end = text.partition("/")
    if text in {"", "..", "../..", "/", "../", "/.."}:
        raise ValueError(_ALLOWED_TIMES)
    try:
        asked = _first(begin), _last(end if slash else begin)
    except (ValueError, OverflowError) as error:
        raise ValueError(_ALLOWED_TIMES) from error
    if asked[0] > asked[1]:
        raise ValueError(_ALLOWED_TIMES)
    return asked


def _first(word: str) -> datetime:
    return _FIRST if word in {"", ".."} else _instant(word)[0]


def _last(word: str) -> datetime:
    return _LAST if word in {"", ".."} else _instant(word)[1]


def _instant(word: str) -> Interval:
    """Return the first and last moment that is meant: a date alone lasts to its end. Raises ValueError, OverflowError.

    Without an offset it is UTC, without seconds the minute's first; a leap second is the last moment before it ends.
    """
    match = _FORM.fullmatch(word)
    if match is None:
        raise ValueError(word)
    day, minute, second, fraction, offset = match.groups()
    if minute is None:
        begin = datetime.fromisoformat(day).replace(tzinfo=UTC)
        return begin, begin + timedelta(days=1, microseconds=-1)
    if second == "60":
        second, fraction = "59", ".999999"
    offset = (offset or "Z").upper().replace(" ", "+")
    moment = datetime.fromisoformat(f"{day}T{minute}:{second or '00'}{(fraction or '')[:7]}{offset}")
    return moment, moment
