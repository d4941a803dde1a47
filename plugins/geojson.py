"""Features as GeoJSON in any CRS; and boxes as areas of a layer."""

import json
import math
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from json.encoder import encode_basestring
from types import NoneType
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from plugins.crs import Box, Crs
from plugins.features import Feature, TileQuery
from products.operation import period_of, transformer
from products.vector.times import written

NO_GEOMETRY = "null"
_DEGREE_DECIMALS = 7
_METRE_DECIMALS = 2
_HEIGHT_DECIMALS = 3
_WHOLE = 1e15
"""Numbers above have no decimals worth rounding, and the largest become infinite when rounded."""
_POINTS_A_SIDE = 100
_LEAST = 1e-9
_AREAS = 512
"""Boxes whose areas are cached: pages and maps ask for the same ones."""
_XYZ = 3
_EMPTY = re.compile(r"\[\s*\]")


def geojson_texts(geometries: NDArray[Any], source: Crs, target: Crs) -> list[str]:
    """Return the geometries in another CRS as JSON, axes in its order, to the centimetre, heights unchanged.

    Outer rings run counterclockwise in x and y (RFC 7946, 3.1.6). An empty geometry is `null`, and so is one that
    cannot be transformed or has a coordinate that is not a number. Measures (M) are dropped, as GeoJSON has none.
    """
    written = [NO_GEOMETRY] * len(geometries)
    geometries = _finite(geometries)
    geometries = np.where(_has_heights(geometries), geometries, shapely.force_2d(geometries))
    high = shapely.has_z(geometries)
    for places, dimension in ((np.flatnonzero(~high), 2), (np.flatnonzero(high), _XYZ)):
        plain = _without_measures(geometries[places], dimension)
        moved = transformed(shapely.orient_polygons(plain), source, target)
        for place, text in zip(places.tolist(), shapely.to_geojson(_rounded(moved, target, dimension)), strict=True):
            written[place] = _without_empty(text) if text else NO_GEOMETRY
    return written


