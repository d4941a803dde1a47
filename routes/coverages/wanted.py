"""The parameters of a coverage request: box, CRS, size, fields and interpolation."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from starlette.requests import Request

from plugins.coverage_query import ByAxis, Range, is_slice, position_of, shrink, subset_of
from plugins.coverages import Band, CoverageProvider, Size
from plugins.crs import CRS84, Box, Crs, number
from products.raster.scaled import Method
from routes.http.problem import Problem, bad_parameter
from routes.query.parameters import (
    BBOX,
    BBOX_CRS,
    CRS,
    DATETIME,
    HEIGHT,
    NAMES,
    TEXT,
    URI,
    WIDTH,
    Parameter,
    by_axes,
    factor,
    interval,
    pixels,
    read_parameters,
    read_preferences,
    side_by_aspect,
    to_system,
)

_PIXELS = by_axes(pixels, "a number of pixels")


def _interval_or_place(text: str) -> Range:
    """Return the bounds of `low:high`, or a position twice. Raises ValueError."""
    if ":" in text:
        return interval(text)
    place = number(text)
    if not math.isfinite(place):
        raise ValueError(text)
    return place, place


_NATIVE = ByAxis(geographic=False, x=0.0, y=0.0)
_LONGEST = 1_000
"""Maximum characters of the Prefer headers that are searched for an interpolation."""


def _step_or_native(text: str) -> float:
    """Return units per pixel, 0 for those of the coverage. Raises ValueError."""
    return factor(text) if text.strip() else 0.0


def _resolution(text: str) -> ByAxis[float]:
    """Return the resolution along each axis; an empty text is the coverage's own. Raises ValueError."""
    return by_axes(_step_or_native, "units a pixel, or none")(text) if text.strip() else _NATIVE


SUBSET = Parameter(
    "subset",
    "`Lat(a:b),Lon(c:d)`, or `N(a:b),E(c:d)` in the coverage's own system; `*` for an open end; or a place.",
    NAMES,
    by_axes(_interval_or_place, "an interval such as 50:51, or a number"),
)
SUBSET_CRS = Parameter("subset-crs", "The coordinate reference system of `subset`, without it as its axes say.", URI)
PROPERTIES = Parameter("properties", "Names of fields, of which alone the answer has the values.", NAMES)
EXCLUDED = Parameter("exclude-properties", "Names of fields, of which the answer has no values.", NAMES)
RESOLUTION = Parameter(
    "resolution",
    "Units of `crs` a pixel: `Lat(0.001),Lon(0.001)` or `E(100),N(100)`; without a number the coverage's own.",
    TEXT,
    _resolution,
)
SCALE_FACTOR = Parameter(
    "scale-factor",
    "How many times fewer pixels along each axis.",
    {"type": "number", "minimum": 0, "exclusiveMinimum": True},
    factor,
    "allowed: a number above 0",
)
SCALE_AXES = Parameter("scale-axes", "The same by axis: `Lat(2),Lon(2)`.", TEXT, by_axes(factor, "a number above 0"))
SCALE_SIZE = Parameter("scale-size", "Pixels along each axis: `Lon(256),Lat(256)`; also `scaleSize`.", TEXT, _PIXELS)
OLD_SCALE_SIZE = Parameter("scaleSize", "An older name of `scale-size`.", TEXT, _PIXELS, deprecated=True)
COVERAGE_PARAMETERS = (
    BBOX, BBOX_CRS, DATETIME, SUBSET, SUBSET_CRS, PROPERTIES, EXCLUDED, CRS, RESOLUTION, SCALE_FACTOR,
    SCALE_AXES, SCALE_SIZE, OLD_SCALE_SIZE, WIDTH, HEIGHT,
)  # fmt: skip
_METHODS: Mapping[str, Method] = {
    "nearest-neighbor": "nearest",
    "modal": "mode",
    "linear": "linear",
    "cubic": "cubic",
    "mean": "mean",
    "minimum": "minimum",
    "maximum": "maximum",
    "median": "median",
}
"""By the names in the OGC's register."""
_INTERPOLATION = re.compile(
    r"(?:^|[,;\s])(properties-)?interpolation\s*=\s*\"?((?:\w[\w.-]*\([^()\"]*\)(?:\s*,\s*(?=\w[\w.-]*\())?)+|[^\s,;\"()]+)",
    re.IGNORECASE,
)
_EACH = re.compile(r"(\w[\w.-]*)\(([^()]*)\)")
_METHOD = re.compile(r"\[?(?:ogc-interpolation:|https?://www\.opengis\.net/def/interpolation/OGC/[\d.]+/)?([a-z-]+)\]?")


