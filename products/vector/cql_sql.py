"""Filters in CQL2 as conditions in SQL: one translation for all databases, with a dialect for the differences.

Values are parameters, names are quoted by the dialect: no text of a filter is ever part of the SQL.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import shapely
from pyproj.exceptions import ProjError
from shapely.errors import ShapelyError

from products.errors import InvalidArea
from products.operation import transformer
from products.vector.cql import Filter, FilterError
from products.vector.times import span

Sql = tuple[str, tuple[Any, ...]]
"""An SQL expression, and the values of its parameters."""
_LARGEST = 1 << 63
_LONGITUDE_LATITUDE = 4326
_WIDE = 50
_REACH = 1e30
"""The maximum coordinate."""
_SIDE = 100
"""Points on a side of a box in another CRS, so that its edges are followed."""
_COMPARISONS = {"=", "<>", "<", ">", "<=", ">="}
_SPATIAL = ("intersects", "disjoint", "contains", "within", "touches", "crosses", "overlaps", "equals")
_REVERSED = {"contains": "within", "within": "contains"}
_ALWAYS: tuple[int, int] = (-62_135_596_800_000_000, 253_402_300_799_999_999)
"""The first and the last microsecond of the years 1 to 9999, since 1970."""
_TEMPORAL: Mapping[str, tuple[str, Sequence[tuple[int, str, int]]]] = {
    "t_after": ("AND", [(0, ">", 3)]),
    "t_before": ("AND", [(1, "<", 2)]),
    "t_equals": ("AND", [(0, "=", 2), (1, "=", 3)]),
    "t_disjoint": ("OR", [(1, "<", 2), (0, ">", 3)]),
    "t_intersects": ("AND", [(0, "<=", 3), (1, ">=", 2)]),
    "t_contains": ("AND", [(0, "<", 2), (1, ">", 3)]),
    "t_during": ("AND", [(0, ">", 2), (1, "<", 3)]),
    "t_finishedby": ("AND", [(0, "<", 2), (1, "=", 3)]),
    "t_finishes": ("AND", [(0, ">", 2), (1, "=", 3)]),
    "t_meets": ("AND", [(1, "=", 2)]),
    "t_metby": ("AND", [(0, "=", 3)]),
    "t_overlappedby": ("AND", [(0, ">", 2), (0, "<", 3), (1, ">", 3)]),
    "t_overlaps": ("AND", [(0, "<", 2), (1, ">", 2), (1, "<", 3)]),
    "t_startedby": ("AND", [(0, "=", 2), (1, ">", 3)]),
    "t_starts": ("AND", [(0, "=", 2), (1, "<", 3)]),
}
"""The comparisons of each: 0 and 1 are begin and end of the first time, 2 and 3 those of the second."""
_AS_TIMES: Mapping[str, tuple[str, Sequence[tuple[int, str, int]]]] = {
    "=": ("AND", [(0, ">=", 2), (1, "<=", 3)]),
    "<>": ("OR", [(0, "<", 2), (1, ">", 3)]),
    "<": ("AND", [(1, "<", 2)]),
    ">": ("AND", [(0, ">", 3)]),
    "<=": ("AND", [(1, "<=", 3)]),
    ">=": ("AND", [(0, ">=", 2)]),
}
"""The same for comparisons: an instant equals the day that contains it."""


class Dialect(Protocol):
    """The expressions of SQL that differ by database."""

    @property
    def mark(self) -> str:
        """The placeholder of a parameter."""

    def column(self, name: str) -> str:
        """Return the column of a property, quoted."""

    def times(self, name: str) -> tuple[str, str]:
        """Return the first and the last microsecond since 1970 of a temporal property."""

    def fold(self, how: str, text: Sql) -> Sql:
        """Return a text without case (`casei`) or accents (`accenti`). Raises FilterError if unsupported."""

    def like(self, text: Sql, pattern: Sql) -> Sql:
        r"""Return whether a text matches the pattern of `%`, `_` and the escape `\\`."""

    def calculated(self, operator: str, left: Sql, right: Sql) -> Sql:
        """Return the value of `+ - * / % ^ div`; NULL if undefined, as for a division by zero."""

    def spatial(self, relation: str, shape: Any, condition: Filter, *, narrows: bool) -> Sql:
        """Return whether a feature's geometry has this relation to a shape in the coordinates of the filter.

        If it `narrows` the selection, an index can be used first. Raises FilterError if the shape cannot be projected.
        """


@dataclass(frozen=True, slots=True)
class _Value:
    """An operand: a number, text, boolean, time or null; a time has begin and end."""

    kind: str
    sql: Sql
    end: Sql = ("", ())
    literal: Any = None


def where(condition: Filter, fields: Mapping[str, Mapping[str, Any]], geometry: str, dialect: Dialect) -> Sql:
    """Return a filter as SQL. Raises FilterError for a property that is not a field, and for a meaningless expression.

    `fields` are the JSON schemas of the properties, `geometry` the name of the geometry.
    """
    return _Walker(condition, fields, geometry, dialect).condition(condition.tree, narrows=True)


def _joined(parts: Sequence[Sql], between: str) -> Sql:
    """Return the parts as one expression, balanced, because databases limit the depth of expressions."""
    if len(parts) > _WIDE:
        step = -(-len(parts) // _WIDE)
        parts = [_joined(parts[first : first + step], between) for first in range(0, len(parts), step)]
    return f"({between.join(text for text, _ in parts)})", tuple(value for _, values in parts for value in values)


@dataclass(frozen=True, slots=True)
class _Walker:
    filter: Filter
    fields: Mapping[str, Mapping[str, Any]]
    geometry: str
    dialect: Dialect

    def condition(self, node: Any, *, narrows: bool = False) -> Sql:
        """Return a boolean expression."""
        if isinstance(node, bool):
            return ("TRUE" if node else "FALSE"), ()
        operator, args = self._operation(node)
        if operator in {"and", "or"}:
            if not args:
                raise FilterError(f"{operator}: allowed: conditions")
            parts = [self.condition(each, narrows=narrows and operator == "and") for each in args]
            return _joined(parts, f" {operator.upper()} ")
        if operator == "not":
            text, values = self.condition(*_exactly(1, operator, args))
            return f"(NOT {text})", values
        if operator.startswith("s_"):
            return self._spatial(operator, args, narrows=narrows)
        if operator.startswith("t_"):
            return self._temporal(operator, args)
        return self._compared(operator, args) if operator else self._boolean(node)

    def _operation(self, node: Any) -> tuple[str, list[Any]]:
        if not isinstance(node, dict) or "op" not in node:
            return "", []
        operator, args = node["op"], node.get("args")
        if not isinstance(operator, str) or not isinstance(args, list):
            raise FilterError("allowed: an operation has `op`, a text, and `args`, an array")
        return operator.lower(), args

    def _boolean(self, node: Any) -> Sql:
        value = self.value(node)
        if value.kind != "boolean":
            raise FilterError(f"{_shown(node)}: allowed: a condition")
        return value.sql

    def _compared(self, operator: str, args: list[Any]) -> Sql:
        match operator:
            case "isnull":
                return self._is_null(*_exactly(1, operator, args))
            case "between":
                value, low, high = _exactly(3, operator, args)
                return _joined([self._compared(">=", [value, low]), self._compared("<=", [value, high])], " AND ")
            case "in":
                value, those = _exactly(2, operator, args)
                if not isinstance(those, list):
                    raise FilterError("in: allowed: a list of values")
                return _joined([self._compared("=", [value, each]) for each in those] or [("FALSE", ())], " OR ")
            case "like":
                text, pattern = (self.value(each) for each in _exactly(2, operator, args))
                if {text.kind, pattern.kind} != {"text"} or not self._is_literal(args[1]):
                    raise FilterError("like: allowed: a text and a pattern")
                return self.dialect.like(text.sql, pattern.sql)
        if operator not in _COMPARISONS:
            raise FilterError(f"{operator[:80]}: is not a known condition")
        left, right = _exactly(2, operator, args)
        shown = f"{_shown(left)} {operator} {_shown(right)}"
        return self._by_kind(operator, self.value(left), self.value(right), shown)

    def _by_kind(self, operator: str, left: _Value, right: _Value, shown: str) -> Sql:
        if "time" in {left.kind, right.kind}:
            return _times_compared(_AS_TIMES[operator], _as_time(left, shown), _as_time(right, shown))
        if left.kind != right.kind or left.kind == "null":
            raise FilterError(f"{shown}: a {left.kind} is not compared with a {right.kind}")
        if left.kind == "boolean" and operator not in {"=", "<>"}:
            raise FilterError(f"{shown}: allowed: =, <>")
        return _joined([left.sql, right.sql], f" {operator} ")

    def _is_literal(self, node: Any) -> bool:
        while isinstance(node, dict) and self._operation(node)[0] in {"casei", "accenti"}:
            (node,) = _exactly(1, "casei", node["args"])
        return isinstance(node, str)

    def _is_null(self, node: Any) -> Sql:
        if isinstance(node, dict) and isinstance(node.get("property"), str):
            return f"({self._column(node['property'])} IS NULL)", ()
        text, values = self.value(node).sql
        return f"({text} IS NULL)", values

    def _column(self, name: str) -> str:
        if name != self.geometry and name not in self.fields:
            raise FilterError(
                f"there is no property {name[:80]!r}; allowed: {', '.join([*self.fields, self.geometry])}"
            )
        return self.dialect.column(name)

    def value(self, node: Any) -> _Value:
        """Return an operand."""
        if node is None or isinstance(node, bool | int | float | str):
            return self._literal(node)
        if not isinstance(node, dict):
            raise FilterError(f"{_shown(node)}: allowed: a property or a value")
        if isinstance(node.get("property"), str):
            return self._property(node["property"])
        if "date" in node or "timestamp" in node:
            return _moments(node.get("date", node.get("timestamp")), self.dialect.mark)
        if "interval" in node:
            return self._interval(node["interval"])
        return self._result(node)

    def _result(self, node: Any) -> _Value:
        """Return the value of an operation."""
        operator, args = self._operation(node)
        if operator in {"casei", "accenti"}:
            text = self.value(*_exactly(1, operator, args))
            if text.kind != "text":
                raise FilterError(f"{operator}: allowed: a text")
            return _Value("text", self.dialect.fold(operator, text.sql))
        if operator in {"+", "-", "*", "/", "%", "^", "div"}:
            return self._calculated(operator, args)
        if not operator:
            raise FilterError(f"{_shown(node)}: allowed: a property or a value")
        return _Value("boolean", self.condition(node))

    def _literal(self, value: Any) -> _Value:
        if value is None:
            return _Value("null", ("NULL", ()))
        if isinstance(value, bool):
            return _Value("boolean", ("TRUE" if value else "FALSE", ()))
        if isinstance(value, str):
            if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
                raise FilterError(f"{_shown(value)}: allowed: Unicode, without NUL")
            return _Value("text", (self.dialect.mark, (value,)), literal=value)
        if not -_LARGEST <= value < _LARGEST and isinstance(value, int):
            raise FilterError(f"{str(value)[:40]}: allowed: whole numbers of 64 bits")
        return _Value("number", (self.dialect.mark, (value,)))

    def _property(self, name: str) -> _Value:
        column, field = self._column(name), self.fields.get(name, {})
        if str(field.get("format", "")).startswith("date"):
            begin, end = self.dialect.times(name)
            return _Value("time", (begin, ()), (end, ()))
        if name == self.geometry or "contentEncoding" in field:
            raise FilterError(f"{name}: allowed: IS NULL{', spatial functions' if name == self.geometry else ''}")
        kind = {"integer": "number", "number": "number", "boolean": "boolean"}.get(str(field.get("type")), "text")
        return _Value(kind, (column, ()))

    def _calculated(self, operator: str, args: list[Any]) -> _Value:
        left, right = (self.value(each) for each in _exactly(2, operator, args))
        if {left.kind, right.kind} != {"number"}:
            raise FilterError(f"{operator}: allowed: two numbers")
        return _Value("number", self.dialect.calculated(operator, left.sql, right.sql))

    def _temporal(self, operator: str, args: list[Any]) -> Sql:
        if operator not in _TEMPORAL:
            raise FilterError(f"{operator[:80]}: allowed: {', '.join(_TEMPORAL)}")
        left, right = (self._time(each, operator) for each in _exactly(2, operator, args))
        return _times_compared(_TEMPORAL[operator], left, right)

    def _time(self, node: Any, shown: str) -> _Value:
        """Return a time, also of a temporal property that is not a date, such as a year."""
        if isinstance(node, dict) and isinstance(node.get("property"), str):
            name = node["property"]
            self._column(name)
            if str(self.fields.get(name, {}).get("x-ogc-role", "")).startswith("primary-in"):
                begin, end = self.dialect.times(name)
                return _Value("time", (begin, ()), (end, ()))
        return _as_time(self.value(node), shown)

    def _interval(self, ends: Any) -> _Value:
        if not isinstance(ends, list):
            raise FilterError("interval: allowed: begin and end")
        begin, end = _exactly(2, "interval", ends)
        mark = self.dialect.mark
        first = (mark, (_ALWAYS[0],)) if begin == ".." else self._time(begin, "interval").sql
        last = (mark, (_ALWAYS[1],)) if end == ".." else self._time(end, "interval").end
        return _Value("time", first, last)

    def _spatial(self, operator: str, args: list[Any], *, narrows: bool) -> Sql:
        relation = operator.removeprefix("s_")
        if relation not in _SPATIAL:
            raise FilterError(f"{operator[:80]}: allowed: {', '.join(f's_{each}' for each in _SPATIAL)}")
        left, right = _exactly(2, operator, args)
        if self._is_geometry(right) and not self._is_geometry(left):
            left, right, relation = right, left, _REVERSED.get(relation, relation)
        if not self._is_geometry(left) or self._is_geometry(right):
            raise FilterError(f"{operator}: allowed: the property {self.geometry} and a geometry")
        return self.dialect.spatial(relation, shape_of(right, self.filter), self.filter, narrows=narrows)

    def _is_geometry(self, node: Any) -> bool:
        if not isinstance(node, dict) or not isinstance(node.get("property"), str):
            return False
        self._column(node["property"])
        return bool(node["property"] == self.geometry)


def shape_of(node: Any, condition: Filter) -> Any:
    """Return the geometry of a GeoJSON object or a bbox, x before y. Raises FilterError."""
    if isinstance(node, shapely.Geometry):
        return node
    try:
        if isinstance(node, dict) and "bbox" in node:
            numbers = [float(each) for each in node["bbox"]]
            shape = _boxes(numbers[:2] + numbers[3:5] if len(numbers) == 6 else numbers, condition)  # noqa: PLR2004
        else:
            shape = shapely.geometry.shape(node)
    except (ShapelyError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise FilterError(f"{_shown(node)}: is not a geometry") from error
    if shape.is_empty or not shapely.is_valid_input(shape) or not _finite(shape):
        raise FilterError(f"{_shown(node)}: allowed: a geometry that is not empty, of finite numbers")
    return shapely.make_valid(shapely.force_2d(shape))


def _finite(shape: Any) -> bool:
    return bool((abs(shapely.get_coordinates(shape)) < _REACH).all())


def shape_in(shape: Any, condition: Filter, system: int | str) -> Any:
    """Return a shape of a filter in another CRS, x before y, with its edges followed. Raises FilterError."""
    if condition.northing_first:
        shape = shapely.transform(shape, lambda points: points[:, ::-1])
    if condition.crs == system or {condition.crs, system} == {"OGC:CRS84", _LONGITUDE_LATITUDE}:
        return shape
    if shapely.get_dimensions(shape) and shape.length:
        shape = shapely.segmentize(shape, shape.length / _SIDE)
    try:
        x, y = transformer(condition.crs, system).transform(*shapely.get_coordinates(shape).T)
    except (InvalidArea, ProjError) as error:
        raise FilterError(f"a geometry has no place in the coordinates of the features: {error}") from error
    moved = shapely.set_coordinates(shape, np.column_stack((x, y)))
    if not _finite(moved):
        raise FilterError("a geometry has no place in the coordinates of the features")
    return shapely.make_valid(moved)


def _boxes(numbers: list[float], condition: Filter) -> Any:
    west, south, east, north = numbers
    if condition.northing_first:
        return shapely.box(west, south, east, north)
    if west > east and condition.crs in {"OGC:CRS84", 4326}:
        return shapely.union_all([shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)])
    return shapely.box(west, south, east, north)


def _exactly(number: int, operator: str, args: list[Any]) -> list[Any]:
    if len(args) != number:
        raise FilterError(f"{operator}: has {len(args)} arguments; allowed: {number}")
    return args


def _as_time(value: _Value, shown: str) -> _Value:
    if value.kind == "text" and isinstance(value.literal, str):
        return _moments(value.literal, value.sql[0])
    if value.kind != "time":
        raise FilterError(f"{shown}: a {value.kind} is not a time")
    return value


def _moments(text: Any, mark: str) -> _Value:
    """Return the time of a text."""
    found = span(text) if isinstance(text, str) else None
    if found is None:
        raise FilterError(f"{_shown(text)}: allowed: a date or a time as in RFC 3339")
    return _Value("time", (mark, (found[0],)), (mark, (found[1],)))


def _times_compared(how: tuple[str, Sequence[tuple[int, str, int]]], left: _Value, right: _Value) -> Sql:
    ends = (left.sql, left.end, right.sql, right.end)
    between, relations = how
    return _joined([_joined([ends[a], ends[b]], f" {sign} ") for a, sign, b in relations], f" {between} ")


def _shown(node: Any) -> str:
    if isinstance(node, dict) and isinstance(node.get("property"), str):
        return str(node["property"][:80])
    return repr(node)[:80]
