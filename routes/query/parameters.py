"""Query parameters, Accept and Prefer: how they are declared and read, and the 400 for a value that is not allowed."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from urllib.request import parse_http_list

from starlette.requests import Request

from plugins.coverage_query import AXES_ALLOWED, ByAxis, Range, by_axis
from plugins.coverages import CoverageProvider
from plugins.crs import (
    BOX_ALLOWED,
    CRS84,
    Box,
    Crs,
    Interval,
    box_of,
    boxes_of,
    find_crs,
    interval_of,
    intervals_meet,
    number,
    whole_number,
)
from routes.http.accept import choose
from routes.http.language import LANG
from routes.http.problem import Problem, bad_parameter

MAX_LIMIT = 10_000
"""Entries of a page; a larger limit is cut to it (18-062r2 /req/job-list/limit-response)."""

_DEFAULT_LIMIT = 10
_LONGEST = 9
JSON_AND_PAGE = {"json": "application/json", "html": "text/html"}
"""The values of `f` of most resources with their media types, the default first."""
_PART = re.compile(r"\s*(\w+)\(([^()]*)\)\s*")
_LEAST_FACTOR = 1e-9
_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_DAY = len("2023-12-31")
_KNOWN, _SHORT = 1_024, 256
_FLAGS = {"true": True, "false": False}

_known_choice = lru_cache(_KNOWN)(choose)
"""Cached, as clients send the same few headers with every request."""

TEXT: Mapping[str, Any] = {"type": "string"}
URI: Mapping[str, Any] = {"type": "string", "format": "uri"}
NAMES: Mapping[str, Any] = {"type": "array", "items": TEXT}
FLAG: Mapping[str, Any] = {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter, declared once for its reading, its 400 and the OpenAPI document.

    `schema` is its schema in OpenAPI 3.0. A value of type array has commas between its entries; as some clients that
    are generated from the document ignore `explode: false`, the parameter may be repeated too. `read` converts the text
    (without it the schema decides) and raises ValueError with what is allowed, or with the wrong part of the text and
    what is allowed. The message has `allowed` instead, if it is given.
    """

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: TEXT)
    read: Callable[[str], Any] | None = None
    allowed: str = ""
    deprecated: bool = False
    required: bool = False

    @property
    def repeatable(self) -> bool:
        """Whether it may be given several times."""
        return bool(self.schema["type"] == "array")

    def text(self, request: Request) -> str | None:
        """Return the text of the parameter, None without it; repeated ones are joined with commas."""
        values = request.query_params.getlist(self.name)
        return ",".join(values) if values else None

    def of(self, request: Request) -> Any:
        """Return the value in the request, None without the parameter. Raises the 400 Problem."""
        text = self.text(request)
        return None if text is None else self.value(text)

    def value(self, text: str) -> Any:
        """Return the value of a text. Raises the 400 Problem."""
        try:
            return _by_schema(text, self.schema) if self.read is None else self.read(text)
        except ValueError as error:
            part = error.args[0] if len(error.args) > 1 else text
            raise bad_parameter(self.name, part, self.allowed or str(error.args[-1])) from error


LIMIT = Parameter("limit", "How many at most.", {"type": "integer", "minimum": 1})
OFFSET = Parameter("offset", "How many to leave out first.", {"type": "integer", "minimum": 0, "default": 0})
START_INDEX = Parameter("startindex", "The same as `offset`, for older clients.", {"type": "integer", "minimum": 0})
BBOX = Parameter(
    "bbox",
    "West, south, east, north.",
    {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 6},
)
BBOX_CRS = Parameter("bbox-crs", "The coordinate reference system of `bbox`; longitude and latitude without it.", URI)
CRS = Parameter("crs", "The coordinate reference system of the answer.", URI)
DATETIME = Parameter("datetime", "An instant or an interval as RFC 3339 says, `..` for an open end.", read=interval_of)
SHARED = {each.name: each for each in (LIMIT, BBOX, BBOX_CRS, DATETIME)}
"""Parameters of many operations; each is a component of the OpenAPI document."""


def _by_schema(text: str, schema: Mapping[str, Any]) -> Any:
    """Return the value of a text by its schema. Raises ValueError with what is allowed."""
    match schema["type"]:
        case "boolean":
            if (word := text.lower()) not in _FLAGS:
                raise ValueError("allowed: true, false")
            return _FLAGS[word]
        case "integer":
            if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST and int(text) >= schema["minimum"]):
                raise ValueError(f"allowed: whole numbers from {schema['minimum']}")
            return int(text)
        case "array":
            entries, allowed = text.split(","), schema["items"].get("enum")
            wrong = next((entry for entry in entries if allowed and entry not in allowed), None)
            if wrong is not None:
                raise ValueError(wrong, f"allowed: {', '.join(allowed)}")
            return tuple(entries)
    if (allowed := schema.get("enum")) and text not in allowed:
        raise ValueError(f"allowed: {', '.join(allowed)}")
    return text


