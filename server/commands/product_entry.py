"""Add a product to the configuration file, keeping its comments and variables."""

import io
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from products.catalogue import InvalidConfiguration, catalogue_of, read_configuration
from products.whole import whole_file
from server.configuration import examine


@dataclass(frozen=True, slots=True)
class ProductEntry:
    """A product to add: its id, its entry under `products`, and whether it has `raster` and `vector`."""

    id: str
    entry: Mapping[str, Any]
    kinds: tuple[str, ...] = ("raster",)

    @property
    def collections(self) -> Mapping[str, str]:
        """The ids of its collections, by kind."""
        return {kind: f"{self.id}-{kind}" for kind in self.kinds}


def check_new(configuration: Path, product: ProductEntry) -> None:
    """Raise InvalidConfiguration if the id, one of its collections, or the series' year exists already.

    Also if the file is invalid or its folder is not writable; call it before creating files.
    """
    document = read_configuration(configuration)
    if not os.access(folder := configuration.resolve().parent, os.W_OK | os.X_OK):
        raise InvalidConfiguration(f"{folder}: is not writable, so the configuration in it cannot be changed")
    products, resources = (document.get(name) or {} for name in ("products", "resources"))
    flaws = [
        flaw for flaw in examine(document).flaws if document.get("products") != {} or not flaw.startswith("products:")
    ]
    if flaws:  # other than that there is no product yet
        raise InvalidConfiguration(*(f"{configuration}: {flaw}" for flaw in flaws))
    if product.id in products:
        raise InvalidConfiguration(f"{configuration}: the product {product.id} exists already")
    if known := resources.keys() & product.collections.values():
        raise InvalidConfiguration(f"{configuration}: the collection {min(known)} exists already")
    series, year = product.entry["series"], product.entry["year"]
    there = catalogue_of(document).products if products else ()
    if any((each.series, each.year) == (series, year) for each in there):
        raise InvalidConfiguration(f"{configuration}: {series} has the year {year} already")


def add_product(configuration: Path, product: ProductEntry, shown: Mapping[str, Mapping[str, Any]]) -> None:
    """Add a product and its collections, by kind, to the file, atomically. Raises InvalidConfiguration."""
    check_new(configuration, product)
    path = configuration.resolve()
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        document = yaml.load(path.read_text())
    except YAMLError as error:
        raise InvalidConfiguration(f"{configuration}: {error}") from error
    for name in ("products", "resources"):
        document[name] = document.get(name) or {}  # it may be the first
    document["products"][product.id] = {**product.entry, **product.collections}
    for kind, name in product.collections.items():
        document["resources"][name] = dict(shown[kind])
    text = io.StringIO()
    yaml.dump(document, text)
    with whole_file(path) as part:
        part.write_text(text.getvalue())
        shutil.copymode(path, part)
        for flaw in examine(read_configuration(part)).flaws:
            raise InvalidConfiguration(f"{configuration} would be invalid: {flaw}")
