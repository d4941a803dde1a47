"""Cache of the issuer's signing keys: refreshed in the background, and kept while the issuer is unreachable."""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from auth.issuer import IssuerUnreachable
from auth.refusal import InvalidToken, KeysUnavailable
from auth.signing_keys import SigningKey

LIFETIME = 300.0
"""Seconds for which fetched keys are used without another fetch."""
_AHEAD = 60.0
_RETRY = 5
_LONGEST_WAIT = 0.5
_LOOKUPS, _LOOKUPS_WITHIN = 3, 30.0
_REMEMBERED_ABSENT = 1024
_LOG = logging.getLogger(__name__)

FetchKeys = Callable[[], Awaitable[Mapping[str, SigningKey]]]
"""Return the keys by `kid` within `timeout` seconds. Raises IssuerUnreachable."""


class KeyRing:
    """The keys of one issuer, for one event loop.

    While `running`, the keys are refreshed in the background, so that no request waits for the issuer. An unknown
    `kid` is looked up at once, however fresh the keys are, because the issuer may have rotated them. At most three such
    lookups are made within 30 s, so that a flood of made-up ids does not reach the issuer; further unknown ids raise
    KeysUnavailable.
    """

    def __init__(self, fetch: FetchKeys, *, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.fetched: float | None = None
        """Time of the last successful fetch."""
        self.problem: str | None = "the issuer's keys have not been fetched yet"
        self._fetch_keys = fetch
        self._timeout = timeout
        self._clock = clock
        self._keys: Mapping[str, SigningKey] = {}
        self._fresh_until = self._retry_at = -math.inf
        self._fetching: asyncio.Task[None] | None = None
        self._started = self._completed = 0
        self._asked: deque[float] = deque(maxlen=_LOOKUPS)
        self._absent: dict[str, float] = {}

    def known(self, kid: str) -> SigningKey | None:
        """Return the key if it is cached and fresh, or None."""
        return self._keys.get(kid) if self._clock() < self._fresh_until else None

    async def find(self, kid: str) -> SigningKey:
        """Return the key, fetching it if needed. Raises InvalidToken, KeysUnavailable.

        A cached key is returned within 0.5 s, even if the issuer hangs.
        """
        before = self._started
        if self._clock() >= self._fresh_until and self._clock() >= self._retry_at:
            await self._refresh_shortly()
        return self._keys.get(kid) or await self._ask_for(kid, before)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Fetch the keys and refresh them before they expire, until the context ends. Enter it after the fork."""
        await self._join_fetch()
        task = asyncio.create_task(self._keep_fresh())
        try:
            yield
        finally:
            for pending in (task, self._fetching):
                await _end(pending)

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(_RETRY if self.problem else LIFETIME - _AHEAD)
            await self._join_fetch()

    async def _refresh_shortly(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._join_fetch(), _LONGEST_WAIT)

    async def _ask_for(self, kid: str, before: int) -> SigningKey:
        """Wait for a fetch that started after this call: an earlier one may have missed a new key."""
        self._refuse_absent(kid)
        while self._completed <= before:
            if self._fetching is None:
                self._count_lookup()
            await self._join_fetch()
        if (key := self._keys.get(kid)) is not None:
            return key
        if self.problem is not None:
            raise KeysUnavailable(self.problem, retry_after=_RETRY)
        self._remember_absent(kid)
        raise _unpublished()

    def _refuse_absent(self, kid: str) -> None:
        if self._clock() - self._absent.get(kid, -math.inf) < _LOOKUPS_WITHIN:
            raise _unpublished()

    def _remember_absent(self, kid: str) -> None:
        if len(self._absent) >= _REMEMBERED_ABSENT:
            self._absent.clear()
        self._absent[kid] = self._clock()

    def _count_lookup(self) -> None:
        now = self._clock()
        if now < self._retry_at:
            raise KeysUnavailable(self.problem or "", retry_after=_RETRY)
        if len(self._asked) == _LOOKUPS and (left := self._asked[0] + _LOOKUPS_WITHIN - now) > 0:
            raise KeysUnavailable("too many unknown keys were asked for", retry_after=math.ceil(left))
        if self._keys:
            self._asked.append(now)

    async def _join_fetch(self) -> None:
        """Join the fetch in progress or start one; a cancelled caller does not cancel it for the others."""
        if self._fetching is None:
            self._started += 1
            self._fetching = asyncio.create_task(self._fetch())
        await asyncio.shield(self._fetching)

    async def _fetch(self) -> None:
        try:
            self._take(await self._fetch_keys())
        except IssuerUnreachable as error:
            self._keep_old_keys(str(error))
        finally:
            self._completed = self._started
            self._fetching = None

    def _take(self, keys: Mapping[str, SigningKey]) -> None:
        if self.problem is not None:
            _LOG.info("the issuer's keys were fetched")
        for kid in self._keys.keys() - keys.keys():
            self._remember_absent(kid)
        self._keys = keys
        self.fetched = time.time()
        self.problem = None
        self._fresh_until = self._clock() + LIFETIME

    def _keep_old_keys(self, problem: str) -> None:
        if self.problem != problem:
            _LOG.warning(
                "the issuer's keys cannot be fetched, %s: %s",
                "the cached ones are used" if self._keys else "none are cached",
                problem,
            )
        self.problem = problem
        now = self._clock()
        self._retry_at = now + _RETRY / 2
        self._asked.clear()  # failed lookups do not count; `_retry_at` bounds how often they are made
        if self._keys:
            # Longer than the next attempt of `_keep_fresh` takes, so that no request waits for a hanging issuer.
            self._fresh_until = max(self._fresh_until, now + _RETRY + self._timeout + 1)


def _unpublished() -> InvalidToken:
    return InvalidToken("the token is signed with a key that the issuer does not publish")


async def _end(task: "asyncio.Task[None] | None") -> None:
    if task is not None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
