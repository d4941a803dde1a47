"""Odd geometry for every place where one comes in: WKT, GeoJSON, and the same as blobs of a file.

A million by hand: `python -m bench odd_areas`, or as many as TEST_ODD_AREAS says; `python -m bench.odd_areas 1000 7`
runs a thousand of the seed 7.
"""

import json
import os
import random
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.errors import GEOSException, ShapelyError

from processes.errors import InvalidInput
from processes.geojson import check_features
from processes.where import any_area_of
from products.catalogue import Catalogue, FeatureSource
from products.errors import ProductError
from products.places import places_of
from products.raster.fill import Part
from products.vector.blob import decode, encode
from products.vector.geopackage import write_geopackage
from products.vector.layer import Column, Layer

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
_LARGE, _DEEP = 1e6, 3
_LONGEST = 1_000
_WORDS = ("nan", "inf", "-inf", "1e400", "0x10", "", "1e", "\u0661", "19,5", "--1")
_SYSTEMS: tuple[Any, ...] = (
    *("EPSG:3035", "EPSG:4326", "EPSG:4979", "EPSG:5773", "EPSG:27700", "urn:ogc:def:crs:EPSG::3857", "ESRI:102014"),
    *("EPSG:4978", "IAU_2015:30100", "EPSG:9" * 9, "+proj=longlat", "file:///etc/passwd", "", None, 7),
)


class Odd:
    """Makes odd values; the same ones from the same seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 -- to be repeatable, not secret

    def one_in(self, count: int) -> bool:
        """Tell whether something comes about that does once in so many times."""
        return self.chance.randrange(count) == 0

    def number(self) -> Any:
        """Return a coordinate, mostly one of a real place."""
        if not self.one_in(10):
            return round(self.chance.uniform(19, 20), self.chance.choice((0, 1, 3, 15)))
        return self.chance.choice(_NUMBERS)

    def position(self) -> list[Any]:
        """Return two to four numbers, now and then fewer or more."""
        count = self.chance.choices((2, 3, 4, 1, 0, 5), (80, 8, 4, 1, 1, 1))[0]
        return [self.number() + (30 if place == 1 else 0) for place in range(count)]

    def ring(self) -> list[list[Any]]:
        """Return a ring: of random places, a box, empty, collapsed, of equal points, open, with a spike."""
        kind = self.chance.randrange(8)
        if kind == 0:
            return []
        if kind == 1:
            return [self.position()] * self.chance.choice((1, 4, 1000))
        if kind in {2, 3, 4}:
            x, y, side = self.chance.uniform(19, 20), self.chance.uniform(49, 50), self.chance.choice((0.1, 1, 1e-9, 0))
            ring: list[list[Any]] = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
            if kind == 4:  # noqa: PLR2004 -- a spike
                ring[2:2] = [[x + 9 * side, y], ring[1]]
            return ring
        ring = [self.position() for _ in range(self.chance.choice((1, 2, 3, 4, 9, 40)))]
        return [*ring, ring[0]] if not self.one_in(10) else ring

    def polygon(self) -> list[Any]:
        """Return rings, now and then the same one twice."""
        rings = [self.ring() for _ in range(self.chance.choice((1, 1, 1, 2, 3, 0)))]
        return rings + rings[:1] * self.one_in(20)

    def polygons(self) -> list[Any]:
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
    def _bare(self) -> dict[str, Callable[[], Any]]:
        return {
            "Polygon": lambda: {"type": "Polygon", "coordinates": self.polygon()},
            "MultiPolygon": lambda: {"type": "MultiPolygon", "coordinates": self.polygons()},
            "Point": lambda: {"type": "Point", "coordinates": self.position()},
            "bbox": lambda: {"bbox": [self.number() for _ in range(self.chance.choice((4, 4, 4, 6, 3)))]},
            "deep": self._deep,
        }

    def _around(self, kind: str, nested: int) -> Any:
        some = [self.geojson(nested + 1) for _ in range(self.chance.choice((1, 1, 2, 5, 0)))]
        if kind == "Feature":
            return {"type": kind, "properties": None, "geometry": some[0] if some else None}
        if self.one_in(4):
            return {"type": "GeometryCollection", "geometries": some}
        return {"type": kind, "features": [{"type": "Feature", "properties": {}, "geometry": each} for each in some]}

    def _deep(self) -> Any:
        deep: Any = self.number()
        for _ in range(self.chance.choice((1, 5, 90))):
            around = {"value": deep}, {"geometry": deep, "type": "Feature"}, {"type": "Polygon", "coordinates": deep}
            deep = self.chance.choice(([deep], *around))
        return deep

    def wkt(self) -> str:
        """Return something like WKT, with empty and broken pieces."""
        multiple = self.one_in(2)
        parts = [self._rings(polygon) for polygon in (self.polygons() if multiple else [self.polygon()])]
        tag = self.chance.choices(("", " Z", "Z", "M", "ZM", " ZM", "X"), (70, 5, 5, 5, 5, 5, 1))[0]
        body = f"({', '.join(parts)})" if multiple else parts[0] if parts else "EMPTY"
        text = f"{'MULTI' * multiple}POLYGON{tag} {body}"
        text = self.chance.choice(("", "", "", "SRID=4326;", "SRID=3035;", "SRID=0;", "srid=99999;")) + text
        text += self.chance.choice(("", "", "", ";", " ; ", ")", "\0", " EMPTY"))
        if self.one_in(10):
            place = self.chance.randrange(len(text))
            text = text[:place] + self.chance.choice("(),;. E-0nZ\ud800") + text[place + self.chance.randrange(2) :]
        return text

    def _rings(self, polygon: list[Any]) -> str:
        return f"({', '.join(map(self._ring, polygon))})" if polygon else "EMPTY"

    def _ring(self, ring: list[list[Any]]) -> str:
        if not ring:
            return self.chance.choice(("EMPTY", "()"))
        return f"({', '.join(' '.join(map(self._number, position)) for position in ring)})"

    def _number(self, number: Any) -> str:
        return self.chance.choice(_WORDS) if self.one_in(500) else repr(number)

    def value(self) -> Any:
        """Return an area as somebody may send it."""
        return self.wkt() if self.one_in(2) else self.geojson()


_FLAT = 1e-3
"""Square metres of an area that may be a line once it is projected."""


def _hold(fact: object, what: str) -> None:
    if not fact:
        raise AssertionError(what)


def _taken(value: Any) -> None:
    """Read an area as orders do, then do what they do with it."""
    area = any_area_of(value)
    _hold(area.geometry.is_valid, "it is valid")
    projected = area.project(3035)
    if not projected.is_empty:
        part = Part.of(projected)
        _hold(part.within(projected.bounds) is not None or projected.area < _FLAT, "it has edges")


def _features(value: Any) -> None:
    """Check a FeatureCollection as services' inputs are."""
    check_features("x", {"features": [{"type": "Feature", "properties": {}, "geometry": value}, value]})


