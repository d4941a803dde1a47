"""The process that delivers the product of all Europe."""

from collections.abc import Mapping
from typing import Any, ClassVar, override

from auth.policy import EVERYWHERE, Extent
from orchestration.job import Manifest
from orchestration.prebuilt.product import COG, PrebuiltProduct, PrebuiltProducts
from processes.base import Processor
from processes.order import ORDER
from processes.product_choice import PRODUCT_INPUTS, product_of
from products.catalogue import Catalogue
from products.raster.cog import open_cog


class EuropeanProduct(Processor):
    """Deliver the raster of all Europe, which is the product's own file."""

    work = "orchestration.work.european_product"
    raster = "whole"
    on_airflow = True
    has_twin = True

    description: ClassVar[Mapping[str, Any]] = {
        "id": "european-product",
        "version": "1.0.0",
        "title": "Order the European product",
        "description": "The land cover of all that the product covers, as one Cloud-Optimized GeoTIFF in EPSG:3035. "
        "From the second order on it is answered at once.",
        "keywords": ["land cover", "CLC+ Backbone", "order", "raster", "Europe"],
        "jobControlOptions": ["sync-execute", "async-execute", "dismiss"],
        "outputTransmission": ["value", "reference"],
        "inputs": {
            "product": {
                "title": "Product",
                "description": "What to deliver.",
                "schema": {"type": "string", "enum": ["Raster"]},
            },
            **PRODUCT_INPUTS,
            **ORDER,
        },
        "outputs": {
            "result": {
                "title": "The product",
                "description": "A Cloud-Optimized GeoTIFF, CLMS_CLCplus_RASTER_{year}_010m_eu_03035_{version}.tif.",
                "schema": {"type": "string", "format": "binary", "contentMediaType": COG},
            }
        },
        "example": {"inputs": {"product": "Raster"}},
    }

    @override
    def place(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> Extent:
        """Return that the extent is everything."""
        del inputs, catalogue
        return EVERYWHERE

    @override
    def size(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> int:
        """Return the bytes of the raster that it is made of."""
        return product_of(inputs, catalogue).raster.stat().st_size

    @override
    def check_more(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> None:
        """Open the product's file, so that a missing or broken one is noticed before the order is stored."""
        with open_cog(product_of(inputs, catalogue).raster):
            pass

    @override
    def ready(self, inputs: Mapping[str, Any], catalogue: Catalogue, prebuilt: PrebuiltProducts) -> Manifest | None:
        """Return the file that was linked for an earlier order."""
        return prebuilt.ready(PrebuiltProduct(product_of(inputs, catalogue), "Raster"))
