"""The list of jobs as SQL: constant text, values by parameter."""

import json
from typing import Any

from orchestration.job import JobQuery
from orchestration.store.statements import LISTED
from sql.times import microseconds

_CLAUSES = {
    "owner": "owner = :owner",
    "caller": (
        "(owner = :caller and process in (select value from json_each(:own))"
        " or process in (select value from json_each(:foreign)))"
    ),
    "processes": "process in (select value from json_each(:processes))",
    "statuses": "status in (select value from json_each(:statuses))",
    "begin": "created >= :begin",
    "end": "created <= :end",
    "min_duration": "coalesce(finished, :now) - started >= :min_duration",
    "max_duration": "coalesce(finished, :now) - started <= :max_duration",
}
_LARGEST = 2**62


def page_of(query: JobQuery, *, now: int) -> tuple[str, str, dict[str, Any]]:
    """Return the statement for the page, the one for the count, and the parameters of both."""
    values = _values(query)
    clauses = (_CLAUSES[name] for name in values if name in _CLAUSES)
    matching = "from jobs where " + " and ".join(("deleted is null", *clauses))
    bounds = {"now": now, "limit": min(query.limit, _LARGEST), "offset": min(query.offset, _LARGEST)}
    page = f"select {LISTED} {matching} order by number desc limit :limit offset :offset"
    return page, f"select count(*) {matching}", values | bounds


def _values(query: JobQuery) -> dict[str, Any]:
    """Return the parameters of the filters that are set; durations in microseconds."""
    values = {
        "owner": query.owner,
        "caller": query.sight and query.sight.caller,
        "own": query.sight and json.dumps(query.sight.own),
        "foreign": query.sight and json.dumps(query.sight.foreign),
        "processes": json.dumps(query.processes) if query.processes else None,
        "statuses": json.dumps(query.statuses) if query.statuses else None,
        "begin": query.begin and microseconds(query.begin),
        "end": query.end and microseconds(query.end),
        "min_duration": None if query.min_duration is None else query.min_duration * 1e6,
        "max_duration": None if query.max_duration is None else query.max_duration * 1e6,
    }
    return {name: value for name, value in values.items() if value is not None}
