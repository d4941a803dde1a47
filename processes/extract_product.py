"""Order the land cover of an area, as raster or vector."""

from collections.abc import Mapping
from typing import Any, ClassVar

from processes.base import Processor
from processes.errors import InvalidInput
from products.area import Area, read_area
from products.catalogue import Catalogue
from products.errors import AreaTooLarge, InvalidArea
from products.raster.cover import has_data
from products.vector.extract import has_features

_CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
_AREA = {
    "oneOf": [
        {
            "title": "a POLYGON or MULTIPOLYGON as WKT, longitude latitude",
            "type": "string",
            "format": "wkt",
            "minLength": 1,
        },
        {
            "title": "a GeoJSON Polygon or MultiPolygon",
            "type": "object",
            "format": "geojson-geometry",
            "required": ["type", "coordinates"],
            "properties": {
                "type": {"type": "string", "enum": ["Polygon", "MultiPolygon"]},
                "coordinates": {"type": "array", "items": {}},
            },
        },
        {
            "title": 'a box as {"bbox": [west, south, east, north]}',
            "type": "object",
            "format": "ogc-bbox",
            "required": ["bbox"],
            "properties": {
                "bbox": {"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "number"}},
                "crs": {
                    "type": "string",
                    "enum": [_CRS84, "http://www.opengis.net/def/crs/EPSG/0/4326"],
                    "default": _CRS84,
                },
            },
            "additionalProperties": False,
        },
    ]
}


class ExtractProduct(Processor):
    """Cut the product to an area and pack it with its styles and tables."""

    description: ClassVar[Mapping[str, Any]] = {
        "id": "extract-product",
        "version": "1.0.0",
        "title": "Order a product for an area",
        "description": "Cuts the land cover to an area, as raster (Cloud-Optimized GeoTIFF) or vector (GeoPackage), "
        "with colours, class names and tables. Outside of the area is no data; an area partly outside of the product "
        "is cut at its edge.",
        "keywords": ["land cover", "CLC+ Backbone", "order", "raster", "vector"],
        "jobControlOptions": ["async-execute", "dismiss"],
        "outputTransmission": ["value", "reference"],
        "inputs": {
            "product": {
                "title": "Product",
                "description": "What to deliver.",
                "schema": {"type": "string", "enum": ["Raster", "Vector"]},
            },
            "aoi": {
                "title": "Area of interest",
                "description": "The area, at most 5,000,000 km2, in longitude and latitude (WGS 84). Edges are "
                "straight in longitude and latitude; a pixel belongs to the area when its centre does.",
                "schema": _AREA,
            },
            "project": {
                "title": "Project",
                "description": "What the order is for; it is kept with the order.",
                "minOccurs": 0,
                "schema": {"type": "string", "maxLength": 200, "default": "CLC-Backbone-Products"},
            },
            "test": {
                "title": "Test",
                "description": "Whether the order is a test; it is kept with the order.",
                "minOccurs": 0,
                "schema": {"type": "boolean", "default": False},
            },
            "send_mail": {
                "title": "Send mail",
                "description": "Whether a mail is wanted once the result is there; it is kept with the order.",
                "minOccurs": 0,
                "schema": {"type": "boolean", "default": False},
            },
        },
        "outputs": {
            "result": {
                "title": "The product",
                "description": "A ZIP archive, Raster_{job}.zip or Vector_{job}.zip; every file in it has that name.",
                "schema": {"type": "string", "format": "binary", "contentMediaType": "application/zip"},
            }
        },
        "example": {
            "inputs": {
                "product": "Raster",
                "aoi": "POLYGON((23.80 52.68, 23.90 52.68, 23.90 52.75, 23.80 52.75, 23.80 52.68))",
            }
        },
    }

    def check_more(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> None:
        """Refuse an area that is invalid, too large, or has nothing of the product inside. Raises BrokenSource."""
        area = _area(inputs["aoi"])
        product = catalogue.default
        kind = inputs["product"]
        some = has_data(product.raster, area) if kind == "Raster" else has_features(product.vector, area)
        if not some:
            west, south, east, north = area.geometry.bounds
            raise InvalidInput(
                "aoi",
                f"input 'aoi': there is nothing of {product.title} ({kind}) inside the area, which lies between "
                f"{west:.6g} {south:.6g} and {east:.6g} {north:.6g}; allowed: an area that has some of it",
            )


def _area(value: Any) -> Area:
    try:
        return read_area(value)
    except (InvalidArea, AreaTooLarge) as error:
        raise InvalidInput("aoi", f"input 'aoi': {error}") from error
