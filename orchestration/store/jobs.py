"""The durable orders in a database."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, override
from uuid import uuid4

from orchestration.backend import BackendUpdate
from orchestration.errors import IdempotencyConflict, TooManyOpenOrders, UpdateRefused
from orchestration.job import UNFINISHED, Job, JobPage, JobQuery, Manifest, Order, ResultFile, Status
from orchestration.manifest import decode, encode
from orchestration.store import statements
from orchestration.store.database import OrdersDatabase
from orchestration.store.listing import listing_of
from orchestration.store.rows import entries_of, job_of, same_job
from sql.connections import Connection, Place, among
from sql.times import microseconds, now, time_of


class StoredJobs(OrdersDatabase):
    """Keep orders in the database at `place`, a JobStore; one of SQLite is made when it is not there.

    A result's files are kept `files_days` days from its publication. Raises StoreUnavailable when the database cannot
    be opened, is locked for longer than `busy_seconds`, is full, or was written by a newer version: when it is made, or
    with `lazy` when it is used, so that what needs no orders goes on without it.
    """

    def __init__(self, place: Place, *, files_days: int = 30, busy_seconds: float = 5, lazy: bool = False) -> None:
        super().__init__(place, busy_seconds=busy_seconds, lazy=lazy)
        self._files_kept = timedelta(days=files_days) // timedelta(microseconds=1)
        self._watch = self._pool.watch()

    def add(self, order: Order, manifest: Manifest | None = None, *, max_open: int | None = None) -> tuple[Job, bool]:
        """Store an order durably; return its job and whether it is new.

        With a `manifest` it is successful at once. Raises IdempotencyConflict, and TooManyOpenOrders where the owner
        has `max_open` unfinished ones already.
        """
        values = _values(order) | self._result(manifest or ())
        statement = statements.ADD if manifest is None else statements.ADD_SUCCESSFUL
        max_open = max_open if manifest is None else None
        with self._writing(order.owner) as connection:
            keyed = order.idempotency_key is not None
            if keyed or max_open is not None:
                self._pool.one_at_a_time(connection, order.owner)
            known = connection.execute(statements.KNOWN, values).fetchone() if keyed else None
            if known is None:
                _check_open(connection, order.owner, max_open)
                row = connection.execute(statement, values).fetchone()
                connection.executemany(statements.NOTICE, entries_of(order, row))
                return job_of(row), True
        return _same(known, order), False

    def repeated(self, order: Order) -> Job | None:
        """Return the job that the order's idempotency key names, as `add` would. Raises IdempotencyConflict."""
        with self._reading(order.owner) as connection:
            known = connection.execute(statements.KNOWN, _values(order)).fetchone()
        return known and _same(known, order)

    def get(self, job_id: str) -> Job | None:
        """Return the job, None where it is unknown or deleted."""
        with self._reading() as connection:
            row = connection.execute(statements.GET, {"id": job_id}).fetchone()
        return job_of(row) if row else None

    def find(self, query: JobQuery) -> JobPage:
        """Return one page of jobs, newest first."""
        listing = listing_of(query, now=now())
        with self._reading(_owner_of(query)) as connection:
            matched = connection.execute(*listing.count()).fetchone()[0]
            jobs = list(map(job_of, connection.execute(*listing.page())))
        return listing.cut(jobs, matched)

    def unfinished(self, known: Mapping[str, Job] = MappingProxyType({})) -> tuple[Job, ...]:
        """Return every accepted and running job but those of back ends, oldest first.

        A job that is `known`, by its id, is returned as it is there where nothing has changed since.
        """
        with self._reading() as connection:
            rows = connection.execute(statements.UNFINISHED)
            return tuple(same_job(row, known.get(row["id"])) or job_of(row) for row in rows)

    def waiting(self, processes: Collection[str], most: int) -> int:
        """Return how many accepted jobs there are of these processes, counted up to `most`."""
        names, values = among("process", sorted(processes))
        with self._reading() as connection:
            row = connection.execute(statements.WAITING.format(names), {**values, "most": most}).fetchone()
        return int(row[0])

    def begin(self, job_id: str) -> Job | None:
        """Take an accepted job to running with the next attempt; None when it is accepted no more."""
        with self._writing() as connection:
            row = connection.execute(statements.BEGIN, {"id": job_id, "now": now()}).fetchone()
        return job_of(row) if row else None

    def report(self, job_id: str, attempt: int, percent: int, message: str) -> bool:
        """Note the progress of a running attempt, which never goes back; False when it is not the running one."""
        values = {"id": job_id, "attempt": attempt, "percent": percent, "message": message, "now": now()}
        with self._writing() as connection:
            row = connection.execute(statements.REPORT.of(self._pool.dialect), values).fetchone()
        return bool(row and row[0])

    def publish(self, job_id: str, attempt: int, manifest: Manifest) -> bool:
        """Make a running attempt's result the result; False when the attempt is not the running one."""
        return self._change(statements.PUBLISH, job_id, attempt=attempt, **self._result(manifest))

    def fail(self, job_id: str, attempt: int, reason: str, *, fault: str = "") -> bool:
        """End a running attempt's job as failed; `fault` names the class of the error."""
        return self._change(statements.FAIL, job_id, attempt=attempt, reason=reason, fault=fault)

    def hand_back(self, job_id: str, attempt: int, *, counted: bool) -> bool:
        """Take a running attempt's job back to accepted; `counted` adds to its failures."""
        return self._change(statements.HAND_BACK, job_id, attempt=attempt, counted=int(counted))

    def tell(self, job_ids: Iterable[str], message: str) -> None:
        """Note why accepted jobs wait; an empty message says that they wait for their turn."""
        present = now()
        with self._writing() as connection:
            values = [{"id": job_id, "message": message, "now": present} for job_id in job_ids]
            connection.executemany(statements.TELL, values)

    def dismiss(self, job_id: str) -> Job | None:
        """Dismiss an unfinished job, delete a finished or dismissed one; return it as it then is, None if unknown."""
        with self._writing() as connection:
            row = connection.execute(statements.DISMISS, {"id": job_id, "now": now()}).fetchone()
        return job_of(row) if row else None

    def update(self, job_id: str, update: BackendUpdate) -> Job | None:
        """Bring the job to what an external back end says; return it as it then is. Raises UpdateRefused."""
        with self._writing() as connection:
            return updated(connection, job_id, update)

    def files_to_remove(self, now: datetime) -> tuple[Job, ...]:
        """Return the jobs whose files must go: their time has ended, or they failed, are dismissed or deleted."""
        with self._reading() as connection:
            return tuple(map(job_of, connection.execute(statements.FILES_TO_REMOVE, {"now": microseconds(now)})))

    def next_expiry(self) -> datetime | None:
        """Return when the next files go that are a job's own, None where there are none."""
        with self._reading() as connection:
            row = connection.execute(statements.NEXT_EXPIRY).fetchone()
        return time_of(row[0]) if row and row[0] is not None else None

    def kept_paths(self) -> frozenset[str]:
        """Return the paths of all files that stand in results and whose time has not ended."""
        with self._reading() as connection:
            manifests = [decode(row[0]) for row in connection.execute(statements.KEPT_MANIFESTS)]
        return frozenset(output.file.path for manifest in manifests for output in manifest if output.file)

    def named_files(self) -> tuple[tuple[str, ResultFile], ...]:
        """Return every job's id with each file that its result still has, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(statements.NAMED_FILES).fetchall()
        return tuple((row["id"], output.file) for row in rows for output in decode(row["manifest"]) if output.file)

    def files_removed(self, job_id: str) -> None:
        """Note that a job's files are gone."""
        self._change(statements.FILES_REMOVED, job_id)

    def purge(self, before: datetime) -> int:
        """Remove the rows of finished jobs last touched before, whose files are gone; return how many."""
        with self._writing() as connection:
            return connection.execute(statements.PURGE, {"before": microseconds(before)}).rowcount

    def check_readable(self) -> None:
        """Return if the orders can be read now, whatever number there is."""
        with self._reading() as connection:
            connection.execute(statements.ANY).fetchone()

    def check_writable(self) -> None:
        """Return if the database can be written now; nothing is."""
        with self._writing():
            pass

    def changed(self) -> bool:
        """Say whether anything was written since the last call, by whichever process; True at first."""
        with self._unavailable():
            return self._watch.changed()

    @override
    def close(self) -> None:
        """Give the connections back."""
        super().close()
        self._watch.close()

    def _result(self, manifest: Manifest) -> dict[str, Any]:
        """Return what the row of a job with this result says."""
        files = any(output.file for output in manifest)
        until = now() + self._files_kept if files else None
        return {"manifest": encode(manifest), "files": int(files), "until": until}

    def _change(self, statement: str, job_id: str, **values: Any) -> bool:
        with self._writing() as connection:
            return connection.execute(statement, {"id": job_id, "now": now(), **values}).rowcount == 1


