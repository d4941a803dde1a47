"""The polygons of a nation in the nation's own CRS, cut at its outline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely

from products.catalogue import Product
from products.errors import NothingInside, UnknownProduct
from products.nations import Nation
from products.nations.outline import operation_to, outline_of
from products.operation import metres_of_unit
from products.progress import Report
from products.vector.blob import Geometries
from products.vector.extract import NOTHING, VectorDelivery, extract_strip, write_styles
from products.vector.geopackage import Strip, read_geopackage
from products.vector.parts import divide, join
from products.whole import link

_EDGE = 1_000
"""Metres between two vertices at most: edges that polygons share stray less than a centimetre from each other."""


@dataclass(frozen=True, slots=True)
class NationalVector:
    """The polygons of a nation, made in one part or many: the same features. Its methods raise BrokenSource."""

    product: Product
    nation: Nation

    @property
    def source(self) -> Path:
        """The polygons of the product. Raises UnknownProduct where there are none."""
        if self.product.vector is None:
            raise UnknownProduct(f"{self.product.title} has no Vector")
        return self.product.vector

    def divide(self, *, most: int) -> Sequence[Mapping[str, Any]]:
        """Return parts, `most` at most: strips of the source, each feature in one of them."""
        return [_as_json(strip) for strip in divide(self.source, outline_of(self.nation), most)]

    def write_piece(self, part: Mapping[str, Any], target: Path, *, report: Report) -> Mapping[str, Any]:
        """Write the polygons of a part as a GeoPackage, whole or not at all; where there are none there is no file."""
        with read_geopackage(self.source) as reader:
            epsg = reader.layer.epsg
            operation = operation_to(self.nation, epsg)

        def project(geometries: Geometries) -> Geometries:
            return operation.project(shapely.segmentize(geometries, _EDGE / metres_of_unit(epsg)))

        delivery, area = VectorDelivery(self.nation.crs, project, self.product.classes), outline_of(self.nation)
        try:
            count = extract_strip(self.source, area, target, strip=_as_strip(part), delivery=delivery, report=report)
        except NothingInside:
            count = 0
        return {"features": count}

    def join(
        self, pieces: Sequence[tuple[Path, Mapping[str, Any]]], folder: Path, *, name: str, report: Report
    ) -> tuple[Path, ...]:
        """Write the files of `extract_vector`. Raises NothingInside, BrokenPiece."""
        paths = [path for path, piece in pieces if piece["features"]]
        if not paths:
            raise NothingInside(NOTHING)
        geopackage = folder / f"{name}.gpkg"
        if len(paths) == 1:
            link(paths[0], geopackage)
        else:
            join(paths, geopackage, classes=self.product.classes, report=report)
        with read_geopackage(geopackage) as reader:
            return geopackage, *write_styles(folder, name, reader.layer, self.product.classes)


def _as_json(strip: Strip) -> Mapping[str, Any]:
    """Return a strip without infinity, which is no JSON."""
    return {name: edge for name, edge in zip(("south", "north"), strip, strict=True) if math.isfinite(edge)}


def _as_strip(part: Mapping[str, Any]) -> Strip:
    return part.get("south", -math.inf), part.get("north", math.inf)
