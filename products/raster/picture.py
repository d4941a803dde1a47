"""Classes as a picture in their colours."""

import struct
import zlib

import numpy as np

from products.classes import NODATA, Classes, by_value
from products.raster.cog import Pixels

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BLACK = (0, 0, 0)


def picture(pixels: Pixels, classes: Classes, *, background: tuple[int, int, int] | None = None) -> bytes:
    """Return a palette PNG of `pixels[row, column]`; no data is transparent, or has the background's colour.

    What is no class is black.
    """
    height, width = pixels.shape
    known = by_value(classes)
    colours = [known[value].rgb if value in known else _BLACK for value in range(NODATA)]
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    lines = np.zeros((height, width + 1), np.uint8)
    lines[:, 1:] = pixels
    return (
        _SIGNATURE
        + _chunk(b"IHDR", header)
        + _chunk(b"PLTE", bytes(np.array([*colours, background or _BLACK], np.uint8)))
        + (b"" if background else _chunk(b"tRNS", b"\xff" * NODATA + b"\0"))
        + _chunk(b"IDAT", zlib.compress(lines, 6))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
