"""Parameters of the form `Axis(value),Axis(value)`: subset, scale-axes, scale-size."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request

from routes.http.problem import bad_parameter
from routes.query.parameters import number, read_list, whole_number

_PART = re.compile(r"\s*(\w+)\(([^()]*)\)\s*")
_AXES: Mapping[str, tuple[Literal["x", "y"], bool]] = {
    "lon": ("x", True),
    "long": ("x", True),
    "longitude": ("x", True),
    "lat": ("y", True),
    "latitude": ("y", True),
    "e": ("x", False),
    "easting": ("x", False),
    "x": ("x", False),
    "n": ("y", False),
    "northing": ("y", False),
    "y": ("y", False),
}
_LEAST_FACTOR = 1e-9
_NAMES = "Lat and Lon, or N and E"


@dataclass(frozen=True, slots=True)
class ByAxis[T]:
    """A value for each axis that was named; `geographic` tells longitude and latitude from the grid's own axes."""

    geographic: bool
    x: T | None = None
    y: T | None = None


def read_axes[T](request: Request, name: str, read: Callable[[str], T], meaning: str) -> ByAxis[T] | None:
    """Return the values by axis, None without the parameter; `read` raises ValueError. Raises the 400 Problem."""
    text = read_list(request, name)
    if text is None:
        return None
    found: dict[str, T] = {}
    kinds = set()
    for part in re.split(r",(?=\s*\w+\()", text):
        match = _PART.fullmatch(part)
        axis, geographic = _AXES.get(match[1].lower(), (None, False)) if match else (None, False)
        if match is None or axis is None or axis in found:
            raise bad_parameter(name, part, f"allowed: {meaning} for each of the axes {_NAMES}")
        kinds.add(geographic)
        try:
            found[axis] = read(match[2])
        except ValueError as error:
            raise bad_parameter(name, part, f"allowed: {meaning}") from error
    if len(kinds) > 1:
        raise bad_parameter(name, text, f"the axes are {_NAMES}, not mixed")
    return ByAxis(kinds.pop(), found.get("x"), found.get("y"))


def interval(text: str) -> tuple[float, float]:
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
