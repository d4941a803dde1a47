"""The geometry blob of a GeoPackage (OGC 12-128r17, 2.1.3), for whole arrays.

Geometries that GEOS does not read are converted here: arcs to chords, surfaces to polygons (ISO 13249-3 WKB).
"""

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.errors import ShapelyError

from products.errors import BrokenSource

Geometries = NDArray[Any]
"""An array of shapely geometries."""

_HEADER = np.dtype([("magic", "S2"), ("version", "u1"), ("flags", "u1"), ("srs", "<i4"), ("envelope", "<f8", 4)])
_LITTLE_ENDIAN_WITH_XY_ENVELOPE = 0b11
_FIXED_BYTES = 8
_ENVELOPE_BYTES = (0, 32, 48, 48, 64)
_HEAD_BYTES, _DEEPEST = 9, 100
"""Bytes of a collection's header, and the maximum nesting of collections for GEOS, which crashes on deeper ones."""
_CHORDS = 24
"""Chords of a quarter of a circle; they deviate from the arc by at most 1/2000 of its radius."""
_DEEPEST_OF_OURS = 32
"""The maximum nesting of collections with arcs."""
_EWKB_Z, _EWKB_M, _EWKB_SRID = 0x80000000, 0x40000000, 0x20000000
_THOUSAND = 1000

_NOT_A_CURVE = (NotImplementedError, AttributeError, TypeError)
"""The exceptions of shapely for a part of a wrong type."""
_COLLECTING = {
    shapely.GeometryType.GEOMETRYCOLLECTION: shapely.geometrycollections,
    shapely.GeometryType.MULTIPOINT: shapely.multipoints,
    shapely.GeometryType.MULTILINESTRING: shapely.multilinestrings,
}

Point = tuple[float, ...]
"""x, y and, if present, z."""


def encode(geometries: Geometries, srs: int) -> list[bytes]:
    """Return a blob for each geometry, none of which may be empty."""
    headers = np.zeros(len(geometries), _HEADER)
    headers["magic"] = b"GP"
    headers["flags"] = _LITTLE_ENDIAN_WITH_XY_ENVELOPE
    headers["srs"] = srs
    headers["envelope"] = shapely.bounds(geometries)[:, [0, 2, 1, 3]]
    bodies = shapely.to_wkb(geometries, output_dimension=2, byte_order=1, flavor="iso")
    return [header.tobytes() + body for header, body in zip(headers, bodies, strict=True)]


def decode(blobs: Sequence[bytes | None]) -> Geometries:
    """Return the geometries of the blobs, arcs as chords, without empty parts and rings; None for None.

    Raises BrokenSource.
    """
    found = decode_each(blobs)
    for geometry in found:
        if isinstance(geometry, str):
            raise BrokenSource(f"a geometry cannot be read: {geometry}")
    return found


def decode_each(blobs: Sequence[Any]) -> Geometries:
    """Return the geometries of the blobs like `decode`; for an unreadable one, a text with the reason."""
    bodies = [_body(blob) for blob in blobs]
    read = np.full(len(blobs), None, dtype=object)
    try:
        read[:] = shapely.from_wkb(
            np.array([body if isinstance(body, bytes) and _is_flat(body) else None for body in bodies], dtype=object)
        )
    except (ShapelyError, NotImplementedError):
        read[:] = [_geometry(body) if isinstance(body, bytes) else None for body in bodies]
    for place, body in enumerate(bodies):
        if isinstance(body, str):
            read[place] = body
        elif body is not None and (read[place] is None or isinstance(read[place], shapely.GeometryCollection)):
            read[place] = _curved(body)  # GEOS accepts arcs in a collection, and shapely fails on them later
    geometries = np.array([isinstance(geometry, shapely.Geometry) for geometry in read], dtype=bool)
    read[geometries] = without_empty(read[geometries])
    return read


def geometries_of(keys: Sequence[Any], blobs: Sequence[Any], damaged: Callable[[Any, str], None]) -> Geometries:
    """Return the geometries; for an unreadable one `damaged` is called with key and reason, and it is None."""
    found = decode_each(blobs)
    for place, geometry in enumerate(found):
        if isinstance(geometry, str):
            damaged(keys[place], geometry)
            found[place] = None
    return found


def without_empty(geometries: NDArray[Any]) -> NDArray[Any]:
    """Return geometries without their empty parts and rings, as some functions of GEOS crash on these."""
    found = geometries.copy()
    kinds = shapely.get_type_id(geometries)
    for kind, collect in _COLLECTING.items():
        for number in np.flatnonzero(kinds == kind):
            members = shapely.get_parts(geometries[number])
            found[number] = collect(without_empty(members[~shapely.is_empty(members)]))
    surfaces = np.flatnonzero(
        ((kinds == shapely.GeometryType.POLYGON) | (kinds == shapely.GeometryType.MULTIPOLYGON))
        & ~shapely.is_empty(geometries)
    )
    parts, owners = shapely.get_parts(geometries[surfaces], return_index=True)
    rings, polygons = shapely.get_rings(parts, return_index=True)
    faulty = np.zeros(len(parts), bool)
    faulty[polygons[shapely.is_empty(rings)]] = True
    faulty |= shapely.is_empty(parts)
    for number in np.unique(owners[faulty]):
        nonempty = [_whole(part) for part in parts[owners == number] if not part.is_empty]
        multiple = kinds[surfaces[number]] == shapely.GeometryType.MULTIPOLYGON
        found[surfaces[number]] = shapely.MultiPolygon(nonempty) if multiple else nonempty[0]
    return found


