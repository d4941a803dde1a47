"""Vector tiles (Mapbox Vector Tile 2.1) of one layer, encoded from shapely geometries in the units of the tile."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

EXTENT = 4096
"""Units of a tile along each side."""
BUFFER = 64
"""Units around a tile in which geometries are kept, so that outlines meet those of the next tile."""
SMALLEST = 512
"""The part of a tile's side below which a feature is not seen."""
_MOVE, _LINE, _CLOSE = 1, 2, 7
_POINT, _LINESTRING, _POLYGON = 1, 2, 3
_TYPES = {
    shapely.GeometryType.POINT: _POINT,
    shapely.GeometryType.MULTIPOINT: _POINT,
    shapely.GeometryType.LINESTRING: _LINESTRING,
    shapely.GeometryType.LINEARRING: _LINESTRING,
    shapely.GeometryType.MULTILINESTRING: _LINESTRING,
    shapely.GeometryType.POLYGON: _POLYGON,
    shapely.GeometryType.MULTIPOLYGON: _POLYGON,
}


def drawn(geometries: NDArray[Any], bounds: tuple[float, float, float, float]) -> NDArray[Any]:
    """Return the geometries in units of the tile of these bounds, cut at its edges, valid after they are rounded."""
    west, south, east, north = bounds
    scale = np.array([EXTENT / (east - west), -EXTENT / (north - south)])
    moved = shapely.transform(geometries, lambda points: (points - (west, north)) * scale)
    points, owners = shapely.get_coordinates(moved, return_index=True)
    moved[owners[~np.isfinite(points).all(axis=1)]] = None
    crossed = ~shapely.is_valid(moved) & ~shapely.is_missing(moved)
    moved[crossed] = shapely.make_valid(moved[crossed])
    cut = shapely.clip_by_rect(moved, -BUFFER, -BUFFER, EXTENT + BUFFER, EXTENT + BUFFER)
    return np.asarray(shapely.set_precision(cut, 1))


def encode(name: str, features: Iterable[tuple[Any, Any, Mapping[str, Any]]]) -> bytes:
    """Return a tile with a layer of these features, each an id, a geometry and attributes; empty without any.

    Geometries are in units of the tile, y downwards, whole numbers, polygons of shapely's valid kind. An id that is no
    whole number from 0 is left out, as are attributes without a value.
    """
    keys, values = _Numbers(), _Numbers()
    encoded = [_feature(keys, values, *feature) for feature in features]
    parts = [_field(2, each) for each in encoded if each]
    if not parts:
        return b""
    said = [_field(1, name.encode()), *parts]
    said += [_field(3, key.encode()) for key in keys.numbers]
    said += [_field(4, _value(value)) for _, value in values.numbers]
    said += [_tag(5, 0), _varint(EXTENT), _tag(15, 0), _varint(2)]
    return _field(3, b"".join(said))


class _Numbers:
    """Numbers things as they are met."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}

    def of(self, thing: Any) -> int:
        return self.numbers.setdefault(thing, len(self.numbers))


def _feature(keys: _Numbers, values: _Numbers, id_: Any, geometry: Any, properties: Mapping[str, Any]) -> bytes:
    kind = _TYPES.get(shapely.get_type_id(geometry))
    commands = _commands(geometry, kind) if kind and not shapely.is_empty(geometry) else []
    if not commands:
        return b""
    there = ((name, value) for name, value in properties.items() if value is not None)
    tags = [number for name, value in there for number in (keys.of(name), values.of((type(value), value)))]
    numbered = isinstance(id_, int) and not isinstance(id_, bool) and id_ >= 0
    return b"".join(
        (
            _tag(1, 0) + _varint(id_) if numbered else b"",
            _field(2, b"".join(map(_varint, tags))),
            _tag(3, 0) + _varint(kind or 0),
            _field(4, b"".join(map(_varint, commands))),
        )
    )


def _commands(geometry: Any, kind: int) -> list[int]:
    """Return the commands that draw a geometry; each place is told by its distance from the one before."""
    cursor = np.zeros(2, np.int64)
    if kind == _POINT:
        places = _whole(geometry)
        return [_command(_MOVE, len(places)), *_distances(places, cursor)]
    commands: list[int] = []
    for line, closed in _lines(geometry, kind):
        places = _whole(line)
        places = places[np.r_[True, (np.diff(places, axis=0) != 0).any(axis=1)]]
        places = places[:-1] if closed and len(places) > 1 and (places[0] == places[-1]).all() else places
        if len(places) < (3 if closed else 2):
            continue
        numbers = _distances(places, cursor)
        commands += [_command(_MOVE, 1), *numbers[:2], _command(_LINE, len(places) - 1), *numbers[2:]]
        commands += [_command(_CLOSE, 1)] if closed else []
        cursor = places[-1]
    return commands


def _lines(geometry: Any, kind: int) -> Iterable[tuple[Any, bool]]:
    """Yield the lines of a geometry, and whether they are rings; outer ones run clockwise where y is downwards."""
    parts: Sequence[Any] = shapely.get_parts(geometry)
    if kind == _LINESTRING:
        yield from ((part, False) for part in parts)
        return
    for part in shapely.orient_polygons(parts, exterior_cw=False):
        yield from ((ring, True) for ring in shapely.get_rings(part))


def _whole(geometry: Any) -> NDArray[np.int64]:
    return np.asarray(np.rint(shapely.get_coordinates(geometry)), np.int64)


def _distances(places: NDArray[np.int64], cursor: NDArray[np.int64]) -> list[int]:
    steps = np.diff(places, axis=0, prepend=cursor[None]).ravel()
    zigzag: list[int] = ((steps << 1) ^ (steps >> 63)).tolist()
    return zigzag


def _command(number: int, count: int) -> int:
    return number | count << 3


def _varint(number: int) -> bytes:
    if number < 0x80:  # noqa: PLR2004 - one byte, as most are
        return bytes((number,))
    said = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        said.append(number & 0x7F | 0x80)
        number >>= 7
    said.append(number)
    return bytes(said)


def _tag(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _field(field: int, content: bytes) -> bytes:
    return _tag(field, 2) + _varint(len(content)) + content


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return _tag(7, 0) + _varint(int(value))
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return _tag(6, 0) + _varint((value << 1) ^ (value >> 63))
    if isinstance(value, float):
        return _tag(3, 1) + struct.pack("<d", value)
    return _field(1, str(value).encode(errors="replace"))
