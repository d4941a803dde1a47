"""The tile tables of a loaded table: its geometries in pieces, and the tiles of small scales."""

# ruff: noqa: S608 - identifiers are made here, quoted; values are never formatted in

import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psycopg2
from psycopg2 import extensions
from pygeoapi.provider.base import ProviderConnectionError
from pyproj.exceptions import ProjError

from plugins.crs import crs_of
from plugins.features import TileQuery
from plugins.postgis import PostgisProvider
from plugins.postgis_query import OF_RINGS
from plugins.postgis_tiles import MERCATOR, VALID, TileTables, made_for
from products.errors import RequestTooLarge
from products.progress import Report
from products.tiling import TileMatrix, tile_matrix_sets
from products.vector.dissolving import CELLS, MARGIN, MOST_CLASSES, Labels, dissolved_tile, labelled
from sql.tables import quoted

_FINEST = 9
"""The largest zoom whose tiles are dissolved."""
_VERTICES = 255
_LINES = {"linestring", "multilinestring"}

Place = tuple[int, int]
"""Row and column of a tile."""
Grids = dict[Place, bytes]
"""Compressed labels of the tiles of a zoom, without margins."""


@dataclass(frozen=True, slots=True)
class TilePlan:
    """For which provider and layer the tile tables of a table are."""

    provider: Mapping[str, Any]
    layer: str


def make_tile_tables(cursor: extensions.cursor, draft: str, plan: TilePlan, report: Report) -> str:
    """Make the tile tables of a table that nobody reads yet, and return a line about them for people.

    Without them the table itself serves the tiles: a geometry that has no place in Web Mercator is no error.
    """
    provider = PostgisProvider({**plan.provider, "table": draft})
    table = provider.feature_table
    if table.shape not in OF_RINGS | _LINES:
        return "no tile tables: they are for polygons and lines"
    tables = TileTables.of(table.schema, table.oid)
    try:
        _run(cursor, _DEFINITION.format(tiles=tables.tiles, pieces=tables.pieces, key=quoted(table.key.name),
                                          geometry=quoted(table.geometry.name), table=table.quoted))  # fmt: skip
        count = _bake(cursor, tables, provider, plan.layer, report)
        _run(cursor, _STALE.format(name=f"landcast_stale_{table.oid}", tiles=tables.tiles, table=table.quoted,
                                     schema=quoted(table.schema)))  # fmt: skip
    except psycopg2.InternalError as error:  # PostGIS's own
        drop_tile_tables(cursor, table.schema, table.oid)
        return f"no tile tables: {str(error).strip().partition(chr(10))[0]}"
    return f"tile tables with {count} tiles of small scales"


def _run(cursor: extensions.cursor, statement: str) -> None:
    """Run a statement without parameters, whose identifiers have doubled percent signs."""
    cursor.execute(statement.replace("%%", "%"))


def drop_tile_tables(cursor: extensions.cursor, schema: str, oid: int) -> None:
    """Drop the tile tables of a table, if there are any, after the table itself or before."""
    tables = TileTables.of(schema, oid)
    _run(cursor, f"drop table if exists {tables.tiles}, {tables.pieces}")
    _run(cursor, f"drop function if exists {quoted(schema)}.landcast_stale_{oid} cascade")


_DEFINITION = f"""
create table {{tiles}} (zoom int, row int, col int, content bytea, primary key (zoom, row, col));
create table {{pieces}} as select key as "the key of a piece",
    greatest(st_xmax(moved) - st_xmin(moved), st_ymax(moved) - st_ymin(moved))::float8 as "the size",
    st_subdivide(moved, {_VERTICES}) as "the piece"
from (select {{key}} as key, st_transform(st_force2d({{geometry}}), {MERCATOR}) as moved from {{table}}
    where not st_isempty({{geometry}}) order by 2) placed;
create index on {{pieces}} using gist ("the piece");
analyze {{pieces}};
"""
_STALE = f"""
create function {{schema}}.{{name}}() returns trigger language plpgsql security definer set search_path = pg_catalog
as $$ begin delete from {{tiles}} where zoom = {VALID}; return null; end $$;
create trigger landcast_stale after insert or update or delete or truncate on {{table}}
for each statement execute function {{schema}}.{{name}}();
"""
_PLACES = """
select distinct r, c from {pieces}, generate_series(
    floor(({north} - st_ymax("the piece")) / {span})::int, floor(({north} - st_ymin("the piece")) / {span})::int) r,
generate_series(
    floor((st_xmin("the piece") - {west}) / {span})::int, floor((st_xmax("the piece") - {west}) / {span})::int) c
where r between 0 and {last} and c between 0 and {last}
"""