def _check_open(connection: Connection, owner: str, max_open: int | None) -> None:
    if max_open is None:
        return
    (count,) = connection.execute(statements.OPEN, {"owner": owner}).fetchone()
    if count >= max_open:
        raise TooManyOpenOrders(
            f"you have {count} unfinished orders; at most {max_open} may be open at once (open-orders)"
        )


def _owner_of(query: JobQuery) -> str | None:
    """Return whose jobs the list may have at most, None where it may have those of several."""
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
        "now": now(),
    }


_CHANGES: Mapping[Status, str] = {
    Status.ACCEPTED: statements.BACKEND_QUEUED,
    Status.RUNNING: statements.BACKEND_BEGUN,
    Status.SUCCESSFUL: statements.BACKEND_DONE,
    Status.FAILED: statements.BACKEND_FAILED,
}


def updated(connection: Connection, job_id: str, update: BackendUpdate) -> Job | None:
    """Change the job and return it, None where it is unknown; a repetition changes nothing and mails nobody.

    Raises UpdateRefused where the job does not come from how it stands to what the update says.
    """
    values = {
        "id": job_id,
        "now": now(),
        "manifest": encode(update.manifest),
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
        raise UpdateRefused(f"the order is {job.status} and does not come to {update.status} any more")
    raise UpdateRefused(f"the order is {job.status} and never changes any more; it does not come to {update.status}")
