"""The vector product cut at an area."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely
from pyproj import CRS

from products.area import Area
from products.classes import CLASSES, Classes
from products.errors import BrokenSource, NothingInside
from products.progress import Report, unheard
from products.raster.ground import Ground
from products.vector.blob import Geometries
from products.vector.clip import MOST_PIECES, Clip
from products.vector.geopackage import (
    EVERYWHERE,
    Batch,
    Reader,
    Strip,
    Writer,
    read_geopackage,
    write_geopackage,
)
from products.vector.layer import Layer
from products.vector.style import COLUMN, legend, qml, sld

NOTHING = "the product has no data inside the area"

_AREA = "area_m2"

Project = Callable[[Geometries], Geometries]


@dataclass(frozen=True, slots=True)
class VectorDelivery:
    """The form of delivered polygons: EPSG code, transformation from the source if it differs, classes."""

    epsg: int
    project: Project | None
    classes: Classes


def extract_vector(
    source: Path, area: Area, folder: Path, *, name: str, report: Report, classes: Classes = CLASSES
) -> tuple[Path, ...]:
    """Write the vector product inside the area: `{name}.gpkg` with its style, `{name}.sld` and `{name}.txt`.

    Polygons on the edge are cut, areas are measured again on the ellipsoid; features keep their numbers. Some thousand
    polygons are in memory at a time. Raises NothingInside, BrokenSource, and AreaTooLarge as `Clip.cut` does.
    """
    geopackage = folder / f"{name}.gpkg"
    with read_geopackage(source) as reader:
        layer = land_cover(reader.layer)
        delivery = VectorDelivery(layer.epsg, None, classes)
        write_land_cover(geopackage, layer, _inside(reader, area, report), delivery=delivery)
    return geopackage, *write_styles(folder, name, layer, classes)


def extract_strip(
    source: Path, area: Area, target: Path, *, strip: Strip, delivery: VectorDelivery, report: Report
) -> int:
    """Write the GeoPackage of `extract_vector` for the features of a strip; return their number.

    Raises NothingInside, BrokenSource, AreaTooLarge.
    """
    with read_geopackage(source) as reader:
        batches = _inside(reader, area, report, strip=strip)
        return write_land_cover(target, land_cover(reader.layer), batches, delivery=delivery)


def write_land_cover(target: Path, layer: Layer, batches: Iterable[Batch], *, delivery: VectorDelivery) -> int:
    """Write features of a layer with a style: areas are measured on the ellipsoid, then coordinates are transformed.

    Returns their number. Raises NothingInside if there is none; then there is no file.
    """
    ground = Ground(CRS.from_epsg(layer.epsg))
    with write_geopackage(target, replace(layer, epsg=delivery.epsg)) as writer:
        count = sum(_add(writer, batch, ground, delivery.project) for batch in batches)
        if not count:
            raise NothingInside(NOTHING)
        put_style(writer, delivery.classes)
    return count


def put_style(writer: Writer, classes: Classes) -> None:
    """Add the style of land cover."""
    writer.style("Land cover", qml=qml(classes), sld=sld(writer.layer.table, classes))


def write_styles(folder: Path, name: str, layer: Layer, classes: Classes) -> tuple[Path, ...]:
    """Write the files beside a layer of land cover: `{name}.sld` and `{name}.txt`."""
    style, legend_text = folder / f"{name}.sld", folder / f"{name}.txt"
    style.write_text(sld(layer.table, classes))
    legend_text.write_text(legend(classes))
    return style, legend_text


def any_inside(source: Path, area: Area) -> bool:
    """Compare the features in the area's box until one is inside of the area. Raises BrokenSource."""
    with read_geopackage(source) as reader:
        land_cover(reader.layer)
        return any(batch.keys for batch in _inside(reader, area, unheard, size=200))


def land_cover(layer: Layer) -> Layer:
    """Return the layer as it is delivered. Raises BrokenSource if it is not land cover."""
    if not {COLUMN, _AREA} <= set(layer.names):
        raise BrokenSource(f"table {layer.table} is no land cover: it needs the columns {COLUMN} and {_AREA}")
    if not layer.indexed:
        raise BrokenSource(f"table {layer.table} has no spatial index")
    return replace(layer, geometry_type="MULTIPOLYGON")


def _inside(
    reader: Reader, area: Area, report: Report, *, strip: Strip = EVERYWHERE, size: int = 2_000
) -> Iterator[Batch]:
    report(0, "Reading the polygons")
    outline = area.project(reader.layer.epsg)
    clip = Clip.of(outline)
    total, done, left = reader.count(outline.bounds, strip), 0, MOST_PIECES
    for batch in reader.features(outline.bounds, strip, size=size):
        geometries, pieces = clip.cut(batch.geometries, most=left)
        left -= pieces
        nonempty = np.flatnonzero(~shapely.is_empty(geometries)).tolist()
        yield Batch([batch.keys[i] for i in nonempty], geometries[nonempty], [batch.rows[i] for i in nonempty])
        done += len(batch.keys)
        report(done / total, f"{done:,} of {total:,} polygons")


def _add(writer: Writer, batch: Batch, ground: Ground, project: Project | None) -> int:
    place = writer.layer.names.index(_AREA)
    areas = ground.areas(batch.geometries).tolist() if batch.keys else []
    rows = [(*row[:place], area, *row[place + 1 :]) for row, area in zip(batch.rows, areas, strict=True)]
    writer.add(batch.keys, project(batch.geometries) if project else batch.geometries, rows)
    return len(rows)
