"""Boxes that a query asks for, in any offered system and either order of axes."""

import math
from collections.abc import Sequence

from starlette.requests import Request

from plugins.crs import CRS84, Box, Crs, find_crs, within_reach
from routes.http.problem import bad_parameter
from routes.query.parameters import number, read_list

_HALF = 180
"""Degrees of longitude from the prime meridian to the antimeridian."""


def read_crs(request: Request, name: str, offered: Sequence[Crs], default: Crs) -> Crs:
    """Return the system that the parameter names. Raises the 400 Problem."""
    text = request.query_params.get(name)
    if text is None:
        return default
    crs = find_crs(text, offered)
    if crs is None:
        raise bad_parameter(name, text, f"allowed: {', '.join(crs.uri for crs in offered)}")
    return crs


def across_antimeridian(west: float, east: float) -> tuple[float, float]:
    """Return west and east; across the antimeridian, where east is less than west, east goes on beyond 180 degrees."""
    return (west, east + 2 * _HALF) if east < west and abs(west) <= _HALF >= abs(east) else (west, east)


def read_box(request: Request, offered: Sequence[Crs]) -> Box | None:
    """Return what `bbox` and `bbox-crs` say, None without a bbox. Raises the 400 Problem.

    One that crosses the antimeridian, its west above its east in degrees, goes on beyond 180 degrees.
    """
    box = _read(request, offered)
    if box is None:
        return None
    west, south, east, north = box.bbox
    if box.crs.epsg == CRS84.epsg:
        west, east = across_antimeridian(west, east)
    if west >= east or south >= north:
        raise _refused(request)
    return Box((west, south, east, north), box.crs)


def read_boxes(request: Request, offered: Sequence[Crs]) -> tuple[Box, ...] | None:
    """Return what `bbox` and `bbox-crs` say, None without a bbox: two boxes where it crosses the antimeridian.

    A box may be as small as a point. Raises the 400 Problem.
    """
    box = _read(request, offered)
    if box is None:
        return None
    west, south, east, north = box.bbox
    crossing = west > east and box.crs.epsg == CRS84.epsg
    if south > north or (west > east and not crossing):
        raise _refused(request)
    if crossing:
        return Box((west, south, 180, north), box.crs), Box((-180, south, east, north), box.crs)
    return (box,)


def _read(request: Request, offered: Sequence[Crs]) -> Box | None:
    crs = read_crs(request, "bbox-crs", offered, CRS84)
    text = read_list(request, "bbox")
    if text is None:
        return None
    numbers = [_number(request, part) for part in text.split(",")]
    if len(numbers) == 6:  # noqa: PLR2004 - heights, which land cover does not have
        numbers = [*numbers[:2], *numbers[3:5]]
    if len(numbers) != 4:  # noqa: PLR2004 - a box
        raise _refused(request)
    return Box(crs.as_xy((numbers[0], numbers[1], numbers[2], numbers[3])), crs)


def _number(request: Request, part: str) -> float:
    try:
        found = number(part)
    except ValueError as error:
        raise _refused(request) from error
    if not math.isfinite(found):
        raise _refused(request)
    return within_reach(found)


def _refused(request: Request) -> Exception:
    return bad_parameter(
        "bbox",
        read_list(request, "bbox") or "",
        "allowed: four numbers, the lower corner before the upper one, not empty",
    )
