"""`landcast load`: a file of features into the table of a collection."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from server.commands.common import CONFIG, printable, progress

if TYPE_CHECKING:
    from sql.reading import DatabaseSource

_PLUGIN = "plugins.postgis.PostgisProvider"


@click.command()
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--collection", required=True, help="The collection; its provider says which table of which database.")
@click.option("--layer", help="The layer of a file that has several.")
@click.option("--epsg", type=click.IntRange(1, 999_999), help="The system of the coordinates, instead of the file's.")
@click.option(
    "--user", help="The role that may create tables; libpq finds its password (~/.pgpass). Default: as served."
)
@click.option("--tiles/--no-tiles", default=True, help="Whether to make tables for vector tiles. Default: yes.")
@CONFIG
def load(
    file: Path,
    *,
    collection: str,
    layer: str | None,
    epsg: int | None,
    user: str | None,
    tiles: bool,
    configuration: Path,
) -> None:
    """Load FILE into the table of a collection in PostGIS; the former table is served until the new one is complete.

    FILE is what GDAL reads: GeoPackage, Shapefile, GeoJSON, FlatGeobuf, FileGDB, GML. Invalid geometries are repaired.
    Geometries that cannot be read are listed, and then the exit status is 2.
    """
    from psycopg2 import Error

    try:
        from server.loading import load as load_file
        from server.loading import open_file, srid_of
        from server.tile_tables import TilePlan
    except ImportError as error:
        raise click.ClickException(f"{error.name} is missing: install landcast[load]") from error
    provider = _provider(configuration, collection)
    source = open_file(file, layer)
    with progress("loading") as report:
        try:
            loaded = load_file(
                source,
                _place(provider, user),
                str(provider["table"]),
                srid=srid_of(source, epsg),
                key=provider.get("id_field"),
                report=report,
                tiles=TilePlan(_as_user(provider, user), collection) if tiles else None,
            )
        except Error as error:
            raise click.ClickException(f"PostgreSQL: {str(error).strip().partition(chr(10))[0]}") from error
    for line in loaded.lines():
        click.echo(printable(line))
    if loaded.broken:
        raise SystemExit(2)


def _provider(configuration: Path, collection: str) -> dict[str, Any]:
    from products.catalogue import read_configuration

    resource = (read_configuration(configuration).get("resources") or {}).get(collection) or {}
    for provider in resource.get("providers") or ():
        if provider.get("name") == _PLUGIN and isinstance(provider.get("table"), str):
            found: dict[str, Any] = provider
            return found
    raise click.ClickException(f"{configuration}: {collection!r} is not a collection whose provider is {_PLUGIN}")


def _place(provider: dict[str, Any], user: str | None) -> "DatabaseSource":
    from plugins.postgis_facts import source_of

    return source_of(_as_user(provider, user))


def _as_user(provider: dict[str, Any], user: str | None) -> dict[str, Any]:
    """Return a provider's definition with another role, whose password libpq finds."""
    return provider if user is None else {**provider, "data": {**provider["data"], "user": user, "password": ""}}
