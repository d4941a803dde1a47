"""The features of a GeoPackage that intersect an area: by its R-tree, and on the area's edge by their outlines."""

# ruff: noqa: S608 - identifiers come from the layer, quoted; values are never formatted in

import json
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from products.errors import RequestTooLarge
from products.operation import Bounds
from products.vector.blob import geometries_of
from products.vector.geopackage import Reader, corners, read_geopackage
from products.vector.layer import quote
from products.vector.times import TimeColumns, add_functions, extent_sql, moment
from products.whole import cached_by_file

_REACH = 1e30
"""Maximum coordinate: for larger ones, and for values that are not numbers, GEOS cannot test intersections."""
_MAX_CANDIDATES = 1_000_000
"""Maximum features whose envelopes intersect an area; in a larger layer the R-tree is trusted to be complete."""
_MAX_OUTSIDE = 100_000
"""Maximum features with a geometry that are missing in the R-tree."""
_SECONDS = 20
_SECONDS_OF_CHECK = 5
_SECONDS_OF_TIMES = 2
_FETCHED = 1_000
_LEAST_CHUNK = 200
_GROWTH = 4
"""Factor by which the number of candidates grows if those before did not fill a page."""


def extent_of(reader: Reader) -> Bounds | None:
    """Return bounds that contain every feature, or None. Raises RequestTooLarge."""
    outside = _complete(reader)
    bounds = [extent for extent in (reader.extent(), _around(outside.envelopes)) if extent]
    return _around(np.array(bounds)) if bounds else None


def _around(envelopes: NDArray[np.float64]) -> Bounds | None:
    if not len(envelopes):
        return None
    (west, south), (east, north) = envelopes[:, :2].min(axis=0).tolist(), envelopes[:, 2:].max(axis=0).tolist()
    return west, south, east, north


def index_is_complete(reader: Reader) -> bool:
    """Return whether the R-tree has every feature with a geometry."""
    return reader.layer.indexed and not _outside(reader.source, reader.layer.table, reader.layer.key).keys


def keys_as_json(keys: Sequence[Any]) -> str:
    """Return keys for SQLite's `json_each`."""
    return json.dumps(keys, default=str)


def keys_meeting(reader: Reader, area: Any, *, unplaced: bool) -> Sequence[Any]:
    """Return the keys of the features that intersect the area, unordered; also of `unplaced` ones, without geometry.

    Raises RequestTooLarge.
    """
    outside = _complete(reader)
    found = list(outside.unplaced) if unplaced else []
    if area.is_empty:
        return found
    keys, envelopes = _envelopes(reader, area, outside)
    return found + _that_meet(reader, area, keys, envelopes)


def largest_meeting(reader: Reader, area: Any, least: float) -> list[Any]:
    """Return the keys of features with envelopes that intersect the area and are larger than `least`, largest first.

    Raises RequestTooLarge.
    """
    if area.is_empty:
        return []
    keys, envelopes = _envelopes(reader, area, _complete(reader), least)
    sizes = np.fmax(envelopes[:, 2] - envelopes[:, 0], envelopes[:, 3] - envelopes[:, 1])
    shapely.prepare(area)
    there = (sizes > least) & shapely.intersects(area, shapely.box(*envelopes.T))
    order = np.argsort(-sizes[there], kind="stable")
    found: list[Any] = keys[there][order].tolist()
    return found


