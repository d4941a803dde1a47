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
from pyproj import CRS, Transformer
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.io import DatasetReader
from rasterio.transform import from_bounds
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from products.classes import NODATA
from products.errors import BrokenSource, RequestTooLarge
from products.limits import MAX_PIXELS
from products.operation import MERCATOR, Bounds, metres_of_unit, period_of, reproject
from products.whole import cached_by_file

Pixels = NDArray[np.uint8]
_Target = tuple[Affine, int, int]

_CACHE_MB = 64
_READ_AHEAD = 4
_SQUARE = 1e-6
"""How much a pixel's sides may differ, relatively: those of real grids end in ...3425e-05 and ...156e-05."""
_TURNS = 3
_WORLDS = 1_000
"""How often the Earth goes round in a box of which nothing can be seen any more."""
READ_OPTIONS = {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}
"""Masks and overviews in files of their own are found by name, without a look at all other files of the folder."""


@dataclass(frozen=True, slots=True)
class Grid:
    """What a class raster is: size and bounds in its CRS, overviews as factors, the side of its blocks in pixels.

    `nodata` is the value that the file says means no data, None where it says none.
    """

    width: int
    height: int
    transform: Affine
    epsg: int
    bounds: Bounds
    overviews: tuple[int, ...]
    block: int
    nodata: float | None

    @property
    def resolution(self) -> float:
        """The side of a pixel in units of the CRS."""
        return float(self.transform.a)

    @property
    def sides(self) -> tuple[float, float]:
        """Width and height of a pixel in units of the CRS: they differ by a millionth at most."""
        return float(self.transform.a), float(-self.transform.e)

    @property
    def nominal(self) -> float:
        """The side of a pixel in metres as the CRS counts them: a degree is one of the equator."""
        return self.resolution * metres_of_unit(self.epsg)

    @property
    def metres(self) -> float:
        """The side of a pixel in metres on the ground: the nominal one, less what Mercator stretches in the middle."""
        crs = CRS.from_epsg(self.epsg)
        operation, geod = crs.coordinate_operation, crs.get_geod()
        if operation is None or geod is None or not MERCATOR.match(operation.method_name):
            return self.nominal
        x, y = self.transform @ (self.width / 2, self.height / 2)
        half = self.sides[1] / 2
        to_degrees = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
        (west, east), (south, north) = to_degrees.transform([x, x], [y - half, y + half])
        return float(geod.inv(west, south, east, north)[2])


@contextmanager
def open_cog(source: Path, overview: int | None = None) -> Iterator[DatasetReader]:
    """Yield the raster, or one of its overviews by index. Raises BrokenSource, also for what a read of it finds."""
    level = {} if overview is None else {"overview_level": overview}
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB, **READ_OPTIONS):
        try:
            with rasterio.open(source, driver="GTiff", **level) as dataset:
                if overview is None:
                    _check(dataset)
                yield dataset
        except (RasterioError, CRSError) as error:
            reason = str(error).replace(str(source), source.name)
            raise BrokenSource(f"{source.name} cannot be read as a GeoTIFF: {reason}") from error


@cached_by_file(most=1_024, beside=(".msk", ".ovr", ".aux.xml"))
def read_grid(source: Path) -> Grid:
    """Return what the raster is, without reading a pixel; opened only where it changed. Raises BrokenSource."""
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
        overviews=_factors(dataset),
        block=dataset.block_shapes[0][1],
        nodata=dataset.nodata,
    )


def _factors(dataset: DatasetReader) -> tuple[int, ...]:
    """Return the overviews as factors. GDAL has them from the width: of one column each is 1."""
    factors = tuple(dataset.overviews(1))
    if dataset.width >= min(dataset.height, dataset.block_shapes[0][1]):
        return factors
    heights = []
    for index in range(len(factors)):
        with rasterio.open(dataset.name, driver="GTiff", overview_level=index) as overview:
            heights.append(overview.height)
    return tuple(round(dataset.height / height) for height in heights)


