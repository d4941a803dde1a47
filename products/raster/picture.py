"""Classes, steps of a ramp, or red, green and blue as a picture: a PNG with few bits per pixel, or lossless WebP."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any

import deflate
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from products.classes import NODATA, Classes, Rgb
from products.raster.cog import Pixels
from products.raster.ramps import Ramp, shades

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB`\x82"
_BLACK = (0, 0, 0)
_LEVEL = 6
"""The level of libdeflate: as small as zlib's, at a fraction of its time."""
_MOST_COLOURS = 256
_BITS = ((2, 1), (4, 2), (16, 4))
"""Number of colours by bits per pixel."""

Coloured = NDArray[np.uint8]
"""Red, green, blue and opacity, of shape (rows, columns, 4)."""
RED_GREEN_BLUE = ("red", "green", "blue")
"""The colour interpretations of the bands of a picture."""
_PNG_LEVEL = 6
Rgba = tuple[int, int, int, int]
_CLEAR: Rgba = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Style:
    """The drawing of classes: those of `only`, or all, except the `hidden` ones, some in other colours.

    With a `ramp` there are no classes: the pixels are steps of it. With `channels` they are three bands as red, green
    and blue, each from its lowest to its highest value, and perhaps a fourth as opacity. Pixels without data, and those
    that are not drawn, are transparent or have the colour of the `background`.
    """

    classes: Classes
    hidden: frozenset[int] = frozenset()
    only: frozenset[int] | None = None
    colours: tuple[tuple[int, Rgb], ...] = ()
    background: Rgb | None = None
    ramp: Ramp | None = None
    channels: tuple[Ramp, ...] = ()

    @property
    def is_of_values(self) -> bool:
        """Whether it draws values, not classes."""
        return self.ramp is not None or bool(self.channels)

    def shows(self, value: int) -> bool:
        """Return whether pixels of a value are drawn."""
        return value != NODATA and value not in self.hidden and (self.only is None or value in self.only)


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """Colours, and for each of the 256 values of a pixel the index of its colour."""

    entries: NDArray[np.uint8]
    colours: tuple[Rgba, ...]

    def of(self, values: frozenset[int]) -> "Palette":
        """Return a palette of the colours of these values alone."""
        found = sorted({int(self.entries[value]) for value in values})
        entries = np.zeros(256, np.uint8)
        for value in values:
            entries[value] = found.index(int(self.entries[value]))
        return Palette(entries, tuple(self.colours[index] for index in found))


@lru_cache(256)
def palette_of(drawing: Style) -> Palette:
    """Return the colours of a drawing, each once, the transparent one first. Values that are no class are black."""
    clear = (*drawing.background, 255) if drawing.background else _CLEAR
    known: Mapping[int, Rgb] = {each.value: each.rgb for each in drawing.classes} | dict(drawing.colours)
    if drawing.ramp is not None:
        known = dict(enumerate(shades(drawing.ramp.colours)))
    colours = [(*known.get(value, _BLACK), 255) if drawing.shows(value) else clear for value in range(256)]
    different = list(dict.fromkeys([clear, *colours]))
    return Palette(np.array([different.index(colour) for colour in colours], np.uint8), tuple(different))


