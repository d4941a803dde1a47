"""What a coverage request asks for: which box, in which system, in how many pixels."""

from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request

from plugins.coverage_query import ByAxis, shrink, subset_of, whole_pixels
from plugins.coverages import CoverageProvider, Size
from plugins.crs import CRS84, Box, Crs
from routes.http.problem import Problem, bad_parameter
from routes.query.axes import factor, interval, pixels, read_axes
from routes.query.bbox import read_box, read_crs

LISTS = ("bbox", "subset")
PARAMETERS = (
    "bbox-crs", "datetime", "crs", "scale-factor", "scale-axes", "scale-size", "scaleSize", "width", "height",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CoverageRequest:
    """The box in the system of the answer, its size in the source's own pixels, and the size that was asked for.

    `size` is None where none was asked for: then the server may choose a smaller one than `full`.
    """

    box: Box
    full: Size
    size: Size | None


def read_wanted(request: Request, provider: CoverageProvider) -> CoverageRequest | None:
    """Return what is asked for, None where that lies outside of the coverage. Raises the 400 Problem.

    Without a size, the box is cut to the coverage; with one, the answer has exactly that size, filled up with no data.
    """
    asked = _subset(request, provider) or read_box(request, provider.systems) or provider.whole
    exact = read_axes(request, "scale-size", pixels, "a number of pixels") or read_axes(
        request, "scaleSize", pixels, "a number of pixels"
    )
    default = CRS84 if exact is not None and exact.geographic else provider.native
    crs = read_crs(request, "crs", provider.systems, default)
    inside = provider.inside(asked)
    if inside is None:
        return None
    sized = exact is not None or "width" in request.query_params or "height" in request.query_params
    box = to_system(asked if sized else inside, crs)
    if crs.epsg == provider.native.epsg and not sized:
        snapped = whole_pixels(provider, box)
        if snapped is None:
            return None
        box = snapped
    full = provider.size_of(box)
    return CoverageRequest(box, full, _size(request, full, exact))


def to_system(box: Box, crs: Crs) -> Box:
    """Return the box in the system of the answer. Raises the 400 Problem where it has no place there."""
    try:
        return box.to(crs)
    except ValueError as error:
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"the box {box.bbox} of {box.crs.uri} has no place in {crs.uri}"
        ) from error


def _subset(request: Request, provider: CoverageProvider) -> Box | None:
    asked = read_axes(request, "subset", interval, "an interval such as 50:51")
    if asked is None:
        return None
    if "bbox" in request.query_params:
        raise bad_parameter("subset", request.query_params["subset"], "allowed without bbox only")
    try:
        return subset_of(provider, asked)
    except ValueError as error:
        raise bad_parameter("subset", ",".join(request.query_params.getlist("subset")), str(error)) from error


def _size(request: Request, full: Size, exact: ByAxis[int] | None) -> Size | None:
    ways = {
        "scale-size": side_by_aspect(full, exact.x, exact.y) if exact else None,
        "width and height": side_by_aspect(full, read_side(request, "width"), read_side(request, "height")),
        "scale-factor": _by_factor(request, full),
        "scale-axes": _by_axes(request, full),
    }
    said = {name: size for name, size in ways.items() if size is not None}
    if len(said) > 1:
        raise Problem(HTTPStatus.BAD_REQUEST, f"{' and '.join(said)} say the size twice; one of them is allowed")
    return next(iter(said.values()), None)


def side_by_aspect(full: Size, width: int | None, height: int | None) -> Size | None:
    """Return the size, a missing side after the box's shape; None where both are missing."""
    if width is None and height is None:
        return None
    if width is None:
        width = max(1, round((height or 1) * full[0] / full[1]))
    return width, height or max(1, round(width * full[1] / full[0]))


def _by_factor(request: Request, full: Size) -> Size | None:
    text = request.query_params.get("scale-factor")
    if text is None:
        return None
    try:
        return shrink(full, factor(text), factor(text))
    except ValueError as error:
        raise bad_parameter("scale-factor", text, "allowed: a number above 0") from error


def _by_axes(request: Request, full: Size) -> Size | None:
    asked = read_axes(request, "scale-axes", factor, "a number above 0")
    return None if asked is None else shrink(full, asked.x or 1, asked.y or 1)


def read_side(request: Request, name: str) -> int | None:
    """Return the side in pixels, None where it is not asked for. Raises the 400 Problem."""
    text = request.query_params.get(name)
    try:
        return None if text is None else pixels(text)
    except ValueError as error:
        raise bad_parameter(name, text or "", "allowed: a whole number of pixels from 1") from error
