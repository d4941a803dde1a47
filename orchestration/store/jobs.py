"""The job store in a database."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from threading import Lock
from types import MappingProxyType
from typing import Any, override
from uuid import uuid4

from orchestration.backend import BackendUpdate
from orchestration.errors import IdempotencyConflict, UnknownUnit, UpdateRefused
from orchestration.job import (
    UNFINISHED,
    Job,
    JobEvent,
    JobPage,
    JobQuery,
    Manifest,
    Order,
    ResultFile,
    Status,
    decode_manifest,
    encode_manifest,
)
from orchestration.quota import Quota, Used, check_quotas, day_of
from orchestration.store import statements
from orchestration.store.changes import StoredChanges, entries_of, job_of, result_columns, same_job
from orchestration.store.database import OrdersStore
from orchestration.store.listing import listing_of
from orchestration.store.tally import Tally, read_tally
from sql.connect import microseconds, now, time_of
from sql.connections import Connection, Database, among

_MOST_WAITING = 50_000
"""Messages that may wait for a broker before those about downloads are dropped."""


class StoredJobs(OrdersStore):
    """A JobStore in `database`; a SQLite file is created if it does not exist.

    Result files are kept for `files_days` days after publication. Raises StoreUnavailable if the database cannot be
    opened, is locked for longer than `busy_seconds`, is full, or has a newer schema: on construction, or with `lazy` on
    use, so that requests without jobs work without it.
    """

    def __init__(
        self, database: Database, *, files_days: int = 30, busy_seconds: float = 5, lazy: bool = False
    ) -> None:
        super().__init__(database, busy_seconds=busy_seconds, lazy=lazy)
        self._file_retention = timedelta(days=files_days)
        self._watch = self._pool.watch()
        self._dropping = Lock()
        self.dropped_downloads = 0

    def add(
        self,
        order: Order,
        manifest: Manifest | None = None,
        *,
        quotas: Sequence[Quota] = (),
        km2: float | None = None,
        size: int = 0,
    ) -> tuple[Job, bool]:
        """Store an order durably; return its job and whether it is new.

        With a `manifest` it is successful at once. `km2` is what it counts as by the day, None if it does not count,
        and `size` the bytes until it is done.
        Raises IdempotencyConflict, UnknownUnit, and TooManyOpenOrders or QuotaUsedUp if it keeps to none of the quotas.
        """
        values = _values(order) | {"bytes": size} | result_columns(manifest, self._file_retention) | {"km2": km2}
        statement = statements.ADD if manifest is None else statements.ADD_SUCCESSFUL
        if manifest is not None:
            quotas = [replace(quota, open_orders=None) for quota in quotas]
        with self._writing(order.owner) as connection:
            keyed = order.idempotency_key is not None
            if keyed or quotas:
                self._pool.one_at_a_time(connection, order.owner)
            known = connection.execute(statements.KNOWN, values).fetchone() if keyed else None
            if known is None:
                _check_unit(connection, order, values)
                if quotas:
                    check_quotas(quotas, _used(connection, order.owner), km2, values["bytes"])
                row = connection.execute(statement, values).fetchone()
                connection.executemany(statements.NOTICE, entries_of(order, row))
                return job_of(row), True
        return _same(known, order), False

    def used(self, owner: str) -> Used:
        """Return what an owner has used of their quotas."""
        with self._reading(owner) as connection:
            return _used(connection, owner)

    def repeated(self, order: Order) -> Job | None:
        """Return the existing job of the order's idempotency key, as `add` would. Raises IdempotencyConflict."""
        with self._reading(order.owner) as connection:
            known = connection.execute(statements.KNOWN, _values(order)).fetchone()
        return known and _same(known, order)

    def get(self, job_id: str) -> Job | None:
        """Return the job, or None if it is unknown or deleted."""
        with self._reading() as connection:
            row = connection.execute(statements.GET, {"id": job_id}).fetchone()
        return job_of(row) if row else None

    def listed(self, job_ids: Iterable[str]) -> dict[str, Job]:
        """Return those of the jobs that exist by id, without inputs, results and notifications."""
        ids, values = among("id", job_ids)
        with self._reading() as connection:
            rows = connection.execute(statements.JOBS + ids, values).fetchall()
        return {row["id"]: job_of(row) for row in rows}

    def history(self, job_id: str) -> tuple[JobEvent, ...]:
        """Return every change of the job's status since it was ordered, in order."""
        with self._reading() as connection:
            rows = connection.execute(statements.HISTORY, {"id": job_id}).fetchall()
        return tuple(JobEvent(time_of(row[0]), Status(row[1]), row[2], row[3]) for row in rows)

    def find(self, query: JobQuery) -> JobPage:
        """Return a page of jobs, newest first."""
        listing = listing_of(query, now=now())
        with self._reading(_owner_of(query)) as connection:
            matched = connection.execute(*listing.count()).fetchone()[0]
            jobs = list(map(job_of, connection.execute(*listing.page())))
        return listing.cut(jobs, matched)

    def unfinished(self, known: Mapping[str, Job] = MappingProxyType({})) -> tuple[Job, ...]:
        """Return every accepted and running job, except those of external back ends, oldest first.

        A job in `known`, by id, is returned as it is if it has not changed since.
        """
        with self._reading() as connection:
            rows = connection.execute(statements.UNFINISHED)
            return tuple(same_job(row, known.get(row["id"])) or job_of(row) for row in rows)

    def tally(self, most: int) -> Tally:
        """Count the orders by status and by owner, for at most so many owners."""
        with self._reading() as connection:
            return read_tally(connection, most)

    def waiting(self, processes: Collection[str], most: int) -> int:
        """Return the number of accepted jobs of these processes, at most `most`."""
        names, values = among("process", sorted(processes))
        with self._reading() as connection:
            row = connection.execute(statements.WAITING.format(names), {**values, "most": most}).fetchone()
        return int(row[0])

    @contextmanager
    def together(self) -> Iterator[StoredChanges]:
        """Yield changes of jobs that are committed together at the end, none of them on an exception."""
        with self._writing() as connection:
            yield StoredChanges(connection, self._pool.dialect, file_retention=self._file_retention)

    def begin(self, job_id: str) -> Job | None:
        """Change an accepted job to running, with the next attempt; None if it is no longer accepted."""
        with self.together() as changes:
            return changes.begin(job_id)

    def report(self, job_id: str, attempt: int, percent: int, message: str) -> bool:
        """Record the progress of an attempt, which never decreases; False if it is not the running one."""
        with self.together() as changes:
            return changes.report(job_id, attempt, percent, message)

    def publish(self, job_id: str, attempt: int, manifest: Manifest) -> bool:
        """Publish the result of an attempt; False if it is not the running one."""
        with self.together() as changes:
            return changes.publish(job_id, attempt, manifest)

    def fail(self, job_id: str, attempt: int, reason: str, *, fault: str = "") -> bool:
        """Change the job of a running attempt to failed; `fault` is the class of the error."""
        with self.together() as changes:
            return changes.fail(job_id, attempt, reason, fault=fault)

    def hand_back(self, job_id: str, attempt: int, *, counted: bool) -> bool:
        """Change the job of a running attempt back to accepted; `counted` increments its failures."""
        with self.together() as changes:
            return changes.hand_back(job_id, attempt, counted=counted)

    def tell(self, job_ids: Iterable[str], message: str) -> None:
        """Set the message of accepted jobs to why they wait; empty if they only wait for others before them."""
        with self.together() as changes:
            changes.tell(job_ids, message)

    def dismiss(self, job_id: str) -> Job | None:
        """Dismiss an unfinished job, delete a finished or dismissed one; return the new state, None if unknown."""
        with self._writing() as connection:
            row = connection.execute(statements.DISMISS, {"id": job_id, "now": now()}).fetchone()
        return job_of(row) if row else None

    def cancel(self, job_id: str) -> bool:
        """Dismiss an unfinished job; False if it is finished or unknown, which changes nothing."""
        with self._writing() as connection:
            return connection.execute(statements.CANCEL, {"id": job_id, "now": now()}).rowcount == 1

    def update(self, job_id: str, update: BackendUpdate) -> Job | None:
        """Apply an update of an external back end; return the new state of the job. Raises UpdateRefused."""
        with self._writing() as connection:
            return updated(connection, job_id, update)

    def downloaded(self, job_id: str, channel: str) -> None:
        """Store a message about a download of a job's result, unless the job is deleted or too many messages wait."""
        self._note_download(statements.DOWNLOADED, {"id": job_id, "address": channel})

    def collection_downloaded(self, collection: str, channel: str) -> None:
        """Store a message about a download of a file of a collection, unless too many messages wait."""
        self._note_download(statements.COLLECTION_DOWNLOADED, {"collection": collection, "address": channel})

    def _note_download(self, statement: str, values: Mapping[str, str]) -> None:
        with self._writing() as connection:
            if connection.execute(statements.BACKLOG, {"most": _MOST_WAITING - 1}).fetchone() is None:
                connection.execute(statement, {**values, "now": now()})
                return
        with self._dropping:
            self.dropped_downloads += 1

    def files_to_remove(self, now: datetime) -> tuple[Job, ...]:
        """Return the jobs whose files have expired, or which have failed, are dismissed, deleted or with a back end."""
        with self._reading() as connection:
            return tuple(map(job_of, connection.execute(statements.FILES_TO_REMOVE, {"now": microseconds(now)})))

    def next_expiry(self) -> datetime | None:
        """Return when the next files of a job expire, prebuilt files aside, or None."""
        with self._reading() as connection:
            row = connection.execute(statements.NEXT_EXPIRY).fetchone()
        return time_of(row[0]) if row and row[0] is not None else None

    def stored_paths(self) -> frozenset[str]:
        """Return the paths of all files of results that have not expired."""
        with self._reading() as connection:
            manifests = [decode_manifest(row[0]) for row in connection.execute(statements.STORED_MANIFESTS)]
        return frozenset(output.file.path for manifest in manifests for output in manifest if output.file)

    def named_files(self) -> tuple[tuple[str, ResultFile], ...]:
        """Return the id of every job with each file that its result still has, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(statements.NAMED_FILES).fetchall()
        manifests = ((row["id"], decode_manifest(row["manifest"])) for row in rows)
        return tuple((job_id, output.file) for job_id, manifest in manifests for output in manifest if output.file)

    def files_removed(self, job_id: str) -> None:
        """Record that a job's files were removed."""
        with self._writing() as connection:
            connection.execute(statements.FILES_REMOVED, {"id": job_id})

    def purge(self, before: datetime) -> int:
        """Delete jobs that finished before, whose files were removed, and old messages; return how many jobs."""
        with self._writing() as connection:
            connection.execute(statements.PURGE_DOWNLOADS, {"before": microseconds(before)})
            return connection.execute(statements.PURGE, {"before": microseconds(before)}).rowcount

    def check_readable(self) -> None:
        """Raise StoreUnavailable if the jobs cannot be read, at a cost that does not depend on their number."""
        with self._reading() as connection:
            connection.execute(statements.ANY).fetchone()

    def check_writable(self) -> None:
        """Raise StoreUnavailable if the database cannot be written; writes nothing."""
        with self._writing():
            pass

    def changed(self) -> bool:
        """Return whether any process has committed since the last call; True at first."""
        with self._unavailable():
            return self._watch.changed()

    @override
    def close(self) -> None:
        """Close the connections."""
        super().close()
        self._watch.close()