def _has_heights(geometries: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which have a height at every point; the heights of the others are dropped."""
    points, owners = shapely.get_coordinates(geometries, include_z=True, return_index=True)
    heights = np.ones(len(geometries), bool)
    heights[owners[np.isnan(points[:, 2])]] = False
    return heights


def _without_measures(geometries: NDArray[Any], dimension: int) -> NDArray[Any]:
    if not shapely.has_m(geometries).any():
        return geometries
    if dimension < _XYZ:
        return np.asarray(shapely.force_2d(geometries))
    return np.asarray(shapely.from_wkb(shapely.to_wkb(geometries, output_dimension=dimension)))


def _rounded(geometries: NDArray[Any], crs: Crs, dimension: int) -> NDArray[Any]:
    """Return the geometries for writing, None for those with a coordinate that is not a number."""
    geometries = _finite(geometries, high=dimension == _XYZ)
    numbers = shapely.get_coordinates(geometries, include_z=dimension == _XYZ)
    _round(numbers[:, :2], _DEGREE_DECIMALS if crs.geographic else _METRE_DECIMALS)
    _round(numbers[:, 2:], _HEIGHT_DECIMALS)
    if crs.northing_first:
        numbers[:, :2] = numbers[:, 1::-1]
    return np.asarray(shapely.set_coordinates(geometries, numbers))


def _finite(geometries: NDArray[Any], *, high: bool = False) -> NDArray[Any]:
    """Return the geometries, None for those with a coordinate that is not a number, which GEOS does not orient."""
    numbers, owners = shapely.get_coordinates(geometries, include_z=high, return_index=True)
    wrong = np.zeros(len(geometries), bool)
    wrong[owners[~np.isfinite(numbers).all(axis=1)]] = True
    if not wrong.any():
        return geometries
    finite = geometries.copy()
    finite[wrong] = None
    return finite


def _round(numbers: NDArray[np.float64], decimals: int) -> None:
    fine = np.abs(numbers) < _WHOLE
    numbers[fine] = np.round(numbers[fine], decimals)


def _without_empty(text: str) -> str:
    return json.dumps(_filled(json.loads(text))) if _EMPTY.search(text) else text


def _filled(geometry: dict[str, Any]) -> dict[str, Any] | None:
    """Return the geometry without empty parts, None if nothing remains (RFC 7946, 3.1)."""
    name = "geometries" if "geometries" in geometry else "coordinates"
    if name == "geometries":
        parts = [filled for part in geometry[name] if (filled := _filled(part))]
        return {**geometry, name: parts} if parts else None
    if not geometry["type"].startswith("Multi"):
        return geometry if geometry[name] and geometry[name] != [[]] else None
    parts = [part for part in geometry[name] if part and part != [[]]]
    return {**geometry, name: parts} if parts else None


def area_of(boxes: Sequence[Box], whole: Box) -> Any:
    """Return what the boxes cover of a whole, in the whole's system, their edges followed; empty for nothing."""
    return _area_of(tuple(boxes), whole)


@lru_cache(_AREAS)
def _area_of(boxes: tuple[Box, ...], whole: Box) -> Any:
    parts = [_part(box, whole) for box in boxes]
    return parts[0] if len(parts) == 1 else shapely.union_all(parts)


def least_size(query: TileQuery, area: Any, native: Crs) -> float:
    """Return the size that a feature has at least in a tile, in units of the system of the tile's area."""
    west, _, east, _ = query.bounds
    [moved] = transformed(np.array([area], dtype=object), native, query.crs)
    ratio = area.area / moved.area if math.isfinite(moved.area) and moved.area > 0 else 0.0
    return float((east - west) * query.least * math.sqrt(ratio))


def _part(box: Box, whole: Box) -> Any:
    """Cut the box first: it may go beyond where the whole's system can be used, and there is nothing."""
    wide = part = _widened(box)
    with suppress(ValueError):  # an extent outside of the box's CRS: features at the poles, or far beyond
        west, south, east, north = _on_earth(whole).to(box.crs).bbox
        margin = max(east - west, north - south) / 100 + 2 * _LEAST
        around = Box((west - margin, south - margin, east + margin, north + margin), box.crs)
        cut = wide.cut(around)
        if cut is None:
            return shapely.Polygon()
        part = cut
    outline = shapely.box(*part.bbox)
    densified = shapely.segmentize(outline, outline.length / _POINTS_A_SIDE)
    moved = transformed(np.array([densified], dtype=object), box.crs, whole.crs)[0]
    if np.isfinite(shapely.get_coordinates(moved)).all() and shapely.is_valid(moved):
        return moved
    with suppress(ValueError):
        return shapely.box(*part.to(whole.crs).bbox)
    return shapely.Polygon()


def _on_earth(whole: Box) -> Box:
    """Return the extent within the longitudes and latitudes of the Earth; a damaged feature may be outside."""
    west, south, east, north = whole.bbox
    period = period_of(whole.crs.name) if whole.crs.geographic else None
    if period is None:
        return whole
    if east - west > period:
        west, east = -period / 2, period / 2
    return Box((west, max(south, -period / 4), east, min(north, period / 4)), whole.crs)


def _widened(box: Box) -> Box:
    """Return the box with a positive area, even if it is a point."""
    west, south, east, north = box.bbox
    return Box((west - _LEAST, south - _LEAST, east + _LEAST, north + _LEAST), box.crs)


def transformed(geometries: NDArray[Any], source: Crs, target: Crs) -> NDArray[Any]:
    """Return the geometries in another CRS, x before y, heights unchanged."""
    if source.name == target.name:
        return geometries

    def move(points: NDArray[Any]) -> NDArray[Any]:
        x, y = transformer(source.name, target.name).transform(points[:, 0], points[:, 1])
        return np.column_stack((x, y, *points[:, 2:].T))

    high = bool(shapely.has_z(geometries).any())
    return np.asarray(shapely.transform(geometries, move, include_z=high))


_LARGEST = 1 << 63
_DATES = {"DATE": "date", "DATETIME": "date-time"}


class ItemRow(NamedTuple):
    """A feature with its geometry as JSON text; `id` is None if it has none."""

    id: Any
    geometry: str
    properties: Mapping[str, Any]


def whole_of(feature: ItemRow) -> Feature:
    """Return the feature with its geometry as an object."""
    id_, geometry, properties = feature
    shown = {} if id_ is None else {"id": id_}
    return {"type": "Feature", **shown, "geometry": json.loads(geometry), "properties": properties}


_TEXTS: Mapping[type, Callable[[Any], str]] = {
    str: encode_basestring,
    int: repr,
    float: repr,
    bool: {True: "true", False: "false"}.__getitem__,
    NoneType: lambda _none: "null",
}
"""Writes values of SQLite as JSON; `json` creates an encoder for each call, which is slower."""


def _json(value: Any) -> str:
    return _TEXTS[type(value)](value)


def text_of(feature: ItemRow) -> str:
    """Return the feature as JSON text, with the text of its geometry."""
    id_, geometry, properties = feature
    shown = "" if id_ is None else f'"id":{_json(id_)},'
    members = ",".join([f"{encode_basestring(name)}:{_json(value)}" for name, value in properties.items()])
    return f'{{"type":"Feature",{shown}"geometry":{geometry},"properties":{{{members}}}}}'


def stored(identifier: str) -> tuple[Any, ...]:
    """Return the possible values of an id in an address: text, a number or bytes."""
    values: list[Any] = [identifier]
    with suppress(ValueError, OverflowError):
        number = int(identifier)
        values += [number] if -_LARGEST <= number < _LARGEST else []
    with suppress(ValueError, OverflowError):
        values.append(float(identifier))
    with suppress(ValueError):
        values.append(b64decode(identifier, validate=True))
    return tuple(values)


def json_type(kind: str) -> dict[str, Any]:
    """Return the JSON type of a column; a type that GeoPackage does not have follows SQLite's rules."""
    if kind in _DATES:
        return {"type": "string", "format": _DATES[kind]}
    if kind.startswith("BOOL"):
        return {"type": "boolean"}
    if "INT" in kind:
        return {"type": "integer"}
    if "BLOB" in kind:
        return {"type": "string", "contentEncoding": "base64"}
    if not any(word in kind for word in ("CHAR", "CLOB", "TEXT")) and any(word in kind for word in _NUMBERS):
        return {"type": "number"}
    return {"type": "string"}


_NUMBERS = ("REAL", "FLOA", "DOUB", "NUMERIC", "DECIMAL")


def plain(value: Any) -> Any:
    """Return a value for JSON: bytes as base64, NaN and infinity as None."""
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _truth(value: Any) -> Any:
    return bool(value) if value in (0, 1) else plain(value)


_CONVERTED: Mapping[str, Callable[[Any], Any]] = {
    "BOOLEAN": _truth,
    "BOOL": _truth,
    "DATE": lambda value: written(plain(value), "DATE"),
    "DATETIME": lambda value: written(plain(value), "DATETIME"),
}


def converted(kind: str) -> Callable[[Any], Any]:
    """Return the function that converts a value of a column of that type to JSON."""
    return _CONVERTED.get(kind, plain)
