"""`landcast product`: create, add and list products."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from server.commands.common import CONFIG, progress, state_folder

if TYPE_CHECKING:
    from server.commands.product_entry import ProductEntry

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_SUFFIXES = {"raster": "tif", "vector": "gpkg"}
_PROVIDERS = {
    "raster": {"type": "coverage", "name": "plugins.cog.CogProvider"},
    "vector": {"type": "feature", "name": "plugins.geopackage.GeoPackageProvider"},
}
_SERIES = "Products of a series differ by year; an order gets the newest. Other data than CLC+ Backbone needs its own."
_YEAR = click.IntRange(1900, 2200)
_CLASSES = click.option(
    "--classes", type=_FILE, help="YAML or JSON, a list of {value, name, colour}; default: CLC+ Backbone."
)


def _id(_context: click.Context, _parameter: click.Parameter, given: str) -> str:
    if not _ID.fullmatch(given):
        raise click.BadParameter(f"{given!r}; allowed: letters, digits, `.`, `_` and `-`")
    return given


def _nodata(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> tuple[float, ...] | None:
    try:
        return tuple(float(value) for value in given if value != "none") if given else None
    except ValueError as error:
        raise click.BadParameter(f"{error}; allowed: a number, or `none`") from error


@click.group()
def product() -> None:
    """Create the files of a product, add it to the configuration, list the configured products."""


@product.command()
@click.argument("raster", type=_FILE)
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--year", type=_YEAR, required=True, help="The year that the product describes.")
@_CLASSES
def polygonize(raster: Path, target: Path, year: int, classes: Path | None) -> None:
    """Create the vector product TARGET (GeoPackage) from the class RASTER."""
    from products.vector.polygonize import polygonize as make

    with progress("polygons") as report:
        count = make(raster, target, year=year, report=report, classes=_classes({}, classes))
    click.echo(f"{target}: {count} polygons")


@product.command("list")
@CONFIG
def list_products(configuration: Path) -> None:
    """Print the products: id, series, year, raster, size in bytes."""
    from products.catalogue import catalogue_of, read_configuration

    for each in catalogue_of(read_configuration(configuration)).products:
        size = str(each.raster.stat().st_size) if each.raster.is_file() else "missing"
        click.echo("\t".join([each.id, each.series, str(each.year), str(each.raster), size]))


@product.command()
@click.argument("files", type=_FILE, nargs=-1, required=True)
@click.option(
    "--id", required=True, callback=_id, help="The product's id; its collections are ID-raster and ID-vector."
)
@click.option("--title", required=True)
@click.option("--year", type=_YEAR, required=True, help="The year that the product describes.")
@click.option("--attribution", required=True, help="Attribution that the licence requires.")
@click.option("--series", default="clcplus", show_default=True, help=_SERIES)
@click.option("--version", default="V1_1", show_default=True, help="Version in file names.")
@click.option("--source", help="Maker of the product.")
@click.option("--licence", help="Address of the licence.")
@click.option("--abstract")
@click.option("--lineage")
@_CLASSES
@click.option(
    "--nodata",
    multiple=True,
    callback=_nodata,
    help="Nodata value, overrides that of FILES; may be repeated; `none` for no nodata value.",
)
@click.option("--vector", is_flag=True, help="Also create the polygons, with areas measured on the ellipsoid.")
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), help="Default: products in the state folder.")
@CONFIG
def add(
    files: tuple[Path, ...],
    into: Path | None,
    configuration: Path,
    classes: Path | None,
    nodata: tuple[float, ...] | None,
    *,
    vector: bool,
    **options: Any,
) -> None:
    """Create one Cloud-Optimized GeoTIFF from FILES, the tiles of a raster, and add it to the configuration."""
    from products.raster.build import build_raster
    from products.vector.polygonize import polygonize as make_polygons
    from server.commands.product_entry import ProductEntry, add_product, check_new

    name = options.pop("id")
    entry = {key: value for key, value in options.items() if value}
    known = _classes(entry, classes)
    added = ProductEntry(name, entry, ("raster", "vector") if vector else ("raster",))
    check_new(configuration, added)
    targets = _targets(added, (into or state_folder() / "products").absolute())
    with _all_or_none(targets):
        with progress("the raster") as report:
            built = build_raster(files, targets["raster"], classes=known, nodata=nodata, report=report)
        if vector:
            with progress("the polygons") as report:
                make_polygons(targets["raster"], targets["vector"], year=entry["year"], report=report, classes=known)
        add_product(
            configuration, added, {kind: _collection(entry, kind, targets[kind], built.bounds) for kind in targets}
        )
    for remark in built.remarks:
        click.echo(remark, err=True)
    for value, count in built.unknown.items():
        click.echo(f"warning: {count} pixels have the value {value}, which is not a class", err=True)
    click.echo(f"{targets['raster']}: added to {configuration} as {name}; restart the server to serve it")


def _targets(added: "ProductEntry", folder: Path) -> dict[str, Path]:
    """Return the files to create, by kind. Raises FileExistsError."""
    targets = {kind: folder / f"{added.id}.{_SUFFIXES[kind]}" for kind in added.kinds}
    for target in targets.values():
        if target.exists():
            raise FileExistsError(f"{target}: exists already")
    return targets


@contextmanager
def _all_or_none(targets: Mapping[str, Path]) -> Iterator[None]:
    """Remove the files on an exception."""
    try:
        yield
    except BaseException:
        for target in targets.values():
            target.unlink(missing_ok=True)
        raise


def _classes(entry: dict[str, Any], file: Path | None) -> Any:
    """Return the classes of the file, which are added to the entry, or those of CLC+ Backbone."""
    from products.catalogue import InvalidConfiguration, classes_of
    from products.classes import CLASSES
    from products.yaml_file import UnreadableYaml, read_yaml

    if file is None:
        return CLASSES
    try:
        entry["classes"] = read_yaml(file)
    except UnreadableYaml as error:
        raise InvalidConfiguration(f"{file}: {error}") from error
    return classes_of(str(file), entry["classes"])


def _collection(entry: Mapping[str, Any], kind: str, source: Path, bounds: tuple[float, ...]) -> dict[str, Any]:
    year = entry["year"]
    return {
        "type": "collection",
        "title": f"{entry['title']}, {kind}",
        "description": f"{_sentence(entry.get('abstract') or entry['title'])} {_sentence(entry['attribution'])}",
        "keywords": ["land cover", kind],
        "extents": {
            "spatial": {
                "bbox": [round(edge, 4) for edge in bounds],
                "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84",
            },
            "temporal": {"begin": f"{year}-01-01T00:00:00Z", "end": f"{year}-12-31T23:59:59Z"},
        },
        "providers": [{**_PROVIDERS[kind], "data": str(source)}],
    }


def _sentence(text: str) -> str:
    """Return the text with a full stop at its end."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
