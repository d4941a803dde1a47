"""An open class raster whose blocks are read one by one, which is fast for the few pixels of a map tile."""

import os
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import deflate
import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from products.classes import NODATA
from products.errors import BrokenSource
from products.raster.cog import Pixels, grid_of, has_mask, open_cog, read_classes

_CACHED_BYTES = 8 * 1024**2
"""Decoded blocks of one raster that stay in memory, 32 of 512 x 512 pixels: adjacent tiles share them."""


@dataclass(frozen=True, slots=True)
class Level:
    """The raster (factor 1) or one of its overviews: its size and that of its blocks in pixels.

    If it `is_indexed`, the file's index tells which of its blocks have no data. If it `is_plain`, each block is a
    deflate stream in the file itself, which is read without GDAL.
    """

    dataset: DatasetReader
    factor: int
    width: int
    height: int
    block: int
    is_indexed: bool
    is_plain: bool


class RasterBlocks:
    """One version of a raster, for all threads; it is closed with the last reference to it.

    If the file is replaced, the old one is still read here; one that is overwritten in place is no longer read.
    """

    def __init__(self, source: Path) -> None:
        """Open the raster as it is now. Raises BrokenSource."""
        self._source = source
        self._lock = Lock()
        self._blocks: OrderedDict[tuple[int, int, int], Pixels] = OrderedDict()
        self._bytes = 0
        try:
            self._descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise BrokenSource(f"{source.name} cannot be read: {error.strerror}") from error
        weakref.finalize(self, os.close, self._descriptor)
        self._state = _state(self._descriptor)
        with open_cog(source) as dataset:
            self.grid = grid_of(dataset)
            self.levels = tuple(self._level(index) for index in (None, *range(len(self.grid.overviews))))
            self.empty = NODATA if dataset.nodata is not None or has_mask(dataset) else 0
            """The value of the pixels of an omitted block."""
            if not os.path.samestat(source.stat(), os.fstat(self._descriptor)):
                raise BrokenSource(f"{source.name} was replaced while it was opened")

    def _level(self, overview: int | None) -> Level:
        more = {} if overview is None else {"overview_level": overview}
        dataset = rasterio.open(self._source, driver="GTiff", **more)
        structure = dataset.tags(ns="IMAGE_STRUCTURE")
        factor = 1 if overview is None else self.grid.overviews[overview]
        height, width = dataset.block_shapes[0]
        is_indexed = height == width and not has_mask(dataset)
        is_plain = is_indexed and (overview is None or not Path(f"{self._source}.ovr").exists())
        is_plain = is_plain and structure.get("COMPRESSION") == "DEFLATE" and structure.get("PREDICTOR", "1") == "1"
        is_plain = is_plain and "NBITS" not in structure
        return Level(dataset, factor, dataset.width, dataset.height, width, is_indexed, is_plain)

    def level(self, step: float) -> int:
        """Return the index of the coarsest level that is not coarser than `step` pixels of the raster."""
        fits = [index for index, level in enumerate(self.levels) if level.factor <= step]
        return max(fits, key=lambda index: self.levels[index].factor, default=0)

    def window(self, number: int, left: int, top: int, right: int, bottom: int) -> tuple[Pixels, int, int] | None:
        """Return pixels of a level that contain a window, with the column and row that they begin at; 255 without data.

        None if the file omits all blocks of the window and declares a nodata value. Raises BrokenSource.
        """
        level = self.levels[number]
        columns = range(left // level.block, -(-right // level.block))
        rows = range(top // level.block, -(-bottom // level.block))
        found = {(x, y): block for y in rows for x in columns if (block := self._block(number, x, y)) is not None}
        if not found and self.empty == NODATA:
            return None
        if len(found) == len(columns) == len(rows) == 1:
            return found[columns[0], rows[0]], columns[0] * level.block, rows[0] * level.block
        pixels = np.full((bottom - top, right - left), self.empty, np.uint8)
        for (x, y), block in found.items():
            x0, y0 = x * level.block, y * level.block
            there = slice(max(0, top - y0), bottom - y0), slice(max(0, left - x0), right - x0)
            part = block[there]
            row, column = max(0, y0 - top), max(0, x0 - left)
            pixels[row : row + part.shape[0], column : column + part.shape[1]] = part
        return pixels, left, top

    def _block(self, number: int, column: int, row: int) -> Pixels | None:
        """Return a block, None for an omitted one. Raises BrokenSource."""
        key = number, column, row
        with self._lock:
            if (known := self._blocks.get(key)) is not None:
                self._blocks.move_to_end(key)
                return known
        level = self.levels[number]
        place = self._place(level, column, row) if level.is_indexed else None
        if level.is_indexed and place is None:
            return None
        block = self._decoded(level, *place) if place and level.is_plain else self._read(level, column, row)
        if _state(self._descriptor) != self._state:
            raise BrokenSource(f"{self._source.name} was overwritten while it was read")
        with self._lock:
            if key not in self._blocks:
                self._blocks[key] = block
                self._bytes += block.nbytes
            while self._bytes > _CACHED_BYTES and len(self._blocks) > 1:
                self._bytes -= self._blocks.popitem(last=False)[1].nbytes
        return block

    def _place(self, level: Level, column: int, row: int) -> tuple[int, int] | None:
        """Return offset and size of a block in the file, None for an omitted one."""
        with self._lock:
            item = level.dataset.get_tag_item
            offset, size = (item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=1) for what in ("OFFSET", "SIZE"))
        return (int(offset), int(size)) if offset and size else None

    def _decoded(self, level: Level, offset: int, size: int) -> Pixels:
        """Return a block by its position in the file, decoding at most the size of a block."""
        length = level.block**2
        try:
            content = deflate.zlib_decompress(os.pread(self._descriptor, size, offset), length)
        except deflate.DeflateError as error:
            raise BrokenSource(f"{self._source.name} has a block that cannot be decoded: {error}") from error
        if len(content) != length:
            raise BrokenSource(f"{self._source.name} has a block of {len(content)} bytes instead of {length}")
        block: Pixels = np.frombuffer(content, np.uint8).reshape(level.block, level.block)
        nodata = level.dataset.nodata
        return block if nodata in (None, NODATA) else np.where(block == nodata, np.uint8(NODATA), block)

    def _read(self, level: Level, column: int, row: int) -> Pixels:
        """Return a block as GDAL reads it, with 255 beyond the edges of the raster and where the mask has no data."""
        left, top = column * level.block, row * level.block
        width, height = min(level.block, level.width - left), min(level.block, level.height - top)
        block = np.full((level.block, level.block), NODATA, np.uint8)
        with self._lock, rasterio.Env():
            try:
                block[:height, :width] = read_classes(level.dataset, Window(left, top, width, height))
            except RasterioError as error:
                raise BrokenSource(f"{self._source.name} has a block that cannot be read: {error}") from error
        return block


def _state(descriptor: int) -> tuple[int, int]:
    """Return what changes when a file is overwritten; its number of links and its name may change."""
    found = os.fstat(descriptor)
    return found.st_mtime_ns, found.st_size
