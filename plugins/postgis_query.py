"""Queries of items as SQL for PostGIS, which writes the GeoJSON itself."""

# ruff: noqa: S608 - identifiers come from the catalog, quoted; values are never formatted in

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import shapely

from plugins.crs import Crs
from plugins.features import TileQuery
from plugins.geojson import least_size
from plugins.postgis_columns import (
    NEVER,
    TEXTS,
    WHOLE,
    Sorted,
    Sql,
    equal,
    instant,
    is_compared,
    is_text,
    json_value,
    moment,
)
from plugins.refusals import invalid
from products.vector.dissolving import MOST_DISSOLVED
from products.vector.drawing import BUFFER, EXTENT
from products.vector.query import Position, Selection, SortKey, Times
from products.vector.times import TimeColumns
from sql.tables import FeatureTable, TableColumn, quoted

_DEGREE_DECIMALS, _METRE_DECIMALS = 7, 2
_SHRUNK = (0.999, 0.98, 0.95, 0.9, 0.8, 0.6)
"""Shares of an area's envelope that are tried as a box inside of it, with a margin for rounding."""
_FINE = 1e-7
"""The share of its size by which the edge of an area may move when it is simplified."""
OF_RINGS = {"polygon", "multipolygon"}
"""Declared types of polygons, in lower case."""
_WITHOUT_RINGS = {"point", "linestring", "multipoint", "multilinestring"}
_POINTS = {"point", "multipoint"}
_COMPARED = 512
"""Areas whose parts of statements are cached."""
_OUTLINE, _NUMBER, _ROWS = "the outline", "the number", '"the rows"'
"""Columns of a tile's rows that are not attributes."""
_TRIANGLE = "'TRIANGLE', 'POLYGON'"


@dataclass(frozen=True, slots=True)
class Form:
    """The output of items: their CRS, their attributes, and whether they have a geometry."""

    crs: Crs
    shown: tuple[TableColumn, ...]
    geometry: bool


