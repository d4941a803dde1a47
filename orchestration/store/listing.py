"""The list of jobs as SQL: constant text, values by parameter."""

from collections.abc import Iterator
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


def page_of(query: JobQuery, *, now: int) -> tuple[str, str, dict[str, Any]]:
    """Return the statement for the page, the one for the count, and the parameters of both."""
    values = _values(query)
    clauses = ["deleted is null", *(_CLAUSES[name] for name in values)]
    for clause, parameters in _lists(query):
        clauses.append(clause)
        values |= parameters
    matching = "from jobs where " + " and ".join(clauses)
    bounds = {"now": now, "limit": min(query.limit, _LARGEST), "offset": min(query.offset, _LARGEST)}
    page = f"select {LISTED} {matching} order by number desc limit :limit offset :offset"
    return page, f"select count(*) {matching}", values | bounds


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
