"""Pixels as CoverageJSON; the grid and the values' type as CIS 1.1 JSON."""

import math
from typing import Any

from plugins.coverages import Band, CoverageProvider, Pixels
from plugins.crs import CRS84
from products.classes import NODATA, Classes

_OGC_TYPES = {
    "uint8": "unsignedByte",
    "int8": "signedByte",
    "uint16": "unsignedShort",
    "int16": "signedShort",
    "uint32": "unsignedInt",
    "int32": "signedInt",
    "uint64": "unsignedLong",
    "int64": "signedLong",
    "float32": "float32",
    "float64": "float64",
}


def coverage_json(pixels: Pixels) -> dict[str, Any]:
    """Return the pixels as CoverageJSON: centres along each axis, class values, null for no data."""
    width, height = pixels.size
    step_x, _, west, _, step_y, north = tuple(pixels.transform)[:6]
    geographic = pixels.crs.epsg == CRS84.epsg
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
        "parameters": {
            band.name: _parameter(pixels.classes) if pixels.classes else _measured(band) for band in pixels.bands
        },
        "ranges": {
            band.name: {
                "type": "NdArray",
                "dataType": "float" if pixels.dtype.kind == "f" else "integer",
                "axisNames": ["y", "x"],
                "shape": [height, width],
                "values": [_value(value, pixels.nodata) for value in values.ravel().tolist()],
            }
            for band, values in zip(pixels.bands, pixels.values, strict=True)
        },
    }


def position_json(pixels: Pixels) -> Any:
    """Return the values at one position: of one field the value itself, of several an object (/req/position-query)."""
    values = [_value(value, pixels.nodata) for value in pixels.values[:, 0, 0].tolist()]
    if len(pixels.bands) == 1:
        return values[0]
    return {band.name: value for band, value in zip(pixels.bands, values, strict=True)}


def _value(value: float, nodata: float | None) -> float | None:
    return None if value == nodata or not math.isfinite(value) else value


def _measured(band: Band) -> dict[str, Any]:
    label = {"en": band.title}
    unit = {"unit": {"symbol": band.unit}} if band.unit else {}
    return {"type": "Parameter", "description": label, **unit, "observedProperty": {"label": label}}


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
    """Return the grid in longitude and latitude: GDAL's OGCAPI driver reads every coverage as EPSG:4326."""
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


def range_type(provider: CoverageProvider) -> dict[str, Any]:
    """Return the type of the values; GDAL reads it from `definition`, and without it as floats."""
    type_ = f"ogcType:{_OGC_TYPES[provider.dtype]}"
    nil = NODATA if provider.classes else provider.grid.nodata
    nils = [] if nil is None or not math.isfinite(nil) else [{"value": nil, "reason": "no data"}]
    return {
        "type": "DataRecord",
        "field": [
            {
                "type": "Quantity",
                "name": band.name,
                "definition": type_,
                "description": band.title,
                "encodingInfo": {"dataType": type_},
                "nilValues": nils,
                **({"uom": {"code": band.unit}} if band.unit else {}),
            }
            for band in provider.bands
        ],
    }
