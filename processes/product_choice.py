"""The inputs that choose a product: its series and its year."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from processes.errors import InvalidInput
from products.catalogue import Catalogue, Product
from products.errors import UnknownProduct

PRODUCT_INPUTS: Mapping[str, Mapping[str, Any]] = {
    "series": {
        "title": "Series",
        "description": "The product, if there are several; by default the first configured one.",
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


def name_years(inputs: Mapping[str, Any], years: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Return the inputs of a description with the configured `years`, newest first, by series.

    They are documentation: requests are checked against the catalogue, which has better error messages.
    """
    every = {year for each in years.values() for year in each}
    earlier = {year for each in years.values() for year in each[1:]}
    known: Mapping[str, Sequence[Any]] = {
        "series": list(years),
        "year": sorted(every, reverse=True),
        "since": sorted(earlier, reverse=True),
    }
    listed = "; ".join(f"{series} {', '.join(map(str, each))}" for series, each in years.items())
    return {name: _named(described, known.get(name), listed) for name, described in inputs.items()}


def _named(described: Mapping[str, Any], known: Sequence[Any] | None, listed: str) -> Mapping[str, Any]:
    if not known:
        return described
    description = f"{described['description']} Here: {listed}."
    return {**described, "description": description, "schema": {**described["schema"], "enum": known}}


def product_of(inputs: Mapping[str, Any], catalogue: Catalogue) -> Product:
    """Return the product that the inputs choose. Raises InvalidInput."""
    series, year = inputs.get("series"), inputs.get("year")
    try:
        return catalogue.find(series, year)
    except UnknownProduct as error:
        known = any(series == each.series and (each.listed or year is not None) for each in catalogue.products)
        name = "series" if series is not None and not known else "year"
        raise InvalidInput(name, f"input '{name}': {error}") from error


def source_of(product: Product, kind: str) -> Path:
    """Return the product's file, `Raster` or `Vector`. Raises InvalidInput if it has no vector."""
    if kind == "Raster":
        return product.raster
    if product.vector is None:
        raise InvalidInput("product", f"input 'product': {product.title} has no Vector; allowed: Raster")
    return product.vector
