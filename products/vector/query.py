"""Which features of a GeoPackage are asked for, and a page of them."""

# ruff: noqa: S608 - identifiers come from the layer, quoted; values are never formatted in

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from products.errors import RequestTooLarge
from products.operation import Bounds
from products.vector.blob import Geometries, decode, decode_each
from products.vector.geopackage import Batch, Reader, Row, corners, read_geopackage
from products.vector.layer import quote
from products.vector.times import TimeColumns, condition
from products.whole import cached_by_file

_MAX_BYTES = 32_000_000
"""Bytes of geometry in a page at most; it ends before, but never without a feature."""
_REACH = 1e30
"""A coordinate, at most: of larger ones and of what is no number GEOS does not tell whether they meet an area."""
_MAX_CANDIDATES = 1_000_000
"""Features whose envelopes an area may meet; of more the R-tree is trusted to have all."""
_MAX_OUTSIDE = 100_000
"""Features with a geometry that the R-tree does not have, at most."""
_SECONDS = 20
_SECONDS_OF_CHECK = 5
_FETCHED = 1_000
_PIECE = 500
_PIECE_BYTES = 250_000
"""Features, or bytes of geometry, of a piece of a page."""


class SortKey(NamedTuple):
    """An attribute to order by."""

    name: str
    descending: bool = False


class Times(NamedTuple):
    """A time that is asked for, and the columns that it is compared with."""

    columns: TimeColumns
    asked: tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Selection:
    """Features that meet `area` (in the layer's coordinates), have `equal` attributes and meet the time.

    `unplaced` features, without a geometry, meet every area. An attribute that may equal several values has them in a
    tuple. All names are of attributes that the layer has; features of the same order follow their keys.
    """

    area: Any = None
    equal: Mapping[str, Any] = field(default_factory=dict)
    times: Times | None = None
    order: tuple[SortKey, ...] = ()
    unplaced: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """A selection made ready for one open GeoPackage. Its methods raise BrokenSource, RequestTooLarge."""

    reader: Reader
    conditions: str
    values: tuple[Any, ...]
    order: str

    def count(self) -> int:
        """Return how many features are selected."""
        [(count,)] = self.reader.rows(f"SELECT count(*) FROM {self._from}", self.values)
        return int(count)

    def page(self, limit: int, offset: int, *, damaged: Callable[[Any, str], None] | None = None) -> Batch:
        """Return the selected features after the first `offset`, at most `limit`, fewer where they are very large.

        A geometry that cannot be read is a broken source, or else None: `damaged` is told the key and the reason.
        """
        return _batch(list(self._rows(limit, offset)), damaged)

    def pieces(self, limit: int, offset: int, *, damaged: Callable[[Any, str], None] | None = None) -> Iterator[Batch]:
        """Yield the same page a few features at a time, so that its size is none in memory."""
        rows: list[Row] = []
        size = 0
        for row in self._rows(limit, offset):
            rows.append(row)
            size += _size(row)
            if len(rows) == _PIECE or size > _PIECE_BYTES:
                yield _batch(rows, damaged)
                rows, size = [], 0
        if rows:
            yield _batch(rows, damaged)

    def _rows(self, limit: int, offset: int) -> Iterator[Row]:
        layer = self.reader.layer
        columns = ", ".join(quote(name) for name in (layer.key, layer.geometry, *layer.names))
        query = (
            f"SELECT {columns} FROM {quote(layer.table)} WHERE {quote(layer.key)} IN"
            f" (SELECT {quote(layer.key)} FROM {self._from} ORDER BY {self.order} LIMIT ? OFFSET ?)"
            f" ORDER BY {self.order}"
        )
        return _until_large(self.reader.each(query, (*self.values, limit, offset)))

    @property
    def _from(self) -> str:
        return f"{quote(self.reader.layer.table)} WHERE {self.conditions}"


def search(reader: Reader, selection: Selection) -> Search:
    """Make a selection ready; an area is compared with the features' own outlines, not with their envelopes."""
    layer = reader.layer
    conditions: list[str] = ["TRUE"]
    values: list[Any] = []
    for name, value in selection.equal.items():
        one_of = value if isinstance(value, tuple) else (value,)
        conditions.append(f"{quote(name)} IN ({', '.join('?' * len(one_of))})")
        values.extend(one_of)
    if selection.times is not None:
        sql, bounds = condition(*selection.times)
        conditions.append(sql)
        values.extend(bounds)
    if selection.area is not None:
        conditions.append(f"{quote(layer.key)} IN (SELECT value FROM json_each(?))")
        values.append(_json(_meeting(reader, selection.area, unplaced=selection.unplaced)))
    order = [f"{quote(name)} {'DESC' if descending else 'ASC'}" for name, descending in selection.order]
    return Search(reader, " AND ".join(conditions), tuple(values), ", ".join([*order, quote(layer.key)]))


