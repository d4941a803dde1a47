"""`landcast tiles`: draw map tiles in advance, remove them, and write them as a PMTiles archive."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from server.commands.common import CONFIG, progress, settings

if TYPE_CHECKING:
    from server.tiles import TileRange

_ZOOMS = re.compile(r"(\d{1,2})(?:-(\d{1,2}))?")


def _zooms(_context: click.Context, _parameter: click.Parameter, given: str) -> range:
    match = _ZOOMS.fullmatch(given)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if first > last:
        raise click.BadParameter(f"{given!r}; allowed: a zoom, or the first and the last one as 0-12")
    return range(first, last + 1)


def _bbox(
    _context: click.Context, _parameter: click.Parameter, given: str | None
) -> tuple[float, float, float, float] | None:
    if given is None:
        return None
    try:
        west, south, east, north = map(float, given.split(","))
    except ValueError:
        west, south, east, north = 0, 0, 0, 0
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):  # noqa: PLR2004 - degrees
        raise click.BadParameter(f"{given!r}; allowed: west,south,east,north in degrees, west below east")
    return west, south, east, north


def _tile_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select tiles."""
    for option in (
        click.option("--form", type=click.Choice(("png", "webp")), default="png", show_default=True),
        click.option("--bbox", callback=_bbox, help="Which part: west,south,east,north in degrees. Default: all."),
        click.option("--zoom", "zooms", required=True, callback=_zooms, help="The zooms, as 0-12."),
    ):
        command = option(command)
    return command


@click.group()
def tiles() -> None:
    """Draw map tiles in advance, remove them, or write them into one file."""


@tiles.command()
@click.argument("collection")
@_tile_options
@click.option("--set", "set_id", help="The tile matrix set. Default: the first that is served.")
@CONFIG
def seed(collection: str, configuration: Path, **options: Any) -> None:
    """Draw the tiles of COLLECTION into the cache (LANDCAST_TILES_CACHE); existing tiles are kept."""
    with _refusals():
        from server.tiles import seed as draw
        from server.tiles import tile_cache, wanted_tiles

        cache = tile_cache(settings())
        if cache is None:
            raise click.ClickException("there is no cache of tiles: set LANDCAST_TILES_CACHE, such as 10G")
        wanted = wanted_tiles(configuration, collection, **options)
        with progress("tiles") as report:
            count, lost = draw(wanted, cache, report)
    click.echo(f"{count:,} tiles")
    if lost:
        raise click.ClickException(f"{lost:,} of them could not be written: the disk is full, or fails")


@tiles.command()
def clear() -> None:
    """Remove all tiles from the cache; a running server continues and draws them again."""
    with _refusals():
        from server.tiles import clear_tiles

        click.echo(f"{clear_tiles(settings()):,} tiles removed")


@tiles.command()
@click.argument("collection")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_tile_options
@CONFIG
def export(collection: str, file: Path, configuration: Path, **options: Any) -> None:
    """Write the tiles of COLLECTION that have data into FILE, a PMTiles archive in Web Mercator."""
    with _refusals():
        from server.tiles import export as write
        from server.tiles import tile_cache, wanted_tiles

        wanted: TileRange = wanted_tiles(configuration, collection, set_id="WebMercatorQuad", **options)
        with progress("tiles") as report:
            count = write(wanted, file, tile_cache(settings()), report)
    click.echo(f"{file}: {count:,} tiles")


@contextmanager
def _refusals() -> Iterator[None]:
    from products.errors import ProductError

    try:
        yield
    except (ProductError, OSError) as error:
        raise click.ClickException(str(error)) from error
