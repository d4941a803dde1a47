"""Map tiles drawn in advance: into the cache, or into a PMTiles archive."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pmtiles.tile import Compression, TileType, tileid_to_zxy, zxy_to_tileid
from pmtiles.writer import Writer

from plugins.coverages import CoverageProvider
from plugins.crs import CRS84, Box
from products.catalogue import catalogue_of, read_configuration
from products.errors import InvalidArea, ProductError
from products.operation import Bounds
from products.progress import Report
from products.tiling import TileLimits, TileMatrix, TileMatrixSet, matrix_sets_of
from routes.resources import FAILURES, Collection
from routes.tiles.cache import TileCache
from routes.tiles.tile import DrawnCoverage, TilePicture, TilePlace, versions_of
from server.settings import Settings

MOST_TILES = 10_000_000
"""Maximum tiles of one command."""
_FOLDER = "tiles"
_ARCHIVED = "WebMercatorQuad"
_TYPES = {"png": TileType.PNG, "webp": TileType.WEBP}
_STEP = 64
"""Tiles between two reports of the progress."""


class NoTiles(ProductError):
    """The request has no tiles; the message has the allowed values."""


def tile_cache(settings: Settings) -> TileCache | None:
    """Return the cache of tiles in the state folder, or None if there is none."""
    return TileCache(settings.state.dir / _FOLDER, settings.tiles.cache) if settings.tiles.cache else None


def clear_tiles(settings: Settings) -> int:
    """Remove the cached tiles, also if the cache is no longer configured; return their number."""
    return TileCache(settings.state.dir / _FOLDER, 0).clear()


@dataclass(frozen=True, slots=True)
class TileRange:
    """Tiles of one collection: from one zoom to another of a set, inside a box in longitude and latitude."""

    collection: Collection
    provider: CoverageProvider
    tiles: TileMatrixSet
    zooms: range
    bbox: Bounds | None
    form: str

    @property
    def matrices(self) -> list[tuple[int, TileMatrix, TileLimits]]:
        """Each zoom, its matrix, and the tiles of it that may have data. Raises NoTiles."""
        extent = self.tiles.extent(self.provider.whole.bbox, self.provider.native.epsg)
        if self.bbox is not None and extent is not None:
            asked = self.tiles.extent(self.bbox, CRS84.epsg)
            extent = asked and _shared(extent, asked)
        known = list(self.tiles.matrices.values())
        if self.zooms.stop > len(known):
            raise NoTiles(f"{self.tiles.id} has no zoom {self.zooms.stop - 1}; allowed: 0 to {len(known) - 1}")
        chosen = [(zoom, known[zoom]) for zoom in self.zooms]
        found = [(zoom, matrix, limits) for zoom, matrix in chosen if extent and (limits := matrix.limits(extent))]
        if not found:
            bbox = self.provider.whole.to(CRS84).bbox
            raise NoTiles(f"{self.collection.id} has no tiles there; allowed: a box that meets {bbox}")
        return found

    @property
    def count(self) -> int:
        """The number of tiles. Raises NoTiles, also for too many."""
        count = sum((each.bottom - each.top + 1) * (each.right - each.left + 1) for _, _, each in self.matrices)
        if count > MOST_TILES:
            raise NoTiles(f"{count:,} tiles; allowed: {MOST_TILES:,} at once, so fewer zooms or a smaller box")
        return count

    def picture(self, matrix: TileMatrix, row: int, column: int) -> TilePicture:
        """Return a tile like the answer to a request without other parameters."""
        versions = versions_of([self.collection])
        drawn = [DrawnCoverage(self.collection.readable_coverage(), self.provider.styles[0].drawing)]
        return TilePicture([self.collection], versions, drawn, TilePlace(self.tiles, matrix, row, column), self.form)


def wanted_tiles(
    configuration: Path, name: str, *, set_id: str | None, zooms: range, bbox: Bounds | None, form: str
) -> TileRange:
    """Return the tiles of a collection of the configuration. Raises NoTiles, InvalidConfiguration."""
    document = read_configuration(configuration)
    resources = document.get("resources") or {}
    drawable = [each for each, entry in resources.items() if _is_drawn(each, entry)]
    if name not in drawable:
        raise NoTiles(f"{name!r} is no collection with map tiles; there are {', '.join(drawable) or 'none'}")
    sets = matrix_sets_of(document)
    tiles = sets.get(set_id or next(iter(sets)))
    if tiles is None:
        raise NoTiles(f"{set_id!r} is no tile matrix set; there are {', '.join(sets)}")
    for each in resources[name]["providers"]:
        each["classes"] = catalogue_of(document).classes(name)
    collection = Collection(name, resources[name], "")
    if (reason := collection.failure()) is not None:
        raise NoTiles(f"{name} cannot be read: {reason}")
    if bbox is not None:
        try:
            Box(bbox, CRS84).to(collection.readable_coverage().native)
        except (InvalidArea, ValueError) as error:
            raise NoTiles(f"the box {bbox} has no place in the coverage's system") from error
    return TileRange(collection, collection.readable_coverage(), tiles, zooms, bbox, form)


def _is_drawn(name: str, entry: Any) -> bool:
    try:
        collection = Collection(name, entry, "")
        return entry["type"] == "collection" and "coverage" in collection.kinds - collection.foreign
    except FAILURES:
        return False


def seed(wanted: TileRange, cache: TileCache, report: Report) -> tuple[int, int]:
    """Draw tiles into the cache; return their number, and how many could not be written.

    The coarsest are first, as they are requested most. Raises BrokenSource, RequestTooLarge, NoTiles.
    """
    count, lost = wanted.count, 0
    for number, (zoom, picture) in enumerate(_pictures(wanted)):
        content = None if cache.holds(picture.key) else picture.draw()
        lost += content is not None and not cache.put(picture.key, content)
        if number % _STEP == 0:
            report(number / count, f"zoom {zoom}")
    report(1, "done")
    return count, lost


def _pictures(wanted: TileRange) -> Iterator[tuple[int, TilePicture]]:
    for zoom, matrix, limits in wanted.matrices:
        for row in range(limits.top, limits.bottom + 1):
            for column in range(limits.left, limits.right + 1):
                yield zoom, wanted.picture(matrix, row, column)


def export(wanted: TileRange, target: Path, cache: TileCache | None, report: Report) -> int:
    """Write a PMTiles archive (version 3) of tiles that have data; return how many. It replaces a file of that name.

    Raises BrokenSource, RequestTooLarge, NoTiles, OSError.
    """
    if wanted.tiles.id != _ARCHIVED:
        raise NoTiles(f"PMTiles are of {_ARCHIVED}, not {wanted.tiles.id}")
    new = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        with new.open("wb") as file:
            written = _write(Writer(file), wanted, cache, report)
            os.fsync(file.fileno())
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)
    report(1, "done")
    return written


def _write(writer: Writer, wanted: TileRange, cache: TileCache | None, report: Report) -> int:
    count, done, written = wanted.count, 0, 0
    for zoom, matrix, limits in wanted.matrices:
        for tile in _in_order(zoom, limits):
            _, column, row = tileid_to_zxy(int(tile))
            picture = wanted.picture(matrix, row, column)
            content = (cache.get(picture.key) if cache else None) or picture.draw()
            if content is not None:
                writer.write_tile(int(tile), content)
                written += 1
            if done % _STEP == 0:
                report(done / count, f"zoom {zoom}")
            done += 1
    if not written:
        raise NoTiles(f"{wanted.collection.id} has no data there")
    west, south, east, north = (round(each * 1e7) for each in wanted.provider.whole.to(CRS84).bbox)
    header = {"tile_type": _TYPES[wanted.form], "tile_compression": Compression.NONE}
    box = {"min_lon_e7": west, "min_lat_e7": south, "max_lon_e7": east, "max_lat_e7": north}
    middle = {"center_lon_e7": (west + east) // 2, "center_lat_e7": (south + north) // 2}
    middle["center_zoom"] = wanted.zooms.start
    classes = [{"value": each.value, "name": each.name, "colour": each.hex} for each in wanted.provider.classes]
    about = {"name": wanted.collection.title, "description": str(wanted.collection.configured["description"])}
    writer.finalize({**header, **box, **middle}, {**about, "type": "overlay", "classes": classes})
    return written


def _in_order(zoom: int, limits: TileLimits) -> NDArray[np.int64]:
    """Return the numbers of the tiles of a zoom in the order of an archive, in which neighbours are close."""
    places = product(range(limits.left, limits.right + 1), range(limits.top, limits.bottom + 1))
    return np.sort(np.fromiter((zxy_to_tileid(zoom, column, row) for column, row in places), np.int64))


def _shared(one: Bounds, other: Bounds) -> Bounds | None:
    west, south = max(one[0], other[0]), max(one[1], other[1])
    east, north = min(one[2], other[2]), min(one[3], other[3])
    return (west, south, east, north) if west < east and south < north else None
