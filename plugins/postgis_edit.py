"""Changes of the rows of a PostGIS table, each in one transaction that locks the row."""

# ruff: noqa: S608 - identifiers come from the catalog, quoted; values are never formatted in

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import shapely
from pygeoapi.provider.base import ProviderItemNotFoundError

from plugins.editing import Draft, Expected, InvalidItem, ItemChanged, ItemNotYours, tag_of
from plugins.postgis_columns import WHOLE, Sql, json_value
from plugins.postgis_facts import TableFacts
from plugins.postgis_filters import filters_of
from plugins.postgis_query import both
from sql.reading import Row, ValueRefused
from sql.tables import TableColumn, quoted

_JSON = {"json", "jsonb"}
Run = Callable[[str, Sequence[Any]], list[Row]]


@dataclass(frozen=True, slots=True)
class TableEditor:
    """Changes rows of a table; a row's entity tag is made of the transaction that wrote it."""

    known: TableFacts

    def insert(self, draft: Draft) -> tuple[str, str]:
        """Add a row, and return its id and entity tag."""
        columns, marks, values = self._written(draft)
        for name, mark, value in self._key(draft):
            columns, marks, values = [*columns, name], [*marks, mark], [*values, value]
        given = f"({', '.join(columns)}) values ({', '.join(marks)})" if columns else "default values"
        key = f"to_json({json_value(self.known.table.key)}) #>> '{{}}'"
        with self._writing() as run:
            [(made,)] = run(f"insert into {self.known.table.quoted} {given} returning {key}", values)
            return made.decode(), self._require_own(run, made.decode())

    def change(self, identifier: str, draft: Draft, expected: Expected) -> str:
        """Write a draft into a row, and return its new entity tag."""
        columns, marks, values = self._written(draft)
        pairs = ", ".join(f"{column} = {mark}" for column, mark in zip(columns, marks, strict=True))
        with self._writing() as run:
            self._lock(run, identifier, expected)
            if pairs:
                where, key = self.known.query.identified(identifier)
                run(f"update {self.known.table.quoted} set {pairs} where {where}", (*values, *key))
            return self._require_own(run, identifier)

    def remove(self, identifier: str, expected: Expected) -> None:
        """Delete a row."""
        where, key = self.known.query.identified(identifier)
        with self._writing() as run:
            self._lock(run, identifier, expected)
            run(f"delete from {self.known.table.quoted} where {where}", key)

    def tag(self, identifier: str) -> str:
        """Return the entity tag of a row that the caller may see. Raises ProviderItemNotFoundError."""
        where, values = self._own(identifier)
        rows = self.known.pool.rows(f"select xmin::text from {self.known.table.quoted} item where {where}", values)
        return self._tag(rows, identifier)

    def _lock(self, run: Run, identifier: str, expected: Expected) -> None:
        where, values = self._own(identifier)
        rows = run(f"select xmin::text from {self.known.table.quoted} item where {where} for update", values)
        if not expected(self._tag(rows, identifier)):
            raise ItemChanged(identifier)

    def _require_own(self, run: Run, identifier: str) -> str:
        where, values = self._own(identifier)
        rows = run(f"select xmin::text from {self.known.table.quoted} item where {where}", values)
        if not rows:
            raise ItemNotYours(identifier)
        return self._tag(rows, identifier)

    def _own(self, identifier: str) -> Sql:
        known = self.known
        return both([known.query.identified(identifier), *filters_of(known.query, known.fields, ())])

    def _tag(self, rows: Sequence[Row], identifier: str) -> str:
        if not rows:
            raise ProviderItemNotFoundError(identifier)
        return tag_of((self.known.table.oid, identifier, rows[0][0]))

    @contextmanager
    def _writing(self) -> Iterator[Run]:
        try:
            with self.known.pool.writing() as run:
                yield run
        except ValueRefused as error:
            raise InvalidItem(f"the table does not take it: {error}") from error

    def _key(self, draft: Draft) -> Iterator[tuple[str, str, Any]]:
        """Yield the key that the client gives, where the table does not number its rows."""
        key = self.known.table.key
        if key.type in WHOLE:
            return
        if key.type == "uuid" and draft.id is None:
            yield quoted(key.name), "%s", str(uuid4())
        elif draft.id is not None:
            yield quoted(key.name), "%s", str(draft.id)

    def _written(self, draft: Draft) -> tuple[list[str], list[str], list[Any]]:
        """Return the columns, the parameters and the values of a draft."""
        table = self.known.table
        there = {each.name: each for each in table.attributes}
        columns = [there[name] for name in draft.values]
        values = [_value(column, value) for column, value in zip(columns, draft.values.values(), strict=True)]
        names, marks = [quoted(each.name) for each in columns], ["%s"] * len(columns)
        if draft.placed:
            names.append(quoted(table.geometry.name))
            marks.append(f"%s::geometry::{table.geometry.type}")
            values.append(None if draft.geometry is None else self._outline(draft.geometry))
        return names, marks, values

    def _outline(self, geometry: Any) -> str:
        srid = self.known.table.system.srid
        return str(shapely.to_wkb(shapely.set_srid(geometry, srid), hex=True, include_srid=srid > 0))


def _value(column: TableColumn, value: Any) -> Any:
    if column.type in _JSON:
        return None if value is None else json.dumps(value)
    if isinstance(value, list):
        return _array(value)
    return json.dumps(value) if isinstance(value, dict) else value


def _array(values: Sequence[Any]) -> str:
    """Return the text of an array, which PostgreSQL reads as one of the column's type."""
    return "{" + ",".join(_array(each) if isinstance(each, list) else _element(each) for each in values) + "}"


def _element(value: Any) -> str:
    """Return an element; JSON writes true and false as PostgreSQL does, and escapes what it reads likewise."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return "NULL" if value is None else json.dumps(value)
