"""Whose turn it is to reconcile: one worker of a state folder, and of a database that several machines share."""

import fcntl
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sql.connections import DatabaseAway

if TYPE_CHECKING:
    from sql.lock import PostgresLock

_log = logging.getLogger(__name__)

_SOON = 0.2
_LOOK = 1.0
"""Seconds between two looks whether the turn is still ours."""
_STAND_BACK = 5.0
"""Seconds that who waits leaves a database that was away to the worker that had the turn."""
_NAME = "landcast work"


@contextmanager
def turn_of_folder(path: Path, stop: Callable[[], bool]) -> Iterator[bool]:
    """Wait for the lock, which ends with the process that holds it; False when we are stopped before."""
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
    """The turn of a database's worker; `is_over` may be asked as often as one likes."""

    def __init__(self, lock: "PostgresLock | None") -> None:
        self._lock = lock
        self._next = time.monotonic() + _LOOK
        self._over = False

    def is_over(self) -> bool:
        """Say whether another worker has the turn now; while the database is away nobody has."""
        if self._lock is None or self._over or time.monotonic() < self._next:
            return self._over
        self._next = time.monotonic() + _LOOK
        try:
            self._over = not self._lock.is_held()
        except DatabaseAway:
            return False
        return self._over


def worker_lock(url: str) -> "PostgresLock":
    """Return the lock that the worker whose turn it is holds on the database."""
    from sql.lock import PostgresLock  # noqa: PLC0415  a worker on SQLite would load it for nothing

    return PostgresLock(url, _NAME)


@contextmanager
def turn_of_database(url: str | None, stop: Callable[[], bool]) -> Iterator[Leadership | None]:
    """Wait for the turn on the database that others may share; None when we are stopped before."""
    if url is None:
        yield Leadership(None)
        return
    lock = worker_lock(url)
    try:
        yield Leadership(lock) if _take(lock, stop) else None
    finally:
        lock.close()


def _take(lock: "PostgresLock", stop: Callable[[], bool]) -> bool:
    while not stop():
        try:
            if lock.take():
                return True
            pause(_SOON, stop)
        except DatabaseAway as error:
            _log.warning("orders wait: %s", error)
            pause(_STAND_BACK, stop)
    return False


def pause(seconds: float, stop: Callable[[], bool]) -> None:
    """Wait, but not for longer than until we are stopped."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stop():
        time.sleep(min(_SOON, seconds))
