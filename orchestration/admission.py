"""Admission control: accept or refuse an order by the disk space of results and the backlog."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from orchestration.errors import NotAdmitted
from orchestration.files.usage import known_usage, readable_size
from orchestration.job import Job, Manifest, Order, instant
from orchestration.quota import Quota
from orchestration.store import JobStore

_SOONEST, _LATEST = 10, 3600
"""Bounds of `Retry-After` in seconds for a refused order; results may be deleted before they expire."""
_FRESH = 1.0
"""Seconds for which a count is reused; orders that this process accepted since are added."""
_BACKLOG_SECONDS = 60


class Backlog:
    """Limits the waiting orders of the `processes` to `most`; several servers may exceed it within a second."""

    def __init__(
        self,
        store: JobStore,
        processes: frozenset[str],
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._processes = processes
        self._most = most
        self._clock = clock
        self._lock = Lock()
        self._count = 0
        self._until = 0.0

    def is_full(self, process: str) -> bool:
        """Return whether too many orders wait already. Raises StoreUnavailable."""
        if process not in self._processes:
            return False
        with self._lock:
            if self._clock() >= self._until:
                self._count = self._store.waiting(self._processes, self._most)
                self._until = self._clock() + _FRESH
            return self._count >= self._most

    def took(self, process: str) -> None:
        """Count an accepted order."""
        if process in self._processes:
            with self._lock:
                self._count += 1

    @property
    def reason(self) -> str:
        """The reason for refusing an order while it is full."""
        return f"such orders are refused now: {self._most} orders wait for Airflow already, which is the limit"


@dataclass(frozen=True, slots=True)
class Admission:
    """Accepts orders into the store while the results folder has less than `cap` bytes (None for no limit).

    `backlog` limits the orders that wait for Airflow; the processes `without_files` need no space.
    """

    store: JobStore
    results: Path
    cap: int | None = None
    backlog: Backlog | None = None
    without_files: frozenset[str] = frozenset()

    def take(
        self,
        order: Order,
        manifest: Manifest | None = None,
        *,
        quotas: Sequence[Quota] = (),
        km2: float | None = None,
        size: int = 0,
    ) -> Job:
        """Store the order, as `JobStore.add`. Raises NotAdmitted if it needs a run and orders are refused now.

        A repeated order, or one that needs no run, is always accepted.
        """
        if manifest is None and (refused := self._refused(order.process)) is not None:
            known = self.store.repeated(order)
            if known is None:
                raise refused
            return known
        job, is_new = self.store.add(order, manifest, quotas=quotas, km2=km2, size=size)
        if self.backlog is not None and manifest is None and is_new:
            self.backlog.took(order.process)
        return job

    def refusal(self, process: str) -> str | None:
        """Return why orders of the process are refused now, or None."""
        refused = self._refused(process)
        return None if refused is None else str(refused)

    def used(self) -> int | None:
        """Return the size of the results folder as last measured by the worker, or None."""
        return known_usage(self.results)

    def is_at_cap(self) -> bool:
        """Return whether the results have reached their cap."""
        return self.cap is not None and (self.used() or 0) >= self.cap

    def _refused(self, process: str) -> NotAdmitted | None:
        if process not in self.without_files and self.is_at_cap():
            return self._no_space()
        if self.backlog is not None and self.backlog.is_full(process):
            return NotAdmitted(self.backlog.reason, _BACKLOG_SECONDS)
        return None

    def _no_space(self) -> NotAdmitted:
        next_expiry = self.store.next_expiry()
        left = (next_expiry - datetime.now(UTC)).total_seconds() if next_expiry else _LATEST
        frees = f"the next files expire at {instant(next_expiry)}" if next_expiry else "no file expires"
        reason = (
            "orders that make files are refused now: the stored results have reached the limit of "
            f"{readable_size(self.cap or 0)}; {frees}, and deleting a job frees its own files at once"
        )
        return NotAdmitted(reason, round(min(max(left, _SOONEST), _LATEST)))
