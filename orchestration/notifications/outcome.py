"""How one try to deliver ended."""

from dataclasses import dataclass
from typing import Protocol

from orchestration.job import Job
from orchestration.store.outbox import Entry, State


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state the entry comes to, `due` where another try may help; why, for the log, without address or secret.

    `after` is how many seconds the receiver wants to be left alone.
    """

    state: State
    why: str = ""
    after: float = 0


class Deliver(Protocol):
    """One try to deliver an entry; must not raise for an ordinary failure."""

    def __call__(self, entry: Entry, job: Job) -> Outcome:
        """Deliver it, in bounded time."""
