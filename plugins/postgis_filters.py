"""CQL2 in PostGIS: the dialect for a table, and the row rules of a caller."""

# ruff: noqa: S608 - identifiers come from the catalog, quoted; values are never formatted in

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import shapely

from auth.policy import MISFIT, RestrictionUnsupported, row_rules
from plugins.postgis_columns import Sql, json_schema, moment
from plugins.postgis_query import TableQuery
from products.vector.cql import Filter, FilterError
from products.vector.cql_sql import shape_in, where
from sql.tables import quoted

_ACCENTS = r"'[\u0300-\u036f]'"
_HIGHEST = 700
"""The maximum natural logarithm of a power; larger ones exceed the range of numbers."""
_CALCULATED: Mapping[str, str] = {
    "+": "({left} + {right})",
    "-": "({left} - {right})",
    "*": "({left} * {right})",
    "/": "({left} / nullif({right}, 0))",
    "%": "mod({left}, nullif({right}, 0))",
    "div": "trunc({left} / nullif({right}, 0))",
}
_AS_SHOWN = {"boolean", "integer", "number"}


@dataclass(frozen=True, slots=True)
class PostgisDialect:
    """The dialect for PostgreSQL; types without an order in CQL2, such as a UUID, are compared as texts."""

    query: TableQuery
    mark: str = "%s"

    def column(self, name: str) -> str:
        """Return the column."""
        if name == self.query.table.geometry.name:
            return quoted(name)
        column = self.query.column(name)
        if column.type == "float4":  # 1.1 is the decimal number, not the nearest one of 32 bits
            return f"{quoted(name)}::text::float8"
        plain = column.category == "S" or json_schema(column)["type"] in _AS_SHOWN
        return quoted(name) if plain else f"{quoted(name)}::text"

    def times(self, name: str) -> tuple[str, str]:
        """Return the first and the last microsecond of a column."""
        column = self.query.column(name)
        first, last = (
            f"trunc(extract(epoch from {each}) * 1000000)" for each in (moment(column), moment(column, last=True))
        )
        return first, last

    def fold(self, how: str, text: Sql) -> Sql:
        """Return the text by functions that support every script, independent of the database's locale."""
        if how == "casei":
            return f'lower(({text[0]})::text collate "und-x-icu")', text[1]
        return f"normalize(regexp_replace(normalize(({text[0]})::text, nfd), {_ACCENTS}, '', 'g'), nfc)", text[1]

    def like(self, text: Sql, pattern: Sql) -> Sql:
        """Return the comparison. Raises FilterError for a pattern that ends with an escape."""
        for value in pattern[1]:
            if isinstance(value, str) and (len(value) - len(value.rstrip("\\"))) % 2:
                raise FilterError(f"like: {value[:80]!r}: allowed: a letter behind the last backslash")
        return f"({text[0]} like {pattern[0]})", (*text[1], *pattern[1])

    def calculated(self, operator: str, left: Sql, right: Sql) -> Sql:
        """Return the calculation, in numbers without a limit except for powers."""
        a, b = f"({left[0]})::numeric", f"({right[0]})::numeric"
        if operator in _CALCULATED:
            return _CALCULATED[operator].format(left=a, right=b), (*left[1], *right[1])
        power = (
            "(select case when (a = 0 and b < 0) or (a < 0 and b <> trunc(b)) then null"
            f" when a <> 0 and abs(b * ln(abs(a))) > {_HIGHEST} then null else power(a, b) end"
            f" from (values (({left[0]})::float8, ({right[0]})::float8)) v (a, b))"
        )
        return power, (*left[1], *right[1])

    def spatial(self, relation: str, shape: Any, condition: Filter, *, narrows: bool) -> Sql:
        """Return the relation; PostGIS uses the index itself."""
        del narrows
        srid = self.query.table.system.srid
        moved = shape_in(shape, condition, self.query.native.name)
        text = shapely.to_wkb(shapely.set_srid(moved, srid), hex=True, include_srid=srid > 0)
        return f"st_{relation}({self.query.geometry()}, %s::geometry)", (text,)


def filters_of(query: TableQuery, fields: Mapping[str, Any], given: Sequence[Filter]) -> tuple[Sql, ...]:
    """Return filters and the caller's row rules in SQL; rules may use every column.

    Raises FilterError, RestrictionUnsupported.
    """
    name = query.table.geometry.name
    rules = row_rules(name)
    if not rules and not given:
        return ()
    dialect = PostgisDialect(query)
    whole = {each.name: json_schema(each) for each in (*query.table.attributes, query.table.key)}
    try:
        found = [where(each, {**whole, **fields}, name, dialect) for each in rules]
    except FilterError as error:
        raise RestrictionUnsupported(MISFIT) from error
    return (*found, *(where(each, fields, name, dialect) for each in given))
