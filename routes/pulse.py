"""Whether Airflow works, asked no more often than every few seconds however often it is asked here."""

import time
from collections.abc import Callable
from threading import Lock

import httpx2

_FRESH = 5.0
"""Seconds for which an answer is given again."""
_PATIENCE = 3.0
_PATH = "/api/v2/monitor/health"
"""What Airflow answers everybody."""


class Pulse:
    """Airflow at `url`, as the server sees it; the worker's own look says more, in the log and on waiting orders."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._lock = Lock()
        self._found = ""
        self._until = 0.0

    def trouble(self) -> str:
        """Return what is wrong with it, empty where nothing is."""
        with self._lock:
            if self._clock() >= self._until:
                self._found = self._ask()
                self._until = self._clock() + _FRESH
            return self._found

    def _ask(self) -> str:
        try:
            answer = httpx2.get(f"{self._url}{_PATH}", timeout=_PATIENCE)
            status = answer.raise_for_status().json()["scheduler"]["status"]
        except httpx2.HTTPError as error:
            return f"Airflow does not answer: {type(error).__name__}"
        except (ValueError, KeyError, TypeError):
            return "Airflow's answer cannot be read"
        return "" if status == "healthy" else "Airflow's scheduler gives no sign of life"
