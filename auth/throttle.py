"""Throttle failed logins and API keys.

Failures are counted by address, and by address and name (the id of a key, a user). They are not counted by name alone:
anybody who knows an id could then lock out its owner, and it would not help, as 256 random bits cannot be guessed.
Keycloak's own brute-force detection counts passwords by user. A credential that was correct recently is not throttled,
so that users behind one address do not lock each other out.

Each process counts for itself: with N server processes an address has N times as many attempts. A throttled request
does not wait in a thread; it is refused with the time to wait.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from secrets import token_bytes
from time import monotonic

from auth.client_address import network_of
from auth.recent import Recent

_LONGEST_NAME = 64


class TooManyFailures(Exception):
    """Too many attempts failed; the next is accepted in `seconds` (429, `Retry-After`)."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many failed attempts; try again in {seconds} seconds")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Attempt:
    """An authentication attempt: network, name and a digest of the credential; made by a throttle."""

    address: str
    name: str
    proof: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff: no delay for `free` failures, then 1 s, 2 s, … up to `longest`; forgotten after `memory`."""

    free: int
    longest: float = 60
    memory: float = 900

    def pause(self, failures: int) -> float:
        """Return the delay in seconds after this number of failures."""
        beyond = min(failures - self.free, 30)
        return 0.0 if beyond < 1 else min(self.longest, 2.0 ** (beyond - 1))


@dataclass(frozen=True, slots=True)
class _Failures:
    count: int
    last: float


BY_ADDRESS = Backoff(free=30)
"""Many users may share an address, and one misconfigured map requests many tiles at once."""
BY_NAME = Backoff(free=10)
LOGINS = Backoff(free=100, longest=1, memory=600)
"""For logins that are begun: a /64 or an IPv4 address can have about 700 pending ones."""


class Throttle:
    """Counts the failures in one process, of at most `entries` addresses and as many pairs of address and name."""

    def __init__(
        self, *, by_address: Backoff = BY_ADDRESS, entries: int = 20_000, clock: Callable[[], float] = monotonic
    ) -> None:
        self._by_address = by_address
        self._clock = clock
        self._key = token_bytes(32)
        self._addresses: Recent[str, _Failures] = Recent(entries)
        self._names: Recent[tuple[str, str], _Failures] = Recent(entries)
        self._right: Recent[bytes, float] = Recent(entries)

    def attempt(self, address: str, name: str, credential: str) -> Attempt:
        """Return an attempt; `name` is the id of the key or the user, empty if there is none.

        Only a digest of the credential is stored, keyed with a secret of this process.
        """
        proof = blake2b(f"{name}\0{credential}".encode("utf-8", "replace"), key=self._key, digest_size=32).digest()
        return Attempt(network_of(address), name[:_LONGEST_NAME], proof)

    def admit(self, attempt: Attempt) -> None:
        """Return if the attempt may be verified, else raise TooManyFailures; then call `failed` or `succeeded`."""
        known = self._right.get(attempt.proof)
        if known is not None and self._clock() - known < self._by_address.memory:
            return
        wait = self._wait(self._addresses.get(attempt.address), self._by_address)
        if attempt.name:
            wait = max(wait, self._wait(self._names.get((attempt.address, attempt.name)), BY_NAME))
        if wait > 0:
            raise TooManyFailures(math.ceil(wait))

    def failed(self, attempt: Attempt) -> None:
        """Count a failure; the credential no longer counts as correct."""
        self._right.drop(attempt.proof)
        self._addresses.put(attempt.address, self._one_more(self._addresses.get(attempt.address), self._by_address))
        name = (attempt.address, attempt.name)
        self._names.put(name, self._one_more(self._names.get(name), BY_NAME))

    def succeeded(self, attempt: Attempt) -> None:
        """Forget the failures of this address with this name.

        Those of the address alone remain: otherwise a caller with one valid key could guess others without a limit.
        """
        self._right.put(attempt.proof, self._clock())
        self._names.drop((attempt.address, attempt.name))

    def _wait(self, failures: _Failures | None, pace: Backoff) -> float:
        return 0.0 if failures is None else failures.last + pace.pause(failures.count) - self._clock()

    def _one_more(self, failures: _Failures | None, pace: Backoff) -> _Failures:
        present = self._clock()
        forgotten = failures is None or present - failures.last > pace.memory
        return _Failures(1 if failures is None or forgotten else failures.count + 1, present)
