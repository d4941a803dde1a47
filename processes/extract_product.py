"""Order the land cover of an area, as raster or vector."""

from collections.abc import Mapping
from typing import Any, ClassVar, override

from auth.limits import Place
from processes.base import Processor
from processes.errors import InvalidInput
from processes.order import ORDER
from processes.where import AREA, area_of
from processes.which import WHICH, product_of, source_of
from products.catalogue import Catalogue
from products.raster.cover import has_data
from products.vector.extract import has_features


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
                "schema": AREA,
            },
            **WHICH,
            **ORDER,
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

    @override
    def place(self, inputs: Mapping[str, Any]) -> Place:
        """Return the area that is ordered."""
        return area_of(inputs["aoi"])

    def check_more(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> None:
        """Refuse an area that is invalid, too large, or has nothing of the product inside. Raises BrokenSource."""
        area = area_of(inputs["aoi"])
        product = product_of(inputs, catalogue)
        kind = inputs["product"]
        source = source_of(product, kind)
        some = has_data(source, area) if kind == "Raster" else has_features(source, area)
        if not some:
            west, south, east, north = area.geometry.bounds
            raise InvalidInput(
                "aoi",
                f"input 'aoi': there is nothing of {product.title} ({kind}) inside the area, which lies between "
                f"{west:.6g} {south:.6g} and {east:.6g} {north:.6g}; allowed: an area that has some of it",
            )
