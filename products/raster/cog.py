"""Cloud-Optimized GeoTIFFs of classes: their grid, how they are opened, and open ones for later requests."""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.enums import MaskFlags
from rasterio.errors import CRSError, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from products.classes import NODATA
from products.errors import BrokenSource
from products.operation import MERCATOR, Bounds, metres_of_unit, period_of
from products.raster.several import open_dataset
from products.remote import fault, is_remote
from products.sources import driver_of
from products.whole import Version, cached_by_file, version_of

Pixels = NDArray[np.uint8]

_CACHE_MB = 64
_SQUARE = 1e-6
"""The allowed relative difference of a pixel's sides: in real grids they end in ...3425e-05 and ...156e-05."""
_SHIFTS = 3
_WORLDS = 1_000
"""The number of turns around the Earth from which a box shows nothing."""
READ_OPTIONS = {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}
"""Masks and overviews in separate files are found by name, without listing the folder."""
BESIDE = (".msk", ".ovr", ".aux.xml")
"""Suffixes of the files that belong to a raster."""
_FORMS = {"GTiff": "GeoTIFF", "VRT": "VRT", "GTI": "tile index"}
_MOST_IDLE = 24
"""Maximum number of open datasets that are not being read."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The grid of a class raster: size and bounds in its CRS, overviews as factors, the side of its blocks in pixels.

    `nodata` is the value for no data that the file declares, or None.
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
        """The side of a pixel in metres of the CRS: a degree counts as one of the equator."""
        return self.resolution * metres_of_unit(self.epsg)

    @property
    def metres(self) -> float:
        """The side of a pixel in metres on the ground: the nominal one without Mercator's scale in the middle."""
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
def open_cog(
    source: Path, overview: int | None = None, *, check: Callable[[DatasetReader], None] | None = None
) -> Iterator[DatasetReader]:
    """Yield the raster, or one of its overviews by index; `check` replaces the check for class rasters.

    Raises BrokenSource, also for errors while it is read.
    """
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB, **READ_OPTIONS):
        try:
            with open_dataset(source, overview) as dataset:
                if overview is None:
                    (check or check_classes)(dataset)
                yield dataset
                _refuse_faults(source)
        except (RasterioError, CRSError) as error:
            raise _unreadable(source, error) from error


def _unreadable(source: Path, error: Exception) -> BrokenSource:
    if _is_remote(source) and (reason := fault()):
        return BrokenSource(reason)
    reason = str(error).replace(str(source), source.name)
    return BrokenSource(f"{source.name} cannot be read as a {_FORMS[driver_of(source)]}: {reason}")


@cached_by_file(most=1_024, beside=BESIDE)
def read_grid(source: Path) -> Grid:
    """Return the grid of the raster without reading a pixel; opens the file only if it changed. Raises BrokenSource."""
    with open_cog(source) as dataset:
        return grid_of(dataset)


def grid_of(dataset: DatasetReader) -> Grid:
    """Return the grid of an open raster."""
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
    """Return the overviews as factors. GDAL calculates them from the width: for one column each is 1."""
    factors = tuple(dataset.overviews(1))
    if dataset.width >= min(dataset.height, dataset.block_shapes[0][1]):
        return factors
    heights = []
    for index in range(len(factors)):
        with rasterio.open(dataset.name, driver=dataset.driver, overview_level=index) as overview:
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


def count_values(pixels: Pixels, likely: Sequence[int]) -> NDArray[np.int64]:
    """Return how many pixels have each of 256 values; fast if only the `likely` ones occur."""
    counts = np.zeros(256, np.int64)
    rest = pixels.size
    for value in likely:
        counts[value] = np.count_nonzero(pixels == value)
        rest -= counts[value]
        if not rest:
            return counts
    return np.bincount(pixels.ravel(), minlength=256)


def only_inside(pixels: Pixels, inside: NDArray[np.bool_]) -> Pixels:
    """Return pixels with 255 for those outside: all bits are set, without a branch."""
    return pixels | (inside.view(np.uint8) - np.uint8(1))


