"""Geometry that GEOS does not read: arcs, as chords, and patches of surfaces, as polygons (ISO 13249-3 WKB)."""

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import shapely
from shapely.errors import ShapelyError

_CHORDS = 24
"""Chords of a quarter of a circle: they stray from the arc by a two-thousandth of its radius at most."""
_DEEPEST = 32
"""Collections within collections."""
_EWKB_Z, _EWKB_M, _EWKB_SRID = 0x80000000, 0x40000000, 0x20000000
_THOUSAND = 1000

_NOT_A_CURVE = (NotImplementedError, AttributeError, TypeError)
"""What shapely raises for a part of the wrong kind."""

Point = tuple[float, ...]
"""x, y and, where there is one, z."""


class Unreadable(ValueError):
    """The bytes are no geometry of a known kind."""


def read_curved(body: bytes) -> Any:
    """Return the geometry of a WKB, any kind of it, without its measures. Raises Unreadable."""
    try:
        return _Reader(body).geometry()
    except (struct.error, ShapelyError, ValueError, ArithmeticError, LookupError, *_NOT_A_CURVE) as error:
        raise Unreadable(str(error)) from error


def depth_of(body: bytes) -> int:
    """Return how many collections of a WKB lie in each other at most, as far as it can be read."""
    reader, waiting, deepest = _Reader(body), [1], 0
    with suppress(struct.error, Unreadable):
        while waiting:
            waiting[-1] -= 1
            parts = reader.skip()
            if parts is not None:
                waiting.append(parts)
                deepest = max(deepest, len(waiting) - 1)
            while waiting and not waiting[-1]:
                waiting.pop()
    return deepest


@dataclass(slots=True)
class _Reader:
    body: bytes
    at: int = 0
    depth: int = 0

    def geometry(self) -> Any:
        kind, order, read = self._head()
        if kind not in _KINDS:
            raise Unreadable(f"geometry type {kind} is unknown")
        self.depth += 1
        if self.depth > _DEEPEST:
            raise Unreadable("too many collections within collections")
        made = _KINDS[kind](self, order, read)
        self.depth -= 1
        return made

    def _head(self) -> tuple[int, str, tuple[int, bool]]:
        """Return the kind, the order of bytes, and how many numbers a point has and whether the third is its z."""
        order = "<" if self._take("<B")[0] else ">"
        (code,) = self._take(f"{order}I")
        if code & _EWKB_SRID:
            self._take(f"{order}I")
        thousands, kind = divmod(code & 0xFFFF, _THOUSAND)  # as GEOS does
        z = bool(code & _EWKB_Z) or thousands in {1, 3}
        m = bool(code & _EWKB_M) or thousands in {2, 3}
        return kind, order, (2 + z + m, z)

    def _take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(form, self.body, self.at)
        self.at += struct.calcsize(form)
        return values

    def count(self, order: str) -> int:
        """Return a number of parts, none of which takes less than a byte."""
        (count,) = self._take(f"{order}I")
        if count > len(self.body) - self.at:
            raise Unreadable("it ends too early")
        return int(count)

    def points(self, order: str, read: tuple[int, bool], count: int | None = None) -> list[Point]:
        size, z = read
        count = self.count(order) if count is None else count
        if count * size * 8 > len(self.body) - self.at:
            raise Unreadable("it ends too early")
        numbers = self._take(f"{order}{count * size}d")
        return [numbers[i : i + 2 + z] for i in range(0, count * size, size)]

    def skip(self) -> int | None:
        """Go past a geometry without parts, or past the head of a collection: then return how many it has."""
        kind, order, (size, _) = self._head()
        if kind not in _PLAIN:
            return self.count(order)
        for _ in range(self.count(order) if _PLAIN[kind] == "rings" else 1):
            self.at += 8 * size * (self.count(order) if _PLAIN[kind] != "point" else 1)
        return None

    def parts(self, order: str) -> list[Any]:
        return [self.geometry() for _ in range(self.count(order))]


_PLAIN = {1: "point", 2: "points", 3: "rings", 8: "points", 17: "rings"}
"""What geometries have that are no collections."""

