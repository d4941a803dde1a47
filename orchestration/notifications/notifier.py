"""The couriers of a worker, in threads beside its reconciler."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

from orchestration.errors import StoreUnavailable
from orchestration.notifications.courier import Courier, Retry
from orchestration.notifications.outcome import Deliver
from orchestration.store.jobs import StoredJobs
from orchestration.store.outbox import Kind, Outbox
from sql.connections import Place

_AT_ONCE = 3
"""Callbacks that are on their way at once, so that one slow receiver holds up no other."""


@dataclass(frozen=True, slots=True)
class Notifier:
    """What the couriers deliver with; without `mail` mails wait."""

    callback: Deliver
    mail: Deliver | None = None
    retry: Retry = field(default_factory=Retry)
    mail_retry: Retry = field(default_factory=Retry)

    def couriers(self, outbox: Outbox, store: StoredJobs) -> list[Courier]:
        """Return the couriers that work side by side."""
        kinds: list[tuple[Kind, Deliver, Retry]] = [("callback", self.callback, self.retry)] * _AT_ONCE
        kinds += [("mail", self.mail, self.mail_retry)] if self.mail else []
        return [Courier(kind, outbox, store, deliver, retry=retry) for kind, deliver, retry in kinds]


@contextmanager
def delivering(
    notifier: Notifier, place: Place, stop: Callable[[], bool], *, left: Callable[[], float]
) -> Iterator[None]:
    """Have the couriers at work on the database inside the block; they are given `left()` seconds at its end.

    A thread that is still on its way then ends with the process, and what it took is taken up by the next worker.
    """
    over = Event()
    with closing(Outbox(place, lazy=True)) as outbox, closing(StoredJobs(place, lazy=True)) as store:
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
    """Take up what the last worker left, before anything is taken anew."""
    while not stop():
        try:
            outbox.recover()
        except StoreUnavailable:
            time.sleep(1)
        else:
            return
