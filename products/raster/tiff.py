"""The directories of a sparse Cloud-Optimized GeoTIFF (BigTIFF) of classes, as the bytes before its tiles."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from affine import Affine
from pyproj import CRS

from products.classes import CLASSES, NODATA, Classes

TILE = 512
"""Side of a tile in pixels."""

Key = tuple[int, int, int]
"""Level, row and column of a tile: at level n a pixel is 2**n times as wide as at level 0."""
TileBytes = tuple[int, int]
"""Offset and size of a tile in a file, in bytes."""

_LAYOUT = (
    b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
)
_STRUCTURE = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n" % len(_LAYOUT) + _LAYOUT
_HEADER = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16 + len(_STRUCTURE)) + _STRUCTURE
_METADATA = b'<GDALMetadata><Item name="OVERVIEW_RESAMPLING" domain="IMAGE_STRUCTURE">MODE</Item></GDALMetadata>'
_INLINE = 8
FRAME = 8
"""Bytes around a tile: half before it, half after it."""
_DEFLATE, _PALETTE = 8, 3
_TYPES = {"S": 2, "H": 3, "I": 4, "d": 12, "Q": 16}


@dataclass(frozen=True, slots=True)
class Image:
    """One level of the pyramid: its size in pixels, its tiles by row and column; a missing one is empty.

    Their offsets are relative to the begin of the tiles, their sizes include the frames.
    """

    width: int
    height: int
    tiles: Mapping[tuple[int, int], TileBytes]


class _Tag(NamedTuple):
    """A field of a directory: its number, the type of its values by `struct`'s letter, and its values as bytes."""

    number: int
    letter: str
    value: bytes


def framed(compressed: bytes) -> bytes:
    """Return a tile with its frame: its size before it and its last four bytes repeated, like in GDAL's COGs."""
    return struct.pack("<I", len(compressed)) + compressed + compressed[-4:]


def header(images: Sequence[Image], transform: Affine, epsg: int, classes: Classes = CLASSES) -> bytes:
    """Return all bytes before the tiles; `images` are the raster and its overviews by mode, from fine to coarse."""
    length = len(_header(images, transform, epsg, classes, begin=0))
    return _header(images, transform, epsg, classes, begin=length)


def _header(images: Sequence[Image], transform: Affine, epsg: int, classes: Classes, *, begin: int) -> bytes:
    content = bytearray(_HEADER)
    palette = _Tag(320, "H", _colours(classes))
    for image in images:
        tags = [palette, *_image_tags(image, begin, is_overview=image is not images[0])]
        tags += [*_place_tags(transform, epsg)] if image is images[0] else []
        content += _directory(sorted(tags), len(content), is_last=image is images[-1])
    return bytes(content)


def _image_tags(image: Image, begin: int, *, is_overview: bool) -> Iterator[_Tag]:
    columns, rows = -(-image.width // TILE), -(-image.height // TILE)
    offsets, sizes = np.zeros((rows, columns), "<u8"), np.zeros((rows, columns), "<u4")
    for place, (offset, size) in image.tiles.items():
        offsets[place], sizes[place] = begin + offset + FRAME // 2, size - FRAME
    yield _tag(254, "I", int(is_overview))
    yield _tag(256, "I", image.width)
    yield _tag(257, "I", image.height)
    yield _tag(258, "H", 8)
    yield _tag(259, "H", _DEFLATE)
    yield _tag(262, "H", _PALETTE)
    yield _tag(277, "H", 1)
    yield _tag(284, "H", 1)
    yield _tag(322, "I", TILE)
    yield _tag(323, "I", TILE)
    yield _Tag(324, "Q", offsets.tobytes())
    yield _Tag(325, "I", sizes.tobytes())
    yield _tag(339, "H", 1)
    yield _Tag(42113, "S", b"%d\0" % NODATA)


def _place_tags(transform: Affine, epsg: int) -> Iterator[_Tag]:
    model, key = (1, 3072) if CRS.from_epsg(epsg).is_projected else (2, 2048)
    pixel_is_area = 1
    yield _tag(33550, "d", transform.a, -transform.e, 0)
    yield _tag(33922, "d", 0, 0, 0, transform.c, transform.f, 0)
    yield _tag(34735, "H", 1, 1, 0, 3, 1024, 0, 1, model, 1025, 0, 1, pixel_is_area, key, 0, 1, epsg)
    yield _Tag(42112, "S", _METADATA + b"\0")


def _tag(number: int, letter: str, *values: float) -> _Tag:
    return _Tag(number, letter, struct.pack(f"<{len(values)}{letter}", *values))


def _colours(classes: Classes) -> bytes:
    table = np.zeros((3, 256), "<u2")
    for land_cover in classes:
        table[:, land_cover.value] = np.multiply(land_cover.rgb, 257)
    return table.tobytes()


def _directory(tags: Sequence[_Tag], begin: int, *, is_last: bool) -> bytes:
    """Return a directory at the offset `begin`: its fields, then the values that are too long for a field."""
    values_at = begin + 8 + 20 * len(tags) + 8
    fields, values = bytearray(struct.pack("<Q", len(tags))), bytearray()
    for tag in tags:
        count = len(tag.value) // struct.calcsize(f"<{tag.letter.replace('S', 'c')}")
        fields += struct.pack("<HHQ", tag.number, _TYPES[tag.letter], count)
        if len(tag.value) <= _INLINE:
            fields += tag.value.ljust(_INLINE, b"\0")
        else:
            fields += struct.pack("<Q", values_at + len(values))
            values += tag.value.ljust(-(-len(tag.value) // 8) * 8, b"\0")
    padding = bytes(-(values_at + len(values)) % 8)
    following = 0 if is_last else values_at + len(values) + len(padding)
    return bytes(fields + struct.pack("<Q", following) + values + padding)
