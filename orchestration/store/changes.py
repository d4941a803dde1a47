"""The changes of jobs by the reconciler, several of them in one transaction."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from orchestration.job import Job, Manifest, Notice, Order, OrderUnit, Status, decode_manifest, encode_manifest
from orchestration.store import statements
from sql.connect import microseconds, now, time_of
from sql.connections import Connection, Dialect


def result_columns(manifest: Manifest | None, file_retention: timedelta) -> dict[str, Any]:
    """Return the columns of a job with this result, none without one; its files are kept for `file_retention`."""
    if manifest is None:
        return {}
    sizes = [output.file.size for output in manifest if output.file]
    files = bool(sizes)
    until = now() + file_retention // timedelta(microseconds=1) if files else None
    return {"manifest": encode_manifest(manifest), "files": int(files), "until": until, "bytes": sum(sizes)}


class StoredChanges:
    """Changes of jobs in the transaction of a connection; all of them are durable once it has committed, or none."""

    def __init__(self, connection: Connection, dialect: Dialect, *, file_retention: timedelta) -> None:
        self._connection = connection
        self._dialect: Dialect = dialect
        self._file_retention = file_retention

    def begin(self, job_id: str) -> Job | None:
        """Change an accepted job to running, with the next attempt; None if it is no longer accepted."""
        row = self._connection.execute(statements.BEGIN, {"id": job_id, "now": now()}).fetchone()
        return job_of(row) if row else None

    def report(self, job_id: str, attempt: int, percent: int, message: str) -> bool:
        """Record the progress of an attempt, which never decreases; False if it is not the running one."""
        values = {"id": job_id, "attempt": attempt, "percent": percent, "message": message, "now": now()}
        row = self._connection.execute(statements.REPORT.of(self._dialect), values).fetchone()
        return bool(row and row[0])

    def publish(self, job_id: str, attempt: int, manifest: Manifest) -> bool:
        """Publish the result of an attempt; False if it is not the running one."""
        return self._change(
            statements.PUBLISH, job_id, attempt=attempt, **result_columns(manifest, self._file_retention)
        )

    def fail(self, job_id: str, attempt: int, reason: str, *, fault: str = "") -> bool:
        """Change the job of a running attempt to failed; `fault` is the class of the error."""
        return self._change(statements.FAIL, job_id, attempt=attempt, reason=reason, fault=fault)

    def hand_back(self, job_id: str, attempt: int, *, counted: bool) -> bool:
        """Change the job of a running attempt back to accepted; `counted` increments its failures."""
        return self._change(statements.HAND_BACK, job_id, attempt=attempt, counted=int(counted))

    def tell(self, job_ids: Iterable[str], message: str) -> None:
        """Set the message of accepted jobs to why they wait; empty if they only wait for others before them."""
        present = now()
        values = [{"id": job_id, "message": message, "now": present} for job_id in job_ids]
        self._connection.executemany(statements.TELL, values)

    def _change(self, statement: str, job_id: str, **values: Any) -> bool:
        return self._connection.execute(statement, {"id": job_id, "now": now(), **values}).rowcount == 1


_NONE, _NOBODY = "{}", "[]"
"""Empty inputs and notices, as in every row of a list, which may have ten thousand."""


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
        manifest=decode_manifest(row["manifest"]) if row["manifest"] else (),
        files_until=_time(row["files_until"]),
        expired=bool(row["expired"]),
        backend=bool(row["backend"]),
    )


def same_job(row: Mapping[str, Any], known: Job | None) -> Job | None:
    """Return the known job if the row has not changed since, which saves most of the time of a list; else None."""
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
        unit=OrderUnit(row["unit"], row["task"]) if row["unit"] else None,
        trace=row["trace"],
    )


def _time(value: int | None) -> datetime | None:
    return None if value is None else time_of(value)


def _notice(members: Mapping[str, Any]) -> Notice:
    return Notice(members["kind"], Status(members["event"]), members["address"])


def entries_of(order: Order, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the order's entries for the outbox: those of its status are due; a finished order has only these."""
    finished = row["finished"] is not None
    return [
        {
            "job": row["id"],
            "kind": notice.kind,
            "event": notice.event,
            "address": notice.address,
            "state": "due" if notice.event == row["status"] else "waiting",
            "due": row["updated"] if notice.event == row["status"] else None,
        }
        for notice in order.notices
        if not finished or notice.event == row["status"]
    ]
