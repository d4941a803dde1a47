"""The vector product from the class raster: one polygon a connected area of equal class."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import rasterio
import shapely
from rasterio.errors import RasterioIOError
from rasterio.windows import Window

from products.classes import CLASSES, Classes
from products.errors import BrokenSource
from products.progress import Report
from products.vector.components import Areas, Block, Components
from products.vector.geopackage import Writer, write_geopackage
from products.vector.layer import Column, Layer

EPSG = 3035
"""The product's coordinates: an equal-area projection of the ellipsoid, so that plane areas are those on it."""

_BLOCKS = 2
"""Blocks of the raster, along and across, that are worked on at once: fewer seams to join, 1 MB of pixels."""


def land_cover_layer(*, title: str) -> Layer:
    """Return the layer of a vector product: class, area in m2 on the ellipsoid, year."""
    columns = (
        Column("class_code", "INTEGER"),
        Column("class_name", "TEXT"),
        Column("area_m2", "DOUBLE"),
        Column("year", "INTEGER"),
    )
    return Layer("land_cover", EPSG, columns, title=title)


def polygonize(raster: Path, target: Path, *, year: int, report: Report, classes: Classes = CLASSES) -> int:
    """Make the vector product of a class raster in EPSG:3035; return the number of its polygons.

    One polygon a 4-connected component of equal class. Holds one row of the raster's blocks at a time, the areas at
    their edges and the components that reach the next row. Raises BrokenSource.
    """
    count, names = 0, {each.value: each.name for each in classes}
    with write_geopackage(target, land_cover_layer(title=f"Land cover {year}")) as writer:
        for areas, fraction in _components(raster):
            _add(writer, areas, count + 1, year, names)
            count += len(areas.values)
            report(fraction, f"{count:,} polygons")
    report(1, f"{count:,} polygons")
    return count


def _add(writer: Writer, areas: Areas, first: int, year: int, names: Mapping[int, str]) -> None:
    values = areas.values.tolist()
    if unknown := set(values) - names.keys():
        raise BrokenSource(f"{min(unknown)} is no class of the product")
    rows = list(
        zip(
            values,
            map(names.__getitem__, values),
            shapely.area(areas.polygons).tolist(),
            [year] * len(values),
            strict=True,
        )
    )
    writer.add(range(first, first + len(values)), shapely.multipolygons(areas.polygons[:, None]), rows)


def _components(raster: Path) -> Iterator[tuple[Areas, float]]:
    components = Components()
    try:
        with rasterio.open(raster) as source:
            if source.crs is None or source.crs.to_epsg() != EPSG or source.dtypes != ("uint8",):
                raise BrokenSource(f"{raster.name}: not one band of bytes in EPSG:{EPSG}")
            rows = _rows(source)
            total, done = sum(map(len, rows)), 0
            for windows in rows:
                for window in windows:
                    done += 1
                    block = Block(window.col_off, source.read(1, window=window), source.window_transform(window))
                    yield components.add(block), done / total
                yield components.finish_row(), done / max(total, 1)
    except RasterioIOError as error:
        raise BrokenSource(f"{raster.name}: {error}") from error


def _rows(source: Any) -> list[list[Window]]:
    """Return the windows of `_BLOCKS` x `_BLOCKS` blocks of which one holds data, row by row; the last row is empty."""
    height, width = (size * _BLOCKS for size in source.block_shapes[0])
    full = set()
    for (row, column), _ in source.block_windows(1):
        if source.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=1) is not None:
            full.add((row // _BLOCKS * height, column // _BLOCKS * width))
    whole = Window(0, 0, source.width, source.height)
    rows: dict[int, list[Window]] = {y: [] for y in range(0, source.height, height)}
    for y, x in sorted(full):
        rows[y].append(Window(x, y, width, height).intersection(whole))
    return [*rows.values(), []]
