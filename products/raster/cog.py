"""A Cloud-Optimized GeoTIFF of classes, read by window and overview: what a read costs is known before it is done."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.io import DatasetReader
from rasterio.transform import from_bounds
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from products.classes import NODATA
from products.errors import BrokenSource, InvalidArea, RequestTooLarge
from products.limits import MAX_PIXELS

Bounds = tuple[float, float, float, float]
"""West, south, east, north: x before y in every CRS."""
Pixels = NDArray[np.uint8]
_Target = tuple[Affine, int, int]

_CACHE_MB = 64
_READ_AHEAD = 4
_ENVELOPE_POINTS = 41


@dataclass(frozen=True, slots=True)
class Grid:
    """What a class raster is: size and bounds in its CRS, overviews as factors, the side of its blocks in pixels."""

    width: int
    height: int
    transform: Affine
    epsg: int
    bounds: Bounds
    overviews: tuple[int, ...]
    block: int

    @property
    def resolution(self) -> float:
        """The side of a pixel in units of the CRS."""
        return float(self.transform.a)


@contextmanager
def open_cog(source: Path, overview: int | None = None) -> Iterator[DatasetReader]:
    """Yield the raster, or one of its overviews by index. Raises BrokenSource, also for what a read of it finds."""
    level = {} if overview is None else {"overview_level": overview}
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB, GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        try:
            with rasterio.open(source, driver="GTiff", **level) as dataset:
                _check(dataset)
                yield dataset
        except (RasterioError, CRSError) as error:
            reason = str(error).replace(str(source), source.name)
            raise BrokenSource(f"{source.name} cannot be read as a GeoTIFF: {reason}") from error


def read_grid(source: Path) -> Grid:
    """Return what the raster is, without reading a pixel. Raises BrokenSource."""
    with open_cog(source) as dataset:
        return grid_of(dataset)


def grid_of(dataset: DatasetReader) -> Grid:
    """Return what an open raster is."""
    return Grid(
        width=dataset.width,
        height=dataset.height,
        transform=dataset.transform,
        epsg=dataset.crs.to_epsg(),
        bounds=(dataset.bounds.left, dataset.bounds.bottom, dataset.bounds.right, dataset.bounds.top),
        overviews=tuple(dataset.overviews(1)),
        block=dataset.block_shapes[0][1],
    )


def read_scaled(
    source: Path, bbox: Bounds, epsg: int, size: tuple[int, int], *, limit: int = MAX_PIXELS
) -> tuple[Pixels, Affine, int]:
    """Return exactly the bbox, in its CRS and of exactly `size` (width, height) pixels, with its transform and EPSG.

    Each pixel is the nearest one of the overview that fits, 255 where nothing is. Raises BrokenSource, InvalidArea
    where the bbox has no place in the raster's CRS, and RequestTooLarge before a pixel is read.
    """
    width, height = size
    if width * height > limit:
        raise RequestTooLarge(f"{width} x {height} pixels were asked for; at most {limit:,} are answered.")
    transform = from_bounds(*bbox, width=width, height=height)
    grid = read_grid(source)
    seen = _intersection(bbox, reproject(grid.bounds, grid.epsg, epsg))
    window = window_in(grid, reproject(seen, epsg, grid.epsg)) if seen else None
    if not seen or not window:
        return np.full((height, width), NODATA, np.uint8), transform, epsg
    level = _overview(grid, window, width * height * _size(seen) / _size(bbox), limit)
    return _warped(source, level, epsg, (transform, width, height)), transform, epsg


def reproject(bbox: Bounds, source: int, target: int) -> Bounds:
    """Return the envelope of a box in another CRS, found along its edges. Raises InvalidArea where there is none."""
    if source == target:
        return bbox
    try:
        west, south, east, north = transform_bounds(
            f"EPSG:{source}", f"EPSG:{target}", *bbox, densify_pts=_ENVELOPE_POINTS
        )
    except (RasterioError, CRSError) as error:
        raise InvalidArea(f"The bbox cannot be expressed in EPSG:{target}: {error}") from error
    return west, south, east, north


def window_in(grid: Grid, bounds: Bounds) -> Window | None:
    """Return the whole pixels that bounds in the raster's CRS touch, None where there are none."""
    seen = _intersection(bounds, grid.bounds)
    if not seen:
        return None
    left, top = ~grid.transform @ (seen[0], seen[3])
    right, bottom = ~grid.transform @ (seen[2], seen[1])
    column, row = math.floor(left), math.floor(top)
    return Window(column, row, min(math.ceil(right), grid.width) - column, min(math.ceil(bottom), grid.height) - row)


def _warped(source: Path, level: int | None, epsg: int, shape: _Target) -> Pixels:
    transform, width, height = shape
    with (
        open_cog(source, level) as dataset,
        WarpedVRT(
            dataset,
            crs=f"EPSG:{epsg}",
            transform=transform,
            width=width,
            height=height,
            resampling=Resampling.nearest,
            nodata=NODATA,
        ) as warped,
    ):
        pixels: Pixels = warped.read(1)
        return pixels


def _overview(grid: Grid, window: Window, wanted: float, limit: int) -> int | None:
    """Return the index of the coarsest overview that is not coarser than wanted, None for the raster itself."""
    pixels = window.width * window.height
    fits = [index for index, factor in enumerate(grid.overviews) if factor**2 * wanted <= pixels]
    read = pixels / grid.overviews[fits[-1]] ** 2 if fits else pixels
    if read > _READ_AHEAD * limit:
        raise RequestTooLarge(
            f"{read:,.0f} pixels would have to be read, at most {_READ_AHEAD * limit:,} are: the raster has no "
            "overview that is coarse enough. Ask for a smaller bbox."
        )
    return fits[-1] if fits else None


def _intersection(one: Bounds, other: Bounds) -> Bounds | None:
    west, south = max(one[0], other[0]), max(one[1], other[1])
    east, north = min(one[2], other[2]), min(one[3], other[3])
    return (west, south, east, north) if west < east and south < north else None


def _size(bounds: Bounds) -> float:
    return (bounds[2] - bounds[0]) * (bounds[3] - bounds[1])


def _check(dataset: DatasetReader) -> None:
    name = Path(dataset.name).name
    faults = {
        f"it has {dataset.count} bands of {dataset.dtypes[0]}, not one of uint8": dataset.dtypes != ("uint8",),
        "it is not stored in square blocks": dataset.block_shapes[0][0] != dataset.block_shapes[0][1],
        "it has no CRS with an EPSG code": dataset.crs is None or dataset.crs.to_epsg() is None,
        "its pixels are not square, north up": not _is_north_up(dataset.transform),
    }
    for fault, found in faults.items():
        if found:
            raise BrokenSource(f"{name} is no class raster: {fault}.")


def _is_north_up(transform: Affine) -> bool:
    return bool(transform.b == transform.d == 0 and transform.a == -transform.e > 0)
