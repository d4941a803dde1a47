"""The outcome of a delivery attempt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from orchestration.job import Job
from orchestration.store.outbox import Entry, State


@dataclass(frozen=True, slots=True)
class Outcome:
    """The new state of the entry, `due` to try again, and the reason for the log, without address or secret.

    `after` is the receiver's `Retry-After` in seconds.
    """

    state: State
    why: str = ""
    after: float = 0


class DeliverMany(Protocol):
    """A delivery attempt for several messages, each with its job, or None if it is about a collection."""

    def __call__(self, entries: Sequence[tuple[Entry, Job | None]]) -> Sequence[Outcome]:
        """Deliver them, in bounded time, and return the outcome of each. Raises BrokerAway if none was sent."""


class Deliver(Protocol):
    """A delivery attempt for an entry; an ordinary failure is an outcome, not an exception."""

    def __call__(self, entry: Entry, job: Any) -> Outcome:
        """Deliver it, in bounded time; the Job is None for a message about a collection alone."""