_Make = Callable[[_Reader, str, tuple[int, bool]], Any]


def _point(reader: _Reader, order: str, read: tuple[int, bool]) -> Any:
    (point,) = reader.points(order, read, 1)
    return shapely.Point() if all(map(math.isnan, point)) else shapely.Point(point)


def _polygon(reader: _Reader, order: str, read: tuple[int, bool]) -> Any:
    return _of_rings([reader.points(order, read) for _ in range(reader.count(order))])


def _curve_polygon(reader: _Reader, order: str, read: tuple[int, bool]) -> Any:
    del read
    return _of_rings([list(ring.coords) for ring in reader.parts(order)])


def _of_rings(rings: list[Sequence[Any]]) -> Any:
    rings = [ring for ring in rings if len(ring)]
    return shapely.Polygon(rings[0], rings[1:]) if rings else shapely.Polygon()


def _compound(reader: _Reader, order: str, read: tuple[int, bool]) -> Any:
    """Each part begins where the one before it ends."""
    del read
    points: list[Point] = []
    for part in reader.parts(order):
        given = list(part.coords)
        points += given[1:] if points and given and points[-1] == given[0] else given
    return shapely.LineString(points)


def _arcs(points: Sequence[Point]) -> Iterator[Point]:
    """Yield the points of arcs, each through three points, of which the last is the first of the next."""
    yield from points[:1]
    for i in range(0, len(points) - 2, 2):
        yield from _arc(points[i], points[i + 1], points[i + 2])
    if len(points) % 2 == 0:
        yield from points[-1:]


def _arc(a: Point, b: Point, c: Point) -> Iterator[Point]:
    """Yield the points after the first; a circle is given by two equal ends and the point across."""
    if a[:2] == c[:2]:
        x, y, turn = (a[0] + b[0]) / 2, (a[1] + b[1]) / 2, 2 * math.pi
    else:
        ux, uy, vx, vy = b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1]
        cross = 2 * (ux * vy - uy * vx)
        if not math.isfinite(cross) or abs(cross) <= 1e-12 * (ux * ux + uy * uy + vx * vx + vy * vy):
            yield from (b, c)
            return
        uu, vv = ux * ux + uy * uy, vx * vx + vy * vy
        x, y = a[0] + (vy * uu - uy * vv) / cross, a[1] + (ux * vv - vx * uu) / cross
        turn = (math.atan2(c[1] - y, c[0] - x) - math.atan2(a[1] - y, a[0] - x)) % (2 * math.pi)
        turn = turn if cross > 0 else turn - 2 * math.pi
    begin, radius = math.atan2(a[1] - y, a[0] - x), math.hypot(a[0] - x, a[1] - y)
    steps = max(2, math.ceil(abs(turn) / (math.pi / 2) * _CHORDS))
    for step in range(1, steps):
        angle, part = begin + turn * step / steps, step / steps
        yield (
            x + radius * math.cos(angle),
            y + radius * math.sin(angle),
            *(from_ + (to - from_) * part for from_, to in zip(a[2:], c[2:], strict=True)),
        )
    yield c


def _collected(make: Callable[[list[Any]], Any]) -> _Make:
    return lambda reader, order, _: make(reader.parts(order))


def _surfaces(parts: list[Any]) -> Any:
    return shapely.MultiPolygon([polygon for part in parts for polygon in getattr(part, "geoms", [part])])


_KINDS: dict[int, _Make] = {
    1: _point,
    2: lambda reader, order, read: shapely.LineString(reader.points(order, read)),
    3: _polygon,
    4: _collected(lambda parts: shapely.MultiPoint([part for part in parts if not part.is_empty])),
    5: _collected(shapely.MultiLineString),
    6: _collected(shapely.MultiPolygon),
    7: _collected(shapely.GeometryCollection),
    8: lambda reader, order, read: shapely.LineString(list(_arcs(reader.points(order, read)))),
    9: _compound,
    10: _curve_polygon,
    11: _collected(shapely.MultiLineString),
    12: _collected(_surfaces),
    15: _collected(_surfaces),
    16: _collected(_surfaces),
    17: _polygon,
}
