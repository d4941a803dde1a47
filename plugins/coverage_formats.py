"""Pixels as GeoTIFF and CoverageJSON; the grid and the values' type as CIS 1.1 JSON."""

from typing import Any

import rasterio
from rasterio.io import MemoryFile

from plugins.coverages import CoverageProvider, Pixels
from plugins.crs import CRS84
from products.classes import NODATA, Classes

_SIDE = 256
_TILES = {"tiled": True, "blockxsize": _SIDE, "blockysize": _SIDE}


def geotiff(pixels: Pixels) -> bytes:
    """Return a deflated GeoTIFF with the colours of the classes and 255 as no data.

    It is tiled unless it is narrower than a tile: a single row would be filled up to 256 times its size.
    """
    height, width = pixels.values.shape
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=width,
            height=height,
            count=1,
            dtype="uint8",
            crs=rasterio.CRS.from_epsg(pixels.crs.epsg),
            transform=pixels.transform,
            nodata=NODATA,
            compress="deflate",
            **_TILES if min(width, height) >= _SIDE else {},
        ) as dataset:
            dataset.write(pixels.values, 1)
            colours = {entry.value: (*entry.rgb, 255) for entry in pixels.classes}
            dataset.write_colormap(1, colours | {NODATA: (0, 0, 0, 0)})
        return bytes(memory.read())


def coverage_json(pixels: Pixels) -> dict[str, Any]:
    """Return the pixels as CoverageJSON: centres along each axis, class values, null for no data."""
    height, width = pixels.values.shape
    step_x, _, west, _, step_y, north = tuple(pixels.transform)[:6]
    geographic = pixels.crs.epsg == CRS84.epsg
    values = [None if value == NODATA else value for value in pixels.values.ravel().tolist()]
    return {
        "type": "Coverage",
        "domain": {
            "type": "Domain",
            "domainType": "Grid",
            "axes": {
                "x": {"start": west + step_x / 2, "stop": west + step_x * (width - 0.5), "num": width},
                "y": {"start": north + step_y / 2, "stop": north + step_y * (height - 0.5), "num": height},
            },
            "referencing": [
                {
                    "coordinates": ["x", "y"],
                    "system": {"type": "GeographicCRS" if geographic else "ProjectedCRS", "id": pixels.crs.uri},
                }
            ],
        },
        "parameters": {"class": _parameter(pixels.classes)},
        "ranges": {
            "class": {
                "type": "NdArray",
                "dataType": "integer",
                "axisNames": ["y", "x"],
                "shape": [height, width],
                "values": values,
            }
        },
    }


def _parameter(classes: Classes) -> dict[str, Any]:
    return {
        "type": "Parameter",
        "description": {"en": "Land-cover class"},
        "observedProperty": {
            "label": {"en": "Land cover"},
            "categories": [
                {"id": _category(entry.value), "label": {"en": entry.name}, "preferredColor": entry.hex}
                for entry in classes
            ],
        },
        "categoryEncoding": {_category(entry.value): entry.value for entry in classes},
    }


def _category(value: int) -> str:
    return f"#class-{value}"


def domain_set(provider: CoverageProvider) -> dict[str, Any]:
    """Return the grid in longitude and latitude: GDAL's OGCAPI driver takes every coverage for EPSG:4326."""
    box = provider.whole.to(CRS84)
    width, height = provider.size_of(box)
    west, south, east, north = box.bbox
    sides = (("Long", west, east, width), ("Lat", south, north, height))
    return {
        "type": "DomainSet",
        "generalGrid": {
            "type": "GeneralGridCoverage",
            "srsName": CRS84.uri,
            "axisLabels": ["Long", "Lat"],
            "axis": [
                {
                    "type": "RegularAxis",
                    "axisLabel": label,
                    "lowerBound": low,
                    "upperBound": high,
                    "resolution": (high - low) / count,
                    "uomLabel": "deg",
                }
                for label, low, high, count in sides
            ],
            "gridLimits": {
                "type": "GridLimits",
                "srsName": "http://www.opengis.net/def/crs/OGC/0/Index2D",
                "axisLabels": ["i", "j"],
                "axis": [
                    {"type": "IndexAxis", "axisLabel": label, "lowerBound": 0, "upperBound": count - 1}
                    for label, count in (("i", width), ("j", height))
                ],
            },
        },
    }


def range_type(_provider: CoverageProvider) -> dict[str, Any]:
    """Return the type of the values; GDAL reads it from `definition`, without which it takes them for floats."""
    return {
        "type": "DataRecord",
        "field": [
            {
                "type": "Quantity",
                "name": "class",
                "definition": "ogcType:unsignedByte",
                "description": "Land-cover class",
                "encodingInfo": {"dataType": "ogcType:unsignedByte"},
                "nilValues": [{"value": NODATA, "reason": "no data"}],
            }
        ],
    }
