"""The raster product inside an area, as files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from products.area import Area
from products.classes import CLASSES, NODATA, Classes
from products.errors import NothingInside
from products.progress import Report, between
from products.raster.cog import Pixels, count_values
from products.raster.cut import Cut, Tile, open_cut
from products.raster.pyramid import Pyramid, halve
from products.raster.sidecars import attribute_table, auxiliary, colour_map, qgis_style, world_file
from products.raster.stored import BlockTiles
from products.raster.tiff import TILE, Key, TileBytes
from products.raster.warp import Warp
from products.vector.style import legend

_READ, _CUT = 0.1, 0.95
"""The shares of the progress after which the blocks to cut are known, and after which they are cut."""
_HALF = TILE // 2
_OFTEN = 16
"""Number of values that are counted first in each tile: counting all takes seven times as long."""
_EMPTY = 8
"""The part of a side that may be empty so that blocks can be copied: one in this number."""
READING = "Reading the raster"
NOTHING = "The product has no data inside the area."


@dataclass(slots=True)
class Extraction:
    """A running extraction: its progress within its share of the work, and the pixels counted by value.

    `source` are the stored tiles of the raster: tiles inside the area are taken from there, copied if the blocks are
    the same.
    """

    cut: Cut | Warp
    pyramid: Pyramid
    report: Report
    source: BlockTiles | None = None
    whole: float = 1.0
    done: float = 0.0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))

    def add(self, tile: Tile) -> Pixels | None:
        """Put a tile and all tiles below it into the pyramid; return its pixels, None if it has no data."""
        if source := self._source_of(tile, tile.level):
            self._take(tile, source)
            return source.read(tile.level, tile.column, tile.row)
        pixels = self._merged(tile) if tile.level else self._cut(tile)
        if pixels is not None:
            self.pyramid.add(tile.level, tile.column, tile.row, pixels)
        return pixels

    def _source_of(self, tile: Tile, level: int) -> BlockTiles | None:
        """Return the source if the whole tile is taken from it, and it has the level."""
        return self.source if self.source and tile.part.whole and self.source.has(level) else None

    def _cut(self, tile: Tile) -> Pixels | None:
        pixels = self.cut.read(tile)
        self._count(pixels, tile.share)
        return pixels if (pixels != NODATA).any() else None

    def _count(self, pixels: Pixels, share: float) -> NDArray[np.int64]:
        counts = count_values(pixels, np.argsort(-self.counts)[:_OFTEN].tolist())
        self.counts += counts
        self.done += share
        self.report(min(self.done / self.whole, 1), "Cutting the raster")
        return counts

    def _merged(self, tile: Tile) -> Pixels | None:
        merged = np.full((TILE, TILE), NODATA, np.uint8)
        found = False
        for quarter in self.cut.quarters(tile):
            pixels = self._half(quarter)
            if pixels is not None:
                found = True
                row, column = quarter.row % 2 * _HALF, quarter.column % 2 * _HALF
                merged[row : row + _HALF, column : column + _HALF] = pixels
        return merged if found else None

    def _half(self, tile: Tile) -> Pixels | None:
        """Add a tile; return its pixels at half the size."""
        if source := self._source_of(tile, tile.level + 1):
            self._take(tile, source)
            return source.read(tile.level + 1, tile.column, tile.row, side=_HALF)
        pixels = self.add(tile)
        return None if pixels is None else halve(pixels)

    def _take(self, tile: Tile, source: BlockTiles) -> None:
        """Put a tile inside the area, and all tiles below it, into the pyramid, from the source."""
        for level in range(tile.level, -1, -1):
            times = 1 << tile.level - level
            columns, rows = (
                range(first * times, min((first + 1) * times, -(-side // (TILE << level))))
                for first, side in ((tile.column, self.pyramid.width), (tile.row, self.pyramid.height))
            )
            keys = [(level, row, column) for row, column in product(rows, columns)]
            blocks = source.blocks_of(keys) if source.are_blocks(level) else {}
            if level and source.are_blocks(level):
                self.pyramid.adopt(source.blocks.file, blocks)
                continue
            found = [*blocks] if source.are_blocks(level) else keys
            for key in found:
                self._take_one(key, blocks.get(key), source, tile.share / len(found))

    def _take_one(self, key: Key, block: TileBytes | None, source: BlockTiles, share: float) -> None:
        """Put a tile with data into the pyramid: as a compressed block if possible, else as pixels."""
        level, row, column = key
        pixels = source.read(level, column, row)
        has_data = (pixels != NODATA).any() if level else self._count(pixels, share)[:NODATA].any()
        if has_data and block:
            self.pyramid.adopt(source.blocks.file, {key: block})
        elif has_data:
            self.pyramid.add(level, column, row, pixels)


def extract_raster(
    source: Path, area: Area, folder: Path, *, name: str, report: Report, classes: Classes = CLASSES
) -> tuple[Path, ...]:
    """Write the raster inside the area: `{name}.tif`, a Cloud-Optimized GeoTIFF, and the files beside it.

    A pixel belongs to the area if its centre does; outside it is 255. It stores a few tiles at a time, reads no empty
    block, and copies blocks inside the area if `on_blocks` aligns the tiles with them. Raises NothingInside,
    BrokenSource, InvalidArea.
    """
    image = folder / f"{name}.tif"
    report(0, READING)
    with open_cut(source, area) as tight, TemporaryFile(dir=folder) as scratch:
        if tight is None:
            raise NothingInside(NOTHING)
        cut = on_blocks(tight)
        top = cut.top
        pyramid = Pyramid(scratch, int(cut.window.width), int(cut.window.height), top.level, classes)
        report(_READ, READING)
        extraction = Extraction(cut, pyramid, between(report, _READ, _CUT), _tiles_of(cut))
        extraction.add(top)
        if not extraction.counts[:NODATA].any():
            raise NothingInside(NOTHING)
        transform = cut.transform
        pyramid.write(image, transform, cut.epsg, report=between(report, _CUT, 1))
    report(1, "The raster is written")
    return image, *write_sidecars(folder, name, transform, extraction.counts, classes)


def on_blocks(cut: Cut) -> Cut:
    """Return the cut with a window that begins at a corner of the raster's blocks, and of those of some overviews.

    So their compressed blocks can be copied. At most an eighth of a side is empty for that; a side of less than 4,096
    pixels gains nothing.
    """
    side = int(min(cut.window.width, cut.window.height)) // _EMPTY
    if cut.blocks is None or side < TILE:
        return cut
    return cut.aligned(TILE << min(side.bit_length() - TILE.bit_length(), len(cut.blocks.levels) - 1))


def _tiles_of(cut: Cut) -> BlockTiles | None:
    return BlockTiles(cut.blocks, int(cut.window.col_off), int(cut.window.row_off)) if cut.blocks else None


def write_sidecars(
    folder: Path, name: str, transform: Affine, counts: NDArray[np.int64], classes: Classes
) -> list[Path]:
    """Write the files beside a raster; `counts` are its pixels by value, including no data."""
    paths = []
    for suffix, content in _sidecars(transform, [*counts[:NODATA].tolist(), 0], classes).items():
        paths.append(folder / f"{name}.{suffix}")
        paths[-1].write_bytes(content.encode() if isinstance(content, str) else content)
    return paths


def _sidecars(transform: Affine, counts: list[int], classes: Classes) -> Mapping[str, bytes | str]:
    return {
        "tfw": world_file(transform),
        "tif.vat.dbf": attribute_table(counts, classes),
        "tif.vat.cpg": "UTF-8",
        "tif.clr": colour_map(classes),
        "tif.aux.xml": auxiliary(counts, classes),
        "qml": qgis_style(classes),
        "txt": legend(classes),
    }
