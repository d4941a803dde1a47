"""A page of items of a PostGIS table, read in batches, and their number."""

# ruff: noqa: S608 - identifiers come from the catalog, quoted; values are never formatted in

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely

from plugins.geojson import NO_GEOMETRY, geojson_texts
from plugins.postgis_columns import Sql, json_value
from plugins.postgis_query import Form, TableQuery, both, properties
from products.vector.query import Count, Position, Selection
from sql.reading import ReadingPool, Row, StatementFailed
from sql.tables import quoted

_MAX_BYTES = 32_000_000
"""Maximum bytes of a page; it ends before, but has at least one item."""
_AT_ONCE = 100
"""Items of a page that are read together."""
_PIECE = 250
_FEW = 10_000
"""Maximum items that are counted one by one; for more the planner's estimate is returned."""
_SMALL_TABLE = 50_000
_NO_NUMBERS = (b"NaN", b"Infinity")


@dataclass(slots=True)
class PageOfTable:
    """A page, read in batches. Reading raises the errors of the pool.

    After reading, `first` and `last` are the positions of its ends, None for an empty page or an item without a
    position; `more_before` and `more_after` are whether there are more items; `returned` is the number of its items.
    """

    pool: ReadingPool
    query: TableQuery
    selection: Selection
    form: Form
    limit: int
    offset: int = 0
    after: Position | None = None
    filters: tuple[Sql, ...] = ()
    identifier: str | None = None
    returned: int = field(default=0, init=False)
    more_before: bool = field(default=False, init=False)
    more_after: bool = field(default=False, init=False)
    first: Position | None = field(default=None, init=False)
    last: Position | None = field(default=None, init=False)
    _bytes: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[list[bytes]]:
        """Yield the items as GeoJSON.

        If PostGIS fails at one, such as at a point outside of the CRS of the answer, PROJ continues from there, and
        that item has no geometry.
        """
        if not self.limit:
            return
        try:
            yield from self._items(*self._statement(self.query.feature(self.form)))
        except StatementFailed:
            if self.returned and (self.last is None or self._is_backwards):
                raise
            rest = PageOfTable(
                self.pool, self.query, self.selection, self.form, self.limit - self.returned,
                0 if self.returned else self.offset, self.last or self.after, self.filters, self.identifier,
            )  # fmt: skip
            before, more_before = self.first, self.more_before
            yield from rest._slowly()
            self.first = before or rest.first
            self.more_before = more_before if self.returned else rest.more_before
            self.returned += rest.returned
            self.last, self.more_after = rest.last, rest.more_after

    def _slowly(self) -> Iterator[list[bytes]]:
        key = f"to_json({json_value(self.query.table.key)})::text"
        outline = f"st_asbinary({self.query.geometry()})"
        text = f"json_build_array({key}, encode({outline}, 'hex'), {properties(self.form.shown)})::text"
        for rows in self._items(*self._statement((text, ()))):
            yield self._written([json.loads(row) for row in rows])

    def _written(self, rows: Sequence[tuple[str | None, str | None, str]]) -> list[bytes]:
        outlines = [NO_GEOMETRY] * len(rows)
        if self.form.geometry:
            blobs = np.array([None if row[1] is None else bytes.fromhex(row[1]) for row in rows], dtype=object)
            geometries = np.asarray(shapely.from_wkb(blobs, on_invalid="ignore"))
            outlines = geojson_texts(geometries, self.query.native, self.form.crs)
        keys = ["" if row[0] is None else f'"id":{row[0]},' for row in rows]
        return [
            f'{{"type":"Feature",{key}"geometry":{outline},"properties":{row[2]}}}'.encode()
            for key, row, outline in zip(keys, rows, outlines, strict=True)
        ]

    @property
    def _is_backwards(self) -> bool:
        return self.after is not None and self.after.backwards

    def _items(self, statement: str, values: Sequence[Any]) -> Iterator[list[bytes]]:
        """Yield the items of a statement whose first column is the item, and whose others are its position."""
        self.more_before = self._is_one_before() if self._is_backwards else self.offset > 0 or self.after is not None
        self.more_after = self._is_backwards
        with closing(self._pieces(statement, values)) as pieces:
            for rows in pieces:
                fitting = self._within(rows)
                if fitting:
                    self.first = self.first or _place(fitting[0])
                    self.last = _place(fitting[-1])
                    self.returned += len(fitting)
                    yield [_finite(row[0]) for row in fitting]
                if len(fitting) < len(rows):
                    self.more_after = True
                    return

    def _is_one_before(self) -> bool:
        """Return whether there is an item before a page that ends at a position."""
        where, values = self._conditions()
        order = self.query.order(self.selection.order, backwards=True)
        sql = f"select 1 from {self.query.table.quoted} item where {where} order by {order} offset %s limit 1"
        return bool(self.pool.rows(sql, (*values, self.limit)))

    def _within(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return the rows that fit into the page."""
        for place, row in enumerate(rows):
            self._bytes += len(row[0])
            if self.returned + place == self.limit or (self._bytes > _MAX_BYTES and self.returned + place):
                return rows[:place]
        return rows

    def _pieces(self, statement: str, values: Sequence[Any]) -> Generator[Sequence[Row]]:
        if self.limit <= _AT_ONCE:
            yield self.pool.rows(statement, values)
            return
        with closing(self.pool.pieces(statement, values, size=_PIECE)) as pieces:
            yield from pieces

    def _conditions(self) -> Sql:
        parts = [self.query.where(self.selection), *self.filters]
        if self.identifier is not None:
            parts.append(self.query.identified(self.identifier))
        if self.after is not None:
            parts.append(self.query.after(self.selection.order, self.after))
        return both(parts)

    def _statement(self, item: Sql) -> Sql:
        """Return the statement of a page and one more item; before a position, the nearest items, reversed."""
        query, table = self.query, self.query.table
        where, values = self._conditions()
        sorting = query.sorting(self.selection.order)
        place = ", ".join(f"{each.expression}::text" for each in sorting)
        order = query.order(self.selection.order)
        if self._is_backwards:
            back = query.order(self.selection.order, backwards=True)
            columns = ", ".join(quoted(each.name) for each in (table.key, table.geometry, *table.attributes))
            source = f"(select {columns} from {table.quoted} item where {where} order by {back} limit %s) item"
            return f"select {item[0]}, {place} from {source} order by {order}", (*item[1], *values, self.limit)
        limit = self.limit + 1
        if self.offset and where == "true" and not self.selection.order and (table.key.primary or table.key.unique):
            key = quoted(table.key.name)  # skipped items are only read from the index
            skipped = f"select {key} from {table.quoted} order by {key} limit %s offset %s"
            page = f"where {key} = any(array({skipped})) order by {order}"
        else:
            page = f"where {where} order by {order} limit %s offset %s"
        sql = f"select {item[0]}, {place} from {table.quoted} item {page}"
        return sql, (*item[1], *values, limit, self.offset)

    def count(self, *, exact: bool) -> Count:
        """Return how many items are selected: exact if they are few or the table is small, else estimated."""
        where, values = both([self.query.where(self.selection), *self.filters])
        source = f"{self.query.table.quoted} item where {where}"
        if not exact:
            plan = self._plan(both([self.query.where(self.selection, nearly=True), *self.filters]))
            about = int(plan["Plan Rows"])
            costly = plan["Node Type"] == "Seq Scan" and where != "true"
            if about > (_SMALL_TABLE if where == "true" else _FEW) or (costly and self._is_large()):
                return Count(about, estimated=True)
        [(number,)] = self.pool.rows(f"select count(*) from {source}", values)
        return Count(int(number))

    def _is_large(self) -> bool:
        return bool(self._plan(("true", ()))["Plan Rows"] > _SMALL_TABLE)

    def _plan(self, where: Sql) -> dict[str, Any]:
        sql = f"explain (format json) select 1 from {self.query.table.quoted} item where {where[0]}"
        [(plans,)] = self.pool.rows(sql, where[1])
        plan: dict[str, Any] = plans[0]["Plan"]
        return plan


def _place(row: Row) -> Position | None:
    values = tuple(each.decode() if isinstance(each, bytes) else each for each in row[1:])
    return None if values[-1] is None else Position(values)


def _finite(item: bytes) -> bytes:
    """Return the item, without its geometry if PostGIS has written one with an invalid number."""
    if not any(word in item for word in _NO_NUMBERS):
        return item
    feature = json.loads(item)
    try:
        json.dumps(feature["geometry"], allow_nan=False)
    except ValueError:
        feature["geometry"] = None
    return json.dumps(feature, ensure_ascii=False, separators=(",", ":")).encode()