@dataclass(frozen=True)
class TableQuery:
    """Statements on one table; `native` is the CRS of its geometry."""

    table: FeatureTable
    native: Crs

    def geometry(self) -> str:
        """Return the expression of the geometry with GeoJSON's types: without curves, and polygons instead of surfaces.

        PostGIS converts surfaces to polygons only by their texts, which differ in one word.
        """
        name = quoted(self.table.geometry.name)
        name = f"{name}::geometry" if self.table.geometry.type == "geography" else name
        if self.table.straight:
            return name
        text = f"replace(regexp_replace(st_astext({name}), '^(TIN|POLYHEDRALSURFACE)', 'MULTIPOLYGON'), {_TRIANGLE})"
        return (
            f"case when geometrytype({name}) ~ '^(TIN|TRIANGLE|POLYHEDRALSURFACE)'"
            f" then st_setsrid(st_geomfromtext({text}), st_srid({name})) else st_curvetoline({name}) end"
        )

    def feature(self, form: Form) -> Sql:
        """Return the expression of a feature as the text of GeoJSON."""
        outline, values = self._outline(form) if form.geometry else ("'null'", ())
        key = f"coalesce('\"id\":' || to_json({json_value(self.table.key)})::text || ',', '')"
        text = (
            f'\'{{"type":"Feature",\' || {key} || \'"geometry":\' || {outline} || '
            f"',\"properties\":' || {properties(form.shown)} || '}}'"
        )
        return text, values

    def _outline(self, form: Form) -> Sql:
        moved, values = self._moved(form.crs)
        decimals = _DEGREE_DECIMALS if form.crs.geographic else _METRE_DECIMALS
        written = f"st_asgeojson({self._in_axis_order(moved, northing_first=form.crs.northing_first)}, {decimals}, 0)"
        return f"case when st_isempty({self.geometry()}) then 'null' else coalesce({written}, 'null') end", values

    def _in_axis_order(self, geometry: str, *, northing_first: bool) -> str:
        """Return the expression of a geometry whose outer rings run counterclockwise in x and y (RFC 7946, 3.1.6).

        PostGIS's function for this reverses lines too, that for the other direction does not.
        """
        flipped = f"st_flipcoordinates({geometry})"
        if self.table.shape in _WITHOUT_RINGS:
            return flipped if northing_first else geometry
        if northing_first:
            return f"st_forcepolygoncw({flipped})"
        if self.table.shape in OF_RINGS:
            return f"st_forcepolygonccw({geometry})"
        return f"st_flipcoordinates(st_forcepolygoncw({flipped}))"

    def _moved(self, crs: Crs) -> Sql:
        """Return the expression of the geometry in another CRS, x before y."""
        beside = self.table.in_degrees
        if beside is not None and crs.epsg == 4326:  # noqa: PLR2004 - longitude and latitude
            return quoted(beside.name), ()
        geometry = self.geometry()
        if crs.name == self.native.name:
            return geometry, ()
        srid = self.table.system.srid
        if self.native.epsg and self.native.epsg != srid:
            geometry = f"st_setsrid({geometry}, {self.native.epsg:d})"
        elif not self.native.epsg and not srid:
            if crs.epsg:
                return f"st_transform({geometry}, %s, {crs.epsg:d})", (str(self.native.name),)
            return f"st_transform({geometry}, %s, %s)", (str(self.native.name), str(crs.name))
        if crs.epsg:
            return f"st_transform({geometry}, {crs.epsg:d})", ()
        return f"st_transform({geometry}, %s)", (str(crs.name),)

    def tile(self, shown: Sequence[TableColumn], area: Any, asked: TileQuery, filters: Sequence[Sql]) -> Sql:
        """Return the statement of a vector tile; `area` is its box in the table's coordinates.

        Features smaller than a share of the box are excluded before the transformation, except points.
        """
        moved, values = self._moved(asked.crs)
        box = f"st_makeenvelope(%s, %s, %s, %s), {EXTENT}, {BUFFER}, true"
        named = [f'st_asmvtgeom({moved}, {box}) as "{_OUTLINE}"']
        named += [f'{quoted(self.table.key.name)} as "{_NUMBER}"'] if self.table.key.type in WHOLE else []
        named += [f"{json_value(each)} as {quoted(each.name)}" for each in shown]
        where, given = both([self._about(area), self._larger(least_size(asked, area, self.native)), *filters])
        source = f"select {', '.join(named)} from {self.table.quoted} item where {where} limit %s"
        numbered = f", '{_NUMBER}'" if self.table.key.type in WHOLE else ""
        tile = f"st_asmvt({_ROWS}, %s, {EXTENT}, '{_OUTLINE}'{numbered})"
        sql = f'select {tile} from ({source}) {_ROWS} where "{_OUTLINE}" is not null'
        return sql, (asked.layer, *values, *asked.bounds, *given, asked.most)

    def outlines(self, classes: Sequence[TableColumn], area: Any, small: float, filters: Sequence[Sql]) -> Sql:
        """Return the statement of the polygons of a tile: their class as a JSON array, their area, and WKB.

        This is their outline, and the centroid of a polygon that is not larger than `small`.
        """
        name = self.geometry()
        kind = f"json_build_array({', '.join(json_value(each) for each in classes)})::text"
        larger, (least,) = self._larger(small)
        outline = f"st_asbinary(case when {larger} then {name} else st_centroid({name}) end)"
        where, given = both([self._about(area), *filters])
        sql = f"select {kind}, st_area({name}), {outline} from {self.table.quoted} item where {where} limit %s"
        return sql, (least, *given, MOST_DISSOLVED + 1)

    def _about(self, area: Any) -> Sql:
        """Return the condition of items that may intersect an area; exact for a geography, which has no such box."""
        is_geography = self.table.geometry.type == "geography"
        return self.meeting(area, unplaced=False) if is_geography else self._near(area)

    def _larger(self, least: float) -> Sql:
        if self.table.shape in _POINTS:
            return _ALWAYS
        name = self.geometry()
        wide = f"greatest(st_xmax({name}) - st_xmin({name}), st_ymax({name}) - st_ymin({name})) > %s"
        return (wide if self.table.shape in OF_RINGS else f"({wide} or st_dimension({name}) = 0)"), (least,)

    def where(self, selection: Selection, *, nearly: bool = False) -> Sql:
        """Return the condition of selected items. Raises ProviderInvalidQueryError for a value of a wrong type.

        With `nearly` only envelopes are compared with an area, as the planner can estimate their number.
        """
        parts: list[Sql] = [self._equal(name, value) for name, value in selection.equal.items()]
        if selection.times is not None:
            parts.append(self.during(selection.times))
        if selection.area is not None:
            parts.append(
                self._near(selection.area) if nearly else self.meeting(selection.area, unplaced=selection.unplaced)
            )
        return both(parts)

    def column(self, name: str) -> TableColumn:
        """Return the attribute or key of that name. Raises ProviderInvalidQueryError."""
        for column in (*self.table.attributes, self.table.key):
            if column.name == name:
                return column
        raise invalid(f"{name}: there is no such property any more")

    def _equal(self, name: str, value: Any) -> Sql:
        column = self.column(name)
        if isinstance(value, tuple):
            one_of = [equal(column, each) for each in value]
            return f"({' or '.join(each for each, _ in one_of) or 'false'})", sum((v for _, v in one_of), ())
        return equal(column, value)

    def identified(self, identifier: str) -> Sql:
        """Return the condition of the item with an id."""
        key = self.table.key
        if not is_text(identifier):
            return NEVER
        if key.type in WHOLE:
            fits = _IDENTIFIER.fullmatch(identifier) and -_INT8 <= int(identifier) < _INT8
            return (f"{quoted(key.name)} = %s", (int(identifier),)) if fits else NEVER
        if key.type == "uuid":
            return (f"{quoted(key.name)} = %s::uuid", (identifier,)) if _UUID.fullmatch(identifier) else NEVER
        if key.category == TEXTS:
            return f"{quoted(key.name)} = %s", (identifier,)
        return f"to_json({json_value(key)}) #>> '{{}}' = %s", (identifier,)

    def meeting(self, area: Any, *, unplaced: bool) -> Sql:
        """Return the condition of items that intersect an area in the table's coordinates.

        The spatial index finds the envelopes that intersect it; the outlines of those in a box inside of the area are
        not compared. The condition has one selectivity for PostgreSQL's planner.
        """
        name = quoted(self.table.geometry.name)
        if area.is_empty:
            return (f"{name} is null", ()) if unplaced else NEVER
        srid = self.table.system.srid
        geometry = self.geometry()
        values: tuple[str, ...]
        if self.table.geometry.type == "geography":
            sql, values = f"st_intersects({geometry}, %s::geometry)", (_ewkb(area, srid),)
        else:
            meets = f"st_intersects({geometry}, %s::geometry)"
            envelope, inner, outline = _compared(area, srid)
            if inner is None:
                sql, values = f"({name} && %s::geometry and {meets})", (outline, outline)
            else:
                sql = f"({name} && %s::geometry and case when {name} @ %s::geometry then true else {meets} end)"
                values = (envelope, inner, outline)
        return (f"({name} is null or {sql})" if unplaced else sql), values

    def _near(self, area: Any) -> Sql:
        kind = self.table.geometry.type
        near = f"{quoted(self.table.geometry.name)} && %s::geometry::{kind}"
        return NEVER if area.is_empty else (near, (_ewkb(area, self.table.system.srid),))

    def during(self, times: Times) -> Sql:
        """Return the condition of items that intersect a time; an item without one always does, as in a GeoPackage."""
        first, last = times.asked
        begin, end = self.column(times.columns.begin), self.column(times.columns.end)
        begun, ended = instant(begin, "<=", last), instant(end, ">=", first)
        return both([begun, ended])

    def time_extent(self, times: TimeColumns) -> str:
        """Return the statement of the first and the last instant; NULL is open or none."""
        begin, end = self.column(times.begin), self.column(times.end)
        first, last = moment(begin), moment(end, last=True)
        open_begin = open_end = "false"
        if not times.single:
            missing, there = f"{quoted(begin.name)} is null", f"{quoted(end.name)} is null"
            open_begin = f"bool_or({missing} and not {there})"
            open_end = f"bool_or({there} and not {missing})"
        return (
            f"select case when not coalesce({open_begin}, false) then min({first}) end,"
            f" case when not coalesce({open_end}, false) then max({last}) end from {self.table.quoted}"
        )

    def distinct(self, column: TableColumn, where: str) -> str:
        """Return the statement of the sorted values of an attribute, with their maximum number as its parameter."""
        name = Sorted(column).expression
        value = json_value(column) if is_compared(column) else quoted(column.name)
        values = f"select distinct on ({name}) {name} as value, to_json({value})::text as written"
        return (
            f"select written from ({values} from {self.table.quoted} item where {name} is not null"
            f" and {where} order by {name} limit %s) found order by value"
        )

    def order(self, keys: Iterable[SortKey], *, backwards: bool = False) -> str:
        """Return the `order by` clause: NULL is the least value, items of the same order follow their keys."""
        return ", ".join(
            f"{each.expression} {'desc' if each.descending != backwards else 'asc'}{each.nulls(backwards=backwards)}"
            for each in self.sorting(keys)
        )

    def sorting(self, keys: Iterable[SortKey]) -> tuple["Sorted", ...]:
        """Return the sort keys; the key of the items is the last one."""
        given = [Sorted(self.column(key.name), descending=key.descending) for key in keys]
        return (*given, Sorted(self.table.key))

    def after(self, keys: Iterable[SortKey], place: Position) -> Sql:
        """Return the condition of items after a position, or before it."""
        sql, values = "false", tuple[Any, ...]()
        for each, value in reversed(list(zip(self.sorting(keys), place.values, strict=True))):
            further = each.beyond(value, down=each.descending != place.backwards)
            if sql == "false":
                sql, values = further
            else:
                same = each.same(value)
                within = each.from_here(value, down=each.descending != place.backwards)
                sql = f"({within[0]} and ({further[0]} or ({same[0]} and {sql})))"
                values = (*within[1], *further[1], *same[1], *values)
        return sql, values


