"""The values of an order: what was asked, how it stands, what came of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from sql.times import microseconds, time_of

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
    """Who is told once the order comes to a status: a callback goes to an address of the web, a mail to a mailbox."""

    kind: Literal["callback", "mail"]
    event: Status
    address: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked, checked before it is stored.

    `inputs` and `outputs` are JSON values; `outputs` is None where all outputs are asked for. `request_hash`
    is the SHA-256 of the request's body, which tells a repeated `idempotency_key` from a reused one.
    `notices` go into the store's outbox with the order; in a list of jobs an order has none.
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


REPAIRED = "repaired"
"""The member of an order's stored inputs that says what was repaired in its area."""


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
class JobVisibility:
    """Whose jobs a caller sees: of the processes `own` those of their own, of the processes `foreign` everybody's."""

    caller: str
    own: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Which jobs to list, newest first; an empty tuple or None leaves that filter out.

    `sight` leaves out what the caller does not see. The page begins at the `cursor`, else after `offset` jobs.
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
