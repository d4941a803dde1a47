"""The process that delivers the product of a nation, in the nation's own CRS."""

from collections.abc import Mapping
from typing import Any, ClassVar, override

from auth.policy import Extent
from orchestration.estimate.amounts import expected_bytes
from orchestration.job import Manifest
from orchestration.prebuilt.product import PrebuiltProduct, PrebuiltProducts
from processes.areas import NATION, nation_of
from processes.base import Processor
from processes.errors import InvalidInput
from processes.order import ORDER
from processes.product_choice import PRODUCT_INPUTS, product_of, source_of
from products.catalogue import Catalogue
from products.nations.outline import outline_of
from products.raster.cover import has_data
from products.vector.census import has_features


class NationalProduct(Processor):
    """Deliver the raster or the vector product of a nation, which is made once and kept."""

    work = "orchestration.work.national_product"
    raster = "whole"
    on_airflow = True
    has_twin = True

    description: ClassVar[Mapping[str, Any]] = {
        "id": "national-product",
        "version": "1.0.0",
        "title": "Order the product of a nation",
        "description": "The land cover of a nation as raster (Cloud-Optimized GeoTIFF, 10 m) or vector (GeoPackage), "
        "in the nation's own coordinates. It is made with the first order, stored, and delivered at once from then on.",
        "keywords": ["land cover", "CLC+ Backbone", "order", "raster", "vector", "nation"],
        "jobControlOptions": ["sync-execute", "async-execute", "dismiss"],
        "outputTransmission": ["value", "reference"],
        "inputs": {
            "product": {
                "title": "Product",
                "description": "What to deliver.",
                "schema": {"type": "string", "enum": ["Raster", "Vector"]},
            },
            "nation": NATION,
            **PRODUCT_INPUTS,
            **ORDER,
        },
        "outputs": {
            "result": {
                "title": "The product",
                "description": "A ZIP archive, CLMS_CLCplus_RASTER_{year}_010m_{code}_{epsg}_{version}.zip or "
                "CLMS_CLCplus_VECTOR_{year}_{CODE}_{epsg}_{version}.zip.",
                "schema": {"type": "string", "format": "binary", "contentMediaType": "application/zip"},
            }
        },
        "example": {"inputs": {"product": "Raster", "nation": "Poland"}},
    }

    @override
    def place(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> Extent:
        """Return the outline of the nation."""
        del catalogue
        return outline_of(nation_of(inputs["nation"]))

    @override
    def size(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> int:
        """Return what an estimate of the nation's outline says."""
        product, area = product_of(inputs, catalogue), outline_of(nation_of(inputs["nation"]))
        return expected_bytes(product, inputs["product"], area)

    @override
    def check_more(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> None:
        """Refuse an unknown nation, and one outside of the product. Raises BrokenSource."""
        nation = nation_of(inputs["nation"])
        product = product_of(inputs, catalogue)
        kind = inputs["product"]
        source = source_of(product, kind)
        area = outline_of(nation)
        some = has_data(source, area) if kind == "Raster" else has_features(source, area)
        if not some:
            raise InvalidInput(
                "nation",
                f"input 'nation': there is nothing of {product.title} ({kind}) in {nation.title}; "
                "allowed: a nation that has some of it",
            )

    @override
    def ready(self, inputs: Mapping[str, Any], catalogue: Catalogue, prebuilt: PrebuiltProducts) -> Manifest | None:
        """Return the prebuilt file of an earlier order, if there is one."""
        product = product_of(inputs, catalogue)
        return prebuilt.ready(PrebuiltProduct(product, inputs["product"], nation_of(inputs["nation"])))