def chunks_meeting(
    reader: Reader, area: Any, *, unplaced: bool, beyond: Any = None, backwards: bool = False, size: int
) -> Iterator[list[Any]]:
    """Yield the same keys in their order, before or after a key, in chunks, as a page needs few of many.

    Each chunk queries the R-tree again, so each is larger than the one before. Raises RequestTooLarge.
    """
    outside = _complete(reader)
    unindexed = dict.fromkeys(outside.unplaced if unplaced else (), None)
    if not area.is_empty:
        unindexed.update(zip(outside.keys, outside.envelopes, strict=True))
    rest = sorted(unindexed, reverse=backwards)
    rest = [key for key in rest if beyond is None or (key < beyond if backwards else key > beyond)]
    size = max(size, _LEAST_CHUNK)
    more = not area.is_empty
    while more:
        rows = _nearest(reader, area, beyond, backwards=backwards, size=size)
        more = len(rows) == size
        table = np.array(rows, dtype=np.float64).reshape(-1, 5)
        beyond = rows[-1][0] if rows else beyond
        here = _up_to(rest, beyond, backwards=backwards) if more else len(rest)
        found = _that_meet(reader, area, table[:, 0].astype(np.int64), np.clip(table[:, 1:], -_REACH, _REACH))
        found += _of_unindexed(reader, area, unindexed, rest[:here])
        rest, size = rest[here:], size * _GROWTH
        yield sorted(found, reverse=backwards)
    if area.is_empty and rest:
        yield rest


def _up_to(keys: Sequence[Any], last: Any, *, backwards: bool) -> int:
    """Return how many of the ordered keys are before the last one."""
    return bisect_right(keys, -last, key=lambda key: -key) if backwards else bisect_right(keys, last)


def _nearest(reader: Reader, area: Any, beyond: Any, *, backwards: bool, size: int) -> list[tuple[Any, ...]]:
    """Return key and envelope of the first features after a key that are near the area by the R-tree."""
    reached = "" if beyond is None else f" AND id {'<' if backwards else '>'} ?"
    query = (
        f"SELECT id, minx, miny, maxx, maxy FROM {reader.layer.quoted.index}"
        f" WHERE maxx >= ? AND minx <= ? AND maxy >= ? AND miny <= ?{reached}"
        f" ORDER BY id {'DESC' if backwards else 'ASC'} LIMIT ?"
    )
    return reader.rows(query, (*corners(area.bounds), *(() if beyond is None else (beyond,)), size))


def _of_unindexed(reader: Reader, area: Any, unindexed: dict[Any, Any], keys: Sequence[Any]) -> list[Any]:
    placed = [key for key in keys if unindexed[key] is not None]
    found = [key for key in keys if unindexed[key] is None]
    if placed:
        envelopes = np.clip(np.array([unindexed[key] for key in placed]), -_REACH, _REACH)
        found += _that_meet(reader, area, np.array(placed, dtype=object), envelopes)
    return found


def _that_meet(reader: Reader, area: Any, keys: NDArray[Any], envelopes: NDArray[np.float64]) -> list[Any]:
    """Return those of the keys whose features intersect the area; only those on its edge are compared exactly."""
    shapely.prepare(area)
    boxes = shapely.box(*envelopes.T)
    inside = shapely.contains_properly(area, boxes)
    found: list[Any] = keys[inside].tolist()
    edge = keys[~inside & shapely.intersects(area, boxes)]
    for some in np.split(edge, range(500, len(edge), 500)):
        found += _crossing(reader, area, some)
    return found


def _envelopes(reader: Reader, area: Any, outside: "_Outside", least: float = -1) -> tuple[NDArray[Any], NDArray[Any]]:
    meeting: list[tuple[Any, ...]] = []
    if reader.layer.indexed:
        query = (
            f"SELECT id, minx, miny, maxx, maxy FROM {quote(reader.layer.index)}"
            f" WHERE maxx >= ? AND minx <= ? AND maxy >= ? AND miny <= ? AND (maxx - minx > ? OR maxy - miny > ?)"
            f" LIMIT {_MAX_CANDIDATES + 1}"
        )
        meeting = reader.rows(query, (*corners(area.bounds), least, least))
    if len(meeting) > _MAX_CANDIDATES:
        raise RequestTooLarge(f"the area meets more than {_MAX_CANDIDATES:,} features; ask for a smaller one")
    table = np.array(meeting, dtype=np.float64).reshape(-1, 5)
    boxes = np.clip(np.concatenate([table[:, 1:], outside.envelopes]), -_REACH, _REACH)
    keys = table[:, 0].astype(np.int64)
    if outside.keys:
        keys = np.array([*keys.tolist(), *outside.keys], dtype=object)
    return keys, boxes


