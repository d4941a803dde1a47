"""Threads for foreign providers: a few for each collection, so that one that hangs delays no other."""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from math import inf

import anyio
from anyio import CapacityLimiter, Semaphore
from anyio.from_thread import run_sync

from routes.http.problem import Problem

_LOGGER = logging.getLogger(__name__)
_THREADS = 4
_PATIENCE = 5.0
"""Seconds that a request waits for a thread."""
_RETRY_AFTER = "10"


class FewThreads:
    """Runs calls that may hang, in a few threads; an abandoned call keeps its place until it ends.

    `name` is what the 503 calls busy. For one event loop.
    """

    def __init__(self, name: str, threads: int = _THREADS) -> None:
        self._name = name
        self._free = Semaphore(threads)
        self._behind: set[asyncio.Task[object]] = set()

    async def run[T](self, call: Callable[[], T]) -> T:
        """Return the value of the call. Raises Problem 503 if no thread becomes free, and the call's exceptions."""
        with anyio.move_on_after(_PATIENCE) as waited:
            await self._free.acquire()
        if waited.cancelled_caught:
            headers = {"Retry-After": _RETRY_AFTER}
            detail = f"{self._name} is busy: its data source does not answer in time"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers)

        def called() -> T:
            try:
                return call()
            finally:
                run_sync(self._free.release)

        return await anyio.to_thread.run_sync(called, abandon_on_cancel=True, limiter=CapacityLimiter(inf))

    def start(self, call: Callable[[], object]) -> None:
        """Start a call in the background, from one of the threads; its exceptions are logged."""

        def begin() -> None:
            task = asyncio.get_running_loop().create_task(self.run(call))
            self._behind.add(task)
            task.add_done_callback(self._ended)

        run_sync(begin)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._behind.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOGGER.warning("%s, renewed in the background: %s", self._name, error)
