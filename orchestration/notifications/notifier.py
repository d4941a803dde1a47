"""Run the couriers of a worker in threads."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

from orchestration.errors import StoreUnavailable
from orchestration.notifications.courier import BatchCourier, Courier, Retry
from orchestration.notifications.outcome import Deliver, DeliverMany
from orchestration.store.jobs import StoredJobs
from orchestration.store.outbox import Kind, Outbox
from sql.connections import Database

_AT_ONCE = 3
"""Number of concurrent callbacks, so that one slow receiver does not block the others."""


@dataclass(frozen=True, slots=True)
class Notifier:
    """The delivery functions of the couriers; without `mail` or `message`, these stay in the outbox."""

    callback: Deliver
    mail: Deliver | None = None
    retry: Retry = field(default_factory=Retry)
    mail_retry: Retry = field(default_factory=Retry)
    message: Deliver | None = None
    messages: DeliverMany | None = None
    """Instead of `message`, where the broker takes many at a time."""

    def couriers(self, outbox: Outbox, store: StoredJobs) -> list[Courier]:
        """Return the couriers to run concurrently."""
        kinds: list[tuple[Kind, Deliver, Retry]] = [("callback", self.callback, self.retry)] * _AT_ONCE
        kinds += [("mail", self.mail, self.mail_retry)] if self.mail else []
        kinds += [("message", self.message, self.retry)] if self.message else []
        couriers = [Courier(kind, outbox, store, deliver, retry=retry) for kind, deliver, retry in kinds]
        if self.messages is not None:
            couriers.append(BatchCourier("message", outbox, store.listed, self.messages, retry=self.retry))
        return couriers


@contextmanager
def delivering(
    notifier: Notifier, database: Database, stop: Callable[[], bool], *, left: Callable[[], float]
) -> Iterator[None]:
    """Run the couriers on the database inside the context; at its end they have `left()` seconds to finish.

    A thread still running then ends with the process, and the next worker recovers its entry.
    """
    over = Event()
    with closing(Outbox(database, lazy=True)) as outbox, closing(StoredJobs(database, lazy=True)) as store:
        threads = [
            Thread(target=courier.run, args=(lambda: over.is_set() or stop(),), daemon=True)
            for courier in notifier.couriers(outbox, store)
        ]
        _recover(outbox, stop)
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            deadline = time.monotonic() + left()
            for thread in threads:
                thread.join(max(0, deadline - time.monotonic()))


def _recover(outbox: Outbox, stop: Callable[[], bool]) -> None:
    """Recover the entries of the last worker before any are taken."""
    while not stop():
        try:
            outbox.recover()
        except StoreUnavailable:
            time.sleep(1)
        else:
            return
