"""The columns of a PostGIS table: their values in JSON, and their comparison."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from plugins.crs import interval_of
from plugins.refusals import invalid
from sql.tables import TableColumn, quoted

Sql = tuple[str, tuple[Any, ...]]
"""A part of a statement, and the values of its parameters."""

NEVER: Sql = ("false", ())
NUMBERS, TEXTS, TIMES = "N", "S", "D"
"""Categories of types in PostgreSQL's catalog."""
_COMPARED = {*"NSDTBEIRV"}
"""Categories whose values have an order; values of others are compared as texts, except for some types."""
_COMPARED_TYPES = {"uuid", "bytea", "jsonb", "macaddr", "macaddr8"}
_FLOATS = {"float4", "float8", "numeric"}
WHOLE = {"int2", "int4", "int8"}
_REAL_MOST = 3.4e38
_DAYS = "between '0001-01-01' and '9999-12-31'"
_YEARS = "between 1 and 9999"


def json_schema(column: TableColumn) -> dict[str, Any]:
    """Return the JSON type of a column."""
    if (known := _SCHEMAS.get(column.type)) is not None:
        return dict(known)
    return {"type": {"A": "array", "C": "object"}.get(column.category, "string")}


_SCHEMAS: Mapping[str, Mapping[str, str]] = {
    **{name: {"type": "integer"} for name in ("int2", "int4", "int8")},
    **{name: {"type": "number"} for name in ("float4", "float8", "numeric")},
    **{name: {"type": "string", "format": "date-time"} for name in ("timestamp", "timestamptz")},
    **{name: {"type": "object"} for name in ("json", "jsonb", "hstore")},
    "bool": {"type": "boolean"},
    "bytea": {"type": "string", "contentEncoding": "base64"},
    "date": {"type": "string", "format": "date"},
}


def json_value(column: TableColumn) -> str:
    """Return the expression of a column in JSON: no NaN, times as RFC 3339, bytes as base64."""
    name = quoted(column.name)
    if column.type in _FLOATS:
        return f"case when abs({name}) < 'Infinity' then {name} end"
    if column.type == "date":
        return f"case when {name} {_DAYS} then {name} end"
    if column.type == "timestamp":
        return f"case when {name} {_DAYS} then {name} at time zone 'UTC' end"
    if column.type == "timestamptz":
        return f"case when {name} {_DAYS} then {name} end"
    if column.type == "bytea":
        return f"translate(encode({name}, 'base64'), E'\\n', '')"
    return f"{name}::text" if column.category in "NIGU" and column.type not in _JSON else name


_JSON = {*WHOLE, *_FLOATS, "json", "jsonb", "hstore"}
"""Types that PostgreSQL itself writes as JSON; money, oid and others are texts."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """A column that items are ordered by; values are compared as texts if their type has no order."""

    column: TableColumn
    descending: bool = False

    @property
    def expression(self) -> str:
        """The compared expression: the column of the table `item`, not an output column of the same name."""
        name = f"item.{quoted(self.column.name)}"
        return name if is_compared(self.column) else f"{name}::text"

    def nulls(self, *, backwards: bool) -> str:
        """Return the position of NULL, empty if there is none, so that an index can be used."""
        if self.column.not_null:
            return ""
        return " nulls last" if self.descending != backwards else " nulls first"

    @property
    def value(self) -> str:
        """The parameter for a value that is given as text."""
        return f"%s::{self.column.declared.replace('%', '%%')}" if is_compared(self.column) else "%s"

    def beyond(self, value: Any, *, down: bool) -> Sql:
        """Return the condition of items after a value."""
        if value is None:
            return ("false" if down else f"{self.expression} is not null"), ()
        if not down:
            return f"{self.expression} > {self.value}", (value,)
        lower = f"{self.expression} < {self.value}"
        return (lower if self.column.not_null else f"({lower} or {self.expression} is null)"), (value,)

    def from_here(self, value: Any, *, down: bool) -> Sql:
        """Return the condition of items at or after a value, for which an index can be used."""
        if value is None:
            return (f"{self.expression} is null" if down else "true"), ()
        sql = f"{self.expression} {'<=' if down else '>='} {self.value}"
        return (f"({sql} or {self.expression} is null)" if down and not self.column.not_null else sql), (value,)

    def same(self, value: Any) -> Sql:
        """Return the condition of items equal to a value."""
        if value is None:
            return f"{self.expression} is null", ()
        return f"{self.expression} = {self.value}", (value,)


def is_compared(column: TableColumn) -> bool:
    """Return whether the type of a column has an order."""
    return column.category in _COMPARED or column.type in _COMPARED_TYPES


def is_text(value: str) -> bool:
    """Return whether PostgreSQL can store a text: it has no NUL and no lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def equal(column: TableColumn, value: Any) -> Sql:
    """Return the condition that a column has a value. Raises ProviderInvalidQueryError if it never can."""
    name = quoted(column.name)
    if isinstance(value, bool | bytes):
        return f"{name} = %s", (value,)
    if isinstance(value, int | float):
        wide = column.type == "float4" and abs(value) > _REAL_MOST
        cast = "::float4" if column.type == "float4" and not wide else ""
        return f"{name} = %s{cast}", (value,)
    text = str(value)
    if not is_text(text):
        return NEVER
    if (read := _READ.get(column.type)) is not None:
        return read(column, text)
    return f"{name} = %s" if column.category == TEXTS else f"{name}::text = %s", (text,)


