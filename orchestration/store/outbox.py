"""The outbox in the database of the jobs: notifications and their delivery."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

from orchestration.job import Status
from orchestration.store import statements
from orchestration.store.database import OrdersStore
from sql.connect import now, time_of
from sql.connections import among

Kind = Literal["callback", "mail", "message"]


class State(StrEnum):
    """The state of an entry's delivery."""

    WAITING = "waiting"
    DUE = "due"
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """A mail may have been sent, but no reply came; it is not sent again."""


@dataclass(frozen=True, slots=True)
class Notification:
    """The state of a delivery, without its address."""

    kind: Kind
    event: Status
    state: State
    tries: int


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry taken for delivery, with the number of this attempt.

    One about a download has the time of it in `at`; if that was of a file of a `collection`, it is about no job.
    """

    number: int
    job_id: str | None
    kind: Kind
    event: Status
    address: str = field(repr=False)
    tries: int = 1
    at: datetime | None = None
    collection: str | None = None


class Outbox(OrdersStore):
    """The notifications of orders; every method is one transaction, safe across processes and threads."""

    def take(self, kind: Kind) -> Entry | None:
        """Return a due entry, durably changed to `sending`, or None."""
        values = {"kind": kind, "now": now()}
        with self._reading() as connection:
            if connection.execute(statements.ANY_DUE, values).fetchone() is None:
                return None
        with self._writing() as connection:
            row = connection.execute(statements.TAKE, values).fetchone()
        return _entry(row) if row else None

    def take_many(self, kind: Kind, most: int) -> list[Entry]:
        """Return due entries by number, durably changed to `sending`; only one courier of the kind may do so."""
        values = {"kind": kind, "now": now(), "most": most}
        with self._reading() as connection:
            if connection.execute(statements.ANY_DUE, values).fetchone() is None:
                return []
        with self._writing() as connection:
            rows = connection.execute(statements.TAKE_MANY, values).fetchall()
        return sorted(map(_entry, rows), key=lambda entry: entry.number)

    def settle_many(self, entries: Iterable[Entry], state: State) -> None:
        """Set the final state of taken entries in one transaction."""
        numbers, values = among("number", (entry.number for entry in entries))
        with self._writing() as connection:
            connection.execute(statements.SETTLE_MANY.format(numbers), {**values, "state": state})

    def put_back(self, entries: Iterable[Entry], seconds: float) -> None:
        """Make taken entries due again after this many seconds, as if they had not been taken."""
        numbers, values = among("number", (entry.number for entry in entries))
        due = now() + timedelta(seconds=seconds) // timedelta(microseconds=1)
        with self._writing() as connection:
            connection.execute(statements.PUT_BACK.format(numbers), {**values, "due": due})

    def settle(self, entry: Entry, state: State) -> None:
        """Set the final state of a taken entry."""
        self._settle(entry, state, None)

    def postpone(self, entry: Entry, seconds: float) -> None:
        """Make a taken entry due again after this many seconds."""
        self._settle(entry, State.DUE, now() + timedelta(seconds=seconds) // timedelta(microseconds=1))

    def recover(self) -> None:
        """Recover the entries of ended couriers: callbacks and messages become due again, mails become unknown."""
        with self._writing() as connection:
            connection.execute(statements.LEFT_CALLBACKS, {"now": now()})
            connection.execute(statements.LEFT_MAILS)

    def notifications(self, job_id: str) -> tuple[Notification, ...]:
        """Return the states of an order's notifications; messages to everybody are none of its owner's."""
        with self._reading() as connection:
            rows = connection.execute(statements.NOTIFICATIONS, {"id": job_id}).fetchall()
        return tuple(Notification(row["kind"], Status(row["event"]), State(row["state"]), row["tries"]) for row in rows)

    def _settle(self, entry: Entry, state: State, due: int | None) -> None:
        with self._writing() as connection:
            connection.execute(statements.SETTLE, {"number": entry.number, "state": state, "due": due})


def _entry(row: Mapping[str, Any]) -> Entry:
    at = None if row["at"] is None else time_of(row["at"])
    event, address = Status(row["event"]), row["address"]
    return Entry(row["number"], row["job"], row["kind"], event, address, row["tries"], at, row["collection"])
