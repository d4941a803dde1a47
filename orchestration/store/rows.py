"""Convert between rows and jobs."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from orchestration.job import Job, Notice, Order, Status
from orchestration.manifest import decode
from sql.times import microseconds, time_of

_NONE, _NOBODY = "{}", "[]"
"""The inputs and notices of every row of a list, which may have ten thousand."""


def job_of(row: Mapping[str, Any]) -> Job:
    """Return the job of a row; a deleted one is dismissed."""
    return Job(
        id=row["id"],
        order=_order(row),
        status=Status.DISMISSED if row["deleted"] else Status(row["status"]),
        created=time_of(row["created"]),
        updated=time_of(row["updated"]),
        started=_time(row["started"]),
        finished=_time(row["finished"]),
        attempt=row["attempt"],
        failures=row["failures"],
        progress=row["progress"],
        message=row["message"],
        fault=row["fault"],
        manifest=decode(row["manifest"]) if row["manifest"] else (),
        files_until=_time(row["files_until"]),
        expired=bool(row["expired"]),
        backend=bool(row["backend"]),
    )


def same_job(row: Mapping[str, Any], known: Job | None) -> Job | None:
    """Return the known job where the row has not changed since: making it anew takes most of the time of a list."""
    if known is None or row["updated"] != microseconds(known.updated) or row["status"] != known.status:
        return None
    return known


def _order(row: Mapping[str, Any]) -> Order:
    return Order(
        process=row["process"],
        inputs=json.loads(row["inputs"]) if row["inputs"] != _NONE else {},
        owner=row["owner"],
        outputs=json.loads(row["outputs"]) if row["outputs"] else None,
        response=row["response"],
        email=row["email"],
        idempotency_key=row["idempotency_key"],
        request_hash=row["request_hash"],
        notices=tuple(map(_notice, json.loads(row["notices"]))) if row["notices"] != _NOBODY else (),
    )


def _time(value: int | None) -> datetime | None:
    return None if value is None else time_of(value)


def _notice(members: Mapping[str, Any]) -> Notice:
    return Notice(members["kind"], Status(members["event"]), members["address"])


def entries_of(order: Order, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the order's entries for the outbox; if it is stored as finished, only those of its status, due at once."""
    finished = row["finished"] is not None
    return [
        {
            "job": row["id"],
            "kind": notice.kind,
            "event": notice.event,
            "address": notice.address,
            "state": "due" if finished else "waiting",
            "due": row["updated"] if finished else None,
        }
        for notice in order.notices
        if not finished or notice.event == row["status"]
    ]
