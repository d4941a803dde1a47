"""Selections of features of a GeoPackage: their pages and their number."""

# ruff: noqa: S608 - identifiers come from the layer, quoted; values are never formatted in

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import batched, islice
from typing import Any, NamedTuple

from products.vector.blob import decode, geometries_of
from products.vector.cql import Filter
from products.vector.cql_sql import Sql
from products.vector.geopackage import Batch, Reader, Row
from products.vector.layer import quote
from products.vector.meeting import chunks_meeting, keys_as_json, keys_meeting, largest_meeting
from products.vector.times import TimeColumns, add_functions, condition

_MAX_BYTES = 32_000_000
"""Maximum bytes of geometry in a page; it ends before, but has at least one feature."""
_PIECE = 500
_PIECE_BYTES = 250_000
"""Features, or bytes of geometry, in a piece of a page."""
_DRAWN_BYTES = 2_000_000
"""Bytes of geometry that are drawn together."""
_FETCHED_BY_KEY = 2_000
_FETCHED = 16
"""Rows that are fetched together: each may have a large geometry."""
_UNREADABLE = "\ufffd"
"""The replacement of bytes that are not UTF-8: a text with it cannot be compared."""


class SortKey(NamedTuple):
    """An attribute to order by; NULL is the least value."""

    name: str
    descending: bool = False


class Times(NamedTuple):
    """A requested time, and the columns that it is compared with."""

    columns: TimeColumns
    asked: tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Position:
    """A position in the order of items: that of the item with these values of the sort keys and, last, of the key.

    A page begins after it, or ends before it (`backwards`); the item itself may be deleted. Values are of JSON types or
    bytes.
    """

    values: tuple[Any, ...]
    backwards: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """Features that intersect `area` (in the layer's coordinates), have `equal` attributes and intersect the time.

    All `filters` are true for them. `unplaced` features, without a geometry, intersect every area. Alternative values
    of an attribute are a tuple. All names are of attributes of the layer; features of the same order follow their keys.
    """

    area: Any = None
    equal: Mapping[str, Any] = field(default_factory=dict)
    times: Times | None = None
    order: tuple[SortKey, ...] = ()
    unplaced: bool = False
    filters: tuple[Filter, ...] = ()


