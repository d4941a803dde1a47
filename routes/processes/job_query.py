"""The filters of the job list (18-062r2, clause 12)."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timedelta

from starlette.requests import Request

from auth.access import Access, Action
from auth.identity import current_identity
from orchestration.job import Job, JobCursor, JobQuery, JobVisibility, Status
from routes.http.problem import bad_parameter
from routes.query.datetime import read_time
from routes.query.paging import read_page
from routes.query.parameters import allow_parameters, read_list
from routes.resources import processes_of, resources_of

_LISTS = ("type", "processID", "status")
_SINGLE = ("limit", "offset", "cursor", "datetime", "minDuration", "maxDuration")
_MOST_OFFSET = 100_000
"""Jobs that are counted off before a page; `next` goes on from any page, at the cost of that page alone."""
_LONGEST_CURSOR = 128
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,6})?", re.ASCII)
_WHOLE_SECOND = timedelta(seconds=1) - timedelta(microseconds=1)


def read_job_query(request: Request) -> JobQuery:
    """Return the query that the request asks for, of the jobs that the caller sees. Raises the 400 Problem.

    Who administers sees everybody's, and may ask for one owner's.
    """
    sight = _sight(request)
    allow_parameters(request, *_SINGLE, *(() if sight else ("owner",)), repeatable=_LISTS)
    page, cursor = read_page(request), _cursor(request)
    begin, end = _interval(request)
    _check_words(request, "type", ("process",))
    return JobQuery(
        owner=request.query_params.get("owner"),
        sight=sight,
        processes=_words(request, "processID"),
        statuses=tuple(Status(word) for word in _check_words(request, "status", tuple(Status))),
        begin=begin,
        end=end,
        min_duration=_duration(request, "minDuration"),
        max_duration=_duration(request, "maxDuration"),
        limit=page.limit,
        offset=_offset(page.offset, cursor),
        cursor=cursor,
    )


def cursor_of(job: Job, *, newer: bool = False) -> str:
    """Return what `cursor` says of the page after this job, or with `newer` of the page before it."""
    cursor = JobCursor(job.created, job.id, newer=newer)
    return urlsafe_b64encode(cursor.text.encode()).decode().rstrip("=")


def _cursor(request: Request) -> JobCursor | None:
    """Return the place that `cursor` names. Raises the 400 Problem."""
    text = request.query_params.get("cursor")
    if text is None:
        return None
    cursor = JobCursor.read(_decoded(text)) if len(text) <= _LONGEST_CURSOR else None
    if cursor is None:
        raise bad_parameter("cursor", text[:_LONGEST_CURSOR], "allowed: what the links next and prev of a page have")
    return cursor


def _decoded(text: str) -> str:
    try:
        return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)).decode("ascii")
    except ValueError:
        return ""


def _offset(offset: int, cursor: JobCursor | None) -> int:
    if offset and cursor:
        raise bad_parameter("offset", str(offset), "allowed: 0 beside cursor, which has the place itself")
    if offset > _MOST_OFFSET:
        raise bad_parameter(
            "offset",
            str(offset),
            f"allowed: whole numbers from 0 to {_MOST_OFFSET}; next and prev go further",
        )
    return offset


def _sight(request: Request) -> JobVisibility | None:
    """Return what the caller sees; None is everything."""
    identity, resources = current_identity.get(), resources_of(request)
    if resources.policy(identity, Access(Action.ADMINISTER)).allowed:
        return None

    def of(action: Action) -> tuple[str, ...]:
        names = processes_of(resources.api)
        return tuple(name for name in names if resources.policy(identity, Access(action, name)).allowed)

    return JobVisibility(identity.owner, own=of(Action.READ_OWN_JOBS), foreign=of(Action.READ_ALL_JOBS))


def _words(request: Request, name: str) -> tuple[str, ...]:
    text = read_list(request, name)
    return () if text is None else tuple(text.split(","))


def _check_words(request: Request, name: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    words = _words(request, name)
    wrong = next((word for word in words if word not in allowed), None)
    if wrong is not None:
        raise bad_parameter(name, wrong, f"allowed: {', '.join(allowed)}")
    return words


def _duration(request: Request, name: str) -> float | None:
    text = request.query_params.get(name)
    if text is not None and not _SECONDS.fullmatch(text):
        raise bad_parameter(name, text, "allowed: seconds, from 0")
    return None if text is None else float(text)


def _interval(request: Request) -> tuple[datetime | None, datetime | None]:
    """Return the bounds of `datetime`, inclusive; an instant is the whole second that a job's times are told in."""
    asked = read_time(request)
    if asked is None:
        return None, None
    begin, end = asked
    return begin, end if end.microsecond else end + _WHOLE_SECOND
