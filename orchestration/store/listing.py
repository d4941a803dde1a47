"""The list of jobs as SQL: constant text, values by parameter."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.job import JobQuery
from orchestration.store.statements import LISTED
from sql.connections import among
from sql.times import microseconds

_CLAUSES = {
    "owner": "owner = :owner",
    "begin": "created >= :begin",
    "end": "created <= :end",
    "min_duration": "coalesce(finished, :now) - started >= :min_duration",
    "max_duration": "coalesce(finished, :now) - started <= :max_duration",
}
_LARGEST = 2**62


@dataclass(frozen=True, slots=True)
class Listing:
    """The list that a query asks for: `matching` and `values` are the part of a statement that finds it."""

    query: JobQuery
    matching: str
    values: Mapping[str, Any]

    def count(self) -> tuple[str, Mapping[str, Any]]:
        """Return the statement that counts, with its parameters."""
        return f"select count(*) {self.matching}", self.values

    def page(self, matched: int) -> tuple[str, Mapping[str, Any], bool]:
        """Return the statement for the page of a list of so many, with its parameters, and whether it is backwards.

        A page of the list's second half is read from its end: the last costs what the first does.
        """
        limit = max(0, min(self.query.limit, matched - self.query.offset, _LARGEST))
        backwards = 2 * self.query.offset > matched
        offset = matched - self.query.offset - limit if backwards else self.query.offset
        bounds = {"limit": limit, "offset": max(0, offset)}
        order = "asc" if backwards else "desc"
        page = f"select {LISTED} {self.matching} order by number {order} limit :limit offset :offset"
        return page, {**self.values, **bounds}, backwards


def listing_of(query: JobQuery, *, now: int) -> Listing:
    """Return the list; `now` is the present as a table holds it."""
    values = _values(query)
    clauses = ["deleted is null", *(_CLAUSES[name] for name in values)]
    for clause, parameters in _lists(query):
        clauses.append(clause)
        values |= parameters
    return Listing(query, "from jobs where " + " and ".join(clauses), values | {"now": now})


def _values(query: JobQuery) -> dict[str, Any]:
    """Return the parameters of the filters that are set; durations in microseconds."""
    values = {
        "owner": query.owner,
        "begin": query.begin and microseconds(query.begin),
        "end": query.end and microseconds(query.end),
        "min_duration": None if query.min_duration is None else query.min_duration * 1e6,
        "max_duration": None if query.max_duration is None else query.max_duration * 1e6,
    }
    return {name: value for name, value in values.items() if value is not None}


def _lists(query: JobQuery) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the filters by lists that are set, with their parameters."""
    if query.processes:
        text, values = among("process", query.processes)
        yield f"process in {text}", values
    if query.statuses:
        text, values = among("status", query.statuses)
        yield f"status in {text}", values
    if query.sight:
        own, own_values = among("own", query.sight.own)
        foreign, foreign_values = among("foreign", query.sight.foreign)
        clause = f"(owner = :caller and process in {own} or process in {foreign})"
        yield clause, own_values | foreign_values | {"caller": query.sight.caller}