class Count(NamedTuple):
    """A number of features, and whether it is estimated."""

    number: int
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """A selection prepared for an open GeoPackage. Its methods raise BrokenSource, RequestTooLarge.

    `conditions` are all except the area.
    """

    reader: Reader
    selection: Selection
    conditions: str
    values: tuple[Any, ...]

    @property
    def key(self) -> Hashable:
        """The key of searches for the same features of a file, independent of their order."""
        area = self.selection.area
        return self.conditions, self.values, None if area is None else area.wkb, self.selection.unplaced

    def count(self) -> int:
        """Return how many features are selected."""
        where, values = self._everything()
        [(count,)] = self.reader.rows(f"SELECT count(*) FROM {self.reader.layer.quoted.table} WHERE {where}", values)
        return int(count)

    def page(self, limit: int, offset: int = 0, *, damaged: Callable[[Any, str], None] | None = None) -> Batch:
        """Return the selected features after the first `offset`, at most `limit`, fewer if they are very large.

        An unreadable geometry raises BrokenSource; with `damaged`, this is called with key and reason, and it is None.
        """
        page = PageOfFeatures(self, limit, offset, damaged=damaged)
        return _batch([row for rows in page.rows() for row in rows], damaged)

    @property
    def order(self) -> tuple[tuple[str, bool], ...]:
        """The quoted columns of the order, and whether they are descending; the key is the last one."""
        quoted = self.reader.layer.quoted
        keys = ((quoted.by_name[name], descending) for name, descending in self.selection.order)
        return (*keys, (quoted.key, False))

    def rows(self, limit: int, offset: int, after: Position | None) -> Iterator[Row]:
        """Yield at most `limit` rows in their order, after a position or an offset: key, geometry and attributes."""
        if self._near and not offset:
            return islice(self._near_rows(self.reader.layer.quoted.columns, limit, after), limit)
        where, values = self._beyond(after)
        quoted = self.reader.layer.quoted
        if self.selection.order or offset:
            where = (
                f"{quoted.key} IN (SELECT {quoted.key} FROM {quoted.table} WHERE {where}"
                f" ORDER BY {_ordered(self.order)} LIMIT ? OFFSET ?)"
            )
            return self._in_order((where, (*values, limit, offset)))
        query = f"SELECT {quoted.columns} FROM {quoted.table} WHERE {where} ORDER BY {quoted.key} LIMIT ?"
        return self._each(query, (*values, limit))

    def _each(self, query: str, values: Sequence[Any]) -> Iterator[Row]:
        for rows in self.reader.batches(query, values, size=_FETCHED):
            yield from rows

    @property
    def _near(self) -> bool:
        """Whether the next features of an area are found without a search for all of them."""
        return self.selection.area is not None and not self.selection.order and self.reader.layer.indexed

    def rows_of(self, keys: Sequence[Any]) -> Iterator[Row]:
        """Yield the rows with these keys in their order."""
        return self._in_order(_in(self.reader, keys))

    def largest(self, most: int, least: float, damaged: Callable[[Any, str], None]) -> Iterator[Batch]:
        """Yield at most `most` features with envelopes that meet the area and are larger than `least`, largest first.

        They are fewer if they are very large. `damaged` is called for an unreadable geometry.
        """
        rows: list[Row] = []
        size = total = 0
        for row in self._of(self._largest_keys(most, least)):
            total += _size(row)
            if total > max(_MAX_BYTES, _size(row)):
                break
            rows.append(row)
            size += _size(row)
            if size > _DRAWN_BYTES:
                yield _batch(rows, damaged)
                rows, size = [], 0
        if rows:
            yield _batch(rows, damaged)

    def _largest_keys(self, most: int, least: float) -> list[Any]:
        keys = largest_meeting(self.reader, self.selection.area, least)
        if len(keys) > most and self.conditions != "TRUE":
            quoted = self.reader.layer.quoted
            where, values = _in(self.reader, keys)
            query = f"SELECT {quoted.key} FROM {quoted.table} WHERE {where} AND {self.conditions}"
            selected = {row[0] for row in self.reader.rows(query, (*values, *self.values))}
            keys = [key for key in keys if key in selected]
        return keys[:most]

    def everything(self, names: Sequence[str], damaged: Callable[[Any, str], None]) -> Iterator[Batch]:
        """Yield all features with envelopes that meet the area, with these attributes alone."""
        quoted = self.reader.layer.quoted
        columns = ", ".join((quoted.key, quoted.geometry, *(quoted.by_name[name] for name in names)))
        keys = largest_meeting(self.reader, self.selection.area, -1)
        for rows in batched(self._of(sorted(keys), columns), _FETCHED_BY_KEY):
            yield _batch(rows, damaged)

    def _of(self, keys: Sequence[Any], columns: str | None = None) -> Iterator[Row]:
        """Yield those of the rows with these keys that match the conditions."""
        quoted = self.reader.layer.quoted
        for some in batched(keys, _FETCHED_BY_KEY):
            where, values = _in(self.reader, some)
            query = f"SELECT {columns or quoted.columns} FROM {quoted.table} WHERE {where} AND {self.conditions}"
            yield from self._each(query, (*values, *self.values))

    def _in_order(self, where: Sql) -> Iterator[Row]:
        quoted = self.reader.layer.quoted
        query = f"SELECT {quoted.columns} FROM {quoted.table} WHERE {where[0]} ORDER BY {_ordered(self.order)}"
        return self._each(query, where[1])

    def keys_before(self, limit: int, before: Position) -> list[Any]:
        """Return at most `limit` keys of the features before a position, the nearest first."""
        quoted = self.reader.layer.quoted
        if self._near:
            return [row[0] for row in islice(self._near_rows(quoted.key, limit, before), limit)]
        where, values = self._beyond(before)
        order = _ordered(self.order, backwards=True)
        query = f"SELECT {quoted.key} FROM {quoted.table} WHERE {where} ORDER BY {order} LIMIT ?"
        return [row[0] for row in self.reader.rows(query, (*values, limit))]

    def _near_rows(self, columns: str, limit: int, after: Position | None) -> Iterator[Row]:
        quoted, backwards = self.reader.layer.quoted, after is not None and after.backwards
        chunks = chunks_meeting(
            self.reader,
            self.selection.area,
            unplaced=self.selection.unplaced,
            beyond=None if after is None else after.values[-1],
            backwards=backwards,
            size=limit,
        )
        for keys in chunks:
            where, values = _in(self.reader, keys)
            query = (
                f"SELECT {columns} FROM {quoted.table} WHERE {where} AND {self.conditions}"
                f" ORDER BY {quoted.key} {'DESC' if backwards else 'ASC'}"
            )
            yield from self._each(query, (*values, *self.values))

    def _everything(self) -> Sql:
        """Return the condition of the selected features."""
        if self.selection.area is None:
            return self.conditions, self.values
        keys = keys_meeting(self.reader, self.selection.area, unplaced=self.selection.unplaced)
        where, values = _in(self.reader, keys)
        return f"{where} AND {self.conditions}", (*values, *self.values)

    def _beyond(self, after: Position | None) -> Sql:
        where, values = self._everything()
        if after is None:
            return where, values
        beyond, more = _after(self.order, after)
        return f"{where} AND {beyond}", (*values, *more)


def _in(reader: Reader, keys: Sequence[Any]) -> Sql:
    return f"{reader.layer.quoted.key} IN (SELECT value FROM json_each(?))", (keys_as_json(keys),)


def _ordered(order: Iterable[tuple[str, bool]], *, backwards: bool = False) -> str:
    return ", ".join(f"{column} {'DESC' if descending != backwards else 'ASC'}" for column, descending in order)


