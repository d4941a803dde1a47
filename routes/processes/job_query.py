"""The filters of the job list (18-062r2, clause 12)."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from datetime import datetime, timedelta

from starlette.requests import Request

from auth.access import Access, Action
from auth.identity import current_identity
from orchestration.job import Job, JobCursor, JobQuery, JobVisibility, Status
from routes.http.problem import bad_parameter
from routes.query.parameters import DATETIME, LIMIT, NAMES, OFFSET, TEXT, Parameter, allow_parameters, read_page
from routes.resources import processes_of, resources_of

_MOST_OFFSET = 100_000
"""Jobs that are counted off before a page; `next` goes on from any page, at the cost of that page alone."""
_LONGEST_CURSOR = 128
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,6})?", re.ASCII)
_WHOLE_SECOND = timedelta(seconds=1) - timedelta(microseconds=1)


def _seconds(text: str) -> float:
    if not _SECONDS.fullmatch(text):
        raise ValueError("allowed: seconds, from 0")
    return float(text)


_DURATION = {"type": "number", "minimum": 0}
JOBS_OFFSET = replace(
    OFFSET,
    description="The number of jobs to skip; the link `next` continues.",
    schema={**OFFSET.schema, "maximum": _MOST_OFFSET},
)
CURSOR = Parameter("cursor", "Where the page begins, as the links `next` and `prev` have it.")
TYPE = Parameter("type", "The kind: `process`.", {"type": "array", "items": {**TEXT, "enum": ["process"]}})
PROCESS = Parameter("processID", "Jobs of these processes.", NAMES)
STATUS = Parameter(
    "status", "Jobs of these statuses.", {"type": "array", "items": {**TEXT, "enum": list(map(str, Status))}}
)
OWNER = Parameter("owner", "Jobs of this owner, for who administers.")
CREATED = replace(DATETIME, description=f"When they were created. {DATETIME.description}")
MIN_DURATION = Parameter("minDuration", "Jobs that took at least this many seconds.", _DURATION, _seconds)
MAX_DURATION = Parameter("maxDuration", "Jobs that took at most this many seconds.", _DURATION, _seconds)
JOBS_PARAMETERS = (LIMIT, JOBS_OFFSET, CURSOR, TYPE, PROCESS, STATUS, OWNER, CREATED, MIN_DURATION, MAX_DURATION)


def read_job_query(request: Request) -> JobQuery:
    """Return the query that the request asks for, of the jobs that the caller sees. Raises the 400 Problem.

    Who administers sees everybody's, and may ask for one owner's.
    """
    sight = _sight(request)
    allow_parameters(request, *(each for each in JOBS_PARAMETERS if each is not OWNER or not sight))
    page, cursor = read_page(request), _cursor(request)
    begin, end = _interval(request)
    TYPE.of(request)
    return JobQuery(
        owner=OWNER.of(request),
        sight=sight,
        processes=PROCESS.of(request) or (),
        statuses=tuple(map(Status, STATUS.of(request) or ())),
        begin=begin,
        end=end,
        min_duration=MIN_DURATION.of(request),
        max_duration=MAX_DURATION.of(request),
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
    text = CURSOR.text(request)
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


def _interval(request: Request) -> tuple[datetime | None, datetime | None]:
    """Return the bounds of `datetime`, inclusive; an instant is the whole second that a job's times are given in."""
    asked = CREATED.of(request)
    if asked is None:
        return None, None
    begin, end = asked
    return begin, end if end.microsecond else end + _WHOLE_SECOND
