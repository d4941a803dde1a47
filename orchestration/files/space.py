"""The disk space of results: quota, and which orders wait for space."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestration.files.usage import allocated, note_usage, readable_size
from orchestration.full import RESERVE, free_bytes
from orchestration.job import Job, Status
from orchestration.prebuilt.record import PREBUILT_FOLDER
from orchestration.runners import WAITS

_EVERY = 0.5
"""Seconds between two measurements of running orders."""
_PAUSE, _LONGEST_PAUSE = 2.0, 300.0
"""Seconds before an order that ran out of space is run again; the pause doubles each time."""

_WAITS = f"{WAITS} for space"
DISK_FULL = f"{_WAITS} on the server's disk; the order begins as soon as there is enough."


@dataclass(frozen=True, slots=True)
class Shortage:
    """An attempt that ran out of space: the order waits until `need` bytes are free, and until `after`.

    `hopeless` is the reason if it can never succeed, else empty.
    """

    attempt: int
    need: int
    message: str
    tries: int
    after: float
    hopeless: str = ""

    def explained(self) -> str:
        """Return a description for the operator."""
        what = "no space was left on the disk" if self.message == DISK_FULL else "the results crossed their cap"
        return f"{what}; it is run again once {readable_size(self.need)} can be written (try {self.tries})"


class Space:
    """Tracks the size of each folder below `root`, so that only the folders of running orders are measured again.

    While the `cap` in bytes is reached, orders that write files do not start, and a running one that exceeds it runs
    out of space. Orders of processes in `without_files` are exempt. Orders that ran out of space are run again one at a
    time, once the space they had used and a reserve is free.
    """

    def __init__(
        self,
        root: Path,
        *,
        cap: int | None = None,
        without_files: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = root
        self._cap = cap
        self.without_files = without_files
        self._clock = clock
        self._sizes: dict[str, int] | None = None
        self._used = self._free = 0
        self._next = 0.0
        self._short: dict[str, Shortage] = {}
        self._trying: str | None = None

    def look(self, unfinished: Sequence[Job]) -> None:
        """Measure the running orders, at most twice a second; forget the shortages of finished orders."""
        if self._clock() < self._next:
            return
        self._next = self._clock() + _EVERY
        if self._sizes is None:
            self.recount()
        for job in unfinished:
            if job.status is Status.RUNNING:
                self._measure(job.id)
        self._measure(PREBUILT_FOLDER)
        self._free = free_bytes(self._root)
        open_ = {job.id for job in unfinished}
        self._short = {job_id: short for job_id, short in self._short.items() if job_id in open_}
        self._trying = self._trying if self._trying in self._short else None
        note_usage(self._root, self._used)

    def recount(self) -> None:
        """Measure all folders."""
        self._sizes = {path.name: allocated(path) for path in self._root.glob("*")}
        self._used = sum(self._sizes.values())

    def settle(self, job_id: str) -> None:
        """Measure a job's folder after files were removed."""
        self._measure(job_id)
        self._free = free_bytes(self._root)

    def _measure(self, name: str) -> None:
        sizes = self._sizes = self._sizes or {}
        before, size = sizes.pop(name, 0), allocated(self._root / name)
        self._used += size - before
        if size:
            sizes[name] = size

    @property
    def is_over(self) -> bool:
        """Whether the results exceed the cap."""
        return self._cap is not None and self._used > self._cap

    @property
    def is_disk_full(self) -> bool:
        """Whether the disk is too full to write to."""
        return self._free < RESERVE

    def why_wait(self, job: Job) -> str:
        """Return why an accepted order must wait, as a message for the caller; empty if it may start."""
        short = self._short.get(job.id)
        if short and not (self._trying in {None, job.id} and self._clock() >= short.after and self._has(short.need)):
            return short.message
        if job.order.process in self.without_files:
            return ""
        if self._cap is not None and self._used >= self._cap:
            return cap_reached(self._cap)
        return DISK_FULL if self.is_disk_full else ""

    def _has(self, need: int) -> bool:
        return self._free >= need and (self._cap is None or self._used + need <= self._cap)

    def begun(self, job: Job) -> None:
        """Record that an order was started."""
        if job.id in self._short:
            self._trying = job.id

    def ran_short(self, job: Job) -> Shortage:
        """Record that a running attempt ran out of space, with the files it has now; once for each attempt."""
        known = self._short.get(job.id)
        if known is None or known.attempt != job.attempt:
            known = self._short[job.id] = self._shortage(job, known)
            self._trying = None if self._trying == job.id else self._trying
        return known

    def shortage(self, job: Job) -> Shortage | None:
        """Return the shortage of the running attempt, or None."""
        short = self._short.get(job.id)
        return short if short and short.attempt == job.attempt else None

    def _shortage(self, job: Job, before: Shortage | None) -> Shortage:
        """Require the space it had used and a reserve, and more than before, as its full need is unknown."""
        self._measure(job.id)
        had = (self._sizes or {}).get(job.id, 0)
        need = max(had + RESERVE, before.need * 5 // 4 if before else 0)
        tries = before.tries + 1 if before else 1
        after = self._clock() + min(_PAUSE * 2 ** (tries - 1), _LONGEST_PAUSE)
        if self._cap is None:
            return Shortage(job.attempt, need, DISK_FULL, tries, after)
        most = self._cap - (self._sizes or {}).get(PREBUILT_FOLDER, 0)
        hopeless = _too_large(self._cap) if had > most else ""
        message = cap_reached(self._cap) if self.is_over else DISK_FULL
        return Shortage(job.attempt, min(need, most), message, tries, after, hopeless)


def cap_reached(cap: int) -> str:
    """Return the message of orders that wait because of the cap."""
    return f"{_WAITS}: the stored results have reached their limit of {readable_size(cap)}."


def _too_large(cap: int) -> str:
    size = readable_size(cap)
    return f"The result is too large for this server, which keeps {size} of results in all; try a smaller area."
