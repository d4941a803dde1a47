"""The durable orders: one interface, one module a database."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Protocol

from orchestration.backend import BackendUpdate
from orchestration.job import Job, JobPage, JobQuery, Manifest, Order


class JobStore(Protocol):
    """Keep orders; every method is one transaction, safe from several processes and threads.

    A method that changes a job does so only from the state it names (compare and set) and says whether it did.
    Raises StoreUnavailable when the database cannot be reached.
    """

    def add(self, order: Order, manifest: Manifest | None = None, *, max_open: int | None = None) -> tuple[Job, bool]:
        """Store an order durably; return its job and whether it is new. With a `manifest` it is successful at once.

        Raises TooManyOpenOrders where its owner has `max_open` unfinished ones already.

        The same owner's `idempotency_key` with the same `request_hash` returns the job there is; with another
        one it raises IdempotencyConflict.
        """

    def repeated(self, order: Order) -> Job | None:
        """Return the job that the order's idempotency key names, as `add` would. Raises IdempotencyConflict."""

    def get(self, job_id: str) -> Job | None:
        """Return the job, None where it is unknown or deleted."""

    def find(self, query: JobQuery) -> JobPage:
        """Return one page of jobs, newest first; no job of a list carries its inputs or its result."""

    def unfinished(self, known: Mapping[str, Job] = ...) -> tuple[Job, ...]:
        """Return every accepted and running job but those of back ends, oldest first.

        A job that is `known`, by its id, is returned as it is there where nothing has changed since.
        """

    def waiting(self, processes: Collection[str], most: int) -> int:
        """Return how many accepted jobs there are of these processes, counted up to `most`."""

    def begin(self, job_id: str) -> Job | None:
        """Take an accepted job to running with the next attempt; None when it is accepted no more."""

    def report(self, job_id: str, attempt: int, percent: int, message: str) -> bool:
        """Note the progress of a running attempt, which never goes back; False when it is not the running one."""

    def publish(self, job_id: str, attempt: int, manifest: Manifest) -> bool:
        """Make a running attempt's result the result; False when the attempt is not the running one."""

    def fail(self, job_id: str, attempt: int, reason: str, *, fault: str = "") -> bool:
        """End a running attempt's job as failed; `fault` names the class of the error."""

    def hand_back(self, job_id: str, attempt: int, *, counted: bool) -> bool:
        """Take a running attempt's job back to accepted; `counted` adds to its failures."""

    def tell(self, job_ids: Iterable[str], message: str) -> None:
        """Note why accepted jobs wait; an empty message says that they wait for their turn."""

    def dismiss(self, job_id: str) -> Job | None:
        """Dismiss an unfinished job, delete a finished or dismissed one; return it as it then is, None if unknown."""

    def update(self, job_id: str, update: BackendUpdate) -> Job | None:
        """Bring the job to what an external back end says; return it as it then is, None where it is unknown.

        From the first update on the back end has the job: every change of a run of ours finds none to change. Said
        again it changes nothing. Raises UpdateRefused for a finished job, and where a running one would wait again.
        """

    def files_to_remove(self, now: datetime) -> Iterable[Job]:
        """Return the jobs whose files must go: their time has ended, or they failed, are dismissed or deleted.

        Those of a back end too: what is there a run of ours left.
        """

    def next_expiry(self) -> datetime | None:
        """Return when the next files go that are a job's own, None where there are none."""

    def kept_paths(self) -> frozenset[str]:
        """Return the paths of all files that stand in results and whose time has not ended."""

    def files_removed(self, job_id: str) -> None:
        """Note that a job's files are gone."""

    def purge(self, before: datetime) -> int:
        """Remove the rows of finished jobs last touched before, whose files are gone; return how many."""

    def check_readable(self) -> None:
        """Return if the orders can be read now, whatever number there is."""

    def check_writable(self) -> None:
        """Return if the database can be written now; nothing is."""

    def changed(self) -> bool:
        """Say whether anything was written since the last call, cheaply; for one listener a store."""

    def close(self) -> None:
        """Give the connections back."""
