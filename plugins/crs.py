"""Parse texts of a query: coordinate reference systems and boxes as the OGC defines them, numbers and times."""

import math
import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from unicodedata import normalize

from pyproj import CRS
from pyproj.exceptions import CRSError

from products.errors import InvalidArea
from products.operation import Bounds, is_northing_first, period_of, reproject

_NAME = re.compile(
    r"(?:https?://www\.opengis\.net/def/crs/|urn:ogc:def:crs:|\[?)([a-z]+)[/:](?:[\d.]*[/:])?(\w+?)\]?", re.IGNORECASE
)
_HALF = 180
"""Degrees of longitude from the prime meridian to the antimeridian."""
_BEYOND = 1e9
"""More than any coordinate on the Earth, in degrees or metres."""
Interval = tuple[datetime, datetime]
"""First and last instant."""

_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)
_LARGEST = 1 << 63

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_FORM = re.compile(r"(\d{4}-\d\d-\d\d)(?:[Tt](\d\d:\d\d)(?::(\d\d)(\.\d+)?)?([Zz]|[-+ ]\d\d:?\d\d)?)?", re.ASCII)
"""RFC 3339 with optional parts; a `+` in a query arrives as a space."""
_ALLOWED_TIMES = "allowed: an RFC 3339 time or date, or an interval of two such as 2023-01-01/.."


@dataclass(frozen=True, slots=True)
class Crs:
    """A CRS: its URI, its EPSG code, whether its coordinates have the northing (latitude) first, or are degrees.

    Without an EPSG code this is 0 and there is a definition for PROJ; without any code there is no URI.
    """

    uri: str
    epsg: int
    northing_first: bool
    definition: str = ""
    geographic: bool = field(kw_only=True)
    name: int | str = field(init=False, repr=False, compare=False)
    """The EPSG code or the definition, as PROJ reads it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.definition or self.epsg)

    def as_xy(self, bbox: Bounds) -> Bounds:
        """Return a bbox in the order of this CRS's axes as west, south, east, north."""
        a, b, c, d = bbox
        return (b, a, d, c) if self.northing_first else bbox


CRS84 = Crs("http://www.opengis.net/def/crs/OGC/1.3/CRS84", 4326, northing_first=False, geographic=True)


def within_reach(number: float) -> float:
    """Return a coordinate that can be calculated with and is also outside of the Earth: 1e308 becomes 1e9."""
    return max(-_BEYOND, min(number, _BEYOND))


@dataclass(frozen=True, slots=True)
class Box:
    """West, south, east, north in the units of a CRS; a box across the antimeridian continues beyond it."""

    bbox: Bounds
    crs: Crs

    @property
    def as_written(self) -> Bounds:
        """The box in the order of its CRS's axes; across the antimeridian, east is less than west."""
        west, south, east, north = self.bbox
        period = period_of(self.crs.name)
        if period and east > period / 2 >= west and east - west < period:
            east -= period
        return self.crs.as_xy((west, south, east, north))

    def to(self, crs: Crs) -> "Box":
        """Return the box around this one in another CRS, with edges followed. Raises ValueError if impossible."""
        if crs.name == self.crs.name:
            return Box(self.bbox, crs)
        try:
            return Box(reproject(self.bbox, self.crs.name, crs.name), crs)
        except InvalidArea as error:
            raise ValueError(str(error)) from error

    def moved(self, east: float) -> "Box":
        """Return the box, moved to the east by this distance."""
        west, south, right, north = self.bbox
        return Box((west + east, south, right + east, north), self.crs)

    def cut(self, other: "Box") -> "Box | None":
        """Return the intersection of two boxes of the same CRS, or None."""
        west, south = max(self.bbox[0], other.bbox[0]), max(self.bbox[1], other.bbox[1])
        east, north = min(self.bbox[2], other.bbox[2]), min(self.bbox[3], other.bbox[3])
        return Box((west, south, east, north), self.crs) if west < east and south < north else None


BOX_ALLOWED = "allowed: four numbers, the lower corner before the upper one, not empty"


def box_of(numbers: Sequence[float], crs: Crs) -> Box:
    """Return the box of two corners, each in the order of the CRS's axes. Raises ValueError if it is empty.

    A box across the antimeridian, its west above its east in degrees, continues beyond 180 degrees.
    """
    west, south, east, north = _corners(numbers, crs)
    if crs.epsg == CRS84.epsg:
        west, east = across_antimeridian(west, east)
    if west >= east or south >= north:
        raise ValueError(BOX_ALLOWED)
    return Box((west, south, east, north), crs)


def boxes_of(numbers: Sequence[float], crs: Crs) -> tuple[Box, ...]:
    """Return that box, or two across the antimeridian; a box may be a point. Raises ValueError."""
    west, south, east, north = _corners(numbers, crs)
    crossing = west > east and crs.epsg == CRS84.epsg
    if south > north or (west > east and not crossing):
        raise ValueError(BOX_ALLOWED)
    if crossing:
        return Box((west, south, _HALF, north), crs), Box((-_HALF, south, east, north), crs)
    return (Box((west, south, east, north), crs),)


def boxes_meet(some: Sequence[Box], others: Sequence[Box]) -> bool:
    """Return whether boxes of some and of others, in one CRS, have a point in common, also at an edge."""
    return any(_meet(one.bbox, other.bbox) for one in some for other in others)


def _meet(one: Bounds, other: Bounds) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def across_antimeridian(west: float, east: float) -> tuple[float, float]:
    """Return west and east; across the antimeridian, where east is less than west, east is beyond 180 degrees."""
    return (west, east + 2 * _HALF) if east < west and abs(west) <= _HALF >= abs(east) else (west, east)


