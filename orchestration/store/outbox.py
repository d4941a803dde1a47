"""The outbox in the orders' database: what is due, what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal

from orchestration.job import Status
from orchestration.store import statements
from orchestration.store.database import OrdersDatabase
from sql.times import now

Kind = Literal["callback", "mail"]


class State(StrEnum):
    """How the delivery of an entry stands."""

    WAITING = "waiting"
    DUE = "due"
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """A mail was handed over, or was about to be, and the answer never came: it is not sent again."""


@dataclass(frozen=True, slots=True)
class Notification:
    """How one delivery stands, without its address."""

    kind: Kind
    event: Status
    state: State
    tries: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What was taken to be sent: its `tries`-th try."""

    number: int
    job_id: str
    kind: Kind
    event: Status
    address: str = field(repr=False)
    tries: int = 1


class Outbox(OrdersDatabase):
    """The entries that orders put there; every method is one transaction, safe from several processes and threads."""

    def take(self, kind: Kind) -> Entry | None:
        """Return an entry that is due, from now on `sending`, which is durable; None where there is none."""
        values = {"kind": kind, "now": now()}
        with self._reading() as connection:
            if connection.execute(statements.ANY_DUE, values).fetchone() is None:
                return None
        with self._writing() as connection:
            row = connection.execute(statements.TAKE, values).fetchone()
        return _entry(row) if row else None

    def settle(self, entry: Entry, state: State) -> None:
        """Note how a taken entry ended."""
        self._settle(entry, state, None)

    def postpone(self, entry: Entry, seconds: float) -> None:
        """Have a taken entry due again after so many seconds."""
        self._settle(entry, State.DUE, now() + timedelta(seconds=seconds) // timedelta(microseconds=1))

    def recover(self) -> None:
        """Take up what a courier that is gone left: callbacks are due again, the outcome of mails is unknown."""
        with self._writing() as connection:
            connection.execute(statements.LEFT_CALLBACKS, {"now": now()})
            connection.execute(statements.LEFT_MAILS)

    def notifications(self, job_id: str) -> tuple[Notification, ...]:
        """Return how the deliveries of an order stand."""
        with self._reading() as connection:
            rows = connection.execute(statements.NOTIFICATIONS, {"id": job_id}).fetchall()
        return tuple(Notification(row["kind"], Status(row["event"]), State(row["state"]), row["tries"]) for row in rows)

    def _settle(self, entry: Entry, state: State, due: int | None) -> None:
        with self._writing() as connection:
            connection.execute(statements.SETTLE, {"number": entry.number, "state": state, "due": due})


def _entry(row: Mapping[str, Any]) -> Entry:
    return Entry(row["number"], row["job"], row["kind"], Status(row["event"]), row["address"], row["tries"])
