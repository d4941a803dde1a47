"""The store of jobs and its interface."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from orchestration.backend import BackendUpdate
from orchestration.job import Job, JobEvent, JobPage, JobQuery, Manifest, Order
from orchestration.quota import Quota, Used
from orchestration.store.tally import Tally


class JobChanges(Protocol):
    """Changes of jobs, each only from the expected state (compare and set). Raises StoreUnavailable."""

    def begin(self, job_id: str) -> Job | None:
        """Change an accepted job to running, with the next attempt; None if it is no longer accepted."""

    def report(self, job_id: str, attempt: int, percent: int, message: str) -> bool:
        """Record the progress of an attempt, which never decreases; False if it is not the running one."""

    def publish(self, job_id: str, attempt: int, manifest: Manifest) -> bool:
        """Publish the result of an attempt; False if it is not the running one."""

    def fail(self, job_id: str, attempt: int, reason: str, *, fault: str = "") -> bool:
        """Change the job of a running attempt to failed; `fault` is the class of the error."""

    def hand_back(self, job_id: str, attempt: int, *, counted: bool) -> bool:
        """Change the job of a running attempt back to accepted; `counted` increments its failures."""

    def tell(self, job_ids: Iterable[str], message: str) -> None:
        """Set the message of accepted jobs to why they wait; empty if they only wait for others before them."""


class JobStore(JobChanges, Protocol):
    """Stores jobs; every method is one transaction, safe across processes and threads.

    Raises StoreUnavailable if the database cannot be reached.
    """

    def add(
        self,
        order: Order,
        manifest: Manifest | None = None,
        *,
        quotas: Sequence[Quota] = (),
        km2: float | None = None,
        size: int = 0,
    ) -> tuple[Job, bool]:
        """Store an order durably; return its job and whether it is new. With a `manifest` it is successful at once.

        An `idempotency_key` that the owner has used with the same `request_hash` returns the existing job; with another
        hash it raises IdempotencyConflict. `km2` is what it counts as by the day, None if it does not
        count, and `size` the bytes until it is done. Raises UnknownUnit, and TooManyOpenOrders or QuotaUsedUp if it
        keeps to none of the quotas.
        """

    def used(self, owner: str) -> Used:
        """Return what an owner has used of their quotas."""

    def repeated(self, order: Order) -> Job | None:
        """Return the existing job of the order's idempotency key, as `add` would. Raises IdempotencyConflict."""

    def get(self, job_id: str) -> Job | None:
        """Return the job, or None if it is unknown or deleted."""

    def history(self, job_id: str) -> tuple[JobEvent, ...]:
        """Return every change of the job's status since it was ordered, in order."""

    def find(self, query: JobQuery) -> JobPage:
        """Return a page of jobs, newest first, without their inputs and results."""

    def unfinished(self, known: Mapping[str, Job] = ...) -> tuple[Job, ...]:
        """Return every accepted and running job, except those of external back ends, oldest first.

        A job in `known`, by id, is returned as it is if it has not changed since.
        """

    def tally(self, most: int) -> Tally:
        """Count the orders by status and by owner, for at most so many owners."""

    def waiting(self, processes: Collection[str], most: int) -> int:
        """Return the number of accepted jobs of these processes, at most `most`."""

    def together(self) -> AbstractContextManager[JobChanges]:
        """Return changes of jobs that are committed together at the end, none of them on an exception."""

    def dismiss(self, job_id: str) -> Job | None:
        """Dismiss an unfinished job, delete a finished or dismissed one; return the new state, None if unknown."""

    def cancel(self, job_id: str) -> bool:
        """Dismiss an unfinished job; False if it is finished or unknown, which changes nothing."""

    def update(self, job_id: str, update: BackendUpdate) -> Job | None:
        """Apply an update of an external back end; return the new state of the job, None if it is unknown.

        The first update hands the job over to the back end: runs of our own no longer change it. A repeated update
        changes nothing. Raises UpdateRefused for a finished job, or if a running one would wait again.
        """

    @property
    def dropped_downloads(self) -> int:
        """Number of messages about downloads that this process dropped, because too many waited for the broker."""

    def downloaded(self, job_id: str, channel: str) -> None:
        """Store a message about a download of a job's result, unless the job is deleted or too many messages wait."""

    def collection_downloaded(self, collection: str, channel: str) -> None:
        """Store a message about a download of a file of a collection, unless too many messages wait."""

    def files_to_remove(self, now: datetime) -> Iterable[Job]:
        """Return the jobs whose files have expired, or which have failed, are dismissed, deleted or with a back end.

        Files of a job of an external back end are left from an earlier run of our own.
        """

    def next_expiry(self) -> datetime | None:
        """Return when the next files of a job expire, prebuilt files aside, or None."""

    def stored_paths(self) -> frozenset[str]:
        """Return the paths of all files of results that have not expired."""

    def files_removed(self, job_id: str) -> None:
        """Record that a job's files were removed."""

    def purge(self, before: datetime) -> int:
        """Delete jobs that finished before, whose files were removed, and old messages; return how many jobs."""

    def check_readable(self) -> None:
        """Raise StoreUnavailable if the jobs cannot be read, at a cost that does not depend on their number."""

    def check_writable(self) -> None:
        """Raise StoreUnavailable if the database cannot be written; writes nothing."""

    def changed(self) -> bool:
        """Return cheaply whether anything was committed since the last call, by others at least; for one caller."""

    def close(self) -> None:
        """Close the connections."""
