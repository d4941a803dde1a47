"""The vector product from the class raster: a polygon for each connected area of equal class."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from products.classes import CLASSES, NODATA, Classes
from products.errors import BrokenSource
from products.progress import Report, between
from products.raster.cog import READ_OPTIONS, epsg_of, grid_fault, has_mask, is_usable, read_classes
from products.raster.ground import Ground
from products.vector.components import Areas, Block, Components
from products.vector.geopackage import Writer, write_geopackage
from products.vector.layer import Column, Layer

_LOOKED = 0.05
_BLOCKS = 2
"""Blocks of the raster along each side that are processed together: fewer seams to join, 1 MB of pixels."""


def land_cover_layer(epsg: int, *, title: str) -> Layer:
    """Return the layer of a vector product in a CRS: class, area in m2 on the ellipsoid, year."""
    columns = (
        Column("class_code", "INTEGER"),
        Column("class_name", "TEXT"),
        Column("area_m2", "DOUBLE"),
        Column("year", "INTEGER"),
    )
    return Layer("land_cover", epsg, columns, title=title)


def polygonize(raster: Path, target: Path, *, year: int, report: Report, classes: Classes = CLASSES) -> int:
    """Make the vector product of a class raster, in its CRS; return the number of its polygons.

    A polygon is a 4-connected component of equal class. One row of the raster's blocks is in memory at a time, with the
    areas at their edges and the components that reach the next row. Raises BrokenSource; for a value that is not a
    class before any polygon is made.
    """
    count, names = 0, {each.value: each.name for each in classes}
    try:
        with _open(raster) as source:
            epsg, transform = source.crs.to_epsg(), source.transform
            rows = _rows(source)
            _refuse_unknown(source, rows, names, between(report, 0, _LOOKED))
            ground, tell = Ground(CRS.from_epsg(epsg)), between(report, _LOOKED, 1)
            with write_geopackage(target, land_cover_layer(epsg, title=f"Land cover {year}")) as writer:
                for areas, fraction in _components(source, rows):
                    placed = shapely.transform(areas.polygons, partial(_placed, transform))
                    _add(writer, Areas(placed, areas.values), count + 1, ground, (year, names))
                    count += len(areas.values)
                    tell(fraction, f"{count:,} polygons")
    except RasterioError as error:
        raise BrokenSource(f"{raster.name}: {error}") from error
    report(1, f"{count:,} polygons")
    return count


def _placed(transform: Affine, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([transform.c + transform.a * pixels[:, 0], transform.f + transform.e * pixels[:, 1]])


def _add(writer: Writer, areas: Areas, first: int, ground: Ground, known: tuple[int, Mapping[int, str]]) -> None:
    year, names = known
    values = areas.values.tolist()
    if not values:
        return
    covered = ground.areas(areas.polygons).tolist()
    rows = list(zip(values, map(names.__getitem__, values), covered, [year] * len(values), strict=True))
    writer.add(range(first, first + len(values)), shapely.multipolygons(areas.polygons[:, None]), rows)


def _refuse_unknown(source: DatasetReader, rows: list[list[Window]], names: Mapping[int, str], report: Report) -> None:
    """Raise BrokenSource if pixels have a value that is not a class, with their number."""
    counts = np.zeros(256, np.int64)
    for done, windows in enumerate(rows):
        for window in windows:
            counts += np.bincount(read_classes(source, window).ravel(), minlength=256)
        report((done + 1) / len(rows), "Looking at the classes")
    found = [value for value in np.flatnonzero(counts[:NODATA]).tolist() if value not in names]
    if found:
        said = ", ".join(f"{value} ({counts[value]} {'pixel' if counts[value] == 1 else 'pixels'})" for value in found)
        raise BrokenSource(
            f"{Path(source.name).name} has values that are no class of the product: {said}. Name them in --classes, or "
            "add the raster with --nodata for each that means no data."
        )


@contextmanager
def _open(raster: Path) -> Iterator[DatasetReader]:
    """Yield a raster of classes, of any blocks. Raises BrokenSource, RasterioError."""
    with rasterio.Env(**READ_OPTIONS), rasterio.open(raster, driver="GTiff") as source:
        grid = grid_fault(source.transform)
        faults = {
            "it is not one band of uint8": source.dtypes != ("uint8",),
            "it has no CRS of two axes with an EPSG code": not is_usable(epsg_of(source)),
            "its values have a scale or an offset": (source.scales[0], source.offsets[0]) != (1, 0),
            grid: bool(grid),
        }
        if found := [fault for fault, is_so in faults.items() if is_so]:
            raise BrokenSource(f"{raster.name} is no class raster: {', '.join(found)}.")
        yield source


def _components(source: DatasetReader, rows: list[list[Window]]) -> Iterator[tuple[Areas, float]]:
    components = Components()
    total, done = sum(map(len, rows)), 0
    for windows in rows:
        for window in windows:
            done += 1
            block = Block(window.col_off, window.row_off, read_classes(source, window))
            yield components.add(block), done / total
        yield components.finish_row(), done / max(total, 1)


def _rows(source: DatasetReader) -> list[list[Window]]:
    """Return the windows of `_BLOCKS` x `_BLOCKS` blocks with data, row by row; the last row is empty."""
    height, width = (size * _BLOCKS for size in source.block_shapes[0])
    full = set()
    may_be_sparse = source.nodata is not None or has_mask(source)
    for (row, column), _ in source.block_windows(1):
        if not may_be_sparse or source.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=1) is not None:
            full.add((row // _BLOCKS * height, column // _BLOCKS * width))
    whole = Window(0, 0, source.width, source.height)
    rows: dict[int, list[Window]] = {y: [] for y in range(0, source.height, height)}
    for y, x in sorted(full):
        rows[y].append(Window(x, y, width, height).intersection(whole))
    return [*rows.values(), []]