def png(pixels: Pixels, palette: Palette) -> bytes:
    """Return a PNG of `pixels[row, column]`, with 1, 2 or 4 bits per pixel for at most 2, 4 or 16 colours."""
    height, width = pixels.shape
    if len(palette.colours) > _BITS[-1][0]:
        palette = palette.of(frozenset(np.flatnonzero(np.bincount(pixels.ravel(), minlength=256)).tolist()))
    count = len(palette.colours)
    bits = next((bits for most, bits in _BITS if count <= most), 8)
    each = 8 // bits
    lines = np.zeros((height, 1 + -(-width // each)), np.uint8)  # each line begins with its filter: none
    for place in range(each):
        part = pixels[:, place::each]
        lines[:, 1 : 1 + part.shape[1]] |= (palette.entries << (8 - bits * (place + 1)))[part]
    return b"".join((_SIGNATURE, _head(width, height, bits), *_colours(palette.colours), _content(lines), _END))


def _head(width: int, height: int, bits: int) -> bytes:
    return _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 3, 0, 0, 0))


@lru_cache(256)
def _colours(colours: tuple[Rgba, ...]) -> tuple[bytes, bytes]:
    alphas = bytes(colour[3] for colour in colours).rstrip(b"\xff")
    table = b"".join(bytes(colour[:3]) for colour in colours)
    return _chunk(b"PLTE", table), _chunk(b"tRNS", alphas) if alphas else b""


Layer = tuple[Pixels, Palette] | Coloured
"""A picture: pixels with their palette, or colours."""


def encoded(layer: Layer, form: str = "png") -> bytes:
    """Return a picture as PNG, or as lossless WebP."""
    if isinstance(layer, tuple):
        return webp(*layer) if form == "webp" else png(*layer)
    if form == "webp":
        return _webp(layer)
    content = BytesIO()
    opaque = bool((layer[..., 3] == 255).all())  # noqa: PLR2004 - wholly
    Image.fromarray(layer[..., :3] if opaque else layer).save(content, "PNG", compress_level=_PNG_LEVEL)
    return content.getvalue()


def coloured(values: NDArray[Any], channels: Sequence[Ramp], nodata: float | None) -> Coloured:
    """Return values of shape (channels, rows, columns) as colours; transparent where no band has data."""
    missing = ~np.isfinite(values[:3]) if nodata is None else ~np.isfinite(values[:3]) | (values[:3] == nodata)
    picture = np.full((*values.shape[1:], 4), 255, np.uint8)
    for place, (band, each) in enumerate(zip(values, channels, strict=True)):
        share = (np.clip(band.astype(np.float64), each.low, each.high) - each.low) / (each.high - each.low)
        picture[..., place] = np.rint(np.nan_to_num(share) * 255)
    picture[missing.all(axis=0)] = 0
    return picture


def over(layer: Coloured, background: Rgb | None) -> Coloured:
    """Return colours on a background, unchanged without one."""
    if background is None:
        return layer
    return _composed([layer, np.broadcast_to(np.array([*background, 255], np.uint8), layer.shape)])


def joined(layers: Sequence[Layer]) -> Layer:
    """Return layers as one picture, the first on top."""
    if len(layers) == 1:
        return layers[0]
    of_palettes = [each for each in layers if isinstance(each, tuple)]
    if len(of_palettes) == len(layers):
        return stacked(of_palettes)
    return _composed([_as_colours(*each) if isinstance(each, tuple) else each for each in layers])


def _as_colours(values: Pixels, palette: Palette) -> Coloured:
    return np.array(palette.colours, np.uint8)[palette.entries][values]


def _composed(layers: Sequence[Coloured]) -> Coloured:
    """Return layers by their opacity, the first on top."""
    picture = Image.fromarray(np.ascontiguousarray(layers[-1]))
    for each in reversed(layers[:-1]):
        picture.alpha_composite(Image.fromarray(each))
    return np.asarray(picture)


def stacked(layers: Sequence[tuple[Pixels, Palette]]) -> tuple[Pixels, Palette]:
    """Return layers as one picture: each pixel has the colour of the first layer that is not transparent there.

    Colours after the 256th are transparent.
    """
    colours = [_CLEAR]
    stack = np.zeros(layers[0][0].shape, np.uint8)
    for values, palette in layers:
        colours += [colour for colour in palette.colours if colour not in colours and len(colours) < _MOST_COLOURS]
        numbers = [colours.index(colour) if colour in colours and colour[3] else 0 for colour in palette.colours]
        under = np.array(numbers, np.uint8)[palette.entries][values]
        stack = np.where(stack == 0, under, stack)
    return stack, Palette(np.minimum(np.arange(256), len(colours) - 1).astype(np.uint8), tuple(colours))


def webp(pixels: Pixels, palette: Palette) -> bytes:
    """Return the same colours as lossless WebP."""
    return _webp(_as_colours(pixels, palette))


def _webp(picture: Coloured) -> bytes:
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", lossless=True, quality=0, method=0, exact=False)
    return buffer.getvalue()


def _content(lines: NDArray[np.uint8]) -> bytes:
    return _chunk(b"IDAT", bytes(deflate.zlib_compress(lines, _LEVEL)))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
