"""The directories of a GeoTIFF: the positions of the compressed blocks of a raster and its overviews in the file."""

import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_HEADERS = {42: (4, "I", "H", 12, 4), 43: (8, "Q", "Q", 20, 8)}
"""By version of TIFF: position of the first offset, letters of offsets and counts, sizes of a field and of a value."""
_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_MOST = 64
"""Maximum directories, and fields of one: a raster has an overview for each power of two, and twenty fields."""
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _ORDER, _SAMPLES = 256, 257, 258, 259, 266, 277
_PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _OFFSETS, _SIZES, _SUBFILE, _FORMAT = 317, 322, 323, 324, 325, 254, 339
_DEFAULTS = {_BITS: 1, _COMPRESSION: 1, _ORDER: 1, _SAMPLES: 1, _PREDICTOR: 1, _SUBFILE: 0, _FORMAT: 1}
_PLAIN = {_BITS: {8}, _COMPRESSION: {8, 32946}, _ORDER: {1}, _SAMPLES: {1}, _PREDICTOR: {1}, _FORMAT: {1}}
"""The fields of a directory whose blocks are zlib streams of a byte per pixel."""


@dataclass(frozen=True, slots=True)
class ImageDirectory:
    """A raster or overview whose square blocks are zlib streams of a byte per pixel; `block` is their side in pixels.

    `offsets` and `sizes` have a row for each row of blocks; 0 is an omitted block.
    """

    width: int
    height: int
    block: int
    is_overview: bool
    offsets: NDArray[np.uint64]
    sizes: NDArray[np.uint64]


class _Field(NamedTuple):
    """The type of a field's values by `struct`'s letter, their number and their position."""

    letter: str
    length: int
    at: int


class _UnknownLayoutError(ValueError):
    """The file is not a TIFF that is read here; GDAL may support it."""


def read_directories(descriptor: int) -> Iterator[ImageDirectory]:
    """Yield the directories from the first on, up to one that `ImageDirectory` does not describe."""
    with suppress(_UnknownLayoutError):
        yield from _directories(descriptor)


def _directories(descriptor: int) -> Iterator[ImageDirectory]:
    start = _read(descriptor, 16, 0)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None:
        raise _UnknownLayoutError
    (version,) = struct.unpack_from(f"{order}H", start, 2)
    if version not in _HEADERS:
        raise _UnknownLayoutError
    place, letter, *_ = _HEADERS[version]
    (at,) = struct.unpack_from(f"{order}{letter}", start, place)
    seen: set[int] = set()
    while at and at not in seen and len(seen) < _MOST:
        seen.add(at)
        fields, at = _fields(descriptor, at, order, version)
        yield _directory(descriptor, fields, order)


def _fields(descriptor: int, at: int, order: str, version: int) -> tuple[Mapping[int, _Field], int]:
    """Return the fields of the directory at an offset by their number, and the position of the next directory."""
    _, offset, counter, size, inline_size = _HEADERS[version]
    head = struct.calcsize(counter)
    (count,) = struct.unpack(f"{order}{counter}", _read(descriptor, head, at))
    if count > _MOST:
        raise _UnknownLayoutError
    content = _read(descriptor, count * size + struct.calcsize(offset), at + head)
    fields = {}
    for number in range(count):
        tag, kind, length = struct.unpack_from(f"{order}HH{offset}", content, number * size)
        letter = _NUMBERS.get(kind)
        if letter is None:
            continue
        value = number * size + size - inline_size
        inline = length * struct.calcsize(letter) <= inline_size
        place = at + head + value if inline else struct.unpack_from(f"{order}{offset}", content, value)[0]
        fields[tag] = _Field(letter, length, place)
    return fields, struct.unpack_from(f"{order}{offset}", content, count * size)[0]


def _directory(descriptor: int, fields: Mapping[int, _Field], order: str) -> ImageDirectory:
    def value(tag: int) -> int:
        if tag not in fields:
            if tag in _DEFAULTS:
                return _DEFAULTS[tag]
            raise _UnknownLayoutError
        return int(_array(descriptor, fields[tag], order, 1)[0])

    width, height, block = value(_WIDTH), value(_HEIGHT), value(_TILE_WIDTH)
    plain = all(value(tag) in values for tag, values in _PLAIN.items())
    if not plain or not block or block != value(_TILE_HEIGHT) or not {_OFFSETS, _SIZES} <= fields.keys():
        raise _UnknownLayoutError
    shape = -(-height // block), -(-width // block)
    places = (_array(descriptor, fields[tag], order, shape[0] * shape[1]).reshape(shape) for tag in (_OFFSETS, _SIZES))
    return ImageDirectory(width, height, block, bool(value(_SUBFILE)), *places)


def _array(descriptor: int, field: _Field, order: str, count: int) -> NDArray[np.uint64]:
    """Return the values of a field, which must have this number."""
    kind = np.dtype(f"{order}{field.letter}")
    if field.length != count:
        raise _UnknownLayoutError
    return np.frombuffer(_read(descriptor, count * kind.itemsize, field.at), kind).astype(np.uint64)


def _read(descriptor: int, size: int, at: int) -> bytes:
    """Return this number of bytes, after a comparison with the length of the file, which may be broken."""
    if at + size > os.fstat(descriptor).st_size:
        raise _UnknownLayoutError
    return os.pread(descriptor, size, at)
