"""A courier delivers the entries of the outbox one by one."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from orchestration.errors import BrokerAway, StoreUnavailable
from orchestration.job import Job
from orchestration.notifications.outcome import Deliver, DeliverMany, Outcome
from orchestration.store import JobStore
from orchestration.store.outbox import Entry, Kind, Outbox, State

_log = logging.getLogger(__name__)

_IDLE = 0.25
_PATIENCE = 1.0
"""Seconds to wait after a failure of the store."""
_LONGEST_PAUSE = 3600.0
_SLOWER = 3
_TOGETHER = 500
"""Messages that are published together."""
_MISSING = Outcome(State.FAILED, "the order no longer exists")


@dataclass(frozen=True, slots=True)
class Retry:
    """Maximum delivery attempts, and the pause before the second; each further pause is three times as long."""

    tries: int = 8
    pause: float = 10

    def pause_after(self, tries: int, *, asked: float = 0) -> float:
        """Return the pause after this many attempts, at least what the receiver asked for, at most an hour."""
        return float(min(max(self.pause * _SLOWER ** (tries - 1), asked), _LONGEST_PAUSE))


class Courier:
    """Delivers entries of one kind; several couriers may share an outbox."""

    def __init__(self, kind: Kind, outbox: Outbox, store: JobStore, deliver: Deliver, *, retry: Retry) -> None:
        self._kind: Kind = kind
        self._outbox = outbox
        self._store = store
        self._deliver = deliver
        self._retry = retry

    def run(self, stop: Callable[[], bool]) -> None:
        """Deliver until `stop` returns true; wait while the store is unavailable."""
        while not stop():
            try:
                busy = self._round(stop)
            except StoreUnavailable as error:
                _log.warning("notifications wait: %s", error)
                time.sleep(_PATIENCE)
            else:
                time.sleep(0 if busy else _IDLE)

    def _round(self, stop: Callable[[], bool]) -> bool:
        """Deliver one entry and record its outcome; return False if none is due."""
        entry = self._outbox.take(self._kind)
        if entry is None:
            return False
        outcome = self._attempt(entry, stop)
        _insist(lambda: self._note(entry, outcome), stop)
        return True

    def _attempt(self, entry: Entry, stop: Callable[[], bool]) -> Outcome:
        job_id = entry.job_id
        job = None if job_id is None else _insist(lambda: self._store.get(job_id), stop)
        if job is None and job_id is not None:
            return _MISSING
        try:
            return self._deliver(entry, job)
        except Exception:  # noqa: BLE001  the outermost handler of the thread: an error ends only this entry
            _log.exception("notification failed", extra=_names(entry))
            return Outcome(State.UNKNOWN, "an unexpected error")

    def _note(self, entry: Entry, outcome: Outcome) -> None:
        again = outcome.state is State.DUE and entry.tries < self._retry.tries
        ends = State.FAILED if outcome.state is State.DUE else outcome.state
        if again:
            self._outbox.postpone(entry, self._retry.pause_after(entry.tries, asked=outcome.after))
        else:
            self._outbox.settle(entry, ends)
        log = _log.info if outcome.state is State.DELIVERED else _log.warning
        word = "is tried again" if again else str(ends)
        log("%s of %s, try %d: %s: %s", entry.kind, entry.event, entry.tries, word, outcome.why, extra=_names(entry))


class BatchCourier(Courier):
    """Delivers messages to everybody, many at a time; it must be the only courier of its kind.

    While the broker is away the messages wait, however long, and no attempt counts.
    """

    def __init__(
        self,
        kind: Kind,
        outbox: Outbox,
        jobs: Callable[[Iterable[str]], Mapping[str, Job]],
        deliver: DeliverMany,
        *,
        retry: Retry,
    ) -> None:
        self._kind: Kind = kind
        self._outbox = outbox
        self._jobs = jobs
        self._deliver_many = deliver
        self._retry = retry

    def _round(self, stop: Callable[[], bool]) -> bool:
        """Deliver what is due and record the outcomes; return False if nothing is, or the broker is away."""
        entries = self._outbox.take_many(self._kind, _TOGETHER)
        if not entries:
            return False
        jobs = _insist(lambda: self._jobs({entry.job_id for entry in entries if entry.job_id is not None}), stop)
        found = [
            (entry, None if entry.job_id is None else jobs[entry.job_id])
            for entry in entries
            if entry.job_id is None or entry.job_id in jobs
        ]
        try:
            outcomes = self._deliver_many(found)
        except BrokerAway as error:
            _log.warning("%d messages wait: %s", len(entries), error)
            _insist(lambda: self._outbox.put_back(entries, _PATIENCE), stop)
            return False
        by_number = {entry.number: outcome for (entry, _), outcome in zip(found, outcomes, strict=True)}
        delivered = [each for each in entries if by_number.get(each.number, _MISSING).state is State.DELIVERED]
        _insist(lambda: self._outbox.settle_many(delivered, State.DELIVERED), stop)
        _log.info("%d messages were published", len(delivered))
        for entry in entries:
            if (outcome := by_number.get(entry.number, _MISSING)).state is not State.DELIVERED:
                _insist(partial(self._note, entry, outcome), stop)
        return True


def _names(entry: Entry) -> dict[str, str]:
    return {"collection": entry.collection or ""} if entry.job_id is None else {"job": entry.job_id}


def _insist[Value](act: Callable[[], Value], stop: Callable[[], bool]) -> Value:
    """Call `act` until the store is available. Raises StoreUnavailable if stopped before."""
    while True:
        try:
            return act()
        except StoreUnavailable:
            if stop():
                raise
            time.sleep(_PATIENCE)