def _bake(cursor: extensions.cursor, tables: TileTables, provider: PostgisProvider, layer: str, report: Report) -> int:
    """Write the tiles of small scales, and the note that the tables fit; return the number of tiles."""
    columns = provider.class_columns
    baking = _Baking(provider, layer, columns)
    count = 0
    with suppress(RequestTooLarge, ProviderConnectionError, ProjError):
        if columns and provider.geometry_type in OF_RINGS:
            finest = tile_matrix_sets()["WebMercatorQuad"].matrices[str(_FINEST)]
            (west, north), span = finest.begin, finest.span[0]
            _run(cursor, _PLACES.format(
                pieces=tables.pieces, north=north, west=west, span=span, last=finest.columns - 1))  # fmt: skip
            baking.read(finest, cursor.fetchall(), report)
            for place, content in baking.tiles():
                cursor.execute(f"insert into {tables.tiles} values (%s, %s, %s, %s)", (*place, content))
                count += 1
    note = made_for(layer, columns)
    cursor.execute(f"insert into {tables.tiles} values (%s, %s, 0, %s)", (VALID, _FINEST if count else -1, note))
    return count


@dataclass(slots=True)
class _Baking:
    """The labels of the finest zoom, from which those of each coarser one are made: cells of a class keep its area."""

    provider: PostgisProvider
    layer: str
    columns: list[str]
    classes: dict[tuple[Any, ...], int] = field(default_factory=dict)
    finest: Grids = field(default_factory=dict)

    def read(self, matrix: TileMatrix, places: list[Place], report: Report) -> None:
        """Label the cells of the tiles of the finest zoom. Raises RequestTooLarge."""
        for number, (row, column) in enumerate(places):
            asked = TileQuery(matrix.bounds(row, column), crs_of(MERCATOR), self.layer, 0, dissolved=True)
            grid = self.provider.class_grid(asked)
            if grid is not None and grid.classes:
                numbers = [self.classes.setdefault(each, len(self.classes)) for each in grid.classes]
                if len(self.classes) > MOST_CLASSES:
                    raise RequestTooLarge(f"there are more than {MOST_CLASSES} classes")
                labels = np.array([*numbers, -1])[grid.labels()[MARGIN:-MARGIN, MARGIN:-MARGIN]]
                self.finest[row, column] = _packed(labels)
            report(0.92 + 0.06 * number / len(places), f"tile {number + 1} of {len(places)}")

    def tiles(self) -> Iterator[tuple[tuple[int, int, int], bytes]]:
        """Yield zoom, row and column of each tile that is not empty, and its content."""
        classes, grids = list(self.classes), self.finest
        for zoom in range(_FINEST, -1, -1):
            for row, column in grids:
                content = dissolved_tile(self.layer, self.columns, classes, _around(grids, row, column))
                if content:
                    yield (zoom, row, column), content
            grids = _coarser(grids)


def _coarser(grids: Grids) -> Grids:
    """Return the labels of the tiles of the next smaller zoom: a cell is made of four."""
    parents = dict.fromkeys((row // 2, column // 2) for row, column in grids)
    made = {}
    for row, column in parents:
        children = [[_labels(grids, 2 * row + r, 2 * column + c) for c in (0, 1)] for r in (0, 1)]
        fine = np.block(children)
        there = np.unique(fine[fine >= 0])
        if len(there):
            shares = np.stack([(fine == each).reshape(CELLS, 2, CELLS, 2).mean(axis=(1, 3)) for each in there])
            made[row, column] = _packed(np.array([*there, -1])[labelled(shares)])
    return made


def _around(grids: Grids, row: int, column: int) -> Labels:
    """Return the labels of a tile with the margin from the tiles around it."""
    whole = np.block([[_labels(grids, row + r, column + c) for c in (-1, 0, 1)] for r in (-1, 0, 1)])
    begin, end = CELLS - MARGIN, 2 * CELLS + MARGIN
    return whole[begin:end, begin:end]


def _packed(labels: Labels) -> bytes:
    return zlib.compress(labels.astype(np.int8).tobytes(), 1)


def _labels(grids: Grids, row: int, column: int) -> Labels:
    packed = grids.get((row, column))
    if packed is None:
        return np.full((CELLS, CELLS), -1, np.int64)
    return np.frombuffer(zlib.decompress(packed), np.int8).reshape(CELLS, CELLS).astype(np.int64)
