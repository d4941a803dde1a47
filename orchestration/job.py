"""The values of an order: what was asked, how it stands, what came of it."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from sql.connect import microseconds, time_of

_CURSOR = re.compile(r"([np])(\d{1,17})\.([\w-]{1,64})", re.ASCII)


class Status(StrEnum):
    """The statuses of OGC API Processes 1.0 (18-062r2, statusCode)."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    SUCCESSFUL = "successful"
    FAILED = "failed"
    DISMISSED = "dismissed"


UNFINISHED = frozenset({Status.ACCEPTED, Status.RUNNING})


@dataclass(frozen=True, slots=True)
class Notice:
    """Who is notified once the order has a status: by a callback an address of the web, by a mail a mailbox.

    A message goes to the channel of a broker, for everybody.
    """

    kind: Literal["callback", "mail", "message"]
    event: Status
    address: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OrderUnit:
    """The 10 km cell or other unit of a production that an order is for, and the task of the production."""

    id: str
    task: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked, checked before it is stored.

    `inputs` and `outputs` are JSON values; `outputs` is None where all outputs are asked for. `request_hash`
    is the SHA-256 of the request's body, which tells a repeated `idempotency_key` from a reused one.
    `notices` go into the store's outbox with the order; in a list of jobs an order has none.
    `trace` is the `traceparent` of the request, None where it is not traced.
    """

    process: str
    inputs: Mapping[str, Any]
    owner: str
    outputs: Mapping[str, Any] | None = None
    response: Literal["raw", "document"] = "raw"
    email: str | None = None
    idempotency_key: str | None = None
    request_hash: str | None = None
    notices: tuple[Notice, ...] = ()
    unit: OrderUnit | None = None
    trace: str | None = None


REPAIRED = "repaired"
"""The member of an order's stored inputs that says what was repaired in its area."""

VISIBLE = "visible"
"""The member of an order's stored inputs with the outline, as WKB in hexadecimal digits, that its caller may see of the
raster; without it all of it."""

QUOTAS = "quotas"
"""The member of an estimate's stored inputs with what its caller has left of the quotas of the estimated order."""

ADDED = frozenset({REPAIRED, VISIBLE, QUOTAS})
"""The members of an order's stored inputs that the server adds to those of the caller."""


def is_test(order: Order) -> bool:
    """Say whether the order says that it is a test: the same is done, and its status and its package say so."""
    return order.inputs.get("test") is True


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A file of a result: `path` is relative to the results folder, `sha256` in hexadecimal, `size` in bytes."""

    name: str
    path: str
    media_type: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a process: a JSON value, a file, or what lies at the address `href`, which we never ask."""

    id: str
    value: Any = None
    media_type: str = "application/json"
    file: ResultFile | None = None
    href: str | None = None


