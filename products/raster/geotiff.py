"""Pixels as a GeoTIFF of any type and number of bands, written tile by tile, with its header before the tiles."""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from io import BytesIO
from typing import IO, Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from affine import Affine
from isal import isal_zlib
from numpy.typing import NDArray
from pyproj import CRS

from products.classes import NODATA, Classes

Values = NDArray[Any]
"""Of shape (bands, rows, columns)."""
_LEVEL = 1
"""The level of ISA-L's deflate: a sixteenth of the time of zlib's level 6, at one and a half times the bytes."""
_SMALL, _LARGE = 256, 512
"""Sides of a tile: of an answer of one or few tiles, and of larger answers."""
_STRIP = 65_536
"""Bytes of a strip: an answer narrower than a tile has strips, as padding would multiply a single row."""
_DEFLATE, _PALETTE, _RGB, _GREY = 8, 3, 2, 1
_ALPHA = 2
"""Opacity that the colours are not multiplied by."""
_KINDS = {"u": 1, "i": 2, "f": 3}
_TYPES = {"s": 2, "H": 3, "I": 4, "d": 12}
_INLINE = 4
_BLOCK_TAGS = 273, 279, 324, 325
"""The tags of the offsets and the sizes of strips, and of tiles."""
_KNOWN = 256
_COLOURS = 3


