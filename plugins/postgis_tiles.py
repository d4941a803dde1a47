"""Tile tables of a table in PostGIS: what `landcast load` makes for its vector tiles in Web Mercator.

`landcast_tiles_{oid}` has the tiles of small scales as they are sent, `landcast_pieces_{oid}` the geometries in Web
Mercator with at most 255 vertices a piece. The row of zoom -1 is there as long as both fit the table: a change of a row
deletes it, and the table itself is read again.
"""

# ruff: noqa: S608 - identifiers come from the catalog, quoted; values are never formatted in

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from plugins.features import TileQuery
from plugins.postgis_columns import WHOLE, Sql, json_value
from plugins.postgis_facts import TableFacts
from plugins.postgis_query import both
from products.operation import Bounds
from products.vector.drawing import BUFFER, EXTENT
from sql.reading import ReadingPool
from sql.tables import PIECES, TILES, quoted

MERCATOR = 3857
VALID = -1
"""The zoom of the row that says for which layer and columns the tiles are."""
_WORLD = math.pi * 6_378_137
"""Half the side of the square of Web Mercator, in metres."""
_EXACT = 1e-6
_KEY, _PIECE, _OUTLINE, _ROWS = '"the key of a piece"', '"the piece"', "the outline", '"the rows"'


@dataclass(frozen=True, slots=True)
class TileTables:
    """The names of the tile tables of a table, quoted."""

    tiles: str
    pieces: str

    @classmethod
    def of(cls, schema: str, oid: int) -> "TileTables":
        """Return the tile tables of a table."""
        place = quoted(schema)
        return cls(f"{place}.{quoted(f'{TILES}{oid}')}", f"{place}.{quoted(f'{PIECES}{oid}')}")

    def valid(self, pool: ReadingPool) -> bool:
        """Return whether they fit the table."""
        return bool(pool.rows(f"select from {self.tiles} where zoom = {VALID}"))

    def stored(self, known: TableFacts, asked: TileQuery) -> bytes | None:
        """Return the tile, None if they do not fit the table or have no such tiles."""
        place = place_of(asked.bounds)
        if place is None:
            return None
        rows = known.pool.rows(
            f"select tile.content from {self.tiles} about left join {self.tiles} tile"
            " on (tile.zoom, tile.row, tile.col) = (%s, %s, %s)"
            f" where about.zoom = {VALID} and about.content = %s and about.row >= %s",
            (*place, made_for(asked.layer, [each.name for each in known.classes]), place[0]),
        )
        return bytes(rows[0][0] or b"") if rows else None

    def tile(self, known: TableFacts, asked: TileQuery, filters: Sequence[Sql]) -> Sql:
        """Return the statement of a tile of the pieces, which are put together again; the rows have the attributes."""
        west, south, east, north = asked.bounds
        margin = (east - west) * BUFFER / EXTENT
        around = west - margin, south - margin, east + margin, north + margin
        pieces = (
            f"select {_KEY}, case when count(*) = 1 then (array_agg({_PIECE}))[1]"
            f" else st_unaryunion(st_collect({_PIECE})) end as {_PIECE} from {self.pieces}"
            f' where {_PIECE} && st_makeenvelope(%s, %s, %s, %s, {MERCATOR}) and "the size" > %s group by {_KEY}'
        )
        key = known.table.key
        box = f"st_makeenvelope(%s, %s, %s, %s), {EXTENT}, {BUFFER}, true"
        named = [f'st_asmvtgeom({_PIECE}, {box}) as "{_OUTLINE}"']
        named += [f'{quoted(key.name)} as "the number"'] if key.type in WHOLE else []
        named += [f"{json_value(each)} as {quoted(each.name)}" for each in known.shown]
        where, given = both(filters)
        source = (
            f"select {', '.join(named)} from ({pieces}) pieces join {known.table.quoted} item"
            f" on item.{quoted(key.name)} = {_KEY} where {where} limit %s"
        )
        numbered = ", 'the number'" if key.type in WHOLE else ""
        tile = f"st_asmvt({_ROWS}, %s, {EXTENT}, '{_OUTLINE}'{numbered})"
        sql = f'select {tile} from ({source}) {_ROWS} where "{_OUTLINE}" is not null'
        least = (east - west) * asked.least
        return sql, (asked.layer, *asked.bounds, *around, least, *given, asked.most)


def tile_tables(known: TableFacts, asked: TileQuery) -> TileTables | None:
    """Return the tile tables that may have a tile, None if the table has none or the tile is in another CRS."""
    if not known.table.tiled or asked.crs.epsg != MERCATOR:
        return None
    return TileTables.of(known.table.schema, known.table.oid)


def made_for(layer: str, classes: Sequence[str]) -> bytes:
    """Return the note on the layer and the columns for which tiles were made."""
    return json.dumps([layer, *classes]).encode()


def place_of(bounds: Bounds) -> tuple[int, int, int] | None:
    """Return zoom, row and column of a tile of Web Mercator, None for a box that is none."""
    west, south, east, north = bounds
    zoom = math.log2(2 * _WORLD / (east - west))
    column, row = (west + _WORLD) / (east - west), (_WORLD - north) / (north - south)
    found = round(zoom), round(row), round(column)
    exact = all(abs(each - whole) < _EXACT * 2**zoom for each, whole in zip((zoom, row, column), found, strict=True))
    return found if exact else None
