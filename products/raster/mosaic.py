"""One class raster that is delivered as several GeoTIFFs of one grid, of any tiling."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.errors import CRSError, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from products.classes import NODATA
from products.errors import BrokenSource
from products.raster.cog import Pixels
from products.raster.tiff import TILE

_CACHE_MB = 256
_OFF_GRID = 1e-3


@dataclass(frozen=True, slots=True)
class Mosaic:
    """Open rasters of one grid and where each begins in it, in pixels; between them there is no data."""

    parts: tuple[tuple[DatasetReader, int, int], ...]
    width: int
    height: int
    transform: Affine
    epsg: int

    def read(self, column: int, row: int) -> Pixels:
        """Return the 512 x 512 pixels of a tile, 255 where nothing is; where rasters overlap the first is seen."""
        tile = np.full((TILE, TILE), NODATA, np.uint8)
        for dataset, x, y in self.parts:
            left, top = max(column * TILE, x), max(row * TILE, y)
            right, bottom = min((column + 1) * TILE, x + dataset.width), min((row + 1) * TILE, y + dataset.height)
            if left < right and top < bottom:
                pixels = _read(dataset, Window(left - x, top - y, right - left, bottom - top))
                seen = tile[top - row * TILE : bottom - row * TILE, left - column * TILE : right - column * TILE]
                np.copyto(seen, pixels, where=seen == NODATA)
        return tile


@contextmanager
def open_mosaic(sources: Sequence[Path]) -> Iterator[Mosaic]:
    """Yield the rasters as one. Raises BrokenSource naming the file that is none or differs from the first."""
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=_CACHE_MB, GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"))
        datasets = [stack.enter_context(_open(source)) for source in sources]
        yield _joined(datasets)


def _open(source: Path) -> DatasetReader:
    try:
        dataset: DatasetReader = rasterio.open(source, driver="GTiff")
        epsg = dataset.crs.to_epsg() if dataset.crs else None
    except (RasterioError, CRSError) as error:
        raise BrokenSource(f"{source.name} cannot be read as a GeoTIFF: {error}") from error
    place = dataset.transform
    faults = {
        f"it has {dataset.count} bands of {dataset.dtypes[0]}, not one of uint8": dataset.dtypes != ("uint8",),
        "it has no CRS with an EPSG code": epsg is None,
        "its pixels are not square, north up": not place.b == place.d == 0 or not place.a == -place.e > 0,
    }
    for fault, found in faults.items():
        if found:
            dataset.close()
            raise BrokenSource(f"{source.name} is no class raster: {fault}.")
    return dataset


def _joined(datasets: Sequence[DatasetReader]) -> Mosaic:
    first = datasets[0]
    for dataset in datasets[1:]:
        _agree(first, dataset)
    west, north = min(each.bounds.left for each in datasets), max(each.bounds.top for each in datasets)
    side = first.transform.a
    parts = tuple(
        (each, round((each.bounds.left - west) / side), round((north - each.bounds.top) / side)) for each in datasets
    )
    width = max(x + each.width for each, x, _ in parts)
    height = max(y + each.height for each, _, y in parts)
    return Mosaic(parts, width, height, Affine(side, 0, west, 0, -side, north), first.crs.to_epsg())


def _agree(first: DatasetReader, other: DatasetReader) -> None:
    name, against = Path(other.name).name, Path(first.name).name
    codes = first.crs.to_epsg(), other.crs.to_epsg()
    if codes[0] != codes[1]:
        raise BrokenSource(f"{name} is in EPSG:{codes[1]}, {against} in EPSG:{codes[0]}.")
    side = first.transform.a
    if other.transform.a != side:
        raise BrokenSource(f"{name} has pixels of {other.transform.a:g}, {against} of {side:g}.")
    for begin, origin in ((other.transform.c, first.transform.c), (other.transform.f, first.transform.f)):
        pixels = (begin - origin) / side
        if abs(pixels - round(pixels)) > _OFF_GRID:
            raise BrokenSource(f"{name} is not on the grid of {against}: it begins between two of its pixels.")


def _read(dataset: DatasetReader, window: Window) -> Pixels:
    try:
        pixels: Pixels = dataset.read(1, window=window)
    except RasterioError as error:
        raise BrokenSource(f"{Path(dataset.name).name} cannot be read: {error}") from error
    if dataset.nodata is not None and 0 <= dataset.nodata < NODATA:
        pixels[pixels == int(dataset.nodata)] = NODATA
    return pixels
