"""The inputs that say which product: its series and its year."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from processes.errors import InvalidInput
from products.catalogue import Catalogue, Product
from products.errors import UnknownProduct

WHICH: Mapping[str, Mapping[str, Any]] = {
    "series": {
        "title": "Series",
        "description": "Which product, where several are offered; the first that is configured if it is left out.",
        "minOccurs": 0,
        "schema": {"type": "string", "minLength": 1, "maxLength": 100},
    },
    "year": {
        "title": "Year",
        "description": "The year that the product describes; the newest if it is left out.",
        "minOccurs": 0,
        "schema": {"type": "integer"},
    },
}


def product_of(inputs: Mapping[str, Any], catalogue: Catalogue) -> Product:
    """Return the product that the inputs choose. Raises InvalidInput."""
    series, year = inputs.get("series"), inputs.get("year")
    try:
        return catalogue.find(series, year)
    except UnknownProduct as error:
        name = "series" if series is not None and series not in catalogue.series else "year"
        raise InvalidInput(name, f"input '{name}': {error}") from error


def source_of(product: Product, kind: str) -> Path:
    """Return the product's file, `Raster` or `Vector`. Raises InvalidInput where it has no vector."""
    if kind == "Raster":
        return product.raster
    if product.vector is None:
        raise InvalidInput("product", f"input 'product': {product.title} has no Vector; allowed: Raster")
    return product.vector