@dataclass(frozen=True, slots=True)
class CoverageRequest:
    """The box in the system of the answer, its size in the source's own pixels (`full`), and the requested `size`.

    Without a requested size the server may choose a smaller one than `full`. `applied` is the preference that the
    answer follows, for `Preference-Applied`. A request `is_position` if it is for the values at one position.
    """

    box: Box
    full: Size
    size: Size | None
    bands: tuple[Band, ...]
    method: Method | None = None
    applied: str = ""
    is_position: bool = False


def read_wanted(request: Request, provider: CoverageProvider) -> CoverageRequest | None:
    """Return the request, None for a box outside of the coverage. Raises the 400 Problem.

    Without a size the box is cut to the coverage; with one the answer has exactly that size, with no data outside.
    """
    bands, systems, native = provider.bands, provider.systems, provider.native
    asked = read_parameters(request, COVERAGE_PARAMETERS, systems)
    chosen = _bands(asked, bands)
    method, applied = _interpolation(request, provider)
    subset = _subset(request, asked, native) if SUBSET.name in asked else None
    if subset is not None and subset.has_slice:
        placed = _place(request, asked, provider, subset)
    else:
        placed = _box(request, asked, provider, subset)
    if placed is None:
        return None
    box, full, size = placed
    is_position = subset is not None and subset.is_position
    return CoverageRequest(box, full, size, chosen, method, applied, is_position)


@dataclass(frozen=True, slots=True)
class _Subset:
    """The values of `subset` along the axes of a CRS."""

    along: ByAxis[Range]
    crs: Crs

    @property
    def has_slice(self) -> bool:
        return any(is_slice(each) for each in (self.along.x, self.along.y))

    @property
    def is_position(self) -> bool:
        return all(is_slice(each) for each in (self.along.x, self.along.y))


def _subset(request: Request, asked: Mapping[str, Any], native: Crs) -> _Subset:
    along, named = asked[SUBSET.name], asked.get(SUBSET_CRS.name)
    if BBOX.name in asked:
        raise bad_parameter(SUBSET.name, SUBSET.text(request) or "", "allowed without bbox only")
    if named is None:
        return _Subset(along, CRS84 if along.geographic else native)
    if along.geographic != named.geographic:
        axes = "Lat and Lon" if named.geographic else "N and E"
        raise bad_parameter(SUBSET.name, SUBSET.text(request) or "", f"allowed: the axes {axes} of {named.uri}")
    return _Subset(along, named)


type _Placed = tuple[Box, Size, Size | None]
"""The box of the answer, its size in the source's own pixels, and the requested size."""


def _box(
    request: Request, asked: Mapping[str, Any], provider: CoverageProvider, subset: _Subset | None
) -> _Placed | None:
    box = _interval(request, provider, subset) or asked.get(BBOX.name) or provider.whole
    native, inside = provider.native, provider.inside(box)
    exact = asked.get(SCALE_SIZE.name) or asked.get(OLD_SCALE_SIZE.name)
    crs = asked.get(CRS.name) or (CRS84 if exact is not None and exact.geographic else native)
    if inside is None:
        return None
    sized = exact is not None or not asked.keys().isdisjoint((WIDTH.name, HEIGHT.name))
    box = to_system(box if sized else inside, crs)
    if crs.epsg == native.epsg and not sized:
        snapped = provider.snap(box)
        if snapped is None:
            return None
        box = snapped
    return _sized(asked, box, provider.size_of(box), exact)


def _interval(request: Request, provider: CoverageProvider, subset: _Subset | None) -> Box | None:
    try:
        return None if subset is None else subset_of(provider, subset.along, subset.crs)
    except ValueError as error:
        raise bad_parameter(SUBSET.name, SUBSET.text(request) or "", str(error)) from error


def _place(request: Request, asked: Mapping[str, Any], provider: CoverageProvider, subset: _Subset) -> _Placed | None:
    """Return the pixels along a line, or the one at a position, each in its own size."""
    sizes = (WIDTH, HEIGHT, RESOLUTION, SCALE_FACTOR, SCALE_AXES, SCALE_SIZE, OLD_SCALE_SIZE)
    if twice := next((each for each in sizes if each.name in asked), None):
        raise bad_parameter(twice.name, twice.text(request) or "", "allowed with intervals of subset only, not a place")
    at = subset.crs if not subset.is_position else provider.native
    crs = asked.get(CRS.name) or at
    if crs.epsg != at.epsg and not subset.is_position:
        raise bad_parameter(CRS.name, CRS.text(request) or "", f"allowed with a place along one axis: {at.uri}")
    try:
        box = position_of(provider, subset.along, subset.crs)
    except ValueError as error:
        raise bad_parameter(SUBSET.name, SUBSET.text(request) or "", str(error)) from error
    inside = provider.inside(box) and box
    if inside is None:
        return None
    if box.crs.epsg == provider.native.epsg:
        snapped = provider.snap(box)
        return None if snapped is None else (to_system(snapped, crs), provider.size_of(snapped), None)
    width, height = provider.size_of(box)
    one = 1 if is_slice(subset.along.x) else width, 1 if is_slice(subset.along.y) else height
    return box, one, None


