"""Pass the events of Airflow's runs from the server that receives them to the worker that follows the runs."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

from sql.address import Url
from sql.connections import Connections, DatabaseAway

if TYPE_CHECKING:
    from sql.notify import PostgresListener

_log = logging.getLogger(__name__)

_CHANNEL = "landcast_airflow"
_ONCE = 1.0
"""Seconds after which the listener checks whether to stop."""
_PATIENCE = 2.0
"""Seconds until the listener tries an unavailable database again."""


def tell(place: Connections, run: str) -> None:
    """Notify the worker, on whichever machine, that a run has changed. Raises the database's errors."""
    from sql.notify import notify  # noqa: PLC0415  a server on SQLite does not need it

    with place.writing() as connection:
        notify(connection, _CHANNEL, run)


@contextmanager
def hearing(url: Url, hear: Callable[[str], None]) -> Iterator[None]:
    """Call `hear` with the name of each run that has an event, and with an empty name if events may be lost."""
    from sql.notify import PostgresListener  # noqa: PLC0415  likewise

    over = Event()
    thread = Thread(
        target=_listen, args=(PostgresListener(url, _CHANNEL), hear, over), name="airflow-news", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_ONCE * 2)


def _listen(ear: "PostgresListener", hear: Callable[[str], None], over: Event) -> None:
    with closing(ear):
        while not over.is_set():
            try:
                said = ear.hear(_ONCE)
            except DatabaseAway as error:
                _log.warning("events of runs are not received, runs are polled: %s", error)
                over.wait(_PATIENCE)
            else:
                for run in [""] if said is None else said:
                    hear(run)