def allow_parameters(request: Request, *parameters: Parameter | str, one_form: bool = False) -> None:
    """Raise the 400 Problem for a parameter that is not among these, or that is repeated and may not be.

    `f` is allowed too, unless there is only `one_form`. A text among `parameters` is the name of a field. `lang` is
    always allowed; the message names it where there are several languages.
    """
    known = {each if isinstance(each, str) else each.name: each for each in parameters}
    names = known if one_form else [*known, "f"]
    for name in request.query_params:
        values, parameter = request.query_params.getlist(name), known.get(name)
        if name != LANG and name not in names:
            raise bad_parameter(name, values[0], f"unknown parameter; allowed: {allowed_names(request, names)}")
        if len(values) > 1 and not (isinstance(parameter, Parameter) and parameter.repeatable):
            raise bad_parameter(name, ", ".join(values), "allowed once")


def allowed_names(request: Request, names: Iterable[str]) -> str:
    """Return the names as a message lists them, with `lang` where there are several languages."""
    several = request.app.state.resources.languages
    return ", ".join(sorted({*names, LANG} if several else {*names})) or "none"


def read_parameters(request: Request, parameters: Sequence[Parameter], systems: Sequence[Crs]) -> dict[str, Any]:
    """Return the values in the request by name; `bbox` is a Box, a `URI` one of the systems. Raises the 400 Problem.

    Only these parameters are allowed, as `allow_parameters` says.
    """
    allow_parameters(request, *parameters)
    values: dict[str, Any] = {}
    for each in parameters:
        if each.name not in request.query_params:
            continue
        if each is BBOX:
            values[each.name] = read_box(request, systems)
        elif each.schema is URI:
            values[each.name] = read_crs(request, each, systems, CRS84)
        else:
            values[each.name] = each.of(request)
    return values


def negotiate(request: Request, forms: Mapping[str, str] = JSON_AND_PAGE) -> str:
    """Return the key of `forms` that the caller wants: by `f`, else by Accept, else the first one.

    Raises Problem: 400 for an unknown `f`, 406 if Accept allows none of them.
    """
    wanted = request.query_params.get("f")
    if wanted is not None:
        if wanted not in forms:
            raise bad_parameter("f", wanted, f"allowed: {', '.join(forms)}")
        return wanted
    accept, types = ", ".join(request.headers.getlist("accept")), tuple(forms.values())
    best = _known_choice(accept, types) if len(accept) <= _SHORT else choose(accept, types)
    if best is None:
        raise Problem(HTTPStatus.NOT_ACCEPTABLE, f"Accept: allowed: {', '.join(forms.values())}")
    return next(key for key, media_type in forms.items() if media_type == best)


def by_axes[T](read: Callable[[str], T], meaning: str) -> Callable[[str], ByAxis[T]]:
    """Return a function that reads `Axis(value),Axis(value)`, each value by `read`, which raises ValueError."""

    def read_axes(text: str) -> ByAxis[T]:
        values = []
        for part in re.split(r",(?=\s*\w+\()", text):
            match = _PART.fullmatch(part)
            if match is None:
                raise ValueError(part, f"allowed: {meaning} for each of the axes {AXES_ALLOWED}")
            try:
                values.append((match[1], read(match[2])))
            except ValueError as error:
                raise ValueError(part, f"allowed: {meaning}") from error
        return by_axis(values)

    return read_axes


def interval(text: str) -> Range:
    """Return the bounds of `low:high`, infinite for `*`; high may be below low. Raises ValueError."""
    low, _, high = text.partition(":")
    begin = -math.inf if low.strip() == "*" else number(low)
    end = math.inf if high.strip() == "*" else number(high)
    if begin == end or math.isnan(begin) or math.isnan(end):
        raise ValueError(text)
    return begin, end


def pixels(text: str) -> int:
    """Return a number of pixels, at least 1. Raises ValueError."""
    found = whole_number(text)
    if not 0 < found < 1_000_000_000:  # noqa: PLR2004 - what is above is refused by the bound of pixels anyway
        raise ValueError(text)
    return found


def factor(text: str) -> float:
    """Return a scale factor that sides can be divided by, so not 1e-320. Raises ValueError."""
    found = number(text)
    if not _LEAST_FACTOR <= found < math.inf:
        raise ValueError(text)
    return found


_SIDE = {"type": "integer", "minimum": 1}
_OF_SIDE = "allowed: a whole number of pixels from 1"
WIDTH = Parameter("width", "Pixels from west to east.", _SIDE, pixels, _OF_SIDE)
HEIGHT = Parameter("height", "Pixels from north to south.", _SIDE, pixels, _OF_SIDE)


def side_by_aspect(full: tuple[int, int], width: int | None, height: int | None) -> tuple[int, int] | None:
    """Return the size, a missing side in proportion to the box; None if both are missing."""
    if width is None and height is None:
        return None
    if width is None:
        width = max(1, round((height or 1) * full[0] / full[1]))
    return width, height or max(1, round(width * full[1] / full[0]))