Manifest = tuple[Output, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """One stored order and how it stands; times are UTC.

    `attempt` numbers every start; `failures` counts those that ended without a word (three at most).
    `progress` is 0 to 100. `files_until` is when the files go, None while there are none or once they are gone.
    """

    id: str
    order: Order
    status: Status
    created: datetime
    updated: datetime
    started: datetime | None = None
    finished: datetime | None = None
    attempt: int = 0
    failures: int = 0
    progress: int = 0
    message: str = ""
    fault: str = ""
    """The class of the error that a failed job ended with, empty where it was a failure of ours."""
    manifest: Manifest = field(default=())
    files_until: datetime | None = None
    expired: bool = False
    """The result's files were removed at the end of their time."""
    backend: bool = False
    """An external back end has the order, or ended it: no run of ours is about it any more."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A change of a job's status: when, to which, in which attempt, and what the job said then."""

    at: datetime
    status: Status
    attempt: int
    message: str


@dataclass(frozen=True, slots=True)
class JobVisibility:
    """Whose jobs a caller sees: of the processes `own` those of their own, of the processes `foreign` everybody's."""

    caller: str
    own: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Which jobs to list, newest first; an empty tuple or None leaves that filter out.

    `sight` leaves out what the caller does not see. With `detailed` the jobs have those of their inputs and results
    that are not large. The page begins at the `cursor`, else after `offset` jobs.
    `begin` and `end` bound the creation time, inclusive. Durations are in seconds: finished less started for a
    finished job, now less started for a running one (18-062r2 /req/job-list/duration-definition).
    """

    owner: str | None = None
    sight: JobVisibility | None = None
    processes: tuple[str, ...] = ()
    statuses: tuple[Status, ...] = ()
    begin: datetime | None = None
    end: datetime | None = None
    min_duration: float | None = None
    max_duration: float | None = None
    limit: int = 10
    offset: int = 0
    cursor: "JobCursor | None" = None
    detailed: bool = False


@dataclass(frozen=True, slots=True)
class JobCursor:
    """A place in the list: that of a job, which may be gone. The page has the jobs after it, or with `newer` before it.

    A job keeps its place, so that nobody's order or dismissal moves the pages of somebody who reads them one by one.
    """

    created: datetime
    id: str
    newer: bool = False

    @property
    def text(self) -> str:
        """The cursor as a text, which `read` reads."""
        return f"{'p' if self.newer else 'n'}{microseconds(self.created)}.{self.id}"

    @classmethod
    def read(cls, text: str) -> "JobCursor | None":
        """Return the cursor of a text, None where it is none."""
        found = _CURSOR.fullmatch(text)
        return cls(time_of(int(found[2])), found[3], newer=found[1] == "p") if found else None


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of the list, the number of all that match, and whether there are `newer` and `older` ones."""

    jobs: tuple[Job, ...]
    matched: int
    newer: bool
    older: bool


_RESULTS = "http://www.opengis.net/def/rel/ogc/1.0/results"
MESSAGES_OF_STATUS: Mapping[Status, str] = {
    Status.ACCEPTED: "Waiting in the queue.",
    Status.RUNNING: "In progress.",
    Status.SUCCESSFUL: "The result is ready.",
    Status.FAILED: "Failed.",
    Status.DISMISSED: "Cancelled.",
}


def status_info(job: Job, url: str) -> dict[str, Any]:
    """Return the job as 18-062r2's statusInfo.yaml."""
    return {
        "processID": job.order.process,
        "type": "process",
        "jobID": job.id,
        "status": str(job.status),
        "message": _message(job),
        "created": instant(job.created),
        **({"started": instant(job.started)} if job.started else {}),
        **({"finished": instant(job.finished)} if job.finished else {}),
        "updated": instant(job.updated),
        "progress": job.progress,
        "links": _links(job, f"{url}/jobs/{job.id}"),
    }


def _message(job: Job) -> str:
    """Return what the job says; in a list, whose jobs carry no inputs, one of a test looks as any other."""
    repaired = f" {job.order.inputs[REPAIRED]}" if REPAIRED in job.order.inputs else ""
    return ("Test order: " if is_test(job.order) else "") + (job.message or MESSAGES_OF_STATUS[job.status]) + repaired


def instant(time: datetime) -> str:
    """Return the time as the standard writes it, in whole seconds of UTC."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _links(job: Job, address: str) -> list[dict[str, str]]:
    links = [
        {"rel": "self", "type": "application/json", "title": "This job", "href": f"{address}?f=json"},
        {"rel": "alternate", "type": "text/html", "title": "This job as a page", "href": f"{address}?f=html"},
    ]
    if job.status in UNFINISHED:
        links.append({"rel": "monitor", "type": "application/json", "title": "Ask again here", "href": address})
    if job.status is Status.SUCCESSFUL:
        links.append({"rel": _RESULTS, "title": "The results", "href": f"{address}/results"})
    return links


def failure(job: Job, url: str) -> dict[str, Any]:
    """Return a failed job as statusInfo.yaml, and in it, as `exception`, why it failed as exception.yaml."""
    reason = {"type": "about:blank", "title": "The job failed", "detail": job.message or "the job failed"}
    return {**status_info(job, url), "exception": reason}


def encode_manifest(manifest: Manifest) -> str:
    """Return the manifest as JSON. Raises ValueError where a value is not JSON."""
    return json.dumps([asdict(output) for output in manifest], allow_nan=False)


def decode_manifest(text: str) -> Manifest:
    """Return the manifest that `encode_manifest` wrote."""
    return tuple(_output(**entry) for entry in json.loads(text))


def _output(*, file: dict[str, Any] | None, **members: Any) -> Output:
    return Output(**members, file=ResultFile(**file) if file else None)