def _parsed(value: Any) -> Any:
    with np.errstate(all="ignore"):
        return shapely.from_wkt(value) if isinstance(value, str) else shapely.from_geojson(json.dumps(value))


def _blob(value: Any) -> None:
    """Read a geometry as a file may have it, whatever is wrong with it."""
    try:
        geometry = _parsed(value)
    except (ShapelyError, ValueError):
        return
    if geometry is None:
        return
    with np.errstate(all="ignore"):
        (found,) = decode(encode(np.array([geometry], dtype=object), 4326))
    points = shapely.get_coordinates(found)
    if np.isfinite(points).all() and np.abs(points).max(initial=0) < _LARGE:
        with suppress(GEOSException):  # of a ring that is a point
            shapely.segmentize(found, 1e4)


class Collection:
    """A collection of features with one odd feature, measured by name and by box."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, 0

    def __call__(self, value: Any) -> None:
        """Write the geometry into a layer and measure it."""
        try:
            geometry = _parsed(value)
        except (ShapelyError, ValueError):
            return
        points = shapely.get_coordinates(geometry)
        if geometry is None or not len(points) or not np.isfinite(points).all():
            return
        self.number += 1
        path = self.folder / f"{self.number}.gpkg"
        epsg = 4326 if np.abs(points).max() <= 180 else 3035  # noqa: PLR2004 -- degrees
        with write_geopackage(path, Layer("x", epsg, (Column("name", "TEXT"),), geometry_type="GEOMETRY")) as writer:
            writer.add([1], np.array([geometry], dtype=object), [["Ä"]])
        catalogue = Catalogue((), (FeatureSource("parks", path),))
        for where in ({"park": "Ä"}, {"collection": "parks", "bbox": {"bbox": [-30, 30, 40, 70]}}):
            try:
                places_of(where, catalogue)
            except ProductError:
                continue
        path.unlink()


def run(count: int, seed: int) -> None:
    """Give so many odd values to every place where a geometry comes in; whatever is not a clear refusal is raised."""
    odd = Odd(seed)
    with tempfile.TemporaryDirectory() as folder:
        collection = Collection(Path(folder))
        for number in range(count):
            value = odd.value()
            takers: list[Callable[[Any], None]] = [_taken, _features, _blob]
            if number % 100 == 0:
                takers.append(collection)
            for taken in takers:
                try:
                    taken(value)
                except (InvalidInput, ProductError) as refused:
                    _hold(len(str(refused)) < _LONGEST, str(refused))
                except BaseException:
                    print(number, taken, repr(value)[:3000], file=sys.stderr)
                    raise


def measure() -> None:
    """Run TEST_ODD_AREAS cases, a million where it is not set, from a seed that is printed."""
    count, seed = int(os.environ.get("TEST_ODD_AREAS", "1000000")), random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")
    run(count, seed)
    print(f"{count:,} odd areas: each was taken or clearly refused")


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]))
