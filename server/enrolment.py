"""A product added to the configuration file, whose comments and variables stay."""

import io
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from products.catalogue import InvalidConfiguration, catalogue_of, read_configuration
from products.whole import whole_file
from server.check import flaws


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A product to be added: its id and its entry under `products`, without the collection of its raster."""

    id: str
    entry: Mapping[str, Any]

    @property
    def collection(self) -> str:
        """The id of the collection that shows the raster."""
        return f"{self.id}-raster"


def refuse_known(configuration: Path, product: Enrolment) -> None:
    """Raise InvalidConfiguration where the id, its collection, or the year of the series is there already."""
    document = read_configuration(configuration)
    if product.id in document.get("products", {}):
        raise InvalidConfiguration(f"{configuration}: the product {product.id} is there already")
    if product.collection in document.get("resources", {}):
        raise InvalidConfiguration(f"{configuration}: the collection {product.collection} is there already")
    series, year = product.entry["series"], product.entry["year"]
    if year in catalogue_of(document).years(series):
        raise InvalidConfiguration(f"{configuration}: {series} has the year {year} already")


def enrol(configuration: Path, product: Enrolment, collection: Mapping[str, Any]) -> None:
    """Add a product and its collection to the file, whole or not at all. Raises InvalidConfiguration."""
    refuse_known(configuration, product)
    path = configuration.resolve()
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        document = yaml.load(path.read_text())
    except YAMLError as error:
        raise InvalidConfiguration(f"{configuration}: {error}") from error
    document["products"][product.id] = {**product.entry, "raster": product.collection}
    document["resources"][product.collection] = dict(collection)
    text = io.StringIO()
    yaml.dump(document, text)
    with whole_file(path) as part:
        part.write_text(text.getvalue())
        shutil.copymode(path, part)
        for flaw in flaws(read_configuration(part)):
            raise InvalidConfiguration(f"{configuration} would be wrong: {flaw}")
