"""What Airflow tells of its runs, on its way from the server that took it to the worker that follows them."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

from sql.connections import Connections, DatabaseAway

if TYPE_CHECKING:
    from sql.notify import PostgresListener

_log = logging.getLogger(__name__)

_CHANNEL = "landcast_airflow"
_ONCE = 1.0
"""Seconds after which somebody who listens looks whether to stop."""
_PATIENCE = 2.0
"""Seconds until a database that was away is listened to again."""


def tell(place: Connections, run: str) -> None:
    """Tell the worker, wherever it is, that something became of a run. Raises what the database fails with."""
    from sql.notify import notify  # noqa: PLC0415  a server on SQLite would load it for nothing

    with place.writing() as connection:
        notify(connection, _CHANNEL, run)


@contextmanager
def hearing(url: str, hear: Callable[[str], None]) -> Iterator[None]:
    """Have `hear` called with each run that something is told of, and with an empty name where it may have been."""
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
                _log.warning("news of runs are not heard, they are looked at every few seconds: %s", error)
                over.wait(_PATIENCE)
            else:
                for run in [""] if said is None else said:
                    hear(run)
