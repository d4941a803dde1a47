"""The raster product inside an area, as files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from products.area import Area
from products.classes import CLASSES, NODATA, Classes
from products.errors import NothingInside
from products.progress import Report, between
from products.raster.cog import Pixels
from products.raster.cut import Cut, Tile, open_cut
from products.raster.pyramid import Pyramid, halve
from products.raster.sidecars import attribute_table, auxiliary, colour_map, qgis_style, world_file
from products.raster.tiff import TILE
from products.raster.warp import Warp
from products.vector.style import legend

_READ, _CUT = 0.1, 0.95
"""The shares after which it is known where there is something to cut, and after which it is cut."""
READING = "Reading the raster"
NOTHING = "The product has no data inside the area."


@dataclass(slots=True)
class Extraction:
    """One extraction under way: what is done of the share of all work that it is, and the pixels counted by value."""

    cut: Cut | Warp
    pyramid: Pyramid
    report: Report
    whole: float = 1.0
    done: float = 0.0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))

    def add(self, tile: Tile) -> Pixels | None:
        """Put a tile and all below it into the pyramid; return its pixels, None where it has no data."""
        pixels = self._merged(tile) if tile.level else self._cut(tile)
        if pixels is not None:
            self.pyramid.add(tile.level, tile.column, tile.row, pixels)
        return pixels

    def _cut(self, tile: Tile) -> Pixels | None:
        pixels = self.cut.read(tile)
        self.counts += np.bincount(pixels.ravel(), minlength=256)
        self.done += tile.share
        self.report(min(self.done / self.whole, 1), "Cutting the raster")
        return pixels if (pixels != NODATA).any() else None

    def _merged(self, tile: Tile) -> Pixels | None:
        whole = np.full((2 * TILE, 2 * TILE), NODATA, np.uint8)
        found = False
        for quarter in self.cut.quarters(tile):
            pixels = self.add(quarter)
            if pixels is not None:
                found = True
                row, column = quarter.row % 2 * TILE, quarter.column % 2 * TILE
                whole[row : row + TILE, column : column + TILE] = pixels
        return halve(whole) if found else None


def extract_raster(
    source: Path, area: Area, folder: Path, *, name: str, report: Report, classes: Classes = CLASSES
) -> tuple[Path, ...]:
    """Write the raster inside the area: `{name}.tif`, a Cloud-Optimized GeoTIFF, and the files beside it.

    A pixel belongs to the area when its centre does; outside it is 255. Holds a few tiles at a time, reads no empty
    block. Raises NothingInside, BrokenSource, InvalidArea.
    """
    image = folder / f"{name}.tif"
    report(0, READING)
    with open_cut(source, area) as cut, TemporaryFile(dir=folder) as scratch:
        if cut is None:
            raise NothingInside(NOTHING)
        top = cut.top
        pyramid = Pyramid(scratch, int(cut.window.width), int(cut.window.height), top.level, classes)
        report(_READ, READING)
        extraction = Extraction(cut, pyramid, between(report, _READ, _CUT))
        if extraction.add(top) is None:
            raise NothingInside(NOTHING)
        transform = cut.transform
        pyramid.write(image, transform, cut.epsg, report=between(report, _CUT, 1))
    report(1, "The raster is written")
    return image, *write_sidecars(folder, name, transform, extraction.counts, classes)


def write_sidecars(
    folder: Path, name: str, transform: Affine, counts: NDArray[np.int64], classes: Classes
) -> list[Path]:
    """Write the files that stand beside a raster; `counts` are its pixels by value, those without data included."""
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