def _crossing(reader: Reader, area: Any, keys: Any) -> list[Any]:
    layer = reader.layer
    query = (
        f"SELECT {quote(layer.key)}, {quote(layer.geometry)} FROM {quote(layer.table)}"
        f" WHERE {quote(layer.key)} IN (SELECT value FROM json_each(?))"
    )
    rows = reader.rows(query, (keys_as_json(keys.tolist()),))
    geometries = geometries_of([key for key, _ in rows], [blob for _, blob in rows], lambda _key, _reason: None)
    points, owners = shapely.get_coordinates(geometries, return_index=True)
    geometries[owners[~(np.abs(points) <= _REACH).all(axis=1)]] = None
    return [rows[place][0] for place in np.flatnonzero(shapely.intersects(area, geometries))]


@dataclass(frozen=True, slots=True)
class _Outside:
    """Features that are missing in the R-tree: keys of those without a geometry, keys and envelopes of others."""

    unplaced: tuple[Any, ...] = ()
    keys: tuple[Any, ...] = ()
    envelopes: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 4)))
    complete: bool = True


def _complete(reader: Reader) -> _Outside:
    """Return the features missing in the R-tree. Raises RequestTooLarge if there are too many."""
    outside = _outside(reader.source, reader.layer.table, reader.layer.key)
    if not outside.complete:
        raise RequestTooLarge(
            f"{reader.layer.table} has no spatial index, and too many features to look at each of them for an area"
        )
    return outside


def _is_large(reader: Reader) -> bool:
    """Return whether there are too many features to compare one by one; counted only if a key is that high."""
    table = quote(reader.layer.table)
    [(last,)] = reader.rows(f"SELECT max({quote(reader.layer.key)}) FROM {table}")
    if (last or 0) <= _MAX_CANDIDATES:
        return False
    [(count,)] = reader.rows(f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {_MAX_CANDIDATES + 1})")
    return bool(count > _MAX_CANDIDATES)


def faults_of_index(source: Path, table: str | None = None, key: str | None = None) -> Iterator[str]:
    """Yield the errors of an R-tree, on which queries by box depend; in a large layer as far as is fast.

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
            geometries = geometries_of([row[0] for row in there], [row[1] for row in there], lambda _key, _reason: None)
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
    """Search for features that are missing in the R-tree: in a valid file only those without a geometry."""
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
            bounds = shapely.bounds(geometries_of(rows, [row[1] for row in rows], lambda _key, _reason: None))
            placed = np.isfinite(bounds).all(axis=1)
            keys += [row[0] for row, is_ in zip(rows, placed, strict=True) if is_]
            unplaced += [row[0] for row, is_ in zip(rows, placed, strict=True) if not is_]
            envelopes.append(bounds[placed])
            if len(keys) + len(unplaced) > _MAX_OUTSIDE:
                return _Outside(complete=False)
    return _Outside(tuple(unplaced), tuple(keys), np.concatenate(envelopes))


@cached_by_file(most=1_024)
def time_extent(
    source: Path, table: str, key: str, times: TimeColumns
) -> tuple[datetime | None, datetime | None] | None:
    """Return the first and the last instant of a layer, None if there is none or the search takes too long."""
    try:
        with read_geopackage(source, table=table, key=key, seconds=_SECONDS_OF_TIMES) as reader:
            add_functions(reader.connection)
            [(begin, end)] = reader.rows(extent_sql(times, table))
    except RequestTooLarge:
        return None
    if begin is None and end is None:
        return None
    return begin if begin is None else moment(begin), end if end is None else moment(end)
