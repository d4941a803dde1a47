"""Which features of a GeoPackage are asked for, and a page of them."""

# ruff: noqa: S608 - identifiers come from the layer, quoted; values are never formatted in

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import shapely

from products.errors import RequestTooLarge
from products.vector.blob import decode
from products.vector.geopackage import Batch, Reader, corners, readable
from products.vector.layer import quote

YEAR = "year"
"""The attribute that a time is compared with."""

_MAX_BYTES = 32_000_000
"""Bytes of geometry in a page at most; it ends before, but never without a feature."""
_MAX_CANDIDATES = 1_000_000
"""Features whose envelopes an area may meet."""


class Order(NamedTuple):
    """An attribute to order by."""

    name: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """Features that meet `area` (in the layer's coordinates), have `equal` attributes and a year from first to last.

    All names are of attributes that the layer has; features of the same order follow their keys.
    """

    area: Any = None
    equal: Mapping[str, Any] = field(default_factory=dict)
    years: tuple[int, int] | None = None
    order: tuple[Order, ...] = ()


@dataclass(frozen=True, slots=True)
class Search:
    """A selection made ready for one open GeoPackage. Its methods raise BrokenSource, RequestTooLarge."""

    reader: Reader
    conditions: str
    values: tuple[Any, ...]
    order: str

    def count(self) -> int:
        """Return how many features are selected."""
        with readable(self.reader.source):
            ((count,),) = self.reader.connection.execute(f"SELECT count(*) FROM {self._from}", self.values)
        return int(count)

    def page(self, limit: int, offset: int) -> Batch:
        """Return the selected features after the first `offset`, at most `limit`, fewer where they are very large."""
        layer = self.reader.layer
        columns = ", ".join(quote(name) for name in (layer.key, layer.geometry, *layer.names))
        query = (
            f"SELECT {columns} FROM {quote(layer.table)} WHERE {quote(layer.key)} IN"
            f" (SELECT {quote(layer.key)} FROM {self._from} ORDER BY {self.order} LIMIT ? OFFSET ?)"
            f" ORDER BY {self.order}"
        )
        with readable(self.reader.source):
            cursor = self.reader.connection.execute(query, (*self.values, limit, offset))
            rows = list(_until_large(cursor))
        return Batch([row[0] for row in rows], decode([row[1] for row in rows]), [row[2:] for row in rows])

    @property
    def _from(self) -> str:
        return f"{quote(self.reader.layer.table)} WHERE {self.conditions}"


def search(reader: Reader, selection: Selection) -> Search:
    """Make a selection ready; an area is compared with the features' own outlines, not with their envelopes."""
    layer = reader.layer
    conditions, values = ["TRUE"], []
    for name, value in selection.equal.items():
        conditions.append(f"{quote(name)} = ?")
        values.append(value)
    if selection.years is not None and YEAR in layer.names:
        conditions.append(f"{quote(YEAR)} BETWEEN ? AND ?")
        values.extend(selection.years)
    if selection.area is not None:
        conditions.append(f"{quote(layer.key)} IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(_meeting(reader, selection.area)))
    order = [f"{quote(name)} {'DESC' if descending else 'ASC'}" for name, descending in selection.order]
    return Search(reader, " AND ".join(conditions), tuple(values), ", ".join([*order, quote(layer.key)]))


def _until_large(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    size = 0
    for row in rows:
        bytes_ = len(row[1] or b"")
        size += bytes_
        if size > max(_MAX_BYTES, bytes_):
            return
        yield row


def _meeting(reader: Reader, area: Any) -> list[int]:
    """Return the keys of the features that meet the area; only those across its edge are looked at in full."""
    if area.is_empty:
        return []
    keys, envelopes = _envelopes(reader, area)
    shapely.prepare(area)
    inside = shapely.contains_properly(area, envelopes)
    edge = keys[~inside & shapely.intersects(area, envelopes)]
    found = [keys[inside], *(_crossing(reader, area, some) for some in np.split(edge, range(500, len(edge), 500)))]
    return [int(key) for key in np.concatenate(found)]


def _envelopes(reader: Reader, area: Any) -> tuple[Any, Any]:
    query = (
        f"SELECT id, minx, miny, maxx, maxy FROM {quote(reader.layer.index)}"
        f" WHERE maxx >= ? AND minx <= ? AND maxy >= ? AND miny <= ? LIMIT {_MAX_CANDIDATES + 1}"
    )
    with readable(reader.source):
        rows = reader.connection.execute(query, corners(area.bounds)).fetchall()
    if len(rows) > _MAX_CANDIDATES:
        raise RequestTooLarge(f"the area meets more than {_MAX_CANDIDATES:,} features; ask for a smaller one")
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    return table[:, 0].astype(np.int64), shapely.box(*table[:, 1:].T)


def _crossing(reader: Reader, area: Any, keys: Any) -> Any:
    layer = reader.layer
    query = (
        f"SELECT {quote(layer.key)}, {quote(layer.geometry)} FROM {quote(layer.table)}"
        f" WHERE {quote(layer.key)} IN (SELECT value FROM json_each(?))"
    )
    with readable(reader.source):
        rows = reader.connection.execute(query, (json.dumps(keys.tolist()),)).fetchall()
    found = np.array([key for key, _ in rows], dtype=np.int64)
    return found[shapely.intersects(area, decode([blob for _, blob in rows]))]