def _after(order: Sequence[tuple[str, bool]], place: Position) -> Sql:
    """Return the condition of features after a position, or before it; NULL is less than every value."""
    sql, values = "FALSE", list[Any]()
    for (column, descending), value in reversed(list(zip(order, place.values, strict=True))):
        down = descending != place.backwards
        if value is None:
            further, bound = ("FALSE" if down else f"{column} IS NOT NULL"), list[Any]()
        else:
            further, bound = (f"({column} < ? OR {column} IS NULL)" if down else f"{column} > ?"), [value]
        if sql == "FALSE":
            sql, values = further, bound
        else:
            sql, values = f"({further} OR ({column} IS ? AND {sql}))", [*bound, value, *values]
    return sql, tuple(values)


@dataclass(slots=True)
class PageOfFeatures:
    """A page, read in batches, so that memory does not depend on its size.

    After reading, `first` and `last` are the positions of its ends, None for an empty page or a feature without a
    position; `more_before` and `more_after` are whether there are more; `returned` is the number of its features.
    """

    search: Search
    limit: int
    offset: int = 0
    after: Position | None = None
    damaged: Callable[[Any, str], None] | None = None
    returned: int = field(default=0, init=False)
    more_before: bool = field(default=False, init=False)
    more_after: bool = field(default=False, init=False)
    first: Position | None = field(default=None, init=False)
    last: Position | None = field(default=None, init=False)

    def __iter__(self) -> Iterator[Batch]:
        for rows in self.rows():
            yield _batch(rows, self.damaged)

    def rows(self) -> Iterator[list[Row]]:
        """Yield the rows in batches."""
        rows: list[Row] = []
        size = total = 0
        for row in self._found() if self.limit else ():
            total += _size(row)
            if self.returned == self.limit or total > max(_MAX_BYTES, _size(row)):
                self.more_after = True
                break
            self.first = self._place(row) if not self.returned else self.first
            self.returned += 1
            rows.append(row)
            size += _size(row)
            if len(rows) == _PIECE or size > _PIECE_BYTES:
                self.last = self._place(row)
                yield rows
                rows, size = [], 0
        if rows:
            self.last = self._place(rows[-1])
            yield rows

    def _found(self) -> Iterator[Row]:
        """Yield the rows, and possibly one more."""
        if self.after is not None and self.after.backwards:
            keys = self.search.keys_before(self.limit + 1, self.after)
            self.more_before, self.more_after = len(keys) > self.limit, True
            return self.search.rows_of(keys[: self.limit])
        self.more_before = self.offset > 0 or self.after is not None
        return self.search.rows(self.limit + 1, self.offset, self.after)

    def _place(self, row: Row) -> Position | None:
        layer = self.search.reader.layer
        values = tuple(
            row[0] if name == layer.key else row[2 + layer.names.index(name)]
            for name in (*(key.name for key in self.search.selection.order), layer.key)
        )
        lost = values[-1] is None or any(isinstance(value, str) and _UNREADABLE in value for value in values)
        return None if lost else Position(values)


def search(reader: Reader, selection: Selection, filters: Sequence[Sql] = ()) -> Search:
    """Prepare a selection; an area is compared with the features' outlines, not with their envelopes.

    `filters` are those of the selection in SQL.
    """
    layer = reader.layer
    conditions = [text for text, _ in filters]
    values = [value for _, some in filters for value in some]
    for name, value in selection.equal.items():
        one_of = value if isinstance(value, tuple) else (value,)
        conditions.append(f"{layer.quoted.by_name[name]} IN ({', '.join('?' * len(one_of))})")
        values.extend(one_of)
    if selection.times is not None:
        add_functions(reader.connection)
        sql, bounds = condition(*selection.times)
        conditions.append(sql)
        values.extend(bounds)
    return Search(reader, selection, " AND ".join(conditions) or "TRUE", tuple(values))


def distinct(search: Search, name: str, *, most: int) -> tuple[Any, ...] | None:
    """Return the sorted values of an attribute of the selected features, without NULL; None for more than `most`.

    Raises RequestTooLarge if the search takes too long.
    """
    table, where = search.reader.layer.quoted.table, f"{quote(name)} IS NOT NULL AND {search.conditions}"
    query = f"SELECT DISTINCT {quote(name)} FROM {table} WHERE {where} LIMIT ?"
    values = [row[0] for row in search.reader.rows(f"SELECT * FROM ({query}) ORDER BY 1", (*search.values, most + 1))]
    return None if len(values) > most else tuple(values)


def _batch(rows: Sequence[Row], damaged: Callable[[Any, str], None] | None) -> Batch:
    keys, blobs = [row[0] for row in rows], [row[1] for row in rows]
    return Batch(keys, geometries_of(keys, blobs, damaged) if damaged else decode(blobs), [row[2:] for row in rows])


def _size(row: Row) -> int:
    return len(row[1]) if isinstance(row[1], bytes) else 0
