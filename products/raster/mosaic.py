"""A class raster delivered as several GeoTIFFs of one grid, of any tiling and number type."""

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from products.classes import NODATA, Classes
from products.errors import BrokenSource
from products.raster.cog import READ_OPTIONS, Pixels, epsg_of, grid_fault, has_mask, is_usable
from products.raster.tiff import TILE

_CACHE_MB = 256
_OFF_GRID = 1e-3
"""Maximum offset of a tile from the grid of the first, in pixels."""
_MOST_VALUES = 1_000
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class SourceRaster:
    """One of the rasters: its offset in the mosaic in pixels, and its values that mean no data.

    `is_assumed` if these are neither the file's nor the caller's.
    """

    dataset: DatasetReader
    column: int
    row: int
    empty: tuple[float, ...]
    is_assumed: bool

    @property
    def name(self) -> str:
        """The name of its file."""
        return Path(self.dataset.name).name

    def read(self, window: Window) -> tuple[Pixels, NDArray[Any]]:
        """Return the classes of a window, 255 for no data, and the values that are not integers from 0 to 254."""
        try:
            raw = self.dataset.read(1, window=window)
            missing = self.dataset.read_masks(1, window=window) == 0 if has_mask(self.dataset) else _nan(raw)
        except RasterioError as error:
            raise BrokenSource(f"{self.name} cannot be read: {error}") from error
        for value in self.empty:
            missing |= raw == value
        scale, offset = self.dataset.scales[0], self.dataset.offsets[0]
        values = raw if (scale, offset) == (1, 0) else raw * scale + offset
        with np.errstate(invalid="ignore"):
            fits = (values >= 0) & (values < NODATA) & (values == np.floor(values)) & ~missing
        pixels: Pixels = np.full(raw.shape, NODATA, np.uint8)
        pixels[fits] = values[fits]
        return pixels, values[~fits & ~missing]

    @property
    def kind(self) -> str:
        """A description of the conversion, empty if the bytes are copied unchanged."""
        type_, scaled = self.dataset.dtypes[0], (self.dataset.scales[0], self.dataset.offsets[0])
        empty = " and ".join(f"{value:g}" for value in self.empty)
        traits = [f"no data {empty}" if empty else "", "a mask" if has_mask(self.dataset) else ""]
        traits += [f"scale {scaled[0]:g} and offset {scaled[1]:g}" if scaled != (1, 0) else ""]
        said = ", ".join(word for word in traits if word)
        is_plain = type_ == "uint8" and said in ("", f"no data {NODATA}")
        return "" if is_plain else " with ".join(word for word in (type_, said) if word)


@dataclass(slots=True)
class Clash:
    """The overlap of two rasters with different values: the number of pixels, and the bounds of columns and rows."""

    pixels: int
    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True)