def _corners(numbers: Sequence[float], crs: Crs) -> Bounds:
    """Return west, south, east and north of two corners; heights are ignored."""
    if len(numbers) == 6:  # noqa: PLR2004 - two corners with heights
        numbers = [*numbers[:2], *numbers[3:5]]
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):  # noqa: PLR2004 - two corners
        raise ValueError(BOX_ALLOWED)
    first, second, third, fourth = map(within_reach, numbers)
    return crs.as_xy((first, second, third, fourth))


@cache
def crs_of(epsg: int) -> Crs:
    """Return the CRS of an EPSG code, with the axis order of its definition. Raises ValueError."""
    try:
        system = CRS.from_epsg(epsg)
    except CRSError as error:
        raise ValueError(f"EPSG:{epsg}: {error}") from error
    uri = f"http://www.opengis.net/def/crs/EPSG/0/{epsg}"
    return Crs(uri, epsg, northing_first=is_northing_first(system), geographic=system.is_geographic)


def systems_with(native: Crs) -> tuple[Crs, ...]:
    """Return the CRSs of answers: the usual ones, and that of the features if it has a URI."""
    usual = (CRS84, crs_of(4326), crs_of(3857), crs_of(3035))
    return usual if native in usual or not native.uri else (*usual, native)


@cache
def foreign_crs(definition: str) -> Crs:
    """Return the CRS of an authority other than EPSG (`ESRI:102014`) or of a definition. Raises CRSError."""
    authority, colon, code = definition.partition(":")
    named = colon and authority.isalnum() and code.isalnum()
    system = CRS.from_user_input(definition)
    uri = f"http://www.opengis.net/def/crs/{authority}/0/{code}" if named else ""
    northing_first = bool(named) and is_northing_first(system)
    return Crs(uri, 0, northing_first=northing_first, definition=definition, geographic=system.is_geographic)


def crs_named(name: str) -> Crs:
    """Return the CRS of a URI, URN or CURIE, with its axis order. Raises ValueError."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} names no system; such as {CRS84.uri}")
    authority, code = match[1].upper(), match[2].upper()
    if authority == "OGC" and code in {"CRS84", "CRS84H"}:
        return CRS84
    if authority == "EPSG" and code.isdecimal():
        return crs_of(int(code))
    try:
        return foreign_crs(f"{authority}:{code}")
    except CRSError as error:
        raise ValueError(f"{name!r} names no system that is known") from error


def epsg_of(name: str) -> int:
    """Return the EPSG code of a URI, URN or CURIE, 0 for other authorities; CRS84 has the code of its datum."""
    match = _NAME.fullmatch(name)
    if match is None:
        return 0
    authority, code = match[1].upper(), match[2].upper()
    if (authority, code) == ("OGC", "CRS84"):
        return CRS84.epsg
    return int(code) if authority == "EPSG" and code.isdecimal() else 0


def find_crs(name: str, systems: Sequence[Crs]) -> Crs | None:
    """Return the one of the CRSs with that URI, URN or safe CURIE (`[EPSG:3035]`), or None."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    authority, code = match[1].upper(), match[2].upper()
    if authority == "OGC":
        return CRS84 if code == "CRS84" and CRS84 in systems else None
    return next((crs for crs in systems if crs.uri.endswith(f"/{authority}/0/{code}")), None)


def number(text: str) -> float:
    """Return the number of a text, infinite if it is too large. Raises ValueError.

    Python's `float` accepts more: `1_0` for ten, digits of every script, `nan`.
    """
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return float(text)


def whole_number(text: str) -> int:
    """Return the integer of a text. Raises ValueError, also for `1_0` and digits of other scripts."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(text)
    return int(text)


_TYPES: Mapping[str, Callable[[str], Any]] = {
    "integer": whole_number,
    "number": number,
    "boolean": {"true": True, "false": False}.__getitem__,
    "bytes": lambda text: b64decode(text, validate=True),
}
_ALLOWED = {"integer": "whole numbers", "number": "numbers", "boolean": "true, false", "bytes": "base64"}


def value_of(text: str, field: Mapping[str, Any]) -> Any:
    """Return the value of a field from a text, by its JSON schema. Raises ValueError with the allowed values."""
    kind = "bytes" if "contentEncoding" in field else field["type"]
    try:
        value = _TYPES.get(kind, str)(text)
    except (ValueError, KeyError) as error:
        raise ValueError(f"allowed: {_ALLOWED[kind]}") from error
    if isinstance(value, int) and abs(value) >= _LARGEST:
        raise ValueError("allowed: whole numbers of 64 bits")
    return value


def forms_of(value: Any) -> Any:
    """Return a text composed and decomposed (Unicode's NFC and NFD), which count as the same; other values as is."""
    if not isinstance(value, str) or value.isascii():
        return value
    forms = tuple(dict.fromkeys((value, normalize("NFC", value), normalize("NFD", value))))
    return forms if len(forms) > 1 else value


def interval_of(text: str) -> Interval:
    """Return the first and last instant of a `datetime`. Raises ValueError with the allowed values."""
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


def intervals_meet(one: Interval, other: Interval) -> bool:
    """Return whether two intervals have an instant in common."""
    return one[0] <= other[1] and other[0] <= one[1]


def _first(word: str) -> datetime:
    return _FIRST if word in {"", ".."} else _instant(word)[0]


def _last(word: str) -> datetime:
    return _LAST if word in {"", ".."} else _instant(word)[1]


def _instant(word: str) -> Interval:
    """Return the first and last instant: a date alone lasts to its end. Raises ValueError, OverflowError.

    Without an offset it is UTC, without seconds the minute's first; a leap second is the last instant before its end.
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
