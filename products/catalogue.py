"""The configuration file as data, and the products that can be ordered from it."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


class InvalidConfiguration(Exception):
    """The configuration file is missing, no YAML, or lacks what is asked of it."""


@dataclass(frozen=True, slots=True)
class Product:
    """One land-cover product: its sources, year and what must be said where it is shown."""

    id: str
    title: str
    year: int
    raster: Path
    vector: Path
    attribution: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The products of one configuration; the first is the default."""

    products: tuple[Product, ...]

    @property
    def default(self) -> Product:
        """The product that an order gets which names none."""
        return self.products[0]


def read_configuration(path: Path) -> dict[str, Any]:
    """Return the configuration with `${NAME:-default}` replaced and each provider's `data` an absolute path.

    Relative paths are relative to the file's own folder. Raises InvalidConfiguration.
    """
    try:
        document = yaml.safe_load(_expand(path.read_text()))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidConfiguration(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise InvalidConfiguration(f"{path}: not a mapping")
    for provider in _providers(document):
        if isinstance(provider.get("data"), str):
            provider["data"] = str((path.parent / provider["data"]).absolute())
    return document


def _providers(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what has the shape of a provider; what has another shape is `landcast check`'s to name."""
    resources = document.get("resources")
    for resource in resources.values() if isinstance(resources, dict) else ():
        providers = resource.get("providers") if isinstance(resource, dict) else None
        yield from (each for each in providers if isinstance(each, dict)) if isinstance(providers, list) else ()


def _expand(text: str) -> str:
    return _VARIABLE.sub(lambda found: os.environ.get(found[1], found[2] or ""), text)


def catalogue_of(configuration: Mapping[str, Any]) -> Catalogue:
    """Return the products that the configuration lists under `products`. Raises InvalidConfiguration."""
    entries = configuration.get("products")
    if not isinstance(entries, dict) or not entries:
        raise InvalidConfiguration("products: none is configured")
    return Catalogue(tuple(_product(name, entry, configuration["resources"]) for name, entry in entries.items()))


def _product(name: str, entry: Any, resources: Mapping[str, Any]) -> Product:
    place = f"products.{name}"
    if not isinstance(entry, dict):
        raise InvalidConfiguration(f"{place}: no mapping")
    if missing := [field for field in ("title", "year", "raster", "vector", "attribution") if not entry.get(field)]:
        raise InvalidConfiguration(f"{place}: {', '.join(missing)} missing")
    if not isinstance(entry["year"], int):
        raise InvalidConfiguration(f"{place}.year: {entry['year']!r} is no year")
    return Product(
        id=name,
        title=str(entry["title"]),
        year=entry["year"],
        raster=_source(f"{place}.raster", resources, entry["raster"]),
        vector=_source(f"{place}.vector", resources, entry["vector"]),
        attribution=str(entry["attribution"]),
    )


def _source(place: str, resources: Mapping[str, Any], collection: str) -> Path:
    try:
        return Path(resources[collection]["providers"][0]["data"])
    except (KeyError, TypeError, IndexError) as error:
        raise InvalidConfiguration(f"{place}: {collection!r} is no collection with a source") from error
