"""Threads for providers that are not ours: a few for each collection, so that one that hangs holds up no other."""

from collections.abc import Callable
from http import HTTPStatus
from math import inf

import anyio
from anyio import CapacityLimiter, Semaphore
from anyio.from_thread import run_sync

from routes.http.problem import Problem

_THREADS = 4
_PATIENCE = 5.0
"""Seconds that a request waits for a thread."""
_RETRY_AFTER = "10"


class FewThreads:
    """Runs calls that may hang: a thread that nobody waits for any more keeps its place until it ends.

    `name` says in the 503 what is busy. For one event loop.
    """

    def __init__(self, name: str, threads: int = _THREADS) -> None:
        self._name = name
        self._free = Semaphore(threads)

    async def run[T](self, call: Callable[[], T]) -> T:
        """Return what the call returns. Raises Problem 503 where no thread becomes free, and what the call raises."""
        with anyio.move_on_after(_PATIENCE) as waited:
            await self._free.acquire()
        if waited.cancelled_caught:
            headers = {"Retry-After": _RETRY_AFTER}
            detail = f"{self._name} is busy: what it is read from does not answer in time"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers)

        def called() -> T:
            try:
                return call()
            finally:
                run_sync(self._free.release)

        return await anyio.to_thread.run_sync(called, abandon_on_cancel=True, limiter=CapacityLimiter(inf))