def _used(connection: Connection, owner: str) -> Used:
    present = time_of(now())
    values = {"owner": owner, "since": microseconds(day_of(present))}
    unfinished, km2, size = connection.execute(statements.USED, values).fetchone()
    return Used(int(unfinished), float(km2), int(size), present)


def _owner_of(query: JobQuery) -> str | None:
    """Return the owner that the list is restricted to, or None if it may have jobs of several."""
    sight = query.sight
    return query.owner or (sight.caller if sight and not sight.foreign else None)


def _same(known: Any, order: Order) -> Job:
    if known["request_hash"] != order.request_hash:
        raise IdempotencyConflict("the idempotency key was used before with another request")
    return job_of(known)


def _values(order: Order) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "owner": order.owner,
        "email": order.email,
        "process": order.process,
        "inputs": json.dumps(order.inputs),
        "outputs": None if order.outputs is None else json.dumps(order.outputs),
        "response": order.response,
        "key": order.idempotency_key,
        "hash": order.request_hash,
        "notices": json.dumps([asdict(notice) for notice in order.notices]),
        "unit": order.unit and order.unit.id,
        "task": order.unit and order.unit.task,
        "trace": order.trace,
        "now": now(),
    }


def _check_unit(connection: Connection, order: Order, values: Mapping[str, Any]) -> None:
    if order.unit is None or connection.execute(statements.UNIT, values).fetchone():
        return
    task = f" in the task {order.unit.task!r}" if order.unit.task else ""
    raise UnknownUnit(f"unit: {order.process} has no unit {order.unit.id!r}{task}")


