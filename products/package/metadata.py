"""The metadata of a delivered file."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from products.catalogue import Product
from products.classes import Classes
from products.operation import Operation
from products.outline import Polygonal
from products.raster.cog import read_grid
from products.vector.geopackage import read_geopackage

MEDIA_TYPES: Mapping[str, str] = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".gpkg": "application/geopackage+sqlite3",
}


@dataclass(frozen=True, slots=True)
class Metadata:
    """One delivered file: `geometry` in longitude and latitude, `resolution` in metres, None for polygons.

    `operation` says how its coordinates came from the source's, `accuracy` in metres, as PROJ states it.
    """

    name: str
    title: str
    abstract: str
    geometry: Polygonal
    epsg: int
    resolution: float | None
    year: int
    lineage: str
    source: str
    attribution: str
    licence: str
    operation: str
    accuracy: float
    file: str
    media_type: str
    size: int
    sha256: str
    created: datetime
    classes: Classes


def describe(
    main: Path, product: Product, geometry: Polygonal, *, place: str, operation: Operation | None = None
) -> Metadata:
    """Return the metadata of a complete file; `place` describes what it covers. Raises BrokenSource."""
    with main.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    known = _of_file(main, product, geometry)
    return replace(
        known,
        name=main.stem,
        title=f"{product.title}, {place}",
        abstract=product.abstract or f"{product.title}: land cover, {place}.",
        lineage=product.lineage or f"Made from {product.title}.",
        operation=operation.name if operation else known.operation,
        accuracy=operation.accuracy if operation else known.accuracy,
        sha256=digest,
        created=datetime.now(UTC).replace(microsecond=0),
    )


def describe_product(product: Product, geometry: Polygonal) -> Metadata:
    """Return the metadata of a whole product, without the hash of its raster. Raises BrokenSource, OSError."""
    return _of_file(product.raster, product, geometry)


def _of_file(main: Path, product: Product, geometry: Polygonal) -> Metadata:
    epsg, resolution = _grid(main)
    known = main.stat()
    return Metadata(
        name=f"{product.series}_{product.year}_{product.version}",
        title=product.title,
        abstract=product.abstract or f"{product.title}: land cover.",
        geometry=geometry,
        epsg=epsg,
        resolution=resolution,
        year=product.year,
        lineage=product.lineage or f"{product.title}, as its source delivers it.",
        source=product.source or product.title,
        attribution=product.attribution,
        licence=product.licence,
        operation="none: the coordinates are the source's",
        accuracy=0.0,
        file=main.name,
        media_type=MEDIA_TYPES[main.suffix],
        size=known.st_size,
        sha256="",
        created=datetime.fromtimestamp(known.st_mtime, UTC).replace(microsecond=0),
        classes=product.classes,
    )


def _grid(main: Path) -> tuple[int, float | None]:
    if main.suffix == ".tif":
        grid = read_grid(main)
        return grid.epsg, grid.metres
    with read_geopackage(main) as reader:
        return reader.layer.epsg, None
