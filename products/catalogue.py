"""The configuration file as data, and the products that can be ordered from it."""

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from products.classes import CLASSES, NODATA, Classes, LandCoverClass
from products.errors import UnknownProduct
from products.held import is_held
from products.remote import is_remote
from products.sources import is_one_file
from products.yaml_file import UnreadableYaml, read_yaml


class InvalidConfiguration(Exception):
    """The configuration file is missing, no YAML, or lacks what is asked of it; `problems` names each mistake."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class MeasuredBand:
    """A band of a raster of values, in the order of the file's; an empty `title` or `unit` is that of the file."""

    name: str
    title: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Product:
    """One land-cover product of one year: its sources and what must be said where it is delivered.

    Products of one `series` differ by their year. `vector` is None where there is none; `collections` are the ids under
    which raster and vector are shown. With `bands` the raster has values, and there are no classes. `licence` is an
    address; `version` stands in file names. One that is not `listed`
    is named nowhere, is never the default, and found by its series and year.
    """

    id: str
    title: str
    year: int
    raster: Path
    vector: Path | None
    attribution: str
    series: str = "clcplus"
    version: str = "V1_1"
    abstract: str = ""
    lineage: str = ""
    accuracy: str = ""
    citation: str = ""
    source: str = ""
    licence: str = ""
    classes: Classes = CLASSES
    bands: tuple[MeasuredBand, ...] = ()
    collections: tuple[str, ...] = ()
    listed: bool = True


@dataclass(frozen=True, slots=True)
class FeatureSource:
    """The GeoPackage of a collection of features; their ids are in the column `id_field`, else they are the keys.

    `table` is the layer of a file that has several; one that is not `listed` is named nowhere, and found by its id.
    """

    collection: str
    path: Path
    id_field: str | None = None
    table: str | None = None
    listed: bool = True


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The products and the collections of features of one configuration."""

    products: tuple[Product, ...]
    features: tuple[FeatureSource, ...] = ()

    @property
    def default(self) -> Product:
        """The product that an order gets which names none: the newest of the first series."""
        return self.find()

    @property
    def series(self) -> tuple[str, ...]:
        """The names of the series that have a listed product, as configured."""
        return tuple(dict.fromkeys(product.series for product in self.products if product.listed))

    def years(self, series: str) -> tuple[int, ...]:
        """Return the years of a series' listed products, newest first."""
        years = (each.year for each in self.products if each.series == series and each.listed)
        return tuple(sorted(years, reverse=True))

    def classes(self, collection: str) -> Classes:
        """Return the classes of the product that the collection shows; without one those of the CLC+ Backbone."""
        return next((each.classes for each in self.products if collection in each.collections), CLASSES)

    def seen(self, collections: Container[str]) -> "Catalogue":
        """Return what these collections show: products by their raster, without a vector that is not; features."""
        return Catalogue(
            tuple(
                product if all(name in collections for name in product.collections) else replace(product, vector=None)
                for product in self.products
                if not product.collections or product.collections[0] in collections
            ),
            tuple(source for source in self.features if source.collection in collections),
        )

    def find(self, series: str | None = None, year: int | None = None) -> Product:
        """Return the product of a series (default: the first) and year (default: the newest). Raises UnknownProduct."""
        if not self.products or (series is None and not self.series):
            raise UnknownProduct("there is no product")
        series = self.series[0] if series is None else series
        years = self.years(series)
        asked = next(iter(years), None) if year is None else year
        for product in self.products:
            if (product.series, product.year) == (series, asked):
                return product
        if not years:
            raise UnknownProduct(f"there is no series '{series}'; allowed: {', '.join(self.series)}")
        raise UnknownProduct(f"there is no year {year} of {series}; allowed: {', '.join(map(str, years))}")


