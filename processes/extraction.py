"""The inputs of an extraction and the reasons to refuse it, shared by the order and its estimate."""

from collections.abc import Mapping
from typing import Any

from orchestration.estimate.amounts import expected_bytes
from processes.areas import AREA, any_area_of, sized
from processes.errors import InvalidInput
from processes.order import ORDER
from processes.product_choice import PRODUCT_INPUTS, product_of, source_of
from products.area import Area
from products.catalogue import Catalogue
from products.raster.cover import has_data
from products.vector.census import has_features

EXTRACTION: Mapping[str, Mapping[str, Any]] = {
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
    **PRODUCT_INPUTS,
    **ORDER,
}
EXAMPLE: Mapping[str, Any] = {
    "inputs": {
        "product": "Raster",
        "aoi": "POLYGON((23.80 52.68, 23.90 52.68, 23.90 52.75, 23.80 52.75, 23.80 52.68))",
    }
}


def refusal_of(inputs: Mapping[str, Any], catalogue: Catalogue) -> InvalidInput | None:
    """Return why an order with these inputs is refused, or None; AreaRefused if the area is too large.

    Raises InvalidInput if the area cannot be read, BrokenSource.
    """
    area = any_area_of(inputs["aoi"])
    try:
        _check(inputs, area, catalogue)
    except InvalidInput as refusal:
        return refusal
    return None


def size_of(inputs: Mapping[str, Any], catalogue: Catalogue) -> int:
    """Return the bytes that are expected of an order with these checked inputs. Raises InvalidInput, BrokenSource."""
    return expected_bytes(product_of(inputs, catalogue), inputs["product"], any_area_of(inputs["aoi"]))


def _check(inputs: Mapping[str, Any], area: Area, catalogue: Catalogue) -> None:
    sized(area)
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
