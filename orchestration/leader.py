"""Leader election: one worker reconciles a state folder, and a database that several machines share."""

import fcntl
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sql.address import Url
from sql.connections import DatabaseAway

if TYPE_CHECKING:
    from sql.lock import PostgresLock

_log = logging.getLogger(__name__)

_SOON = 0.2
_LOOK = 1.0
"""Seconds between two checks whether we still lead."""
_STAND_BACK = 5.0
"""Seconds that a waiting worker leaves to the former leader after the database was unavailable."""
_NAME = "landcast work"


@contextmanager
def lead_folder(path: Path, stop: Callable[[], bool]) -> Iterator[bool]:
    """Wait for the folder's lock, which is released when its process ends; yield False if stopped before."""
    with path.open("w") as lock:
        while not stop():
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_SOON)
            else:
                yield True
                return
        yield False


class Leadership:
    """The leadership of a worker for a database; `is_over` is cheap to call often."""

    def __init__(self, lock: "PostgresLock | None") -> None:
        self._lock = lock
        self._next = time.monotonic() + _LOOK
        self._over = False

    def is_over(self) -> bool:
        """Return whether the leadership was lost; while the database is unavailable it is not."""
        if self._lock is None or self._over or time.monotonic() < self._next:
            return self._over
        self._next = time.monotonic() + _LOOK
        try:
            self._over = not self._lock.is_held()
        except DatabaseAway:
            return False
        return self._over


def worker_lock(url: Url) -> "PostgresLock":
    """Return the lock that the leading worker holds on the database."""
    from sql.lock import PostgresLock  # noqa: PLC0415  a worker on SQLite would load it for nothing

    return PostgresLock(url, _NAME)


@contextmanager
def lead_database(
    url: Url | None, stop: Callable[[], bool], seen: Callable[[float], None]
) -> Iterator[Leadership | None]:
    """Wait for the leadership of the database; yield None if stopped before.

    Meanwhile `seen` is called every second with the age of the leader's heartbeat, if there is a leader.
    """
    if url is None:
        yield Leadership(None)
        return
    lock = worker_lock(url)
    try:
        yield Leadership(lock) if _take(lock, stop, seen) else None
    finally:
        lock.close()


def _take(lock: "PostgresLock", stop: Callable[[], bool], seen: Callable[[float], None]) -> bool:
    look = 0.0
    while not stop():
        try:
            if lock.take():
                return True
            if time.monotonic() >= look:
                look = time.monotonic() + _LOOK
                if (age := lock.holder_age()) is not None:
                    seen(age)
            pause(_SOON, stop)
        except DatabaseAway as error:
            _log.warning("orders wait: %s", error)
            pause(_STAND_BACK, stop)
    return False


def pause(seconds: float, stop: Callable[[], bool]) -> None:
    """Sleep until the seconds are over or `stop` returns true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stop():
        time.sleep(min(_SOON, seconds))