_INT8 = 1 << 63
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_IDENTIFIER = re.compile(r"0|-?[1-9][0-9]{0,18}")


def both(parts: Sequence[Sql]) -> Sql:
    """Return the conjunction of the conditions, `true` if they are always true."""
    there = [part for part in parts if part != _ALWAYS]
    return " and ".join(sql for sql, _ in there) or "true", tuple(value for _, values in there for value in values)


_ALWAYS: Sql = ("true", ())


def properties(shown: Sequence[TableColumn]) -> str:
    """Return the expression of the attributes as the text of a JSON object."""
    if not shown:
        return "'{}'"
    named = ", ".join(f"{json_value(each)} as {quoted(each.name)}" for each in shown)
    return f"(select row_to_json(p)::text from (select {named}) p)"


def _ewkb(geometry: Any, srid: int) -> str:
    return str(shapely.to_wkb(shapely.set_srid(geometry, srid) if srid else geometry, hex=True, include_srid=srid > 0))


@lru_cache(_COMPARED)
def _compared(area: Any, srid: int) -> tuple[str, str | None, str]:
    """Return the envelope of an area, a box inside of it, if there is one, and its outline."""
    west, south, east, north = area.bounds
    area = shapely.simplify(area, max(east - west, north - south) * _FINE)
    inner = _box_inside(area)
    envelope = _ewkb(shapely.box(*area.bounds), srid)
    return envelope, None if inner is None else _ewkb(inner, srid), _ewkb(area, srid)


def _box_inside(area: Any) -> Any:
    """Return a box inside of an area, as large as a quick search finds, or None."""
    west, south, east, north = area.bounds
    x, y = (west + east) / 2, (south + north) / 2
    half_x, half_y = (east - west) / 2, (north - south) / 2
    for part in _SHRUNK:
        box = shapely.box(x - part * half_x, y - part * half_y, x + part * half_x, y + part * half_y)
        if area.contains(box):
            return box
    return None
