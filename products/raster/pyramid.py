"""A raster with its overviews, built by tiles from below and written as a Cloud-Optimized GeoTIFF."""

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from affine import Affine

from products.classes import CLASSES, NODATA, Classes
from products.progress import Report
from products.raster.cog import Pixels
from products.raster.tiff import Image, Place, framed, header

_LEVEL = 6
_TOLD = 256


@dataclass(frozen=True, slots=True)
class Pyramid:
    """The compressed tiles of a raster of `width` x `height` pixels and of its overviews, in a scratch file.

    At level n a pixel is 2**n times as wide as at level 0; `top` is the coarsest level.
    """

    scratch: BinaryIO
    width: int
    height: int
    top: int
    classes: Classes = CLASSES
    _tiles: dict[tuple[int, int, int], Place] = field(default_factory=dict)

    def add(self, level: int, column: int, row: int, pixels: Pixels) -> None:
        """Keep the 512 x 512 pixels of a tile; one that is never added has no data."""
        tile = framed(zlib.compress(pixels, _LEVEL))
        self._tiles[level, row, column] = self.scratch.tell(), len(tile)
        self.scratch.write(tile)

    def write(self, target: Path, transform: Affine, epsg: int, *, report: Report) -> None:
        """Write the GeoTIFF: the tiles by row, the coarsest overview first."""
        order = sorted(self._tiles, key=lambda key: (-key[0], *key[1:]))
        with target.open("wb") as output:
            output.write(header(self._images(order), transform, epsg, self.classes))
            for done, key in enumerate(order):
                offset, size = self._tiles[key]
                self.scratch.seek(offset)
                output.write(self.scratch.read(size))
                if done % _TOLD == 0:
                    report(done / len(order), "Writing the raster")

    def _images(self, order: list[tuple[int, int, int]]) -> list[Image]:
        places: list[dict[tuple[int, int], Place]] = [{} for _ in range(self.top + 1)]
        end = 0
        for level, row, column in order:
            size = self._tiles[level, row, column][1]
            places[level][row, column] = end, size
            end += size
        return [Image(-(-self.width >> level), -(-self.height >> level), tiles) for level, tiles in enumerate(places)]


def halve(quarters: Pixels) -> Pixels:
    """Return the pixels at half the size: of each 2 x 2 the value that is there most, data before no data.

    Of values that are there equally often, it is the one that comes first, by row.
    """
    first, second, third, fourth = (quarters[row::2, column::2] for row in (0, 1) for column in (0, 1))
    chosen = _prefer(_prefer(first, second), _prefer(third, fourth))
    for one, other in (
        (third, fourth),
        (second, fourth),
        (second, third),
        (first, fourth),
        (first, third),
        (first, second),
    ):
        chosen = np.where((one == other) & (one != NODATA), one, chosen)
    return chosen


def _prefer(one: Pixels, other: Pixels) -> Pixels:
    return np.where(one == NODATA, other, one)