def _equal_time(column: TableColumn, text: str) -> Sql:
    try:
        first, last = interval_of(f"{text}/{text}")
    except ValueError as error:
        raise invalid(f"{column.name}: {text!r}: allowed: an RFC 3339 time or date") from error
    begun, ended = _bound(column, first), _bound(column, last)
    return f"{quoted(column.name)} between %s and %s", (begun, ended)


def _equal_uuid(column: TableColumn, text: str) -> Sql:
    try:
        return f"{quoted(column.name)} = %s::uuid", (str(UUID(text)),)
    except ValueError as error:
        raise invalid(f"{column.name}: {text!r}: allowed: a UUID") from error


_READ: Mapping[str, Callable[[TableColumn, str], Sql]] = {
    "date": _equal_time,
    "timestamp": _equal_time,
    "timestamptz": _equal_time,
    "uuid": _equal_uuid,
}


def _bound(column: TableColumn, instant: datetime) -> str:
    """Return an instant as a literal of the type of a column."""
    instant = instant.astimezone(UTC) if instant.tzinfo else instant
    if column.type == "date":
        return instant.date().isoformat()
    return instant.replace(tzinfo=None).isoformat() + ("+00" if column.type == "timestamptz" else "")


def instant(column: TableColumn, compared: str, instant: datetime) -> Sql:
    """Return the condition that the time of a column begins before, or ends after, an instant; or that it has none."""
    name = quoted(column.name)
    if column.category == TIMES and column.type in _READ:
        return f"({name} {compared} %s or {name} is null)", (_bound(column, instant),)
    if column.category == NUMBERS:
        return f"({name} {compared} %s or {name} is null or {name} not {_YEARS})", (instant.year,)
    text = f'{name}::text collate "C"'
    wide = f"({text} || '~')" if compared == ">=" else text
    bound = instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return f"({wide} {compared} %s or {name} is null or {name}::text !~ '^[0-9]{{4}}(-|$)')", (bound,)


def moment(column: TableColumn, *, last: bool = False) -> str:
    """Return the expression of the first or the last instant of a value as a time in UTC; NULL if it is not a time."""
    name = quoted(column.name)
    if column.type == "date":
        day = f"case when {name} {_DAYS} then {name}::timestamp end"
        return f"({day} + interval '1 day' - interval '1 microsecond'){_UTC}" if last else f"({day}){_UTC}"
    if column.type in _READ:
        return json_value(column)
    year = (
        f"case when {name} {_YEARS} then {name}::int end"
        if column.category == NUMBERS
        else (f"case when {name}::text ~ '^[0-9]{{4}}(-|$)' then substr({name}::text, 1, 4)::int end")
    )
    return f"make_timestamptz({year}, {'12, 31, 23, 59, 59.999999' if last else '1, 1, 0, 0, 0'}, 'UTC')"


_UTC = " at time zone 'UTC'"