def read_configuration(path: Path) -> dict[str, Any]:
    """Return the configuration with `${NAME:-default}` replaced and each provider's `data` an absolute path.

    Relative paths are relative to the file's own folder; of another maker's provider, where there is no such file, they
    stay as they are, for that may read something else. One that `write_configuration` wrote to a held file is read as
    it is. Raises InvalidConfiguration.
    """
    try:
        document = read_yaml(path, variables=not is_held(path))
    except (OSError, UnreadableYaml) as error:
        raise InvalidConfiguration(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(document, dict):
        raise InvalidConfiguration(f"{path}: must be a mapping, such as `server:` and what belongs to it below")
    for provider in () if is_held(path) else _providers(document):
        _make_absolute(provider, path.parent, ours=str(provider.get("name")).startswith(_OUR_PROVIDERS))
    server = document.get("server") if isinstance(document, dict) else None
    if isinstance(server, dict) and isinstance(server.get("locale_dir"), str) and not is_held(path):
        server["locale_dir"] = str((path.parent / server["locale_dir"]).absolute())
    for templates in () if is_held(path) else _templates(document):
        for name in ("path", "static"):
            if isinstance(folder := templates.get(name), str):
                templates[name] = str((path.parent / folder).absolute())
    return document


def _make_absolute(provider: dict[str, Any], folder: Path, *, ours: bool) -> None:
    """Make `data` an absolute path, and that of each of the `years` of a provider of ours."""
    years = provider.get("years") if ours else None
    for each in (provider, *(years if isinstance(years, list) else ())):
        if isinstance(each, dict) and isinstance(data := each.get("data"), str) and not is_remote(data):
            there = (folder / data).absolute()
            each["data"] = str(there) if ours or there.exists() else data


def write_configuration(document: Mapping[str, Any]) -> bytes:
    """Return a configuration that was read, as the content of a file to hold."""
    return yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, encoding="utf-8")


_OUR_PROVIDERS = "plugins."
"""What the names of our providers begin with."""


def read_catalogue(path: Path) -> Catalogue:
    """Return the products that the configuration at the path lists. Raises InvalidConfiguration."""
    return catalogue_of(read_configuration(path))


