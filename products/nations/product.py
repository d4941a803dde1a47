"""The national product: raster or vector of one nation, in the nation's own CRS."""

from pathlib import Path

import shapely

from products.catalogue import Product
from products.errors import UnknownProduct
from products.nations import Nation
from products.nations.outline import operation_to, outline_of
from products.progress import Report
from products.raster.cog import read_grid
from products.raster.extract import write_raster
from products.raster.warp import open_warp
from products.vector.blob import Geometries
from products.vector.extract import Delivery, extract_vector
from products.vector.geopackage import read_geopackage

_EDGE = 1_000
"""Metres between two vertices at most: edges that polygons share stray less than a centimetre from each other."""


def national_raster(product: Product, nation: Nation, folder: Path, *, name: str, report: Report) -> tuple[Path, ...]:
    """Write the raster of a nation: nearest neighbour, 10 m, on the 10 m grid of its CRS, 255 outside of its outline.

    The files are those of `extract_raster`. Raises NothingInside, BrokenSource.
    """
    operation = operation_to(nation, read_grid(product.raster).epsg)
    with open_warp(product.raster, outline_of(nation), operation, nation.crs) as warp:
        return write_raster(warp, folder, name=name, report=report, classes=product.classes)


def national_vector(product: Product, nation: Nation, folder: Path, *, name: str, report: Report) -> tuple[Path, ...]:
    """Write the polygons of a nation in its CRS, cut at its outline.

    The files are those of `extract_vector`. Raises NothingInside, BrokenSource, UnknownProduct without a vector.
    """
    if product.vector is None:
        raise UnknownProduct(f"{product.title} has no Vector")
    with read_geopackage(product.vector) as reader:
        operation = operation_to(nation, reader.layer.epsg)

    def project(geometries: Geometries) -> Geometries:
        return operation.project(shapely.segmentize(geometries, _EDGE))

    delivery = Delivery(nation.crs, project)
    area = outline_of(nation)
    return extract_vector(
        product.vector, area, folder, name=name, report=report, delivery=delivery, classes=product.classes
    )
