"""A delivered file as a STAC item (version 1.1.0)."""

from typing import TYPE_CHECKING, Any

import shapely

from products.outline import Polygonal

if TYPE_CHECKING:
    from products.package.metadata import Metadata

_EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
)
_MOST_POINTS = 2_000
_FIRST_TOLERANCE, _LAST_TOLERANCE = 1e-4, 10.0
_SHA256 = "1220"
"""What a multihash of SHA-256 begins with: its code and its length in bytes."""


def stac_item(metadata: "Metadata") -> dict[str, Any]:
    """Return the item; its one asset is the file, beside which it lies. A long outline is simplified."""
    geometry = _light(metadata.geometry)
    licence = [{"rel": "license", "href": metadata.licence}] if metadata.licence else []
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(_EXTENSIONS),
        "id": metadata.name,
        "geometry": shapely.geometry.mapping(geometry),
        "bbox": list(geometry.bounds),
        "properties": _properties(metadata),
        "links": licence,
        "assets": {"data": _asset(metadata)},
    }


def _properties(metadata: "Metadata") -> dict[str, Any]:
    resolution = {} if metadata.resolution is None else {"gsd": metadata.resolution}
    return {
        "datetime": None,
        "start_datetime": f"{metadata.year}-01-01T00:00:00Z",
        "end_datetime": f"{metadata.year}-12-31T23:59:59Z",
        "created": metadata.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "title": metadata.title,
        "description": metadata.abstract,
        "license": "other",
        "attribution": metadata.attribution,
        "source": metadata.source,
        "lineage": metadata.lineage,
        "operation": metadata.operation,
        "operation_accuracy": metadata.accuracy,
        "proj:code": f"EPSG:{metadata.epsg}",
        **resolution,
    }


def _asset(metadata: "Metadata") -> dict[str, Any]:
    return {
        "href": f"./{metadata.file}",
        "type": metadata.media_type,
        "title": metadata.title,
        "roles": ["data"],
        "file:size": metadata.size,
        "file:checksum": _SHA256 + metadata.sha256,
        "classification:classes": [
            {
                "value": each.value,
                "name": "".join(letter if letter.isalnum() else "-" for letter in each.name.lower()),
                "title": each.name,
                "color_hint": each.hex[1:].upper(),
            }
            for each in metadata.classes
        ],
    }


def _light(geometry: Polygonal) -> Polygonal:
    """Return an outline of few points; of many parts, which no tolerance makes few, what lies around them."""
    tolerance, light = _FIRST_TOLERANCE, geometry
    while shapely.get_num_coordinates(light) > _MOST_POINTS and tolerance < _LAST_TOLERANCE:
        light = shapely.simplify(light, tolerance)
        tolerance *= 4
    if shapely.get_num_coordinates(light) <= _MOST_POINTS:
        return light
    around: Polygonal = shapely.simplify(shapely.convex_hull(geometry), _FIRST_TOLERANCE)
    return around if shapely.get_num_coordinates(around) <= _MOST_POINTS else shapely.box(*geometry.bounds)
