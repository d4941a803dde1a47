"""Take orders while there is room for what they make."""

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

from orchestration.files.usage import in_words, known_usage
from orchestration.job import Job, Manifest, Order
from orchestration.status_info import instant
from orchestration.store import JobStore
from orchestration.work import WITHOUT_FILES
from routes.backlog import Backlog
from routes.http.problem import Problem

_SOONEST, _LATEST = 10, 3600
"""Seconds after which an order that is refused may come again: results may also be deleted before their time ends."""


@dataclass(frozen=True, slots=True)
class Room:
    """The store of orders and the folder of results, which may hold `cap` bytes, None for any number.

    `backlog` says how many orders wait for Airflow, where there is one.
    """

    store: JobStore
    results: Path
    cap: int | None = None
    backlog: Backlog | None = None

    def take(self, order: Order, manifest: Manifest | None = None, *, most_open: int | None = None) -> Job:
        """Store the order, as `JobStore.add`. Raises the 503 Problem for one that would need room where there is none.

        An order that is repeated or needs no run is always taken.
        """
        if manifest is None and (refusal := self._refusal_of(order)) is not None:
            known = self.store.repeated(order)
            if known is None:
                raise refusal
            return known
        job, is_new = self.store.add(order, manifest, most_open=most_open)
        if self.backlog is not None and manifest is None and is_new:
            self.backlog.took(order.process)
        return job

    def _refusal_of(self, order: Order) -> Problem | None:
        """Return what an order is refused with that needs a run, None where it is taken."""
        if order.process not in WITHOUT_FILES and self.is_at_cap():
            return self._refusal()
        if self.backlog is not None and self.backlog.is_full(order.process):
            return self.backlog.refusal()
        return None

    def used(self) -> int | None:
        """Return the bytes that the folder of results held when the worker last looked, None where it never did."""
        return known_usage(self.results)

    def is_at_cap(self) -> bool:
        """Say whether nothing more may be made."""
        return self.cap is not None and (self.used() or 0) >= self.cap

    def refusal(self, process: str) -> str | None:
        """Return why no order of the process, which makes files, is taken now, None where it is."""
        if self.is_at_cap():
            return self._told(self.store.next_expiry())
        return self.backlog.told() if self.backlog is not None and self.backlog.is_full(process) else None

    def _refusal(self) -> Problem:
        next_expiry = self.store.next_expiry()
        left = (next_expiry - datetime.now(UTC)).total_seconds() if next_expiry else _LATEST
        headers = {"Retry-After": str(round(min(max(left, _SOONEST), _LATEST)))}
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, self._told(next_expiry), headers=headers)

    def _told(self, next_expiry: datetime | None) -> str:
        frees = f"the next end at {instant(next_expiry)}" if next_expiry else "none has an end"
        return (
            "no order that makes files is taken now: the results that are kept have reached "
            f"{in_words(self.cap or 0)}, the most there may be; {frees}, and deleting a job frees its own files at once"
        )