def read_crs(request: Request, parameter: Parameter, systems: Sequence[Crs], default: Crs) -> Crs:
    """Return the system that the parameter names. Raises the 400 Problem."""
    text = parameter.text(request)
    if text is None:
        return default
    crs = find_crs(text, systems)
    if crs is None:
        raise bad_parameter(parameter.name, text, f"allowed: {', '.join(crs.uri for crs in systems)}")
    return crs


def read_box(request: Request, systems: Sequence[Crs]) -> Box | None:
    """Return the box of `bbox` and `bbox-crs`, None without a bbox. Raises the 400 Problem.

    One that crosses the antimeridian (in degrees west is above east) continues beyond 180 degrees.
    """
    return _read(request, systems, box_of)


def read_boxes(request: Request, systems: Sequence[Crs]) -> tuple[Box, ...] | None:
    """Return the boxes of `bbox` and `bbox-crs`, None without a bbox: two if it crosses the antimeridian.

    A box may be as small as a point. Raises the 400 Problem.
    """
    return _read(request, systems, boxes_of)


def _read[T](request: Request, systems: Sequence[Crs], make: Callable[[Sequence[float], Crs], T]) -> T | None:
    crs = read_crs(request, BBOX_CRS, systems, CRS84)
    text = BBOX.text(request)
    if text is None:
        return None
    try:
        return make([number(part) for part in text.split(",")], crs)
    except ValueError as error:
        raise bad_parameter("bbox", text, BOX_ALLOWED) from error


def to_system(box: Box, crs: Crs) -> Box:
    """Return the box in the system of the answer. Raises the 400 Problem if it cannot be transformed."""
    try:
        return box.to(crs)
    except ValueError as error:
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"the box {box.bbox} of {box.crs.uri} has no place in {crs.uri}"
        ) from error


def meets_time(request: Request, collection: Mapping[str, Any]) -> bool:
    """Return whether the collection's time and `datetime` overlap. Raises the 400 Problem."""
    asked = DATETIME.of(request)
    return asked is None or overlaps(asked, collection)


def at_time(request: Request, collection: Mapping[str, Any], provider: CoverageProvider) -> CoverageProvider | None:
    """Return the provider of the coverage at `datetime`, None where it has nothing then. Raises the 400 Problem."""
    if provider.years:
        asked = DATETIME.of(request)
        return provider if asked is None else provider.at(asked)
    return provider if meets_time(request, collection) else None


def overlaps(asked: Interval, collection: Mapping[str, Any]) -> bool:
    """Return whether the collection's time and the interval overlap."""
    begin, end = extent_of(collection)
    return intervals_meet(asked, (begin or _FIRST, end or _LAST))


def extent_of(collection: Mapping[str, Any]) -> tuple[datetime | None, datetime | None]:
    """Return when the collection's time begins and ends, None for an open end. Raises ValueError.

    YAML reads a day as a date, and a time in quotes as text.
    """
    extent = (collection.get("extents") or {}).get("temporal") or {}
    return _moment(extent.get("begin"), time.min), _moment(extent.get("end"), time.max)


def _moment(configured: date | str | None, at: time) -> datetime | None:
    if isinstance(configured, str):
        day = date.fromisoformat(configured) if len(configured) == _DAY else None
        configured = day or datetime.fromisoformat(configured)
    if configured is None or isinstance(configured, datetime):
        return _aware(configured)
    return datetime.combine(configured, at, UTC)


def _aware(instant: datetime | None) -> datetime | None:
    if instant is None:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list: at most `limit` entries, after the first `offset`."""

    limit: int = _DEFAULT_LIMIT
    offset: int = 0


def read_page(request: Request, *, default: int = _DEFAULT_LIMIT) -> Page:
    """Return the page of `limit` and `offset`, or `startindex`. Raises the 400 Problem."""
    limit, offset, first = LIMIT.of(request), OFFSET.of(request), START_INDEX.of(request)
    if offset is not None and first is not None:
        raise bad_parameter(START_INDEX.name, str(first), "means the same as offset; allowed: one of them")
    return Page(min(limit or default, MAX_LIMIT), offset or first or 0)


@dataclass(frozen=True, slots=True)
class Preferences:
    """The honoured preferences: `respond-async`, `wait` in seconds, `handling=strict`."""

    respond_async: bool = False
    wait: int | None = None
    strict: bool = False


def read_preferences(request: Request) -> Preferences:
    """Return the preferences of all Prefer headers (RFC 7240); the first of a name counts, invalid ones do not."""
    said: dict[str, str] = {}
    for header in request.headers.getlist("prefer"):
        for preference in parse_http_list(header):
            name, _, value = preference.partition(";")[0].partition("=")
            said.setdefault(name.strip().lower(), value.strip().strip('"'))
    return Preferences(
        respond_async=said.get("respond-async") == "",
        wait=_seconds(said.get("wait", "")),
        strict=said.get("handling", "").lower() == "strict",
    )


def _seconds(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdecimal() and len(value) <= _LONGEST else None
