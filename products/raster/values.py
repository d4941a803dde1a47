"""Rasters of measured values: integers or floats, in one band or several."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rasterio.io import DatasetReader

from products.errors import BrokenSource
from products.raster.cog import BESIDE, Grid, epsg_of, grid_of, has_mask, is_usable, open_cog, overviews_have_mask
from products.raster.several import open_dataset
from products.whole import cached_by_file

TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")
_FEW = 4_194_304
"""Pixels of an overview from which the limits of the values are determined."""


@dataclass(frozen=True, slots=True)
class ValueRaster:
    """The properties of a raster of values: its grid, the type of all its bands, their names, units and limits.

    `colours` are the bands' colour interpretations, such as "red", "gray" or "alpha".
    """

    grid: Grid
    dtype: str
    names: tuple[str, ...]
    units: tuple[str, ...]
    limits: tuple[tuple[float, float], ...]
    colours: tuple[str, ...]
    masked: bool

    @property
    def fill(self) -> float:
        """The value of pixels without data: the file's, else NaN, else a limit of the type."""
        if self.grid.nodata is not None:
            return self.grid.nodata
        if self.dtype.startswith("f"):
            return float("nan")
        info = np.iinfo(self.dtype)
        return info.min if info.min < 0 else info.max


@cached_by_file(most=1_024, beside=BESIDE)
def read_values(source: Path) -> ValueRaster:
    """Return the properties of the raster; opens the file only if it changed. Raises BrokenSource."""
    with open_cog(source, check=check_values) as dataset:
        return ValueRaster(
            grid_of(dataset),
            dataset.dtypes[0],
            tuple(name or f"band{number}" for number, name in enumerate(dataset.descriptions, 1)),
            tuple(unit or "" for unit in dataset.units),
            _limits(source, dataset),
            tuple(each.name for each in dataset.colorinterp),
            has_mask(dataset),
        )


def _limits(source: Path, dataset: DatasetReader) -> tuple[tuple[float, float], ...]:
    """Return the lowest and highest value of each band in the coarsest overview; if it is large, those of the type."""
    coarsest = len(dataset.overviews(1)) - 1
    with open_dataset(source, None if coarsest < 0 else coarsest) as overview:
        if overview.width * overview.height * overview.count > _FEW:
            return tuple(_of_type(dtype) for dtype in dataset.dtypes)
        values = np.ma.masked_invalid(overview.read(masked=True))
    found = []
    for band in values:
        low, high = (0.0, 1.0) if band.mask.all() else (float(band.min()), float(band.max()))
        found.append((low, high if high > low else low + 1))
    return tuple(found)


def _of_type(dtype: str) -> tuple[float, float]:
    if dtype.startswith("f"):
        return 0.0, 1.0
    info = np.iinfo(dtype)
    return float(info.min), float(info.max)


def check_values(dataset: DatasetReader) -> None:
    """Raise BrokenSource unless it is a raster of numbers on a north-up grid."""
    masked, transform = has_mask(dataset), dataset.transform
    faults = {
        f"its bands are of {', '.join(dict.fromkeys(dataset.dtypes))}, not all of one of {', '.join(TYPES)}": len(
            set(dataset.dtypes)
        )
        > 1
        or dataset.dtypes[0] not in TYPES,
        "it has no CRS with an EPSG code": not is_usable(epsg_of(dataset)),
        "its rows do not run from north to south": bool(transform.b or transform.d)
        or transform.a <= 0
        or transform.e >= 0,
        "its values have a scale or an offset": set(dataset.scales) != {1} or set(dataset.offsets) != {0},
        "its mask is in a file of its own": masked and Path(f"{dataset.name}.msk").exists(),
        "its overviews have no mask": masked and not overviews_have_mask(dataset),
    }
    if found := [fault for fault, is_so in faults.items() if is_so]:
        raise BrokenSource(f"{Path(dataset.name).name} cannot be served as values: {', '.join(found)}.")
