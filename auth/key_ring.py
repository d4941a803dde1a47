"""The issuer's keys, kept: fetched ahead of their use, one fetch at a time, old ones while the issuer is away."""

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
"""Seconds for which fetched keys are used without asking again."""
_AHEAD = 60.0
_RETRY = 5
_LONGEST_WAIT = 0.5
_ASKED, _ASKED_WITHIN = 3, 30.0
_REMEMBERED_ABSENT = 1024
_LOG = logging.getLogger(__name__)

FetchKeys = Callable[[], Awaitable[Mapping[str, SigningKey]]]
"""Return the keys by `kid`; raises IssuerUnreachable, within `timeout` seconds."""


class KeyRing:
    """The keys of one issuer, for one event loop.

    With `running` the keys are fetched in the background, so that no request waits for the issuer. A `kid` that is
    not there is asked for at once, however fresh the keys are (the issuer may have changed them a second ago); but
    after the third such question within 30 s nobody is asked any more, so that a flood of made-up ids is none for the
    issuer: whoever comes with yet another id is told to come again.
    """

    def __init__(self, fetch: FetchKeys, *, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.problem: str | None = "the issuer's keys were not fetched yet"
        self._fetch_keys = fetch
        self._timeout = timeout
        self._clock = clock
        self._keys: Mapping[str, SigningKey] = {}
        self._fresh_until = self._retry_at = -math.inf
        self._flight: asyncio.Task[None] | None = None
        self._started = self._landed = 0
        self._asked: deque[float] = deque(maxlen=_ASKED)
        self._absent: dict[str, float] = {}

    def known(self, kid: str) -> SigningKey | None:
        """Return the key if it is there and need not be asked for."""
        return self._keys.get(kid) if self._clock() < self._fresh_until else None

    async def find(self, kid: str) -> SigningKey:
        """Return the key, asking the issuer where one must. Raises InvalidToken, KeysUnavailable.

        A key that is there is waited for 0.5 s at most, also when the issuer hangs.
        """
        before = self._started
        if self._clock() >= self._fresh_until and self._clock() >= self._retry_at:
            await self._refresh_shortly()
        return self._keys.get(kid) or await self._ask_for(kid, before)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Fetch the keys, and again before they are too old, until the end. To be entered after the fork."""
        await self._fly()
        task = asyncio.create_task(self._keep_fresh())
        try:
            yield
        finally:
            for pending in (task, self._flight):
                await _end(pending)

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(_RETRY if self.problem else LIFETIME - _AHEAD)
            await self._fly()

    async def _refresh_shortly(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._fly(), _LONGEST_WAIT)

    async def _ask_for(self, kid: str, before: int) -> SigningKey:
        """Wait for a fetch that began after the caller came: an earlier one may have missed a new key."""
        self._refuse_absent(kid)
        while self._landed <= before:
            if self._flight is None:
                self._spend_question()
            await self._fly()
        if (key := self._keys.get(kid)) is not None:
            return key
        if self.problem is not None:
            raise KeysUnavailable(self.problem, retry_after=_RETRY)
        self._remember_absent(kid)
        raise _unpublished()

    def _refuse_absent(self, kid: str) -> None:
        if self._clock() - self._absent.get(kid, -math.inf) < _ASKED_WITHIN:
            raise _unpublished()

    def _remember_absent(self, kid: str) -> None:
        if len(self._absent) >= _REMEMBERED_ABSENT:
            self._absent.clear()
        self._absent[kid] = self._clock()

    def _spend_question(self) -> None:
        now = self._clock()
        if now < self._retry_at:
            raise KeysUnavailable(self.problem or "", retry_after=_RETRY)
        if len(self._asked) == _ASKED and (left := self._asked[0] + _ASKED_WITHIN - now) > 0:
            raise KeysUnavailable("too many unknown keys were asked for", retry_after=math.ceil(left))
        if self._keys:
            self._asked.append(now)

    async def _fly(self) -> None:
        """Join the fetch that is under way, or start one; whoever goes away does not end it for the others."""
        if self._flight is None:
            self._started += 1
            self._flight = asyncio.create_task(self._fetch())
        await asyncio.shield(self._flight)

    async def _fetch(self) -> None:
        try:
            self._take(await self._fetch_keys())
        except IssuerUnreachable as error:
            self._do_without(str(error))
        finally:
            self._landed = self._started
            self._flight = None

    def _take(self, keys: Mapping[str, SigningKey]) -> None:
        if self.problem is not None:
            _LOG.info("the issuer's keys were fetched")
        for kid in self._keys.keys() - keys.keys():
            self._remember_absent(kid)
        self._keys = keys
        self.problem = None
        self._fresh_until = self._clock() + LIFETIME

    def _do_without(self, problem: str) -> None:
        if self.problem != problem:
            _LOG.warning(
                "the issuer's keys cannot be fetched, %s: %s", "those known are used" if self._keys else "none", problem
            )
        self.problem = problem
        now = self._clock()
        self._retry_at = now + _RETRY / 2
        self._asked.clear()  # what was not answered does not count; how often one asks is bounded by the line above
        if self._keys:
            # Longer than the next try of `_keep_fresh` takes, so that no request meets a hanging issuer.
            self._fresh_until = max(self._fresh_until, now + _RETRY + self._timeout + 1)


def _unpublished() -> InvalidToken:
    return InvalidToken("the token is signed with a key that its issuer does not publish")


async def _end(task: "asyncio.Task[None] | None") -> None:
    if task is not None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
