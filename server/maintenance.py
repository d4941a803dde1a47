"""Background maintenance of API keys and sessions."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

import anyio.to_thread
from anyio import CapacityLimiter

from auth.database import AccessUnavailable
from auth.keys.store import ApiKeys

_USES_SECONDS = 15.0
_SWEEPS_SECONDS = 3600.0
_LOG = logging.getLogger(__name__)


class Expiring(Protocol):
    """A store with expiring entries."""

    def sweep(self) -> int:
        """Delete expired entries; return how many."""


@asynccontextmanager
async def maintenance(
    keys: ApiKeys,
    swept: Sequence[Expiring],
    *,
    uses_seconds: float = _USES_SECONDS,
    sweeps_seconds: float = _SWEEPS_SECONDS,
) -> AsyncIterator[None]:
    """Write the uses of keys and delete expired entries, in a thread, until the context ends.

    An unavailable database is tried again at the next interval. Pending uses are written at the end.
    """
    thread = CapacityLimiter(1)
    tasks = [
        asyncio.create_task(_repeat(keys.write_uses, uses_seconds, thread)),
        *(asyncio.create_task(_repeat(each.sweep, sweeps_seconds, thread)) for each in swept),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _try(partial(keys.write_uses, at_once=True), thread)


async def _repeat(call: Callable[[], object], seconds: float, thread: CapacityLimiter) -> None:
    while True:
        await _try(call, thread)
        await asyncio.sleep(seconds)


async def _try(call: Callable[[], object], thread: CapacityLimiter) -> None:
    try:
        await anyio.to_thread.run_sync(call, limiter=thread)
    except AccessUnavailable as error:
        _LOG.warning("maintenance of keys and sessions failed and is repeated later: %s", error)
