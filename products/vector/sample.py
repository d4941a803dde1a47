"""The sample's GeoPackages, made from the committed files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from products.progress import Report, between
from products.vector.geopackage import write_geopackage
from products.vector.layer import Column, Layer
from products.vector.polygonize import polygonize

_YEAR = 2023
_TYPES = {int: "INTEGER", float: "DOUBLE", bool: "BOOLEAN"}


def make_sample(source: Path, target: Path, *, report: Report) -> tuple[Path, ...]:
    """Make the vector product and the parks of the sample in `source`, if missing or older than their origin.

    Returns the files that were made. Raises BrokenSource, OSError.
    """
    land_cover, parks = target / "clcplus_2023_parks.gpkg", target / "parks.gpkg"
    raster, boundaries = source / "clcplus_2023_parks.tif", source / "parks.geojson"
    made = []
    if _outdated(parks, boundaries):
        make_parks(boundaries, parks)
        made.append(parks)
    if _outdated(land_cover, raster):
        polygonize(raster, land_cover, year=_YEAR, report=between(report, 0.01, 1))
        made.append(land_cover)
    report(1, "the sample is there")
    return tuple(made)


def make_parks(source: Path, target: Path) -> None:
    """Make a GeoPackage of the parks' GeoJSON, in longitude and latitude: all attributes, its ids, valid areas."""
    features = json.loads(source.read_text())["features"]
    columns = [Column(name, _TYPES.get(type(value), "TEXT")) for name, value in features[0]["properties"].items()]
    with write_geopackage(target, Layer(target.stem, 4326, tuple(columns), title="National parks")) as writer:
        geometries = np.array([_areas(feature["geometry"]) for feature in features], dtype=object)
        rows = [[feature["properties"][column.name] for column in columns] for feature in features]
        writer.add([int(feature["id"]) for feature in features], geometries, rows)


def _areas(geometry: dict[str, Any]) -> Any:
    valid = shapely.make_valid(shapely.from_geojson(json.dumps(geometry)), method="structure", keep_collapsed=False)
    return shapely.multipolygons(shapely.get_parts(valid))


def _outdated(target: Path, source: Path) -> bool:
    return not target.exists() or target.stat().st_mtime < source.stat().st_mtime
