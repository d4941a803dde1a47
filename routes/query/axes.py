"""Parameters of the form `Axis(value),Axis(value)`: subset, scale-axes, scale-size."""

import math
import re
from collections.abc import Callable

from starlette.requests import Request

from plugins.coverage_query import AXES_ALLOWED, ByAxis, Range, by_axis
from plugins.literals import number, whole_number
from routes.http.problem import bad_parameter
from routes.query.parameters import read_list

_PART = re.compile(r"\s*(\w+)\(([^()]*)\)\s*")
_LEAST_FACTOR = 1e-9


def read_axes[T](request: Request, name: str, read: Callable[[str], T], meaning: str) -> ByAxis[T] | None:
    """Return the values by axis, None without the parameter; `read` raises ValueError. Raises the 400 Problem."""
    text = read_list(request, name)
    if text is None:
        return None
    values = []
    for part in re.split(r",(?=\s*\w+\()", text):
        match = _PART.fullmatch(part)
        if match is None:
            raise bad_parameter(name, part, f"allowed: {meaning} for each of the axes {AXES_ALLOWED}")
        try:
            values.append((match[1], read(match[2])))
        except ValueError as error:
            raise bad_parameter(name, part, f"allowed: {meaning}") from error
    try:
        return by_axis(values)
    except ValueError as error:
        raise bad_parameter(name, text, str(error)) from error


def interval(text: str) -> Range:
    """Return the bounds of `low:high`, infinite for `*`; high may lie below low. Raises ValueError."""
    low, _, high = text.partition(":")
    begin = -math.inf if low.strip() == "*" else number(low)
    end = math.inf if high.strip() == "*" else number(high)
    if begin == end or math.isnan(begin) or math.isnan(end):
        raise ValueError(text)
    return begin, end


def pixels(text: str) -> int:
    """Return a number of pixels from 1. Raises ValueError."""
    found = whole_number(text)
    if not 0 < found < 1_000_000_000:  # noqa: PLR2004 - what is above is refused by the bound of pixels anyway
        raise ValueError(text)
    return found


def factor(text: str) -> float:
    """Return a scale factor above 0 by which sides can be divided: 1e-320 is above 0 too. Raises ValueError."""
    found = number(text)
    if not _LEAST_FACTOR <= found < math.inf:
        raise ValueError(text)
    return found
