"""The sign of life of the reconciler."""

import os
import time
from contextlib import suppress
from pathlib import Path

_HEARTBEAT = "heartbeat"


class Heartbeat:
    """A file whose age says whether the reconciler goes round, on this machine or, while we stand by, on another."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / _HEARTBEAT
        self._next = 0.0

    def __call__(self) -> None:
        """Touch the file, once a second at most."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 1
            with suppress(OSError):
                self._path.touch()

    def seen(self, age: float) -> None:
        """Give the file the age of the heartbeat of a reconciler on another machine, in seconds."""
        at = time.time() - age
        with suppress(OSError):
            self._path.touch()
            os.utime(self._path, (at, at))


def heartbeat_age(state_dir: Path) -> float | None:
    """Return the seconds since a reconciler last went round, None where none ever did."""
    try:
        return max(0.0, time.time() - (state_dir / _HEARTBEAT).stat().st_mtime)
    except OSError:
        return None