def _sized(asked: Mapping[str, Any], box: Box, full: Size, exact: ByAxis[int] | None) -> _Placed:
    width, height = asked.get(WIDTH.name), asked.get(HEIGHT.name)
    times, by_axis = asked.get(SCALE_FACTOR.name), asked.get(SCALE_AXES.name)
    step = asked.get(RESOLUTION.name)
    ways = {
        "scale-size": side_by_aspect(full, exact.x, exact.y) if exact else None,
        "width and height": side_by_aspect(full, width, height),
        "scale-factor": shrink(full, times, times) if times else None,
        "scale-axes": shrink(full, by_axis.x or 1, by_axis.y or 1) if by_axis else None,
        "resolution": full if step else None,
    }
    said = {name: size for name, size in ways.items() if size is not None}
    if len(said) > 1:
        raise Problem(HTTPStatus.BAD_REQUEST, f"{' and '.join(said)} say the size twice; one of them is allowed")
    if step:
        box, size = _by_resolution(box, full, step)
        return box, full, size
    return box, full, next(iter(said.values()), None)


def _by_resolution(box: Box, full: Size, step: ByAxis[float]) -> tuple[Box, Size]:
    """Return the box of whole pixels of that resolution, from its north-western corner, and how many there are."""
    west, south, east, north = box.bbox
    sides = east - west, north - south
    counts = [
        max(1, math.ceil(side / each - 1e-6)) if each else count
        for side, each, count in zip(sides, (step.x, step.y), full, strict=True)
    ]
    width, height = (
        count * each if each else side for count, each, side in zip(counts, (step.x, step.y), sides, strict=True)
    )
    return replace(box, bbox=(west, north - height, west + width, north)), (counts[0], counts[1])


def _bands(asked: Mapping[str, Any], bands: Sequence[Band]) -> tuple[Band, ...]:
    known = {band.name: band for band in bands}
    names, excluded = _names(asked, PROPERTIES, known), _names(asked, EXCLUDED, known)
    if names is not None and excluded is not None:
        raise bad_parameter(EXCLUDED.name, ",".join(excluded), "allowed without properties only")
    chosen = [name for name in known if name not in (excluded or ())] if names is None else dict.fromkeys(names)
    if not chosen:
        raise bad_parameter(EXCLUDED.name, ",".join(excluded or ()), "allowed: not all of the fields")
    return tuple(known[name] for name in chosen)


def _names(asked: Mapping[str, Any], parameter: Parameter, known: Mapping[str, Band]) -> Sequence[str] | None:
    names: Sequence[str] | None = asked.get(parameter.name)
    if names is None or (names == ("",) and parameter is EXCLUDED):
        return names and ()
    for name in names:
        if name not in known:
            raise bad_parameter(parameter.name, name, f"allowed: {', '.join(known)}")
    return names


def _interpolation(request: Request, provider: CoverageProvider) -> tuple[Method | None, str]:
    """Return the preferred interpolation, and the preference that is followed: that of the fields before that of axes.

    An unsupported preference is ignored; with `handling=strict` it raises the 400 Problem.
    """
    header = ", ".join(request.headers.getlist("prefer"))[:_LONGEST]
    found = sorted(_INTERPOLATION.findall(header), reverse=True)
    for of_fields, text in found:
        said = [(name, method) for name, method in _EACH.findall(text)] or [("", text)]
        methods = {_method(method) for _, method in said}
        names = {band.name for band in provider.bands}
        known = not of_fields or {name for name, _ in said} == names
        method = methods.pop() if len(methods) == 1 and known else None
        if method in provider.methods:
            return method, f"{of_fields}interpolation={text.strip()}"
        if read_preferences(request).strict:
            allowed = (f"[ogc-interpolation:{name}]" for name, each in _METHODS.items() if each in provider.methods)
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                f"Prefer: {of_fields}interpolation={text}: allowed, alike for all: {', '.join(allowed)}",
            )
    return None, ""


def _method(text: str) -> Method | None:
    match = _METHOD.fullmatch(text.strip())
    return _METHODS.get(match[1]) if match else None