def read_classes(dataset: DatasetReader, window: Window) -> Pixels:
    """Return the pixels of a window, 255 where the file has no data: by its nodata value, or by its mask."""
    pixels: Pixels = dataset.read(1, window=window)
    if has_mask(dataset):
        pixels[dataset.read_masks(1, window=window) == 0] = NODATA
    if dataset.nodata is not None:
        pixels[pixels == dataset.nodata] = NODATA
    return pixels


def has_mask(dataset: DatasetReader) -> bool:
    """Tell whether a raster has a mask, inside or beside it, or an alpha band."""
    return MaskFlags.per_dataset in dataset.mask_flag_enums[0]


def read_scaled(
    source: Path, bbox: Bounds, epsg: int, size: tuple[int, int], *, limit: int = MAX_PIXELS
) -> tuple[Pixels, Affine, int]:
    """Return exactly the bbox, in its CRS and of exactly `size` (width, height) pixels, with its transform and EPSG.

    Each pixel is the nearest one of the overview that fits, 255 where nothing is; beyond the antimeridian the Earth
    goes on. Raises BrokenSource, InvalidArea where the raster has no place in the CRS, and RequestTooLarge before a
    pixel is read.
    """
    width, height = size
    if width * height > limit:
        raise RequestTooLarge(f"{width} x {height} pixels were asked for; at most {limit:,} are answered.")
    grid = read_grid(source)
    pixels = np.full((height, width), NODATA, np.uint8)
    for turn in turns(bbox, reproject(grid.bounds, grid.epsg, epsg), epsg):
        there = (bbox[0] + turn, bbox[1], bbox[2] + turn, bbox[3])
        found = _read_at(source, grid, (there, epsg), size, limit)
        pixels = found if turn == 0 else np.where(pixels == NODATA, found, pixels)
    return pixels, from_bounds(*bbox, width=width, height=height), epsg


def turns(bbox: Bounds, extent: Bounds, epsg: int) -> list[float]:
    """Return by how much a box is moved round the Earth so that it meets an extent; the least first, three at most."""
    period = period_of(epsg)
    first = last = 0
    if period and bbox[2] - bbox[0] > _WORLDS * period:
        return []
    if period and bbox[2] - bbox[0] <= _TURNS * period:
        first, last = (math.ceil((extent[0] - bbox[2]) / period), math.floor((extent[2] - bbox[0]) / period))
        first, last = max(first, -_TURNS * 2), min(last, _TURNS * 2)
    moved = sorted((turn * (period or 0) for turn in range(first, last + 1)), key=abs)
    meeting = [x for x in moved if _intersection((bbox[0] + x, bbox[1], bbox[2] + x, bbox[3]), extent)]
    return meeting[:_TURNS]


def _read_at(source: Path, grid: Grid, place: tuple[Bounds, int], size: tuple[int, int], limit: int) -> Pixels:
    (bbox, epsg), (width, height) = place, size
    seen = _intersection(bbox, reproject(grid.bounds, grid.epsg, epsg))
    window = window_in(grid, reproject(seen, epsg, grid.epsg)) if seen else None
    pixels = np.full((height, width), NODATA, np.uint8)
    if not seen or not window:
        return pixels
    level = _overview(grid, window, width * height * _size(seen) / _size(bbox), limit)
    target = from_bounds(*bbox, width=width, height=height)
    x, y = _middles((target, width, height))
    columns, rows = np.flatnonzero((seen[0] <= x) & (x <= seen[2])), np.flatnonzero((seen[1] <= y) & (y <= seen[3]))
    if len(columns) and len(rows):
        begin = target @ Affine.translation(columns[0], rows[0])
        pixels[np.ix_(rows, columns)] = _warped(source, level, epsg, (begin, len(columns), len(rows)))
    return pixels


