"""CQL2 in SQLite: its dialect for a layer of a GeoPackage, and the functions that SQLite lacks."""

# ruff: noqa: S608 - identifiers come from the layer, quoted; values are never formatted in

import math
import re
import sqlite3
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import shapely
from shapely.errors import ShapelyError

from products.vector.blob import decode_each
from products.vector.cql import Filter
from products.vector.cql_sql import Sql, shape_in
from products.vector.geopackage import Reader, corners
from products.vector.layer import quote
from products.vector.meeting import index_is_complete
from products.vector.times import add_functions


def _rest(left: Any, right: Any) -> Any:
    """Return the remainder of a division, with the sign of the dividend; exact for integers."""
    if isinstance(left, int) and isinstance(right, int):
        return (abs(left) % abs(right)) * (1 if left > 0 else -1)
    return math.fmod(left, right)


_RELATED: Mapping[str, Callable[[Any, Any], Any]] = {
    "intersects": shapely.intersects,
    "disjoint": shapely.disjoint,
    "contains": shapely.within,
    "within": shapely.contains,
    "touches": shapely.touches,
    "crosses": shapely.crosses,
    "overlaps": shapely.overlaps,
    "equals": shapely.equals,
}
"""Relations of a feature to a shape, evaluated by the shape, which is prepared."""
_CALCULATED: Mapping[str, Callable[[Any, Any], Any]] = {
    "%": _rest,
    "^": math.pow,
    "div": lambda left, right: math.trunc(left / right),
}
_REACH = 1e30


@dataclass(frozen=True, slots=True)
class GeoPackageDialect:
    """The dialect for one open GeoPackage, whose coordinates are in `system`, as PROJ reads it."""

    reader: Reader
    system: int | str
    mark: str = "?"

    def column(self, name: str) -> str:
        """Return the column; the geometry is named `geometry`, independent of its column's name."""
        quoted = self.reader.layer.quoted
        return quoted.by_name.get(name, quoted.geometry)

    def times(self, name: str) -> tuple[str, str]:
        """Return the first and the last microsecond of a column."""
        add_functions(self.reader.connection)
        return f"first_moment({quote(name)})", f"last_moment({quote(name)})"

    def fold(self, how: str, text: Sql) -> Sql:
        """Return the text by a function."""
        _function(self.reader.connection, f"cql_{how}", 1, {"casei": _casei, "accenti": _accenti}[how])
        return f"cql_{how}({text[0]})", text[1]

    def like(self, text: Sql, pattern: Sql) -> Sql:
        """Return the comparison by a function, as LIKE and GLOB differ from CQL2's."""
        _function(self.reader.connection, "cql_like", 2, _like)
        return f"cql_like({text[0]}, {pattern[0]})", (*text[1], *pattern[1])

    def calculated(self, operator: str, left: Sql, right: Sql) -> Sql:
        """Return the calculation: SQLite divides integers to integers, and its % accepts only integers."""
        values = (*left[1], *right[1])
        if operator in _CALCULATED:
            _function(self.reader.connection, "cql_calculate", 3, _calculate)
            return f"cql_calculate('{operator}', {left[0]}, {right[0]})", values
        if operator == "/":
            return f"({left[0]} * 1.0 / {right[0]})", values
        return f"({left[0]} {operator} {right[0]})", values

    def spatial(self, relation: str, shape: Any, condition: Filter, *, narrows: bool) -> Sql:
        """Return the relation by a function, after the R-tree."""
        layer, moved = self.reader.layer, shape_in(shape, condition, self.system)
        _function(self.reader.connection, "cql_related", 3, _related)
        sql, values = f"cql_related('{relation}', {layer.quoted.geometry}, ?)", (moved.wkb,)
        if not narrows or relation == "disjoint" or not index_is_complete(self.reader):
            return sql, values
        near = (
            f"{layer.quoted.key} IN (SELECT id FROM {layer.quoted.index}"
            " WHERE maxx >= ? AND minx <= ? AND maxy >= ? AND miny <= ?)"
        )
        return f"({near} AND {sql})", (*corners(moved.bounds), *values)


def _function(connection: sqlite3.Connection, name: str, arguments: int, function: Callable[..., Any]) -> None:
    connection.create_function(name, arguments, function, deterministic=True)


def _casei(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _accenti(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    plain = "".join(each for each in unicodedata.normalize("NFD", value) if not unicodedata.combining(each))
    return unicodedata.normalize("NFC", plain)


@lru_cache(64)
def _pieces(pattern: str) -> tuple[re.Pattern[str], ...]:
    """Return the parts of a pattern between `%`, each searched after the one before, which needs no backtracking."""
    pieces, piece, escaped = [], "", False
    for letter in pattern:
        if not escaped and letter in "\\%":
            escaped = letter == "\\"
            if letter == "%":
                pieces.append(piece)
                piece = ""
            continue
        piece += "." if letter == "_" and not escaped else re.escape(letter)
        escaped = False
    return tuple(re.compile(each, re.DOTALL) for each in (*pieces, piece))


def _like(value: Any, pattern: Any) -> bool | None:
    if not isinstance(value, str) or not isinstance(pattern, str):
        return None
    first, *others = _pieces(pattern)
    if not others:
        return first.fullmatch(value) is not None
    found = first.match(value)
    for piece in others[:-1]:
        found = found and piece.search(value, found.end())
    if not found:
        return False
    *_, last = others
    width = len(re.sub(r"\\(.)", r"\1", last.pattern, flags=re.DOTALL))
    place = len(value) - width
    return place >= found.end() and last.fullmatch(value, place) is not None


def _calculate(operator: str, left: Any, right: Any) -> Any:
    try:
        return _CALCULATED[operator](left, right)
    except (TypeError, ValueError, ArithmeticError):
        return None


@lru_cache(32)
def _prepared(shape: bytes) -> Any:
    geometry = shapely.from_wkb(shape)
    shapely.prepare(geometry)
    return geometry


def _related(relation: str, blob: Any, shape: bytes) -> bool | None:
    (geometry,) = decode_each([blob])
    if geometry is None or isinstance(geometry, str) or not (abs(shapely.get_coordinates(geometry)) < _REACH).all():
        return None
    try:
        return bool(_RELATED[relation](_prepared(shape), geometry))
    except ShapelyError:
        return None
