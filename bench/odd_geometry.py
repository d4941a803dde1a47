"""Odd geometry: WKT, GeoJSON, boxes, parameters of a query, and blobs of a file; the same ones from the same seed."""

import math
import random
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import numpy as np
import shapely
from shapely.errors import ShapelyError

Rings = list[list[list[Any]]]

_NUMBERS = (
    0,
    -0.0,
    1,
    19.5,
    19.56,
    20,
    49,
    49.57,
    50,
    90,
    -90,
    180,
    -180,
    180.0000001,
    1e-320,
    1e300,
    -1e308,
    5e6,
    10**30,
)
_DEEP = 3
_TEXTS = ("nan", "inf", "-inf", "1e400", "0x10", "", "1e", "\u0661", "19,5", "--1", "1_0", "*", " 1 ", "+1", "%00")
_SYSTEMS: tuple[Any, ...] = (
    *("EPSG:3035", "EPSG:4326", "EPSG:4979", "EPSG:5773", "EPSG:27700", "urn:ogc:def:crs:EPSG::3857", "ESRI:102014"),
    *("EPSG:4978", "IAU_2015:30100", "EPSG:9" * 9, "+proj=longlat", "file:///etc/passwd", "", None, 7),
)
_KNOWN = (
    *("http://www.opengis.net/def/crs/OGC/1.3/CRS84", "http://www.opengis.net/def/crs/EPSG/0/4326"),
    *("http://www.opengis.net/def/crs/EPSG/0/3035", "http://www.opengis.net/def/crs/EPSG/0/3857", "[EPSG:3035]"),
)
_AXES = ("Lat", "Lon", "E", "N", "x", "Long", "q", "")
_POINTS = ((19.5, 49.57), (19.56, 49.57), (19.56, 49.6), (19.5, 49.6))
"""The corners of a box in which all products have something."""
_KINDS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 17, 99)
_COUNTS = (0, 1, 2, 3, 2**31 - 1, 2**32 - 1)
_DEEPEST = (1, 40, 120, 20_000)
_EQUAL = (5, 90_000, 120_000, 1_100_000)


