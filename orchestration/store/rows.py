"""A row of the jobs table as a job."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestration.job import Job, Notice, Order, Status
from orchestration.manifest import decode

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(time: datetime) -> int:
    """Return the time as the table holds it."""
    return (time - _EPOCH) // _MICROSECOND


def now() -> int:
    """Return the present as the table holds it."""
    return microseconds(datetime.now(UTC))


def job_of(row: Mapping[str, Any]) -> Job:
    """Return the job of a row; a deleted one is dismissed."""
    return Job(
        id=row["id"],
        order=_order(row),
        status=Status.DISMISSED if row["deleted"] else Status(row["status"]),
        created=_EPOCH + timedelta(microseconds=row["created"]),
        updated=_EPOCH + timedelta(microseconds=row["updated"]),
        started=time_of(row["started"]),
        finished=time_of(row["finished"]),
        attempt=row["attempt"],
        failures=row["failures"],
        progress=row["progress"],
        message=row["message"],
        fault=row["fault"],
        manifest=decode(row["manifest"] or "[]"),
        files_until=time_of(row["files_until"]),
        expired=bool(row["expired"]),
    )


def _order(row: Mapping[str, Any]) -> Order:
    return Order(
        process=row["process"],
        inputs=json.loads(row["inputs"]),
        owner=row["owner"],
        outputs=json.loads(row["outputs"] or "null"),
        response=row["response"],
        email=row["email"],
        idempotency_key=row["idempotency_key"],
        request_hash=row["request_hash"],
        notices=tuple(map(_notice, json.loads(row["notices"]))),
    )


def _notice(members: Mapping[str, Any]) -> Notice:
    return Notice(members["kind"], Status(members["event"]), members["address"])


def time_of(value: int | None) -> datetime | None:
    """Return the time that the table holds."""
    return None if value is None else _EPOCH + timedelta(microseconds=value)