def has_mask(dataset: DatasetReader) -> bool:
    """Return whether a raster has a mask, internal or external, or an alpha band."""
    return MaskFlags.per_dataset in dataset.mask_flag_enums[0]


def shifts(bbox: Bounds, extent: Bounds, epsg: int | str) -> list[float]:
    """Return the offsets around the Earth by which a box meets an extent; the smallest first, at most three."""
    period = period_of(epsg)
    first = last = 0
    if period and bbox[2] - bbox[0] > _WORLDS * period:
        return []
    if period and bbox[2] - bbox[0] <= _SHIFTS * period:
        first, last = (math.ceil((extent[0] - bbox[2]) / period), math.floor((extent[2] - bbox[0]) / period))
        first, last = max(first, -_SHIFTS * 2), min(last, _SHIFTS * 2)
    moved = sorted((shift * (period or 0) for shift in range(first, last + 1)), key=abs)
    meeting = [x for x in moved if intersection((bbox[0] + x, bbox[1], bbox[2] + x, bbox[3]), extent)]
    return meeting[:_SHIFTS]


def window_in(grid: Grid, bounds: Bounds) -> Window | None:
    """Return the window of whole pixels that bounds in the raster's CRS touch, or None."""
    seen = intersection(bounds, grid.bounds)
    if not seen:
        return None
    left, top = ~grid.transform @ (seen[0], seen[3])
    right, bottom = ~grid.transform @ (seen[2], seen[1])
    column, row = math.floor(left), math.floor(top)
    return Window(column, row, min(math.ceil(right), grid.width) - column, min(math.ceil(bottom), grid.height) - row)


def intersection(one: Bounds, other: Bounds) -> Bounds | None:
    """Return the intersection of two boxes, or None."""
    west, south = max(one[0], other[0]), max(one[1], other[1])
    east, north = min(one[2], other[2]), min(one[3], other[3])
    return (west, south, east, north) if west < east and south < north else None


def check_classes(dataset: DatasetReader) -> None:
    """Raise BrokenSource unless it is a raster of classes on a north-up grid."""
    name, masked, grid = Path(dataset.name).name, has_mask(dataset), grid_fault(dataset.transform)
    faults = {
        f"it has {dataset.count} bands of {dataset.dtypes[0]}, not one of uint8": dataset.dtypes != ("uint8",),
        "it is not stored in square blocks": dataset.block_shapes[0][0] != dataset.block_shapes[0][1],
        "it has no CRS with an EPSG code": not is_usable(epsg_of(dataset)),
        grid: bool(grid),
        "its values have a scale or an offset": (dataset.scales[0], dataset.offsets[0]) != (1, 0),
        "its mask is in a file of its own": masked and Path(f"{dataset.name}.msk").exists(),
        "its overviews have no mask": masked and not overviews_have_mask(dataset),
        "its nodata is no value of uint8": dataset.nodata is not None and not 0 <= dataset.nodata <= NODATA,
    }
    if found := [fault for fault, is_so in faults.items() if is_so]:
        raise BrokenSource(f"{name} is no class raster: {', '.join(found)}. `landcast product add` may make one of it.")


def overviews_have_mask(dataset: DatasetReader) -> bool:
    """Return whether the overviews of a raster with a mask have one too."""
    if not dataset.overviews(1):
        return True
    with rasterio.open(dataset.name, driver=dataset.driver, overview_level=0) as overview:
        return has_mask(overview)


def epsg_of(dataset: DatasetReader) -> int | None:
    """Return the EPSG code of a raster's CRS, None if it has none. Raises rasterio's CRSError."""
    code: int | None = dataset.crs.to_epsg() if dataset.crs else None
    return code


def is_usable(epsg: int | None) -> bool:
    """Return whether a CRS has an EPSG code and two axes, geographic or projected."""
    if epsg is None:
        return False
    crs = CRS.from_epsg(epsg)
    return len(crs.axis_info) == 2 and (crs.is_geographic or crs.is_projected)  # noqa: PLR2004 - x and y