def _middles(shape: _Target) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return x of the middle of each column and y of that of each row."""
    transform, width, height = shape
    return transform.c + transform.a * (np.arange(width) + 0.5), transform.f + transform.e * (np.arange(height) + 0.5)


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
    """Return the nearest pixels. What GDAL is told to be no data it never writes: a valid 255 would become 254."""
    transform, width, height = shape
    target = {"crs": f"EPSG:{epsg}", "transform": transform, "width": width, "height": height}
    with open_cog(source, level) as dataset:
        if dataset.crs.to_epsg() == epsg:
            return _nearest(dataset, shape)
        empty = NODATA if dataset.nodata is None else dataset.nodata
        missing = {"add_alpha": True} if has_mask(dataset) else {"src_nodata": empty, "nodata": empty}
        with WarpedVRT(dataset, resampling=Resampling.nearest, **target, **missing) as warped:
            pixels: Pixels = warped.read(1)
            if has_mask(dataset):
                pixels[warped.read(2) == 0] = NODATA
            if dataset.nodata is not None:
                pixels[pixels == dataset.nodata] = NODATA
            return pixels


def _nearest(dataset: DatasetReader, shape: _Target) -> Pixels:
    """Return the pixels that hold the middles of those of a target in the same CRS: at the same scale exactly they."""
    _, width, height = shape
    x, y = _middles(shape)
    place = dataset.transform
    columns, rows = np.floor((x - place.c) / place.a).astype(int), np.floor((y - place.f) / place.e).astype(int)
    across, down = _inside(columns, dataset.width), _inside(rows, dataset.height)
    pixels = np.full((height, width), NODATA, np.uint8)
    if across.any() and down.any():
        left, top = columns[across].min(), rows[down].min()
        window = Window(int(left), int(top), int(columns[across].max() - left + 1), int(rows[down].max() - top + 1))
        pixels[np.ix_(down, across)] = read_classes(dataset, window)[np.ix_(rows[down] - top, columns[across] - left)]
    return pixels


def _inside(numbers: NDArray[np.int_], size: int) -> NDArray[np.bool_]:
    return (numbers >= 0) & (numbers < size)


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
    name, masked, grid = Path(dataset.name).name, has_mask(dataset), grid_fault(dataset.transform)
    faults = {
        f"it has {dataset.count} bands of {dataset.dtypes[0]}, not one of uint8": dataset.dtypes != ("uint8",),
        "it is not stored in square blocks": dataset.block_shapes[0][0] != dataset.block_shapes[0][1],
        "it has no CRS with an EPSG code": not is_usable(epsg_of(dataset)),
        grid: bool(grid),
        "its values have a scale or an offset": (dataset.scales[0], dataset.offsets[0]) != (1, 0),
        "its mask is in a file of its own": masked and Path(f"{dataset.name}.msk").exists(),
        "its overviews have no mask": masked and not _overviews_have_mask(dataset),
        "its nodata is no value of uint8": dataset.nodata is not None and not 0 <= dataset.nodata <= NODATA,
    }
    if found := [fault for fault, is_so in faults.items() if is_so]:
        raise BrokenSource(f"{name} is no class raster: {', '.join(found)}. `landcast product add` may make one of it.")


def _overviews_have_mask(dataset: DatasetReader) -> bool:
    if not dataset.overviews(1):
        return True
    with rasterio.open(dataset.name, driver="GTiff", overview_level=0) as overview:
        return has_mask(overview)


def epsg_of(dataset: DatasetReader) -> int | None:
    """Return the EPSG code of a raster's CRS, None where it has none. Raises rasterio's CRSError."""
    code: int | None = dataset.crs.to_epsg() if dataset.crs else None
    return code


def is_usable(epsg: int | None) -> bool:
    """Tell whether a CRS has an EPSG code and is one of two axes on the Earth."""
    if epsg is None:
        return False
    crs = CRS.from_epsg(epsg)
    return len(crs.axis_info) == 2 and (crs.is_geographic or crs.is_projected)  # noqa: PLR2004 - x and y


def grid_fault(transform: Affine) -> str:
    """Return in words why pixels are not square, within a millionth, with rows from north to south; else nothing."""
    width, height = transform.a, -transform.e
    if transform.b or transform.d:
        return "its pixels are not square, north up: the grid is rotated; gdalwarp makes it straight"
    if height <= 0 or width <= 0:
        return "its pixels are not square, north up: its rows run from south to north; gdalwarp turns them"
    if abs(width - height) > _SQUARE * height:
        return f"its pixels are not square, north up, but {width:.10g} x {height:.10g}"
    return ""