def _whole(part: shapely.Polygon) -> shapely.Polygon:
    return shapely.Polygon(part.exterior, [hole for hole in part.interiors if not hole.is_empty])


def _body(blob: Any) -> bytes | str | None:
    """Return the WKB of a blob, or a text with the reason why it has none."""
    if blob is None:
        return None
    if not isinstance(blob, bytes) or len(blob) <= _FIXED_BYTES or blob[:2] != b"GP":
        return "it is not a geometry of a GeoPackage"
    code = blob[3] >> 1 & 0b111
    if code >= len(_ENVELOPE_BYTES):
        return f"its envelope is of kind {code}"
    return blob[_FIXED_BYTES + _ENVELOPE_BYTES[code] :]


def _is_flat(body: bytes) -> bool:
    """Return whether GEOS can read the WKB: its collections are not nested too deeply."""
    return len(body) <= _HEAD_BYTES * _DEEPEST or depth_of(body) <= _DEEPEST


def _geometry(body: bytes) -> Any:
    if not _is_flat(body):
        return _curved(body)
    try:
        return shapely.from_wkb(body)
    except (ShapelyError, NotImplementedError):
        return _curved(body)


def _curved(body: bytes) -> Any:
    try:
        with np.errstate(invalid="ignore"):  # shapely warns of coordinates that are not numbers
            return read_curved(body)
    except Unreadable as error:
        return f"{error}"


class Unreadable(ValueError):
    """The bytes are not a geometry of a known type."""


def read_curved(body: bytes) -> Any:
    """Return the geometry of a WKB of any type, without its measures. Raises Unreadable."""
    try:
        return _Reader(body).geometry()
    except (struct.error, ShapelyError, ValueError, ArithmeticError, LookupError, *_NOT_A_CURVE) as error:
        raise Unreadable(str(error)) from error


def depth_of(body: bytes) -> int:
    """Return the depth of nested collections in a WKB, as far as it can be read."""
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
        if self.depth > _DEEPEST_OF_OURS:
            raise Unreadable("too many collections within collections")
        made = _KINDS[kind](self, order, read)
        self.depth -= 1
        return made

    def _head(self) -> tuple[int, str, tuple[int, bool]]:
        """Return the type, the byte order, the number of coordinates of a point, and whether the third is z."""
        order = "<" if self._take("<B")[0] else ">"
        (code,) = self._take(f"{order}I")
        if code & _EWKB_SRID:
            self._take(f"{order}I")
        thousands, kind = divmod(code & 0xFFFF, _THOUSAND)  # like GEOS
        z = bool(code & _EWKB_Z) or thousands in {1, 3}
        m = bool(code & _EWKB_M) or thousands in {2, 3}
        return kind, order, (2 + z + m, z)

    def _take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(form, self.body, self.at)
        self.at += struct.calcsize(form)
        return values

    def count(self, order: str) -> int:
        """Return a number of parts; each has at least a byte."""
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
        """Skip a geometry without parts, or the header of a collection, and return its number of parts."""
        kind, order, (size, _) = self._head()
        if kind not in _PLAIN:
            return self.count(order)
        for _ in range(self.count(order) if _PLAIN[kind] == "rings" else 1):
            self.at += 8 * size * (self.count(order) if _PLAIN[kind] != "point" else 1)
        return None

    def parts(self, order: str) -> list[Any]:
        return [self.geometry() for _ in range(self.count(order))]


_PLAIN = {1: "point", 2: "points", 3: "rings", 8: "points", 17: "rings"}
"""The content of geometries other than collections."""

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
    """Join parts, each of which begins at the end of the one before."""
    del read
    points: list[Point] = []
    for part in reader.parts(order):
        given = list(part.coords)
        points += given[1:] if points and given and points[-1] == given[0] else given
    return shapely.LineString(points)


def _arcs(points: Sequence[Point]) -> Iterator[Point]:
    """Yield the points of arcs, each through three points; the last is the first of the next arc."""
    yield from points[:1]
    for i in range(0, len(points) - 2, 2):
        yield from _arc(points[i], points[i + 1], points[i + 2])
    if len(points) % 2 == 0:
        yield from points[-1:]


def _arc(a: Point, b: Point, c: Point) -> Iterator[Point]:
    """Yield the points after the first; a circle is given by two equal ends and the point across."""
    if a[:2] == c[:2]:
        x, y, sweep = (a[0] + b[0]) / 2, (a[1] + b[1]) / 2, 2 * math.pi
    else:
        ux, uy, vx, vy = b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1]
        cross = 2 * (ux * vy - uy * vx)
        if not math.isfinite(cross) or abs(cross) <= 1e-12 * (ux * ux + uy * uy + vx * vx + vy * vy):
            yield from (b, c)
            return
        uu, vv = ux * ux + uy * uy, vx * vx + vy * vy
        x, y = a[0] + (vy * uu - uy * vv) / cross, a[1] + (ux * vv - vx * uu) / cross
        sweep = (math.atan2(c[1] - y, c[0] - x) - math.atan2(a[1] - y, a[0] - x)) % (2 * math.pi)
        sweep = sweep if cross > 0 else sweep - 2 * math.pi
    begin, radius = math.atan2(a[1] - y, a[0] - x), math.hypot(a[0] - x, a[1] - y)
    steps = max(2, math.ceil(abs(sweep) / (math.pi / 2) * _CHORDS))
    for step in range(1, steps):
        angle, part = begin + sweep * step / steps, step / steps
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