def distinct(reader: Reader, name: str, *, most: int) -> tuple[Any, ...] | None:
    """Return the values of an attribute in their order, without NULL; None for more than `most`.

    Raises RequestTooLarge where looking for them takes too long.
    """
    query = f"SELECT DISTINCT {quote(name)} FROM {quote(reader.layer.table)} WHERE {quote(name)} IS NOT NULL LIMIT ?"
    values = [row[0] for row in reader.rows(f"SELECT * FROM ({query}) ORDER BY 1", (most + 1,))]
    return None if len(values) > most else tuple(values)


def extent_of(reader: Reader) -> Bounds | None:
    """Return bounds that hold every feature, None where there are none. Raises RequestTooLarge."""
    outside = _complete(reader)
    bounds = [extent for extent in (reader.extent(), _around(outside.envelopes)) if extent]
    return _around(np.array(bounds)) if bounds else None


def _around(envelopes: NDArray[np.float64]) -> Bounds | None:
    if not len(envelopes):
        return None
    (west, south), (east, north) = envelopes[:, :2].min(axis=0).tolist(), envelopes[:, 2:].max(axis=0).tolist()
    return west, south, east, north


def _json(keys: Sequence[Any]) -> str:
    return json.dumps(keys, default=str)


def _geometries(keys: Sequence[Any], blobs: Sequence[Any], damaged: Callable[[Any, str], None]) -> Geometries:
    found = decode_each(blobs)
    for place, geometry in enumerate(found):
        if isinstance(geometry, str):
            damaged(keys[place], geometry)
            found[place] = None
    return found


def _batch(rows: Sequence[Row], damaged: Callable[[Any, str], None] | None) -> Batch:
    keys, blobs = [row[0] for row in rows], [row[1] for row in rows]
    return Batch(keys, _geometries(keys, blobs, damaged) if damaged else decode(blobs), [row[2:] for row in rows])


def _until_large(rows: Iterable[Row]) -> Iterator[Row]:
    size = 0
    for row in rows:
        bytes_ = _size(row)
        size += bytes_
        if size > max(_MAX_BYTES, bytes_):
            return
        yield row


def _size(row: Row) -> int:
    return len(row[1]) if isinstance(row[1], bytes) else 0


def _meeting(reader: Reader, area: Any, *, unplaced: bool) -> Sequence[Any]:
    """Return the keys of the features that meet the area; only those across its edge are looked at in full."""
    outside = _complete(reader)
    found = list(outside.unplaced) if unplaced else []
    if area.is_empty:
        return found
    keys, envelopes = _envelopes(reader, area, outside)
    shapely.prepare(area)
    inside = shapely.contains_properly(area, envelopes)
    found += keys[inside].tolist()
    edge = keys[~inside & shapely.intersects(area, envelopes)]
    for some in np.split(edge, range(500, len(edge), 500)):
        found += _crossing(reader, area, some)
    return found


def _envelopes(reader: Reader, area: Any, outside: "_Outside") -> tuple[NDArray[Any], NDArray[Any]]:
    meeting: list[tuple[Any, ...]] = []
    if reader.layer.indexed:
        query = (
            f"SELECT id, minx, miny, maxx, maxy FROM {quote(reader.layer.index)}"
            f" WHERE maxx >= ? AND minx <= ? AND maxy >= ? AND miny <= ? LIMIT {_MAX_CANDIDATES + 1}"
        )
        meeting = reader.rows(query, corners(area.bounds))
    if len(meeting) > _MAX_CANDIDATES:
        raise RequestTooLarge(f"the area meets more than {_MAX_CANDIDATES:,} features; ask for a smaller one")
    table = np.array(meeting, dtype=np.float64).reshape(-1, 5)
    boxes = np.clip(np.concatenate([table[:, 1:], outside.envelopes]), -_REACH, _REACH)
    keys = table[:, 0].astype(np.int64)
    if outside.keys:
        keys = np.array([*keys.tolist(), *outside.keys], dtype=object)
    return keys, shapely.box(*boxes.T)