class Mosaic:
    """Open rasters of one grid; between them is no data. Problems are collected while they are read.

    `unfit` counts values that are not classes, by file, `assumed` the pixels of 255 where no file or caller says that
    they are no data; `clashes` are by the numbers of two parts, the first is used.
    """

    parts: tuple[SourceRaster, ...]
    width: int
    height: int
    transform: Affine
    epsg: int
    unfit: dict[str, Counter[float]] = field(default_factory=dict)
    assumed: Counter[str] = field(default_factory=Counter)
    clashes: dict[tuple[int, int], Clash] = field(default_factory=dict)

    def read(self, column: int, row: int) -> Pixels:
        """Return the 512 x 512 pixels of a tile, 255 for no data; of overlapping rasters the first is used."""
        tile = np.full((TILE, TILE), NODATA, np.uint8)
        owners = np.full((TILE, TILE), -1, np.int32)
        for number, part in enumerate(self.parts):
            x, y = part.column, part.row
            left, top = max(column * TILE, x), max(row * TILE, y)
            right = min((column + 1) * TILE, x + part.dataset.width)
            bottom = min((row + 1) * TILE, y + part.dataset.height)
            if left < right and top < bottom:
                pixels, unfit = part.read(Window(left - x, top - y, right - left, bottom - top))
                self._note_unfit(part.name, unfit)
                if part.is_assumed:
                    self.assumed[part.name] += int(np.count_nonzero(pixels == NODATA))
                place = slice(top - row * TILE, bottom - row * TILE), slice(left - column * TILE, right - column * TILE)
                self._note_clashes(number, (left, top), pixels, tile[place], owners[place])
                free = (tile[place] == NODATA) & (pixels != NODATA)
                tile[place][free] = pixels[free]
                owners[place][free] = number
        return tile

    def _note_unfit(self, name: str, values: NDArray[Any]) -> None:
        if values.size:
            counts = self.unfit.setdefault(name, Counter())
            for value, count in zip(*np.unique(values, return_counts=True), strict=True):
                if value in counts or len(counts) < _MOST_VALUES:
                    counts[float(value)] += int(count)

    def _note_clashes(
        self, number: int, corner: tuple[int, int], pixels: Pixels, seen: Pixels, owners: NDArray[np.int32]
    ) -> None:
        differing = (pixels != NODATA) & (seen != NODATA) & (pixels != seen)
        for owner in np.unique(owners[differing]).tolist():
            rows, columns = np.nonzero(differing & (owners == owner))
            left, top = int(columns.min()) + corner[0], int(rows.min()) + corner[1]
            right, bottom = int(columns.max()) + corner[0] + 1, int(rows.max()) + corner[1] + 1
            known = self.clashes.setdefault((owner, number), Clash(0, left, top, right, bottom))
            known.pixels += len(rows)
            known.left, known.top = min(known.left, left), min(known.top, top)
            known.right, known.bottom = max(known.right, right), max(known.bottom, bottom)

    def refuse_unfit(self) -> None:
        """Raise BrokenSource if values were read that are not integers from 0 to 254."""
        for name, counts in self.unfit.items():
            shown = [
                f"{value:.10g} ({count} {'pixel' if count == 1 else 'pixels'})"
                for value, count in counts.most_common(_SHOWN)
            ]
            more = [f"{len(counts) - _SHOWN} more"] if len(counts) > _SHOWN else []
            raise BrokenSource(
                f"{name} is no class raster: a class is a whole number from 0 to 254, but it has "
                f"{_listed(shown + more)}. If such a value means no data, say so with --nodata."
            )

    def remarks(self) -> Iterator[str]:
        """Yield descriptions of conversions, of undeclared no data, and of overlaps with different values."""
        kinds: dict[str, list[str]] = {}
        for part in self.parts:
            kinds.setdefault(part.kind, []).append(part.name)
        for kind, names in kinds.items():
            if kind:
                files = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
                yield f"{files}: {kind}, converted to bytes with no data {NODATA}"
        for name, count in self.assumed.items():
            if count:
                yield f"{name} declares no value for no data: its pixels of {NODATA} ({count}) are taken as no data"
        for (first, other), clash in self.clashes.items():
            west, north = self.transform @ (clash.left, clash.top)
            east, south = self.transform @ (clash.right, clash.bottom)
            yield (
                f"warning: {clash.pixels} pixels differ where {self.parts[first].name} and {self.parts[other].name} "
                f"overlap, from {west:.10g} {south:.10g} to {east:.10g} {north:.10g}: those of "
                f"{self.parts[first].name} are taken, which was named first"
            )


def _nan(values: NDArray[Any]) -> NDArray[np.bool_]:
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, np.bool_)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


@contextmanager
def open_mosaic(
    sources: Sequence[Path], classes: Classes = (), nodata: Sequence[float] | None = None
) -> Iterator[Mosaic]:
    """Yield the rasters as one; `nodata` are the values that mean no data, instead of those of the files.

    Raises BrokenSource with the file that is no raster, differs from the first, or declares a class as no data.
    """
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=_CACHE_MB, **READ_OPTIONS))
        datasets = [stack.enter_context(_open(source)) for source in sources]
        yield _joined(datasets, [_empty(dataset, classes, nodata) for dataset in datasets], is_told=nodata is not None)


