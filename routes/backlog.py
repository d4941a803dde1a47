"""How many orders wait for Airflow, and when there are too many to take another."""

import time
from collections.abc import Callable
from http import HTTPStatus
from threading import Lock

from orchestration.store import JobStore
from routes.http.problem import Problem

_FRESH = 1.0
"""Seconds for which a count is taken for true; what this process took since is added."""
_SECONDS = 60


class Backlog:
    """At most `most` accepted orders of the `processes` wait; several servers may take some more within a second."""

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
        """Say whether an order of the process would wait behind too many. Raises StoreUnavailable."""
        if process not in self._processes:
            return False
        with self._lock:
            if self._clock() >= self._until:
                self._count = self._store.waiting(self._processes, self._most)
                self._until = self._clock() + _FRESH
            return self._count >= self._most

    def took(self, process: str) -> None:
        """Count an order that was taken."""
        if process in self._processes:
            with self._lock:
                self._count += 1

    def refusal(self) -> Problem:
        """Return the 503 for an order that is not taken."""
        headers = {"Retry-After": str(_SECONDS)}
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, self.told(), headers=headers)

    def told(self) -> str:
        """Return why no order is taken."""
        return f"no such order is taken now: {self._most} orders wait for Airflow already, the most there may be"