_CHANGES: Mapping[Status, str] = {
    Status.ACCEPTED: statements.BACKEND_QUEUED,
    Status.RUNNING: statements.BACKEND_BEGUN,
    Status.SUCCESSFUL: statements.BACKEND_DONE,
    Status.FAILED: statements.BACKEND_FAILED,
}


def updated(connection: Connection, job_id: str, update: BackendUpdate) -> Job | None:
    """Change the job and return it, or None if it is unknown; a repeated update changes nothing and sends no mail.

    Raises UpdateRefused for a transition that is not allowed.
    """
    values = {
        "id": job_id,
        "now": now(),
        "manifest": encode_manifest(update.manifest),
        "reason": update.reason,
        "fault": update.fault,
        "event": update.status,
        "address": update.mail_to,
    }
    if row := connection.execute(_CHANGES[update.status], values).fetchone():
        if update.mail_to:
            connection.execute(statements.MAIL, values)
        return job_of(row)
    found = connection.execute(statements.GET, values).fetchone()
    return _unchanged(job_of(found), update) if found else None


def _unchanged(job: Job, update: BackendUpdate) -> Job:
    if update.is_repeated(job):
        return job
    if job.status in UNFINISHED:
        raise UpdateRefused(f"the order is {job.status} and cannot change to {update.status}")
    raise UpdateRefused(f"the order is {job.status}, which is final; it cannot change to {update.status}")