def _open(source: Path) -> DatasetReader:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # it is reported below
            dataset: DatasetReader = rasterio.open(source, driver="GTiff")
        epsg = epsg_of(dataset)
    except (RasterioError, CRSError) as error:
        raise BrokenSource(f"{source.name} cannot be read as a GeoTIFF: {error}") from error
    grid = grid_fault(dataset.transform)
    has_alpha = dataset.count == 2 and dataset.colorinterp[1] == ColorInterp.alpha  # noqa: PLR2004 - classes, alpha
    faults = {
        f"it has {dataset.count} bands of {dataset.dtypes[0]}, not one": dataset.count != 1 and not has_alpha,
        f"its values are {dataset.dtypes[0]}, not real numbers": np.dtype(dataset.dtypes[0]).kind not in "iuf",
        "it has no CRS of two axes with an EPSG code": not is_usable(epsg),
        grid: bool(grid),
    }
    if found := [fault for fault, is_so in faults.items() if is_so]:
        dataset.close()
        raise BrokenSource(f"{source.name} is no class raster: {', '.join(found)}.")
    return dataset


def _empty(dataset: DatasetReader, classes: Classes, nodata: Sequence[float] | None) -> tuple[float, ...]:
    """Return the values that mean no data: 255 if neither file nor caller names any. Raises BrokenSource."""
    if nodata is not None:
        return tuple(nodata)
    if dataset.nodata is None:
        return () if has_mask(dataset) else (NODATA,)
    if math.isnan(dataset.nodata):
        return ()
    value = dataset.nodata * dataset.scales[0] + dataset.offsets[0]
    for each in classes:
        if each.value == value:
            raise BrokenSource(
                f"{Path(dataset.name).name} says that {dataset.nodata:g} is no data, but {each.value} is the class "
                f"{each.name!r}, which would vanish. Say --nodata {dataset.nodata:g} if it is no data, "
                "--nodata none if it is the class."
            )
    return (dataset.nodata,)


def _joined(datasets: Sequence[DatasetReader], empty: Sequence[tuple[float, ...]], *, is_told: bool) -> Mosaic:
    first = datasets[0]
    for dataset in datasets[1:]:
        _agree(first, dataset)
    west, north = min(each.bounds.left for each in datasets), max(each.bounds.top for each in datasets)
    across, down = first.transform.a, -first.transform.e
    parts = tuple(
        SourceRaster(
            each,
            round((each.bounds.left - west) / across),
            round((north - each.bounds.top) / down),
            values,
            is_assumed=each.dtypes[0] == "uint8" and each.nodata is None and bool(values) and not is_told,
        )
        for each, values in zip(datasets, empty, strict=True)
    )
    width = max(part.column + part.dataset.width for part in parts)
    height = max(part.row + part.dataset.height for part in parts)
    return Mosaic(parts, width, height, Affine(across, 0, west, 0, -down, north), first.crs.to_epsg())


def _agree(first: DatasetReader, other: DatasetReader) -> None:
    name, against = Path(other.name).name, Path(first.name).name
    codes = first.crs.to_epsg(), other.crs.to_epsg()
    if codes[0] != codes[1]:
        raise BrokenSource(f"{name} is in EPSG:{codes[1]}, {against} in EPSG:{codes[0]}.")
    side = first.transform.a
    stray = max(abs(other.transform.a - side) * other.width, abs(other.transform.e - first.transform.e) * other.height)
    if stray > _OFF_GRID * side:
        raise BrokenSource(f"{name} has pixels of {other.transform.a:g}, {against} of {side:g}.")
    for begin, origin in ((other.transform.c, first.transform.c), (other.transform.f, first.transform.f)):
        pixels = (begin - origin) / side
        if abs(pixels - round(pixels)) > _OFF_GRID:
            raise BrokenSource(f"{name} is not on the grid of {against}: it begins between two of its pixels.")
