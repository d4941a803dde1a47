"""How many values a request asks of pygeoapi's rasterio and xarray providers, which read all of them at once."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

import numpy as np
from pygeoapi.api import validate_bbox, validate_subset
from pyproj import Transformer
from pyproj.exceptions import ProjError

from products.limits import MAX_PIXELS
from routes.http.problem import Problem

MAX_AS_JSON = 4_194_304
"""The number of values that are written as CoverageJSON: each takes some 50 bytes of memory."""
_OPEN = ("", "..")
_EDGES = 4

type _Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Axis:
    """The name of an axis, its ends, and the number of its cells."""

    name: str
    ends: _Span
    cells: int

    def part(self, span: _Span | None) -> float:
        """Return the part of the cells that a span touches, 1 without one."""
        if span is None or not self.cells:
            return 1.0
        low, high = sorted(self.ends)
        inside = min(max(span), high) - max(min(span), low)
        step = (high - low) / self.cells
        if inside < 0 or not step:
            return float(inside >= 0)
        return min(math.ceil(inside / step) + 1, self.cells) / self.cells


@dataclass(frozen=True, slots=True)
class CoverageSize:
    """The number of values of each field of a coverage, and its axes; without any where the provider says nothing."""

    fields: Mapping[str, int]
    x: _Axis | None = None
    y: _Axis | None = None
    time: _Axis | None = None
    to_native: Callable[[Sequence[float], str], tuple[_Span, _Span]] | None = None
    """Returns the spans of a box in a system, given as EPSG code, along x and y; only rasterio's provider has it."""

    @classmethod
    def of(cls, provider: Any) -> Self:
        """Return the size of what a provider reads. A provider of another kind has none."""
        known = getattr(provider, "_coverage_properties", None)
        if not isinstance(known, Mapping) or not {"bbox", "width", "height"} <= known.keys():
            return cls({})
        west, south, east, north = map(float, known["bbox"])
        x = _Axis(known["x_axis_label"], (west, east), int(known["width"]))
        y = _Axis(known["y_axis_label"], (south, north), int(known["height"]))
        names = [str(each) for each in provider.get_fields()]
        if "num_bands" in known:
            return cls(dict.fromkeys(names, x.cells * y.cells), x, y, to_native=_transformed(provider))
        return cls({name: int(provider._data[name].size) for name in names}, x, y, _time_axis(known))  # noqa: SLF001 - the dataset has no other name

    def of_coverage(self, asked: Mapping[str, str], *, native: bool) -> int:
        """Return how many values a request for the coverage reads; 0 if it is invalid, as nothing is read then."""
        try:
            subsets, box = _subsets(asked.get("subset")), _box(asked.get("bbox"))
        except (ValueError, AttributeError):
            return 0
        is_whole_file = native and not asked.get("properties") and not subsets and not (box and self.to_native)
        if self.x is None or self.y is None or is_whole_file:
            return sum(self.fields.values())
        across, along = _numbers(subsets.get(self.x.name)), _numbers(subsets.get(self.y.name))
        if self.to_native is not None:
            across, along = (across, along) if across and along else (None, None)
            if box:
                across, along = self.to_native(box, asked.get("bbox-crs") or "4326")
        elif box and (subsets or asked.get("datetime")):
            across, along = (box[0], box[2]), (box[1], box[3])
        times = subsets.get(self.time.name) if self.time else None
        moments = "/".join(map(str, times)) if times else asked.get("datetime", "")
        return self._values(asked.get("properties", ""), self.x.part(across) * self.y.part(along), moments)

    def of_query(self, query: str, asked: Mapping[str, str]) -> int:
        """Return how many values a query of EDR reads, 0 if it is invalid.

        Of a cube those of its box; of other queries those where each x of `coords` meets each y.
        """
        if self.x is None or self.y is None:
            return 0
        try:
            box = _box(asked.get("bbox"))
        except ValueError:
            return 0
        part = ((asked.get("coords", "").count(",") + 1) ** 2) / (self.x.cells * self.y.cells)
        if query == "cube":
            part = self.x.part((box[0], box[2])) * self.y.part((box[1], box[3])) if box else 1.0
        return self._values(asked.get("parameter-name", ""), part, asked.get("datetime", ""))

    def _values(self, names: str, part: float, moments: str) -> int:
        named = set(names.split(",")) if names else self.fields.keys()
        of_fields = sum(self.fields.get(name, 0) for name in named)
        times = self.time.part(_moments(moments, self.time.ends)) if self.time and moments else 1.0
        return math.ceil(round(of_fields * part * times, 3))


def refuse_large(count: int, *, as_json: bool) -> None:
    """Raise Problem 413 for more values than are read at once."""
    most = min(MAX_PIXELS, MAX_AS_JSON) if as_json else MAX_PIXELS
    if count > most:
        detail = f"{count} values were asked for, at most {most} are answered: ask for a part with bbox or subset"
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)


def _subsets(text: str | None) -> Mapping[str, Sequence[Any]]:
    """Return the ends of each axis as pygeoapi reads them. Raises ValueError, AttributeError."""
    return validate_subset(text) if text else {}


def _box(text: str | None) -> Sequence[float]:
    """Return a box of four numbers, an empty one of none or six, which no provider cuts by. Raises ValueError."""
    box: list[float] = validate_bbox(text)  # type: ignore[arg-type] # it is a text
    return box if len(box) == _EDGES else []


def _numbers(ends: Sequence[Any] | None) -> _Span | None:
    """Return the ends of a subset, None unless they are numbers."""
    try:
        return None if ends is None else (float(ends[0]), float(ends[-1]))
    except (TypeError, ValueError):
        return None


def _transformed(provider: Any) -> Callable[[Sequence[float], str], tuple[_Span, _Span]]:
    """Return how rasterio's provider places a box in the system of its file: by two of its corners."""
    named = (getattr(provider, "options", None) or {}).get("crs") or provider._data.crs  # noqa: SLF001 - as it does

    def spans(box: Sequence[float], code: str) -> tuple[_Span, _Span]:
        with suppress(ProjError):
            there = Transformer.from_crs(f"EPSG:{code}", named, always_xy=True)
            (west, south), (east, north) = there.transform(box[0], box[1]), there.transform(box[2], box[3])
            if all(map(math.isfinite, (west, south, east, north))):
                return (west, east), (south, north)
        return (-math.inf, math.inf), (-math.inf, math.inf)

    return spans


def _time_axis(known: Mapping[str, Any]) -> _Axis | None:
    """Return the axis of time in seconds, None if it has none or other times than those of the Gregorian calendar."""
    try:
        first, last = (_seconds(str(each), 0) for each in known["time_range"])
        return _Axis(known["time_axis_label"], (first, last), int(known["time"]))
    except (KeyError, ValueError):
        return None


def _moments(text: str, ends: _Span) -> _Span | None:
    """Return the span of an instant or interval, whose end is that of its day, month, …; None if it is invalid."""
    begin, _, end = text.partition("/") if "/" in text else (text, "", text)
    try:
        return (
            min(ends) if begin in _OPEN else _seconds(begin, 0),
            max(ends) if end in _OPEN else _seconds(end, 1),
        )
    except ValueError:
        return None


def _seconds(text: str, units: int) -> float:
    """Return a time in seconds, some of its own smallest units later. Raises ValueError."""
    moment = np.datetime64(text.removesuffix("Z"))
    unit: Any = np.datetime_data(moment.dtype)[0]
    return float((moment + np.timedelta64(units, unit)).astype("datetime64[s]").astype("int64"))
