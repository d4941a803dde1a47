"""A raster with its overviews, built bottom-up by tiles and written as a Cloud-Optimized GeoTIFF."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import deflate
import numpy as np
from affine import Affine
from numpy.typing import NDArray

from products.classes import CLASSES, NODATA, Classes
from products.progress import Report
from products.raster.cog import Pixels
from products.raster.tiff import FRAME, TILE, Image, Key, TileBytes, framed, header

_LEVEL = 6
_BLOCKS_A_REPORT = 256


class _Stored(NamedTuple):
    file: BinaryIO
    offset: int
    size: int

    def read(self) -> bytes:
        self.file.seek(self.offset)
        return self.file.read(self.size)


@dataclass(frozen=True, slots=True)
class Pyramid:
    """The compressed tiles of a raster of `width` x `height` pixels and of its overviews, in a scratch file and others.

    `top` is the coarsest level.
    """

    scratch: BinaryIO
    width: int
    height: int
    top: int
    classes: Classes = CLASSES
    _tiles: dict[Key, _Stored] = field(default_factory=dict)

    def add(self, level: int, column: int, row: int, pixels: Pixels) -> None:
        """Store the 512 x 512 pixels of a tile; a tile that is not added has no data."""
        tile = deflate.zlib_compress(pixels, _LEVEL)
        self._tiles[level, row, column] = _Stored(self.scratch, self.scratch.seek(0, os.SEEK_END), len(tile))
        self.scratch.write(tile)

    @property
    def tiles(self) -> Mapping[Key, TileBytes]:
        """The position of each compressed tile in its file."""
        return {key: (stored.offset, stored.size) for key, stored in self._tiles.items()}

    def adopt(self, file: BinaryIO, tiles: Mapping[Key, TileBytes]) -> None:
        """Add compressed tiles of the same raster from another file."""
        self._tiles.update({key: _Stored(file, *place) for key, place in tiles.items()})

    def complete(self) -> None:
        """Add the missing overviews of existing tiles."""
        for level in range(1, self.top + 1):
            above = {(level, row // 2, column // 2) for below, row, column in self._tiles if below == level - 1}
            for _, row, column in sorted(above.difference(self._tiles)):
                self.add(level, column, row, halve(self._quarters(level, row, column)))

    def _quarters(self, level: int, row: int, column: int) -> Pixels:
        whole = np.full((2, TILE, 2, TILE), NODATA, np.uint8)
        for down, right in np.ndindex(2, 2):
            stored = self._tiles.get((level - 1, 2 * row + down, 2 * column + right))
            if stored:
                pixels = deflate.zlib_decompress(stored.read(), TILE * TILE)
                whole[down, :, right] = np.frombuffer(pixels, np.uint8).reshape(TILE, TILE)
        return whole.reshape(2 * TILE, 2 * TILE)

    def write(self, target: Path, transform: Affine, epsg: int, *, report: Report) -> None:
        """Write the GeoTIFF: the tiles by row, the coarsest overview first."""
        order = sorted(self._tiles, key=lambda key: (-key[0], *key[1:]))
        with target.open("wb") as output:
            output.write(header(self._images(order), transform, epsg, self.classes))
            for done, key in enumerate(order):
                output.write(framed(self._tiles[key].read()))
                if done % _BLOCKS_A_REPORT == 0:
                    report(done / len(order), "Writing the raster")

    def _images(self, order: list[Key]) -> list[Image]:
        places: list[dict[tuple[int, int], TileBytes]] = [{} for _ in range(self.top + 1)]
        end = 0
        for level, row, column in order:
            size = self._tiles[level, row, column].size + FRAME
            places[level][row, column] = end, size
            end += size
        return [Image(-(-self.width >> level), -(-self.height >> level), tiles) for level, tiles in enumerate(places)]


def halve(quarters: Pixels) -> Pixels:
    """Return the pixels at half the size: the most frequent value of each 2 x 2, data before no data.

    Of equally frequent values, the first by row is taken.
    """
    first, second, third, fourth = (
        np.ascontiguousarray(quarters[row::2, column::2]) for row in (0, 1) for column in (0, 1)
    )
    chosen = _chosen(first, second, first == NODATA)
    chosen = _chosen(chosen, _chosen(third, fourth, third == NODATA), chosen == NODATA)
    for one, other in (
        (third, fourth),
        (second, fourth),
        (second, third),
        (first, fourth),
        (first, third),
        (first, second),
    ):
        chosen = _chosen(chosen, one, (one == other) & (one != NODATA))
    return chosen


def _chosen(pixels: Pixels, other: Pixels, chosen: NDArray[np.bool_]) -> Pixels:
    """Return the other's pixels where they are chosen: bit by bit, which takes an eighth of the time of `np.where`."""
    return pixels ^ ((pixels ^ other) & np.negative(chosen.view(np.uint8)))
