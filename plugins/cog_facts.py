"""Facts about a Cloud-Optimized GeoTIFF as a coverage without its pixels, and its files of several years."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugins.coverages import Band, NamedStyle
from plugins.crs import CRS84, Box, Crs, crs_of
from plugins.styles import styles_of
from products.classes import Classes
from products.errors import BrokenSource
from products.raster.cog import Grid, read_grid
from products.raster.values import ValueRaster, read_values

_CLASS = (Band("class", "Land-cover class"),)
_OFF_GRID = 1e-3
"""Maximum offset between the files of a coverage, in pixels."""


@dataclass(frozen=True, slots=True)
class CogFacts:
    """Facts about a version of the file: its grid, the sides of a pixel, its whole box, and the CRSs of answers."""

    grid: Grid
    sides: tuple[float, float]
    whole: Box
    systems: tuple[Crs, ...]
    bands: tuple[Band, ...]
    values: ValueRaster | None
    styles: tuple[NamedStyle, ...]


def read_facts(source: Path, definition: Mapping[str, Any], classes: Classes) -> CogFacts:
    """Return the facts about the current file: of measured values if the provider has bands. Raises BrokenSource."""
    configured = definition.get("bands") or ()
    values = read_values(source) if configured else None
    grid = values.grid if values else read_grid(source)
    bands = _bands(values, configured, source.name) if values else _CLASS
    native = crs_of(grid.epsg)
    systems = (native, *(crs for crs in (CRS84, crs_of(4326), crs_of(3857)) if crs != native))
    styles = styles_of(definition, classes, bands, values)
    return CogFacts(grid, grid.sides, Box(grid.bounds, native), systems, bands, values, styles)


def years_of(definition: Mapping[str, Any]) -> dict[int, str]:
    """Return the files of `years` of the provider, the earliest first."""
    return dict(sorted((int(each["year"]), str(each["data"])) for each in definition.get("years") or ()))


def is_unlike(one: CogFacts, other: CogFacts) -> bool:
    """Return whether two files differ in grid or type; overviews, blocks and nodata may differ."""
    off = max(abs(a - b) for a, b in zip(one.whole.bbox, other.whole.bbox, strict=True))
    return off > _OFF_GRID * min(one.sides) or _shape(one) != _shape(other)


def fields_of(known: CogFacts, classes: Classes) -> dict[str, Any]:
    """Return the schemas of the fields: the class with codes and names, or the configured bands."""
    if values := known.values:
        kind = "number" if values.dtype.startswith("f") else "integer"
        return {
            band.name: {"type": kind, "title": band.title, "x-ogc-propertySeq": band.number}
            | ({"x-ogc-unit": band.unit} if band.unit else {})
            for band in known.bands
        }
    codes = [{"const": entry.value, "title": entry.name} for entry in classes]
    return {"class": {"type": "integer", "title": "Land-cover class", "oneOf": codes}}


def lost_class(known: CogFacts, classes: Classes, name: str) -> str:
    """Return a message about a class whose value the file of this name declares as no data; empty without one."""
    lost = next((each for each in classes if each.value == known.grid.nodata), None)
    if lost is None:
        return ""
    return (
        f"{name} says that {lost.value} is no data, so no pixel has the class {lost.name!r}; "
        f"`landcast product add` makes a file that keeps the class (--nodata none) or not (--nodata {lost.value})"
    )


def _shape(known: CogFacts) -> tuple[int, int, int, str]:
    grid, values = known.grid, known.values
    return grid.width, grid.height, grid.epsg, values.dtype if values else ""


def _bands(raster: ValueRaster, configured: Sequence[Mapping[str, Any]], name: str) -> tuple[Band, ...]:
    """Return the configured bands, in the order of the file's. Raises BrokenSource if it has fewer."""
    if len(configured) > len(raster.names):
        raise BrokenSource(f"{name} has {len(raster.names)} bands, not {len(configured)}")
    bands = []
    for number, (entry, (low, high)) in enumerate(zip(configured, raster.limits, strict=False), 1):
        title = entry.get("title") or raster.names[number - 1]
        limits = entry.get("minimum", low), entry.get("maximum", high)
        unit = entry.get("unit") or raster.units[number - 1]
        if limits[0] >= limits[1]:
            raise BrokenSource(f"bands: {entry['name']}: minimum {limits[0]} is not below maximum {limits[1]}")
        colour = raster.colours[number - 1]
        bands.append(Band(str(entry["name"]), str(title), number, str(unit), limits, colour))
    return tuple(bands)