class Odd:
    """Makes odd values; `made` is the last one."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 -- to be repeatable, not secret
        self.made: Any = None

    def one_in(self, count: int) -> bool:
        """Tell whether something comes about that does once in so many times."""
        return self.chance.random() * count < 1

    def number(self) -> Any:
        """Return a coordinate, mostly one of a real place."""
        if not self.one_in(10):
            return round(self.chance.uniform(19, 20), self.chance.choice((0, 1, 3, 15)))
        return self.chance.choice(_NUMBERS)

    def position(self) -> list[Any]:
        """Return two to four numbers, now and then fewer or more."""
        count = 2 if not self.one_in(6) else self.chance.choices((3, 4, 1, 0, 5), (8, 4, 1, 1, 1))[0]
        return [self.number() + (30 if place == 1 else 0) for place in range(count)]

    def ring(self) -> list[list[Any]]:
        """Return a ring: of random places, a box, empty, collapsed, of equal points, open, with a spike."""
        kind = self.chance.randrange(8)
        if kind == 0:
            return []
        if kind == 1:
            return [self.position()] * self.chance.choice((1, 4, 4, 9, 9, 9, 30, 300))
        if kind in {2, 3, 4}:
            x, y, side = self.chance.uniform(19, 20), self.chance.uniform(49, 50), self.chance.choice((0.1, 1, 1e-9, 0))
            return self._box(x, y, side, spike=kind == 4)  # noqa: PLR2004 -- one kind of three
        ring = [self.position() for _ in range(self.chance.choice((1, 2, 3, 4, 9, 20)))]
        return [*ring, ring[0]] if not self.one_in(10) else ring

    def _box(self, x: float, y: float, side: float, *, spike: bool = False) -> list[list[Any]]:
        ring: list[list[Any]] = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
        if spike:
            ring[2:2] = [[x + 9 * side, y], ring[1]]
        return ring

    def polygon(self) -> Rings:
        """Return rings, now and then the same one twice."""
        rings = [self.ring() for _ in range(self.chance.choice((1, 1, 1, 2, 3, 0)))]
        return rings + rings[:1] * self.one_in(20)

    def polygons(self) -> list[Rings]:
        """Return parts, now and then the same one twice."""
        parts = [self.polygon() for _ in range(self.chance.choice((1, 2, 3, 8, 0)))]
        return parts + parts[:1] * self.one_in(5)

    def geojson(self, nested: int = 0) -> Any:
        """Return something like an object of GeoJSON."""
        kind = self.chance.choice((*self._bare, *(("Feature", "FeatureCollection") if nested < _DEEP else ())))
        value = self._bare[kind]() if kind in self._bare else self._around(kind, nested)
        if self.one_in(7) and isinstance(value, dict):
            name = self.chance.choice(_SYSTEMS)
            value["crs"] = name if kind == "bbox" else {"type": "name", "properties": {"name": name}}
        return value

    @property
    def _bare(self) -> Mapping[str, Callable[[], Any]]:
        return {
            "Polygon": lambda: {"type": "Polygon", "coordinates": self.polygon()},
            "MultiPolygon": lambda: {"type": "MultiPolygon", "coordinates": self.polygons()},
            "Point": lambda: {"type": "Point", "coordinates": self.position()},
            "bbox": self.bbox,
            "deep": self._deep,
        }

    def bbox(self) -> dict[str, Any]:
        """Return a box as processes take it, mostly one with an inside."""
        if self.one_in(2):
            return {"bbox": [self.number() for _ in range(self.chance.choice((4, 4, 4, 6, 3)))]}
        west, south = self.chance.uniform(19, 20), self.chance.uniform(49, 50)
        return {"bbox": [west, south, west + self.chance.choice((1, 0.01, 1e-12)), south + 0.01]}

    def _around(self, kind: str, nested: int) -> Any:
        some = [self.geojson(nested + 1) for _ in range(self.chance.choice((1, 1, 2, 5, 0)))]
        if kind == "Feature":
            return {"type": kind, "properties": None, "geometry": some[0] if some else None}
        if self.one_in(4):
            return {"type": "GeometryCollection", "geometries": some}
        return {"type": kind, "features": [{"type": "Feature", "properties": {}, "geometry": each} for each in some]}

    def _deep(self) -> Any:
        deep: Any = self.number()
        for _ in range(self.chance.choice((1, 5, 30, 90))):
            around = {"value": deep}, {"geometry": deep, "type": "Feature"}, {"type": "Polygon", "coordinates": deep}
            deep = self.chance.choice(([deep], *around))
        return deep

    def wkt(self) -> str:
        """Return something like WKT, with empty and broken pieces."""
        if self.one_in(3_000):
            return self._equal()
        multiple = self.one_in(2)
        text = self._text(self.polygons() if multiple else [self.polygon()], multiple=multiple)
        text = self.chance.choice(("SRID=4326;", "SRID=3035;", *[""] * 5, "SRID=0;")) * self.one_in(2) + text
        text += self.chance.choice((";", " ; ", ")", "\0", " EMPTY")) * self.one_in(3)
        if self.one_in(10):
            place = self.chance.randrange(len(text))
            text = text[:place] + self.chance.choice("(),;. E-0nZ\ud800") + text[place + self.chance.randrange(2) :]
        return text

    def _text(self, polygons: list[Rings], *, multiple: bool) -> str:
        tag = "" if not self.one_in(4) else self.chance.choice((" Z", "Z", "M", "ZM", " ZM", "X"))
        parts = [self._rings(polygon) for polygon in polygons]
        body = f"({', '.join(parts)})" if multiple else parts[0] if parts else "EMPTY"
        return f"{'MULTI' * multiple}POLYGON{tag} {body}"

    def _equal(self) -> str:
        """Return a ring of up to a million equal points, or as many brackets, or empty parts."""
        count, kind = self.chance.choice(_EQUAL), self.chance.randrange(4)
        if kind == 0:
            return f"POLYGON {'(' * count}19 49{')' * count}"
        if kind == 1:
            return f"MULTIPOLYGON ({'EMPTY, ' * count}(({', '.join(f'{x} {y}' for x, y in (*_POINTS, _POINTS[0]))})))"
        around = "0 0, 1 0, 1 1, " if kind == 2 else ""  # noqa: PLR2004 -- one kind of four
        return f"POLYGON (({around}{'19.5 49.5, ' * count}{around[:3] or '19.5 49.5'}))"

    def _rings(self, polygon: Rings) -> str:
        return f"({', '.join(map(self._ring, polygon))})" if polygon else "EMPTY"

    def _ring(self, ring: list[list[Any]]) -> str:
        if not ring:
            return self.chance.choice(("EMPTY", "EMPTY", "EMPTY", "()"))
        if self.one_in(30):
            ring = [*ring]
            place = self.chance.randrange(len(ring))
            ring[place] = [self.chance.choice(_TEXTS), *ring[place][1:]]
        return f"({', '.join(' '.join(map(str, position)) for position in ring)})"

    def value(self) -> Any:
        """Return an area as somebody may send it."""
        self.made = self.wkt() if self.one_in(2) else self.geojson()
        return self.made

    def twins(self) -> tuple[Any, ...]:
        """Return the same area in forms that are all taken with the same size, or none; without empty parts first."""
        parts = [self._filled() for _ in range(self.chance.choice((1, 1, 2, 3)))]
        if self.one_in(3):
            parts.append([self._box(float(self.chance.randrange(19, 22)), 49.5, self.chance.choice((0.04, 0.1, 1)))])
        clean = {"type": "MultiPolygon", "coordinates": parts}
        holed = [[*part, *[[]] * self.one_in(2)] for part in parts]
        for _ in range(self.chance.randrange(3)):
            holed.insert(self.chance.randrange(len(holed) + 1), [])
        text = self._plain(holed)
        self.made = clean, {**clean, "coordinates": holed}, text, f"SRID=4326; {text} ;", {"value": clean}
        return tuple(self.made)

    def _filled(self) -> Rings:
        """Return a polygon that has rings, each of them closed."""
        shell = [[self.number(), self.number() + 30] for _ in range(self.chance.choice((3, 3, 4, 9)))]
        if self.one_in(2):
            middle, corners = (self.chance.uniform(19, 20), self.chance.uniform(49, 50)), self.chance.randrange(3, 30)
            angles = [(turn + self.chance.random()) / corners * 2 * math.pi for turn in range(corners)]
            shell = [[middle[0] + 0.01 * math.cos(each), middle[1] + 0.01 * math.sin(each)] for each in angles]
        return [[*shell, shell[0]]]

    def _plain(self, polygons: list[Rings]) -> str:
        def ring(points: list[list[Any]]) -> str:
            return f"({', '.join(' '.join(map(repr, point)) for point in points)})" if points else "EMPTY"

        parts = (f"({', '.join(map(ring, rings))})" if rings else "EMPTY" for rings in polygons)
        return f"MULTIPOLYGON ({', '.join(parts)})"

    def query(self, sized: bool) -> dict[str, str]:  # noqa: FBT001 -- a pair of callers
        """Return parameters that say where, for items, or for a coverage or map that may be `sized`."""
        self.made = asked = dict[str, str]()
        if self.one_in(2) or not sized:
            asked["bbox"] = self._box_text()
        else:
            asked["subset"] = ",".join(self._interval() for _ in range(self.chance.choice((1, 2, 2, 3))))
        for name in ("bbox-crs", "crs"):
            if self.one_in(4):
                asked[name] = self.chance.choice((*_KNOWN, *_KNOWN, *(str(system) for system in _SYSTEMS)))
        if sized and self.one_in(3):
            name = self.chance.choice(("width", "height", "scale-factor", "scale-size", "scaleSize", "scale-axes"))
            value = self.chance.choice(("1", "17", "64", "0", "-1", "1e300", "1e-320", "nan", "99999999", "\u0661"))
            asked[name] = value if "-" not in name + "S" or name == "scale-factor" else f"Lon({value})"
        return asked

    def _box_text(self) -> str:
        if self.one_in(3):
            x, y = self.chance.choice(((19.5, 49.6), (4_900_000, 3_000_000), (50.2, 19.8), (2_170_000, 6_380_000)))
            side = self.chance.choice((0, 1e-9, 0.01, 0.3, 100, 3000))
            return ",".join(str(each) for each in (x, y, x + side, y + side * self.chance.choice((1, 0.1, 1e-6))))
        return ",".join(self._number_text() for _ in range(self.chance.choice((4, 4, 4, 4, 6, 3, 5))))

    def _number_text(self) -> str:
        return self.chance.choice(_TEXTS) if self.one_in(15) else str(self.number() + 30 * self.one_in(2))

    def _interval(self) -> str:
        low, high = self._number_text(), "*" if self.one_in(6) else self._number_text()
        return f"{self.chance.choice(_AXES)}({low}{':' if not self.one_in(15) else ','}{high})"

    def address(self, path: str, *, sized: bool) -> str:
        """Return a path with a query that says where."""
        asked = self.query(sized)
        return f"{path}?{'&'.join(f'{name}={quote(value)}' for name, value in asked.items())}"

    def geometry(self) -> Any:
        """Return a geometry of any kind, empty and collapsed ones, with heights and measures; None now and then."""
        if self.one_in(40):
            return None
        made = self._made()
        with np.errstate(all="ignore"):
            if self.one_in(4):
                made = shapely.force_3d(made, self.chance.choice((0.0, 7.5, -1e300)))
                with suppress(ShapelyError):  # of empty parts, which have no third number
                    made = made if not self.one_in(3) else shapely.from_wkt(shapely.to_wkt(made).replace(" Z ", " M "))
        return made

    def _made(self, nested: int = 0) -> Any:
        kind = self.chance.randrange(9 if nested < _DEEP else 6)
        points = [[float(self.number()), float(self.number()) + 30] for _ in range(self.chance.choice((0, 2, 4, 9)))]
        with np.errstate(all="ignore"):
            match kind:
                case 0:
                    return shapely.Point(points[0]) if points else shapely.Point()
                case 1:
                    return shapely.LineString(points)
                case 2:
                    return shapely.MultiPoint(points)
                case 6 | 7:
                    return shapely.GeometryCollection([self._made(nested + 1) for _ in range(self.chance.randrange(4))])
        ring = [*points, points[0]] if len(points) > 2 else []  # noqa: PLR2004 -- an edge has two points
        parts = [shapely.Polygon(*self._round()), shapely.Polygon(ring), shapely.Polygon()]
        return shapely.MultiPolygon(self.chance.choices(parts, k=self.chance.randrange(4))) if kind > 3 else parts[0]  # noqa: PLR2004

    def _round(self) -> tuple[Any, Any]:
        (shell,) = self._filled()
        return shell, [self._filled()[0] for _ in range(self.chance.randrange(3))]

    def blob(self) -> bytes:
        """Return a geometry's blob as a file may have it, whole or damaged, of kinds that GEOS does not read too."""
        body = shapely.to_wkb(self.geometry() or shapely.Point(), output_dimension=4, flavor="iso")
        if self.one_in(3):
            body = self._wkb()
        if self.one_in(3) and body:
            place = self.chance.randrange(len(body))
            damage = self.chance.choice((b"", b"\xff", b"\x00", struct.pack("<I", self.chance.choice(_COUNTS))))
            body = body[:place] + damage + (body[place + len(damage) :] if not self.one_in(4) else b"")
        envelope = self.chance.choice((0, 1, 1, 2, 3, 4)) if not self.one_in(20) else 7
        box = bytes((0, 32, 48, 48, 64, 0, 0, 0)[envelope])
        self.made = b"GP\0" + bytes([1 | envelope << 1]) + struct.pack("<i", 4326) + box + body
        return bytes(self.made)

    def _wkb(self, nested: int = 0) -> bytes:
        order, kind = self.chance.choice("<>"), self.chance.choice(_KINDS)
        thousands, flags = self.chance.choice((0, 0, 0, 1, 2, 3)), self.chance.choice((0, 0, 0, 2, 4, 8, 6)) << 28
        head = struct.pack(f"{order}BI", order == "<", kind + 1000 * thousands | flags)
        if flags & 2 << 28:
            head += struct.pack(f"{order}I", 4326)
        if nested == 0 and self.one_in(100):
            return (head + struct.pack(f"{order}I", 1)) * self.chance.choice(_DEEPEST)
        count = self.chance.choice(_COUNTS[:4]) if not self.one_in(10) else self.chance.choice(_COUNTS)
        head += struct.pack(f"{order}I", count) if kind != 1 else b""
        if kind in {1, 2, 8} or nested > 1:
            return head + self._numbers(order, 8)
        if kind in {3, 17}:
            ring = struct.pack(f"{order}I", 4) + self._numbers(order, 8)
            return head + ring * min(count, 3)
        return head + b"".join(self._wkb(nested + 1) for _ in range(min(count, 3)))

    def _numbers(self, order: str, count: int) -> bytes:
        return struct.pack(f"{order}{count}d", *(float(self.number()) for _ in range(count)))