def grid_fault(transform: Affine) -> str:
    """Return why pixels are not square, within a millionth, with rows from north to south; else empty."""
    width, height = transform.a, -transform.e
    if transform.b or transform.d:
        return "its pixels are not square, north up: the grid is rotated; gdalwarp makes it straight"
    if height <= 0 or width <= 0:
        return "its pixels are not square, north up: its rows run from south to north; gdalwarp turns them"
    if abs(width - height) > _SQUARE * height:
        return f"its pixels are not square, north up, but {width:.10g} x {height:.10g}"
    return ""


_Key = tuple[str, int | None]


@dataclass(frozen=True, slots=True)
class Opened:
    """An open raster or overview, read by one thread at a time, and the version of its file."""

    dataset: DatasetReader
    version: Version
    masked: bool


@dataclass(slots=True)
class OpenRasters:
    """The rasters that are open and not being read; those of a file that has changed are closed."""

    most: int = _MOST_IDLE
    _idle: OrderedDict[_Key, list[Opened]] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    @contextmanager
    def reading(self, source: Path, check: Callable[[DatasetReader], None], overview: int | None) -> Iterator[Opened]:
        """Yield the raster, or an overview by its index; `check` raises BrokenSource for an unsuitable raster.

        Raises BrokenSource, also for errors while it is read, and if the file is overwritten meanwhile. A file that is
        replaced by another of its name is read to the end.
        """
        key, version = (str(source), overview), version_of(source, BESIDE)
        opened = self._take(key, version)
        try:
            if opened is None:
                opened = _open(source, overview, version, check)
            yield opened
            _refuse_faults(source)
            _refuse_overwritten(source, version)
        except (RasterioError, CRSError) as error:
            _close(opened)
            opened = None
            raise _unreadable(source, error) from error
        except BrokenSource:
            _close(opened)
            opened = None
            raise
        finally:
            if _is_remote(source):
                _close(opened)
            elif opened is not None:
                self._give(key, opened)

    def _take(self, key: _Key, version: Version) -> Opened | None:
        with self._lock:
            idle = self._idle.get(key, [])
            while idle:
                opened = idle.pop()
                if opened.version == version:
                    return opened
                opened.dataset.close()
        return None

    def _give(self, key: _Key, opened: Opened) -> None:
        with self._lock:
            self._idle.setdefault(key, []).append(opened)
            self._idle.move_to_end(key)
            while sum(map(len, self._idle.values())) > self.most:
                eldest = next(iter(self._idle))
                _close(self._idle[eldest].pop(0) if self._idle[eldest] else None)
                if not self._idle[eldest]:
                    del self._idle[eldest]

    def close(self) -> None:
        """Close all that are not being read."""
        with self._lock:
            for opened in (each for idle in self._idle.values() for each in idle):
                opened.dataset.close()
            self._idle.clear()


def _open(source: Path, overview: int | None, version: Version, check: Callable[[DatasetReader], None]) -> Opened:
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB, **READ_OPTIONS):
        dataset = open_dataset(source, overview)
        try:
            if overview is None:
                check(dataset)
            return Opened(dataset, version, has_mask(dataset))
        except (RasterioError, CRSError, BrokenSource):
            dataset.close()
            raise


def _close(opened: Opened | None) -> None:
    if opened is not None:
        opened.dataset.close()


def _is_remote(source: Path) -> bool:
    return not source.is_absolute() and is_remote(source)


def _refuse_faults(source: Path) -> None:
    """Raise BrokenSource if a part of a file on a server could not be read, also if GDAL did without it."""
    if _is_remote(source) and (reason := fault()):
        raise BrokenSource(reason)


def _refuse_overwritten(source: Path, version: Version) -> None:
    """Raise BrokenSource if the content of the file has changed."""
    now = version_of(source, BESIDE)
    if now != version and (_is_remote(source) or now[0][:2] == version[0][:2]):
        raise BrokenSource(f"{source.name} was written to while it was read")
