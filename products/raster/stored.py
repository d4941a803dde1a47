"""The compressed blocks of an open raster and of its overviews: copied, or decoded without GDAL."""

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import BinaryIO

import deflate
import numpy as np
from rasterio.io import DatasetReader

from products.classes import NODATA
from products.errors import BrokenSource
from products.raster.cog import Pixels, has_mask
from products.raster.directory import ImageDirectory, read_directories
from products.raster.tiff import TILE, Key, TileBytes
from products.whole import Version, cached_by_file, version_of

_DECODED = 32
"""Number of blocks that stay decoded: neighbours are read together if tiles are not blocks of the raster."""


@dataclass(frozen=True, slots=True)
class StoredBlocks:
    """The blocks of a raster, 512 x 512 pixels each, as zlib streams; level n is its overview of factor 2**n, by mode.

    `levels` are those with such blocks, from 0 on. An omitted block is 255.
    """

    file: BinaryIO
    levels: tuple[ImageDirectory, ...]
    _decoded: OrderedDict[TileBytes, Pixels] = field(default_factory=OrderedDict)

    def place(self, level: int, column: int, row: int) -> TileBytes | None:
        """Return offset and size of a block in the file, None for one that is omitted or outside of the raster."""
        directory = self.levels[level]
        rows, columns = directory.offsets.shape
        if not (0 <= column < columns and 0 <= row < rows) or not directory.offsets[row, column]:
            return None
        return int(directory.offsets[row, column]), int(directory.sizes[row, column])

    def read(self, level: int, left: int, top: int, shape: tuple[int, int]) -> Pixels:
        """Return pixels of a level, of `shape` (height, width), 255 beyond the raster. Raises BrokenSource."""
        height, width = shape
        pixels = np.full(shape, NODATA, np.uint8)
        right, bottom = min(left + width, self.levels[level].width), min(top + height, self.levels[level].height)
        for column, row in product(range(left // TILE, -(-right // TILE)), range(top // TILE, -(-bottom // TILE))):
            place = self.place(level, column, row)
            if place:
                x, y = column * TILE, row * TILE
                block = self._block(place)[max(0, top - y) : bottom - y, max(0, left - x) : right - x]
                down, across = max(0, y - top), max(0, x - left)
                pixels[down : down + block.shape[0], across : across + block.shape[1]] = block
        return pixels

    def _block(self, place: TileBytes) -> Pixels:
        if place in self._decoded:
            self._decoded.move_to_end(place)
            return self._decoded[place]
        block = self._decoded[place] = self._decode(*place)
        if len(self._decoded) > _DECODED:
            self._decoded.popitem(last=False)
        return block

    def _decode(self, offset: int, size: int) -> Pixels:
        name = Path(self.file.name).name
        if offset + size > os.fstat(self.file.fileno()).st_size:
            raise BrokenSource(f"{name} cannot be read as a GeoTIFF: it ends before a block does")
        try:
            content = deflate.zlib_decompress(os.pread(self.file.fileno(), size, offset), TILE * TILE)
        except deflate.DeflateError as error:
            raise BrokenSource(f"{name} cannot be read as a GeoTIFF: the block at byte {offset} is broken") from error
        if len(content) != TILE * TILE:
            raise BrokenSource(f"{name} cannot be read as a GeoTIFF: the block at byte {offset} is too short")
        return np.frombuffer(content, np.uint8).reshape(TILE, TILE)


@dataclass(frozen=True, slots=True)
class BlockTiles:
    """The tiles of a pyramid over a raster, beginning at the pixel `left`, `top`, taken from its blocks.

    Tiles of level n are blocks if the pixel is a corner of one; otherwise they overlap several.
    """

    blocks: StoredBlocks
    left: int
    top: int

    def has(self, level: int) -> bool:
        """Return whether the pixels of a level are those of the raster's overview."""
        return level < len(self.blocks.levels) and not (self.left | self.top) & ((1 << level) - 1)

    def are_blocks(self, level: int) -> bool:
        """Return whether the tiles of a level are blocks of the raster's overview."""
        return not (self.left | self.top) & ((TILE << level) - 1)

    def blocks_of(self, tiles: Sequence[Key]) -> dict[Key, TileBytes]:
        """Return the positions of the blocks that are tiles of a level, without omitted ones."""
        places = {}
        for level, row, column in tiles:
            side = TILE << level
            if place := self.blocks.place(level, self.left // side + column, self.top // side + row):
                places[level, row, column] = place
        return places

    def read(self, level: int, column: int, row: int, *, side: int = TILE) -> Pixels:
        """Return the pixels of a square of this side, by its number from the left and the top."""
        left, top = (self.left >> level) + column * side, (self.top >> level) + row * side
        return self.blocks.read(level, left, top, (side, side))


@contextmanager
def open_blocks(dataset: DatasetReader, version: Version) -> Iterator[StoredBlocks | None]:
    """Yield the blocks of an open raster, None if they are stored in another way.

    `version` is that of its file before it was opened: of a file replaced since then no block is taken. Raises
    BrokenSource, also if the file is overwritten meanwhile.
    """
    if not _is_plain(dataset):
        yield None
        return
    with Path(dataset.name).open("rb") as file:
        levels = _levels(_directories(Path(dataset.name)), dataset)
        before = _state(file)
        yield StoredBlocks(file, levels) if levels and version_of(dataset.name, ()) == version else None
        if _state(file) != before:
            raise BrokenSource(f"{Path(dataset.name).name} was overwritten while it was read")


def _state(file: BinaryIO) -> tuple[int, int]:
    """Return the properties that change when a file is overwritten, but not when its name is given to another."""
    found = os.fstat(file.fileno())
    return found.st_mtime_ns, found.st_size


def _is_plain(dataset: DatasetReader) -> bool:
    """Return whether a pixel's byte is its value, and 255 is no data."""
    return dataset.nodata in (None, NODATA) and not has_mask(dataset)


@cached_by_file(most=4, beside=())
def _directories(source: Path) -> Sequence[ImageDirectory]:
    with source.open("rb") as file:
        return tuple(read_directories(file.fileno()))


def _levels(directories: Sequence[ImageDirectory], dataset: DatasetReader) -> tuple[ImageDirectory, ...]:
    """Return the raster and the overviews by mode that each halve the one before."""
    by_mode = dataset.tags(ns="IMAGE_STRUCTURE").get("OVERVIEW_RESAMPLING", "").upper() == "MODE"
    by_mode &= dataset.nodata == NODATA  # otherwise 255 is an ordinary value
    found: list[ImageDirectory] = []
    for directory in directories[: None if by_mode else 1]:
        level = len(found)
        size = -(-dataset.width >> level), -(-dataset.height >> level)
        whole = dataset.nodata == NODATA or bool(directory.offsets.all())  # an omitted block is 0 without nodata
        if (directory.width, directory.height, directory.block) != (*size, TILE) or not whole:
            break
        if directory.is_overview != bool(level):
            break
        found.append(directory)
    return tuple(found)
