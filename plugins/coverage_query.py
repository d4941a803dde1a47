"""The box of a coverage request, and its size in pixels."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from plugins.coverages import CoverageProvider, Size
from plugins.crs import Box, Crs, across_antimeridian, within_reach
from products.operation import Bounds, transformer

MAX_VALUES_AS_TEXT = 65_536
"""Maximum values that are written as JSON."""
_THIN = 1e-7
"""A fraction of a pixel."""
_OVERVIEW = 4_194_304
"""Maximum pixels of an answer whose size the server chooses (2048 x 2048)."""

AXES: Mapping[str, tuple[Literal["x", "y"], bool]] = {
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
"""Names of axes in lower case: the index of the axis, and whether it is longitude or latitude."""
AXES_ALLOWED = "Lat and Lon, or N and E"

Range = tuple[float, float]
"""Bounds along an axis, infinite if open; across the antimeridian the second may be less than the first."""


@dataclass(frozen=True, slots=True)
class ByAxis[T]:
    """A value for each named axis; `geographic` is whether they are longitude and latitude or the grid's own axes."""

    geographic: bool
    x: T | None = None
    y: T | None = None


def by_axis[T](values: Iterable[tuple[str, T]]) -> ByAxis[T]:
    """Return values by named axis, in any case. Raises ValueError with the allowed values."""
    found: dict[str, T] = {}
    kinds = set()
    for name, value in values:
        axis, geographic = AXES.get(name.lower(), (None, False))
        if axis is None or axis in found:
            raise ValueError(f"{name!r}: allowed: each of the axes {AXES_ALLOWED} once")
        kinds.add(geographic)
        found[axis] = value
    if len(kinds) != 1:
        raise ValueError(f"the axes are {AXES_ALLOWED}, not mixed")
    return ByAxis(kinds.pop(), found.get("x"), found.get("y"))


def is_slice(along: Range | None) -> bool:
    """Return whether a range along an axis is a position, not an interval."""
    return along is not None and along[0] == along[1]


def subset_of(provider: CoverageProvider, asked: ByAxis[Range], crs: Crs) -> Box:
    """Return the box of ranges along the axes, complete along unnamed ones. Raises ValueError for an empty box."""
    west, south, east, north = provider.whole.to(crs).bbox
    x, y = asked.x or (west, east), asked.y or (south, north)
    if asked.x and crs.geographic:
        x = across_antimeridian(*x)
    if x[0] > x[1] or y[0] > y[1] or (asked.x and x[0] == x[1]) or (asked.y and y[0] == y[1]):
        raise ValueError("allowed: low:high, low below")
    bbox = (_finite(x[0], west), _finite(y[0], south), _finite(x[1], east), _finite(y[1], north))
    if bbox[0] >= bbox[2] or bbox[1] >= bbox[3]:
        return Box(_beside(bbox), crs)
    return Box(bbox, crs)


def position_of(provider: CoverageProvider, asked: ByAxis[Range], crs: Crs) -> Box:
    """Return the box around a position along one axis, a pixel thick, or along both: then in the coverage's own CRS.

    In that CRS it is so thin that it is in one row or column of pixels. Raises ValueError.
    """
    if asked.x and asked.y and is_slice(asked.x) and is_slice(asked.y):
        place = np.array([[within_reach(asked.x[0])], [within_reach(asked.y[0])]])
        x, y = (float(each[0]) for each in transformer(crs.name, provider.native.name).transform(*place))
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError(f"the position has no place in {provider.native.uri}")
        crs, asked = provider.native, ByAxis(provider.native.geographic, (x, x), (y, y))
    whole = provider.whole.to(crs)
    west, south, east, north = whole.bbox
    thin = _THIN if crs.epsg == provider.native.epsg else 0.5
    across, up = provider.size_of(whole)
    x_range = _thick(asked.x, thin * (east - west) / across)
    y_range = _thick(asked.y, thin * (north - south) / up)
    return subset_of(provider, ByAxis(asked.geographic, x_range, y_range), crs)


def _thick(along: Range | None, half: float) -> Range | None:
    if along is None or not is_slice(along):
        return along
    place = within_reach(along[0])
    return place - half, place + half


def _finite(value: float, otherwise: float) -> float:
    return within_reach(value) if math.isfinite(value) else otherwise


def _beside(bbox: Bounds) -> Bounds:
    """Return a valid box: an open interval that begins beyond the coverage is outside of it, not empty."""
    west, south, east, north = bbox
    return west, south, max(east, west + 1e-9), max(north, south + 1e-9)


def scaled_down(full: Size, bound: int) -> Size:
    """Return the size that the server chooses for an answer: that of the pixels or of an overview."""
    pixels = full[0] * full[1]
    if pixels <= bound:
        return full
    step = 2 ** math.ceil(math.log2(math.sqrt(pixels / min(bound, _OVERVIEW))))
    return shrink(full, step, step)


def shrink(full: Size, x: float, y: float) -> Size:
    """Return the size in pixels that are longer by this factor."""
    return max(1, math.ceil(full[0] / x)), max(1, math.ceil(full[1] / y))