@dataclass(frozen=True, slots=True)
class GeoTiff:
    """The properties of a GeoTIFF: size, type and position of its pixels, the nodata value, and the names of its bands.

    With `classes`, for one band of bytes, it has their colours. With `is_rgb` the first three bands are red, green and
    blue, and with `has_alpha` a fourth is opacity.
    """

    size: tuple[int, int]
    dtype: np.dtype[Any]
    transform: Affine
    epsg: int
    nodata: float | None
    bands: Sequence[str] = ("",)
    classes: Classes = ()
    is_rgb: bool = False
    has_alpha: bool = False

    @property
    def block(self) -> tuple[int, int]:
        """Width and height of a tile or strip in pixels."""
        width, height = self.size
        if min(width, height) < _SMALL:
            return width, max(1, min(height, _STRIP // (width * self.dtype.itemsize * len(self.bands))))
        return (_SMALL, _SMALL) if max(width, height) <= _LARGE else (_LARGE, _LARGE)

    @property
    def is_tiled(self) -> bool:
        """Whether it has tiles instead of strips."""
        return min(self.size) >= _SMALL


class _Tag(NamedTuple):
    """A field of the directory: its number, the type of its values by `struct`'s letter, and its values as bytes."""

    number: int
    letter: str
    value: bytes


def geotiff(tiff: GeoTiff, rows: Callable[[int, int], Values]) -> bytes:
    """Return the bytes that `write_geotiff` writes."""
    content = BytesIO()
    write_geotiff(content, tiff, rows)
    return content.getvalue()


def write_geotiff(target: IO[bytes], tiff: GeoTiff, rows: Callable[[int, int], Values]) -> None:
    """Write the file; `rows` returns the pixels of the rows from one up to, but excluding, another.

    One row of tiles is in memory at a time. Raises OSError, and the errors of `rows`.
    """
    (width, height), (across, down) = tiff.size, tiff.block
    count = -(-width // across) * -(-height // down)
    offsets, sizes = np.zeros(count, "<u4"), np.zeros(count, "<u4")
    head, places = _head(tiff, count)
    end = len(head)
    target.seek(end)
    same: dict[bytes, tuple[int, int]] = {}
    number = 0
    for top in range(0, height, down):
        values = rows(top, min(height, top + down))
        for tile in _tiles(values, tiff):
            first = tile[:1, :1].tobytes()
            is_one = (tile == tile[0, 0]).all()
            if not is_one or first not in same:
                content = isal_zlib.compress(_predicted(tile, tiff.dtype), _LEVEL)
                target.write(content)
                place = end, len(content)
                end += len(content)
                if is_one:
                    same[first] = place
            else:
                place = same[first]
            offsets[number], sizes[number] = place
            number += 1
    for found, numbers in zip(places, (offsets, sizes), strict=True):
        head[found] = numbers.tobytes()
    target.seek(0)
    target.write(head)


def _tiles(values: Values, tiff: GeoTiff) -> Iterator[Values]:
    """Yield the tiles of a row, of shape (rows, columns, bands), the last ones padded."""
    across, down = tiff.block
    for left in range(0, values.shape[2], across):
        part = np.moveaxis(values[:, :, left : left + across], 0, 2)
        if tiff.is_tiled and part.shape[:2] != (down, across):
            whole = np.zeros((down, across, len(values)), tiff.dtype)
            whole[: part.shape[0], : part.shape[1]] = part
            part = whole
        yield np.ascontiguousarray(part, tiff.dtype.newbyteorder("<"))


def _predicted(tile: Values, dtype: np.dtype[Any]) -> Values:
    """Return the input of the compression: differences of integers of several bytes, and of the bytes of floats."""
    match _predictor(dtype):
        case 2:
            differences = tile.copy()
            differences[:, 1:] -= tile[:, :-1]
            return differences
        case 3:
            rows, columns, bands = tile.shape
            size = dtype.itemsize
            by_byte = tile.view(np.uint8).reshape(rows, columns * bands, size)[:, :, ::-1].transpose(0, 2, 1)
            line = np.ascontiguousarray(by_byte).reshape(rows, -1)
            differences = line.copy()
            differences[:, bands:] -= line[:, :-bands]
            return differences
    return tile


def _predictor(dtype: np.dtype[Any]) -> int:
    if dtype.itemsize == 1:
        return 1
    return 3 if dtype.kind == "f" else 2


def _head(tiff: GeoTiff, count: int) -> tuple[bytearray, list[slice]]:
    """Return the header and the directory, and where the offsets and the sizes of so many tiles belong in it."""
    tags = sorted([*_image_tags(tiff, count), *_place_tags(tiff)])
    begin = 8 + 2 + 12 * len(tags) + 4
    fields, values = bytearray(struct.pack("<2sHIH", b"II", 42, 8, len(tags))), bytearray()
    places = []
    for number, letter, value in tags:
        fields += struct.pack("<HHI", number, _TYPES[letter], len(value) // struct.calcsize(letter))
        is_inline = len(value) <= _INLINE
        place = len(fields) if is_inline else begin + len(values)
        if number in _BLOCK_TAGS:
            places.append(slice(place, place + len(value)))
        if is_inline:
            fields += value.ljust(_INLINE, b"\0")
        else:
            fields += struct.pack("<I", place)
            values += value + bytes(len(value) % 2)
    return fields + bytes(4) + values, places


def _image_tags(tiff: GeoTiff, count: int) -> Iterator[_Tag]:
    bands, bits = len(tiff.bands), tiff.dtype.itemsize * 8
    (width, height), (across, down) = tiff.size, tiff.block
    yield _tag(256, "I", width)
    yield _tag(257, "I", height)
    yield _tag(258, "H", *[bits] * bands)
    yield _tag(259, "H", _DEFLATE)
    yield _tag(262, "H", _PALETTE if tiff.classes else _RGB if tiff.is_rgb else _GREY)
    yield _tag(277, "H", bands)
    yield _tag(284, "H", 1)
    yield _tag(317, "H", _predictor(tiff.dtype))
    if tiff.is_tiled:
        yield _tag(322, "I", across)
        yield _tag(323, "I", down)
    else:
        yield _tag(278, "I", down)
    for number in _BLOCK_TAGS[2:] if tiff.is_tiled else _BLOCK_TAGS[:2]:
        yield _Tag(number, "I", bytes(4 * count))
    yield _tag(339, "H", *[_KINDS[tiff.dtype.kind]] * bands)
    if more := bands - (_COLOURS if tiff.is_rgb else 1):
        yield _tag(338, "H", *[_ALPHA if tiff.is_rgb and tiff.has_alpha else 0] * more)
    if tiff.classes:
        yield _Tag(320, "H", _colours(tiff.classes))
    if tiff.nodata is not None:
        nodata = f"{tiff.nodata:.17g}" if tiff.dtype.kind == "f" else f"{int(tiff.nodata)}"
        yield _Tag(42113, "s", nodata.encode() + b"\0")
    if any(tiff.bands) or tiff.classes:
        yield _Tag(42112, "s", _metadata(tuple(tiff.bands), tiff.classes) + b"\0")


@lru_cache(_KNOWN)
def _metadata(bands: tuple[str, ...], classes: Classes) -> bytes:
    """Return GDAL's metadata, escaped twice: the name of each band, and the name of each class by value."""
    names = "".join(
        f'<Item name="DESCRIPTION" sample="{number}" role="description">{escape(escape(name))}</Item>'
        for number, name in enumerate(bands)
        if name
    )
    meanings = "".join(
        f"<Item name={quoteattr(f'CLASS_{each.value}')}>{escape(escape(each.name))}</Item>" for each in classes
    )
    return f"<GDALMetadata>{names}{meanings}</GDALMetadata>".encode()


def _place_tags(tiff: GeoTiff) -> Iterator[_Tag]:
    model, key = (1, 3072) if _is_projected(tiff.epsg) else (2, 2048)
    pixel_is_area, place = 1, tiff.transform
    yield _tag(33550, "d", place.a, -place.e, 0)
    yield _tag(33922, "d", 0, 0, 0, place.c, place.f, 0)
    yield _tag(34735, "H", 1, 1, 0, 3, 1024, 0, 1, model, 1025, 0, 1, pixel_is_area, key, 0, 1, tiff.epsg)


@cache
def _is_projected(epsg: int) -> bool:
    return bool(CRS.from_epsg(epsg).is_projected)


def _tag(number: int, letter: str, *values: float) -> _Tag:
    return _Tag(number, letter, struct.pack(f"<{len(values)}{letter}", *values))


@cache
def _colours(classes: Classes) -> bytes:
    table = np.zeros((3, NODATA + 1), "<u2")
    for each in classes:
        table[:, each.value] = np.multiply(each.rgb, 257)
    return table.tobytes()
