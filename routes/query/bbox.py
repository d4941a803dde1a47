"""Boxes that a query asks for, in any offered system and either order of axes."""

from collections.abc import Callable, Sequence

from starlette.requests import Request

from plugins.crs import BOX_ALLOWED, CRS84, Box, Crs, box_of, boxes_of, find_crs
from plugins.literals import number
from routes.http.problem import bad_parameter
from routes.query.parameters import read_list


def read_crs(request: Request, name: str, offered: Sequence[Crs], default: Crs) -> Crs:
    """Return the system that the parameter names. Raises the 400 Problem."""
    text = request.query_params.get(name)
    if text is None:
        return default
    crs = find_crs(text, offered)
    if crs is None:
        raise bad_parameter(name, text, f"allowed: {', '.join(crs.uri for crs in offered)}")
    return crs


def read_box(request: Request, offered: Sequence[Crs]) -> Box | None:
    """Return what `bbox` and `bbox-crs` say, None without a bbox. Raises the 400 Problem.

    One that crosses the antimeridian, its west above its east in degrees, goes on beyond 180 degrees.
    """
    return _read(request, offered, box_of)


def read_boxes(request: Request, offered: Sequence[Crs]) -> tuple[Box, ...] | None:
    """Return what `bbox` and `bbox-crs` say, None without a bbox: two boxes where it crosses the antimeridian.

    A box may be as small as a point. Raises the 400 Problem.
    """
    return _read(request, offered, boxes_of)


def _read[T](request: Request, offered: Sequence[Crs], make: Callable[[Sequence[float], Crs], T]) -> T | None:
    crs = read_crs(request, "bbox-crs", offered, CRS84)
    text = read_list(request, "bbox")
    if text is None:
        return None
    try:
        return make([number(part) for part in text.split(",")], crs)
    except ValueError as error:
        raise bad_parameter("bbox", text, BOX_ALLOWED) from error
