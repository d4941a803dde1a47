"""The process that delivers the land cover of an area, as raster or vector."""

from collections.abc import Mapping
from typing import Any, ClassVar, override

from auth.policy import Extent
from orchestration.job import REPAIRED
from processes.areas import area_of
from processes.base import Processor
from processes.errors import AreaRefused, InvalidInput
from processes.extraction import EXAMPLE, EXTRACTION, refusal_of, size_of
from products.catalogue import Catalogue

_HINT = "The process estimate-product tells before an order whether it is taken, and its size and time."


class ExtractProduct(Processor):
    """Cut the product to an area and pack it with its styles and tables."""

    work = "orchestration.work.extract_product"
    raster = "cut"
    on_airflow = True
    has_twin = True

    description: ClassVar[Mapping[str, Any]] = {
        "id": "extract-product",
        "version": "1.0.0",
        "title": "Order a product for an area",
        "description": "Cuts the land cover to an area, as raster (Cloud-Optimized GeoTIFF) or vector (GeoPackage), "
        "with colours, class names and tables. Outside of the area is no data; an area partly outside of the product "
        "is cut at its edge. estimate-product tells size and time beforehand.",
        "keywords": ["land cover", "CLC+ Backbone", "order", "raster", "vector"],
        "jobControlOptions": ["async-execute", "dismiss"],
        "outputTransmission": ["value", "reference"],
        "inputs": EXTRACTION,
        "outputs": {
            "result": {
                "title": "The product",
                "description": "A ZIP archive, Raster_{job}.zip or Vector_{job}.zip; every file in it has that name.",
                "schema": {"type": "string", "format": "binary", "contentMediaType": "application/zip"},
            }
        },
        "example": EXAMPLE,
    }

    @override
    def place(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> Extent:
        """Return the ordered area."""
        del catalogue
        return area_of(inputs["aoi"])

    @override
    def size(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> int:
        """Return what an estimate of the area says."""
        return size_of(inputs, catalogue)

    @override
    def check(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
        """Return the inputs as they are stored; REPAIRED says what was repaired in the area."""
        checked = super().check(inputs, catalogue)
        repaired = area_of(checked["aoi"]).repaired
        return {**checked, REPAIRED: repaired} if repaired else checked

    def check_more(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> None:
        """Refuse an area that is invalid, too large, or outside of the product. Raises BrokenSource."""
        refusal = refusal_of(inputs, catalogue)
        if isinstance(refusal, AreaRefused):
            raise InvalidInput(refusal.input, f"{refusal.message} {_HINT}") from refusal
        if refusal is not None:
            raise refusal
