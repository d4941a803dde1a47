"""The list of jobs as SQL: constant text, values as parameters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.job import Job, JobPage, JobQuery, JobVisibility, Status
from orchestration.store.statements import DETAILED, LISTED
from sql.connect import microseconds
from sql.connections import among

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
    """The list of a query: `matching` and `values` are the `from … where …` of its statements."""

    query: JobQuery
    matching: str
    values: Mapping[str, Any]

    def count(self) -> tuple[str, Mapping[str, Any]]:
        """Return the counting statement with its parameters."""
        return f"select count(*) {self.matching}", self.values

    def page(self) -> tuple[str, Mapping[str, Any]]:
        """Return the statement for the page and one more job, with its parameters; pass its rows to `cut`."""
        query, cursor = self.query, self.query.cursor
        order = "asc" if cursor and cursor.newer else "desc"
        after = f" and (created, id) {'>' if cursor.newer else '<'} (:cursor_created, :cursor_id)" if cursor else ""
        found = f"select id {self.matching}{after} order by created {order}, id {order} limit :limit offset :offset"
        columns = DETAILED if query.detailed else LISTED
        page = f"select {columns} from jobs where id in ({found}) order by created {order}, id {order}"  # noqa: S608  ours
        bounds = {"limit": max(0, min(query.limit, _LARGEST)) + 1, "offset": max(0, min(query.offset, _LARGEST))}
        place = {"cursor_created": microseconds(cursor.created), "cursor_id": cursor.id} if cursor else {}
        return page, {**self.values, **bounds, **place}

    def cut(self, found: list[Job], matched: int) -> JobPage:
        """Return the page, newest first, from the rows of its statement."""
        query, jobs = self.query, found[: max(0, self.query.limit)]
        more = len(found) > len(jobs)
        if query.cursor and query.cursor.newer:
            return JobPage(tuple(reversed(jobs)), matched, newer=more, older=True)
        return JobPage(tuple(jobs), matched, newer=query.cursor is not None or query.offset > 0, older=more)


def listing_of(query: JobQuery, *, now: int) -> Listing:
    """Return the list; `now` is the current time in microseconds."""
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
    """Yield the clauses of the list filters that are set, with their parameters."""
    if query.processes:
        text, values = among("process", query.processes)
        yield f"process in {text}", values
    if query.statuses:
        text, values = among("status", query.statuses)
        few = "" if Status.SUCCESSFUL in query.statuses else " and status <> 'successful'"  # as the index has it
        yield f"status in {text}{few}", values
    if query.sight:
        yield _seen(query.sight)


def _seen(sight: JobVisibility) -> tuple[str, dict[str, Any]]:
    """Return the clause for a caller's visibility, with its parameters."""
    own, values = among("own", sight.own)
    values["caller"] = sight.caller
    if not sight.foreign:
        return f"owner = :caller and process in {own}", values
    foreign, foreign_values = among("foreign", sight.foreign)
    return f"(owner = :caller and process in {own} or process in {foreign})", values | foreign_values
