"""Failed logins and keys, slowed.

What is slowed: an address that fails with whatever names, and an address that fails with one name (the id of a key, a
user). There is no count for a name alone: it would let anybody who knows an id lock its owner out, from anywhere, and
would win nothing, as no number of addresses guesses 256 random bits; the passwords of people are Keycloak's, whose
brute-force detection counts by user. A credential that was right a while ago is not slowed at all, so that neighbours
behind one address do not lock each other out once they are known.

The memory is of one process: behind N server processes an address has N times as many tries. Nobody is made to wait in
a thread: what comes too early is refused with the time to wait.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from secrets import token_bytes
from time import monotonic

from auth.client_address import neighbourhood
from auth.recent import Recent

_LONGEST_NAME = 64


class TooManyFailures(Exception):
    """Too many attempts failed; `seconds` is when the next is looked at (429, `Retry-After`)."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many failed attempts; try again in {seconds} seconds")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to be let in: whence, under which name, and with what; a throttle makes it."""

    address: str
    name: str
    proof: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pace:
    """How failures are slowed: `free` cost nothing, then 1 s, 2 s, 4 s … up to `longest`; forgotten after `memory`."""

    free: int
    longest: float = 60
    memory: float = 900

    def pause(self, failures: int) -> float:
        """Return for how many seconds nothing is looked at after so many failures."""
        beyond = min(failures - self.free, 30)
        return 0.0 if beyond < 1 else min(self.longest, 2.0 ** (beyond - 1))


@dataclass(frozen=True, slots=True)
class _Failures:
    count: int
    last: float


BY_ADDRESS = Pace(free=30)
"""Many may share an address, and one misconfigured map asks for many tiles at once."""
BY_NAME = Pace(free=10)
LOGINS = Pace(free=100, longest=1, memory=600)
"""Logins begun, which nobody has to finish: a /64 or an IPv4 address has some 700 of those that are kept."""


class Throttle:
    """Remembers the failures of `entries` addresses at most, and as many of addresses with a name; of one process."""

    def __init__(
        self, *, by_address: Pace = BY_ADDRESS, entries: int = 20_000, clock: Callable[[], float] = monotonic
    ) -> None:
        self._by_address = by_address
        self._clock = clock
        self._key = token_bytes(32)
        self._addresses: Recent[str, _Failures] = Recent(entries)
        self._names: Recent[tuple[str, str], _Failures] = Recent(entries)
        self._right: Recent[bytes, float] = Recent(entries)

    def attempt(self, address: str, name: str, credential: str) -> Attempt:
        """Return the attempt of a caller: `name` is the id of the key or the user, empty where it has none.

        Of the credential a digest is kept whose key dies with the process.
        """
        proof = blake2b(f"{name}\0{credential}".encode("utf-8", "replace"), key=self._key, digest_size=32).digest()
        return Attempt(neighbourhood(address), name[:_LONGEST_NAME], proof)

    def admit(self, attempt: Attempt) -> None:
        """Let the attempt be verified, or raise TooManyFailures; call `failed` or `succeeded` with what came of it."""
        known = self._right.get(attempt.proof)
        if known is not None and self._clock() - known < self._by_address.memory:
            return
        wait = self._wait(self._addresses.get(attempt.address), self._by_address)
        if attempt.name:
            wait = max(wait, self._wait(self._names.get((attempt.address, attempt.name)), BY_NAME))
        if wait > 0:
            raise TooManyFailures(math.ceil(wait))

    def failed(self, attempt: Attempt) -> None:
        """Count a failure; a credential that was right before is no more."""
        self._right.drop(attempt.proof)
        self._addresses.put(attempt.address, self._one_more(self._addresses.get(attempt.address), self._by_address))
        name = (attempt.address, attempt.name)
        self._names.put(name, self._one_more(self._names.get(name), BY_NAME))

    def succeeded(self, attempt: Attempt) -> None:
        """Forget the failures under this name from there.

        Those of the address stand: else a caller with one right key could guess others without end.
        """
        self._right.put(attempt.proof, self._clock())
        self._names.drop((attempt.address, attempt.name))

    def _wait(self, failures: _Failures | None, pace: Pace) -> float:
        return 0.0 if failures is None else failures.last + pace.pause(failures.count) - self._clock()

    def _one_more(self, failures: _Failures | None, pace: Pace) -> _Failures:
        present = self._clock()
        forgotten = failures is None or present - failures.last > pace.memory
        return _Failures(1 if failures is None or forgotten else failures.count + 1, present)
