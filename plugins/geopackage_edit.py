"""Changes of the rows of a GeoPackage, each in one transaction of SQLite."""

# ruff: noqa: S608 - identifiers come from the layer, quoted; values are never formatted in

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pygeoapi.provider.base import ProviderItemNotFoundError

from plugins.editing import LARGEST, Draft, Expected, InvalidItem, ItemChanged, ItemNotYours, tag_of
from plugins.geojson import plain, stored
from plugins.geopackage_facts import LayerFacts
from products.vector.blob import encode
from products.vector.cql_sql import Sql
from products.vector.geopackage import Reader, Row, change_geopackage
from products.vector.query import Selection, search

_ALIKE = 10
"""Maximum number of ids that are equal for SQLite, such as 1 and 1.0, and are compared exactly."""
_SRS = "SELECT srs_id FROM gpkg_geometry_columns WHERE lower(table_name) = lower(?)"


@dataclass(frozen=True, slots=True)
class _Seen:
    """An open layer, and the rules of the caller, which are made once: SQLite defines a function of theirs once."""

    reader: Reader
    rules: Sequence[Sql]


@dataclass(frozen=True, slots=True)
class LayerEditor:
    """Changes rows of a layer; `rules` are the row rules of the caller. A row's entity tag is made of its values."""

    source: Path
    known: LayerFacts
    rules: Callable[[Reader], Sequence[Sql]]

    def insert(self, draft: Draft) -> tuple[str, str]:
        """Add a row, and return its id and entity tag."""
        layer, values = self.known.layer, dict(draft.values)
        column = self.known.id_column
        if column is not None:
            if draft.id is None:
                raise InvalidItem(f"id: is missing; it is the value of {column}")
            values[column] = draft.id
        with self._changing() as seen:
            reader = seen.reader
            names, given = self._written(reader, values, draft)
            marks = ", ".join("?" * len(names))
            into = f"({', '.join(names)}) VALUES ({marks})" if names else "DEFAULT VALUES"
            cursor = reader.connection.execute(f"INSERT INTO {layer.quoted.table} {into}", given)
            identifier = str(plain(cursor.lastrowid if column is None else values[column]))
            return identifier, self._require_own(seen, identifier)

    def change(self, identifier: str, draft: Draft, expected: Expected) -> str:
        """Write a draft into a row, and return its new entity tag."""
        quoted = self.known.layer.quoted
        with self._changing() as seen:
            reader = seen.reader
            key = self._expected(seen, identifier, expected)
            names, given = self._written(reader, draft.values, draft)
            if names:
                pairs = ", ".join(f"{name} = ?" for name in names)
                query = f"UPDATE {quoted.table} SET {pairs} WHERE {quoted.key} = ?"
                reader.connection.execute(query, (*given, key))
            return self._require_own(seen, identifier)

    def remove(self, identifier: str, expected: Expected) -> None:
        """Delete a row."""
        quoted = self.known.layer.quoted
        with self._changing() as seen:
            reader = seen.reader
            key = self._expected(seen, identifier, expected)
            reader.connection.execute(f"DELETE FROM {quoted.table} WHERE {quoted.key} = ?", (key,))

    def tag(self, reader: Reader, identifier: str) -> str:
        """Return the entity tag of a row that the caller may see. Raises ProviderItemNotFoundError."""
        row = self._row(_Seen(reader, self.rules(reader)), identifier)
        if row is None:
            raise ProviderItemNotFoundError(identifier)
        return self._tag(row)

    def _expected(self, seen: _Seen, identifier: str, expected: Expected) -> Any:
        row = self._row(seen, identifier)
        if row is None:
            raise ProviderItemNotFoundError(identifier)
        if not expected(self._tag(row)):
            raise ItemChanged(identifier)
        return row[0]

    def _require_own(self, seen: _Seen, identifier: str) -> str:
        row = self._row(seen, identifier)
        if row is None:
            raise ItemNotYours(identifier)
        return self._tag(row)

    def _tag(self, row: Row) -> str:
        """Return the entity tag of a row: of its key, its geometry and what is shown of it."""
        return tag_of((self.known.layer.table, *row[:2], *(row[2 + each.place] for each in self.known.shown)))

    def _row(self, seen: _Seen, identifier: str) -> Row | None:
        """Return the row with an id that the caller's rules allow: key, geometry and all attributes."""
        column, place = self.known.id_column or seen.reader.layer.key, self.known.id_place
        found = search(seen.reader, Selection(equal={column: stored(identifier)}), seen.rules)
        for row in list(found.rows(_ALIKE, 0, None)):  # no statement is left open
            if str(plain(row[0] if place is None else row[2 + place])) == identifier:
                return row
        return None

    @contextmanager
    def _changing(self) -> Iterator[_Seen]:
        with change_geopackage(self.source, self.known.layer) as reader:
            try:
                yield _Seen(reader, self.rules(reader))
            except sqlite3.IntegrityError as error:
                raise InvalidItem(f"the table does not take it: {error}") from error

    def _written(self, reader: Reader, values: Any, draft: Draft) -> tuple[list[str], list[Any]]:
        """Return the columns of a draft and their values."""
        layer = self.known.layer
        names = [layer.quoted.by_name[name] for name in values]
        given = [_bound(value) for value in values.values()]
        if draft.placed:
            [(srs,)] = reader.rows(_SRS, (layer.table,))
            names.append(layer.quoted.geometry)
            given.append(None if draft.geometry is None else encode(np.array([draft.geometry]), srs)[0])
        return names, given


def _bound(value: Any) -> Any:
    """Return a value as SQLite takes it: integers have at most 64 bits."""
    if isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, int) and not -LARGEST <= value < LARGEST else value