def _templates(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what has the shape of the folders of templates, of the server and of collections."""
    resources = document.get("resources")
    for place in (document.get("server"), *(resources.values() if isinstance(resources, dict) else ())):
        if isinstance(place, dict) and isinstance(place.get("templates"), dict):
            yield place["templates"]


def _providers(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what has the shape of a provider; what has another shape is `landcast check`'s to name."""
    resources = document.get("resources")
    for resource in resources.values() if isinstance(resources, dict) else ():
        providers = resource.get("providers") if isinstance(resource, dict) else None
        yield from (each for each in providers if isinstance(each, dict)) if isinstance(providers, list) else ()


def catalogue_of(configuration: Mapping[str, Any]) -> Catalogue:
    """Return the products that the configuration lists under `products`, if any. Raises InvalidConfiguration."""
    entries = configuration.get("products", {})
    if not isinstance(entries, dict) or ("products" in configuration and not entries):
        raise InvalidConfiguration("products: must be a mapping with at least one product")
    products: list[Product] = []
    problems: list[str] = []
    for name, entry in entries.items():
        try:
            product = _product(name, entry, configuration.get("resources"))
        except InvalidConfiguration as error:
            problems += error.problems
            continue
        if any((product.series, product.year) == (other.series, other.year) for other in products):
            problems.append(f"products.{product.id}: {product.series} has the year {product.year} twice")
        products.append(product)
    if problems:
        raise InvalidConfiguration(*problems)
    resources = configuration.get("resources")
    for product in tuple(products):
        products += _of_other_years(product, resources, products)
    return Catalogue(tuple(products), tuple(_feature_sources(configuration.get("resources"))))


def _of_other_years(product: Product, resources: Any, known: Sequence[Product]) -> Iterator[Product]:
    """Yield a product for each further file of `years` of its raster, except for years that are products themselves.

    It has no vector, and none of the texts that hold for one year alone.
    """
    provider = resources[product.collections[0]]["providers"][0]
    ids, years = {each.id for each in known}, {each.year for each in known if each.series == product.series}
    for year, data in _years(provider.get("years")):
        if data == product.raster or year in years or not is_one_file(data):
            continue
        own = product.id.replace(str(product.year), str(year))
        title = product.title.replace(str(product.year), str(year))
        yield replace(
            product,
            id=f"{product.id}-{year}" if own in ids else own,
            title=f"{product.title} ({year})" if title == product.title else title,
            year=year,
            raster=data,
            vector=None,
            lineage="",
            accuracy="",
            citation="",
            collections=product.collections[:1],
        )


def _years(entries: Any) -> Iterator[tuple[int, Path]]:
    """Yield what has the shape of a year of a coverage; what has another shape is `landcast check`'s to name."""
    for each in entries if isinstance(entries, list) else ():
        match each:
            case {"year": int(year), "data": str(data)}:
                yield year, Path(data)


def _feature_sources(resources: Any) -> Iterator[FeatureSource]:
    """Yield what has the shape of a collection of features; what has another shape is `landcast check`'s to name."""
    for name, resource in resources.items() if isinstance(resources, dict) else ():
        match resource:
            case {"type": "collection", "providers": [{"type": "feature", "data": str(path)} as provider, *_]}:
                if not str(provider.get("name")).startswith(_OUR_PROVIDERS):
                    continue
                listed = resource.get("visibility") != "hidden"
                yield FeatureSource(
                    str(name), Path(path), provider.get("id_field"), provider.get("table"), listed=listed
                )


_REQUIRED = ("title", "year", "raster", "attribution")
_TEXTS = (
    *("title", "attribution", "series", "version"),
    *("abstract", "lineage", "accuracy", "citation", "source", "licence"),
)
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def _product(name: str, entry: Any, resources: Any) -> Product:
    place = f"products.{name}"
    if not isinstance(entry, dict):
        raise InvalidConfiguration(f"{place}: must be a mapping")
    if missing := [field for field in _REQUIRED if not entry.get(field)]:
        raise InvalidConfiguration(f"{place}: {', '.join(missing)} missing")
    if unknown := entry.keys() - {*_TEXTS, *_REQUIRED, "vector", "classes"}:
        raise InvalidConfiguration(f"{place}: {', '.join(sorted(map(str, unknown)))} unknown")
    if not isinstance(entry["year"], int):
        raise InvalidConfiguration(f"{place}.year: {entry['year']!r}; allowed: a whole number, such as 2023")
    for field in ("series", "version"):
        if field in entry and not _NAME.fullmatch(str(entry[field])):
            raise InvalidConfiguration(f"{place}.{field}: {entry[field]!r}; allowed: letters, digits, `.`, `_` and `-`")
    shown = [entry[kind] for kind in ("raster", "vector") if entry.get(kind)]
    raster = _source(f"{place}.raster", resources, entry["raster"], "coverage")
    if not is_one_file(raster):
        raise InvalidConfiguration(
            f"{place}.raster: {raster.name} is not one file; allowed: a GeoTIFF (`landcast product add`)"
        )
    bands = _bands(resources[entry["raster"]]["providers"][0].get("bands"))
    classes = classes_of(f"{place}.classes", entry["classes"]) if "classes" in entry else CLASSES
    return Product(
        id=str(name),
        year=entry["year"],
        raster=raster,
        vector=_source(f"{place}.vector", resources, entry["vector"], "feature") if entry.get("vector") else None,
        classes=() if bands else classes,
        bands=bands,
        collections=tuple(map(str, shown)),
        listed=resources[entry["raster"]].get("visibility") != "hidden",
        **{field: str(entry[field]) for field in _TEXTS if field in entry},
    )


def _bands(entries: Any) -> tuple[MeasuredBand, ...]:
    """Return the bands of a raster of values, none of classes; `landcast check` names malformed ones."""
    named = [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []
    texts = [[str(each.get(key) or "") for key in ("name", "title", "unit")] for each in named]
    return tuple(MeasuredBand(*each) for each in texts)


def classes_of(place: str, entries: Any) -> Classes:
    """Return the classes of a list of `{value, name, colour}`, colour `"#rrggbb"`. Raises InvalidConfiguration."""
    if not isinstance(entries, list) or not entries:
        raise InvalidConfiguration(f"{place}: must be a list of classes")
    classes = tuple(sorted((_class(place, entry) for entry in entries), key=lambda each: each.value))
    if len({each.value for each in classes}) < len(classes):
        raise InvalidConfiguration(f"{place}: two classes have the same value")
    return classes


_COLOUR = re.compile("#[0-9a-fA-F]{6}")


def _class(place: str, entry: Any) -> LandCoverClass:
    match entry:
        case {"value": int(value), "name": str(name), "colour": str(colour)} if (
            0 <= value < NODATA and name and _COLOUR.fullmatch(colour)
        ):
            red, green, blue = bytes.fromhex(colour[1:])
            return LandCoverClass(value, name, (red, green, blue))
    raise InvalidConfiguration(f'{place}: {entry!r} is no class; allowed: {{value: 0 to 254, name, colour: "#rrggbb"}}')


def _source(place: str, resources: Any, collection: str, kind: str) -> Path:
    try:
        provider = resources[collection]["providers"][0]
        source, found = Path(provider["data"]), provider.get("type", kind)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise InvalidConfiguration(f"{place}: there is no collection {collection!r} with a source") from error
    if found != kind:
        raise InvalidConfiguration(
            f"{place}: {collection!r} has a provider of the type {found}; allowed: a collection with one of {kind}"
        )
    return source