def _crossing(reader: Reader, area: Any, keys: Any) -> list[Any]:
    layer = reader.layer
    query = (
        f"SELECT {quote(layer.key)}, {quote(layer.geometry)} FROM {quote(layer.table)}"
        f" WHERE {quote(layer.key)} IN (SELECT value FROM json_each(?))"
    )
    rows = reader.rows(query, (_json(keys.tolist()),))
    geometries = _geometries([key for key, _ in rows], [blob for _, blob in rows], lambda _key, _reason: None)
    points, owners = shapely.get_coordinates(geometries, return_index=True)
    geometries[owners[~(np.abs(points) <= _REACH).all(axis=1)]] = None
    return [rows[place][0] for place in np.flatnonzero(shapely.intersects(area, geometries))]


@dataclass(frozen=True, slots=True)
class _Outside:
    """Features that the R-tree does not have: keys of those without a geometry, keys and envelopes of the others."""

    unplaced: tuple[Any, ...] = ()
    keys: tuple[Any, ...] = ()
    envelopes: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 4)))
    complete: bool = True


def _complete(reader: Reader) -> _Outside:
    """Return what the R-tree does not have. Raises RequestTooLarge where that is too much."""
    outside = _outside(reader.source, reader.layer.table, reader.layer.key)
    if not outside.complete:
        raise RequestTooLarge(
            f"{reader.layer.table} has no spatial index, and too many features to look at each of them for an area"
        )
    return outside


def _is_large(reader: Reader) -> bool:
    """Say whether there are more features than are looked at one by one; counted only where a key is as high."""
    table = quote(reader.layer.table)
    [(last,)] = reader.rows(f"SELECT max({quote(reader.layer.key)}) FROM {table}")
    if (last or 0) <= _MAX_CANDIDATES:
        return False
    [(count,)] = reader.rows(f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {_MAX_CANDIDATES + 1})")
    return bool(count > _MAX_CANDIDATES)


def faults_of_index(source: Path, table: str | None = None, key: str | None = None) -> Iterator[str]:
    """Yield what is wrong with an R-tree, as boxes find what it says; of a large layer as much as is soon looked at.

    Raises BrokenSource.
    """
    with read_geopackage(source, table=table, key=key) as reader:
        layer, until = reader.layer, time.monotonic() + _SECONDS_OF_CHECK
        index, name, key_ = quote(layer.index), quote(layer.table), quote(layer.key)
        if not layer.indexed:
            return
        query = (
            f"SELECT f.{key_}, f.{quote(layer.geometry)}, r.minx, r.miny, r.maxx, r.maxy"
            f" FROM {index} r LEFT JOIN {name} f ON f.{key_} = r.id"
        )
        gone = misplaced = 0
        for rows in reader.batches(query, size=_FETCHED):
            there = [row for row in rows if row[0] is not None]
            gone += len(rows) - len(there)
            geometries = _geometries([row[0] for row in there], [row[1] for row in there], lambda _key, _reason: None)
            bounds = shapely.bounds(geometries).reshape(-1, 4)
            held = np.array([row[2:] for row in there], dtype=np.float64).reshape(-1, 4)
            inside = (held[:, :2] <= bounds[:, :2]) & (bounds[:, 2:] <= held[:, 2:])
            misplaced += int((~inside.all(axis=1)).sum())
            if time.monotonic() > until:
                break
        if gone:
            yield f"holds features that no longer exist: {gone}"
        if misplaced:
            yield f"holds features at a wrong place, where a bbox finds them: {misplaced}"


@cached_by_file(most=64)
def _outside(source: Path, table: str, key: str) -> _Outside:
    """Look at what the R-tree does not have: nothing, in a file in order, but features without a geometry."""
    with read_geopackage(source, table=table, key=key, seconds=_SECONDS) as reader:
        layer = reader.layer
        query = f"SELECT {quote(layer.key)}, {quote(layer.geometry)} FROM {quote(layer.table)}"
        if layer.indexed:
            if _is_large(reader):
                return _Outside()
            query += f" WHERE {quote(layer.key)} NOT IN (SELECT rowid FROM {quote(f'{layer.index}_rowid')})"
        unplaced: list[Any] = []
        keys: list[Any] = []
        envelopes: list[NDArray[np.float64]] = [np.empty((0, 4))]
        for rows in reader.batches(query, size=_FETCHED):
            bounds = shapely.bounds(_geometries(rows, [row[1] for row in rows], lambda _key, _reason: None))
            placed = np.isfinite(bounds).all(axis=1)
            keys += [row[0] for row, is_ in zip(rows, placed, strict=True) if is_]
            unplaced += [row[0] for row, is_ in zip(rows, placed, strict=True) if not is_]
            envelopes.append(bounds[placed])
            if len(keys) + len(unplaced) > _MAX_OUTSIDE:
                return _Outside(complete=False)
    return _Outside(tuple(unplaced), tuple(keys), np.concatenate(envelopes))
