"""Rate limits: so many requests of a caller in a time, counted by all processes of a server together.

For each caller and grant one number is kept, the time at which the next request would be on schedule (the generic cell
rate algorithm). It is in memory that all processes share; two that count the same caller at once may let in one more.
"""

import math
import mmap
import re
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from secrets import token_bytes

_RATE = re.compile(r"([1-9]\d{0,6})/(second|minute|hour|day)", re.ASCII)
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_ENTRY = struct.Struct("=qd")
_PLACES = 4
"""Entries among which a caller's may be; the one that is on schedule first makes place for another."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in so many seconds; all of them may come at once."""

    number: int
    seconds: int
    text: str


def read_rate(text: object) -> Rate | None:
    """Return the rate of a text such as `100/minute`, None if it is none."""
    found = _RATE.fullmatch(text) if isinstance(text, str) else None
    return Rate(int(found[1]), _SECONDS[found[2]], found[0]) if found else None


class TooManyRequests(Exception):
    """The caller asks too often; the next request is allowed in `seconds` (429, `Retry-After`)."""

    def __init__(self, rate: Rate, seconds: int) -> None:
        a = "an" if rate.text.endswith("/hour") else "a"
        super().__init__(f"at most {rate.text.replace('/', f' requests {a} ')}; try again in {seconds} seconds")
        self.seconds = seconds


class RateLimiter:
    """Counts the requests of callers, at most of about `entries`; make it before the processes are forked."""

    def __init__(self, entries: int = 65_536, clock: Callable[[], float] = time.monotonic) -> None:
        self._sets = max(1, entries // _PLACES)
        self._memory = mmap.mmap(-1, self._sets * _PLACES * _ENTRY.size)
        self._secret = token_bytes(32)
        self._clock = clock

    def admit(self, caller: str, rates: Sequence[tuple[str, Rate]]) -> None:
        """Count a request of the caller by the first grant whose rate lets it in. Raises TooManyRequests."""
        waits: list[tuple[float, Rate]] = []
        for grant, rate in rates:
            seconds = self._count(f"{grant}\0{caller}", rate)
            if seconds <= 0:
                return
            waits.append((seconds, rate))
        seconds, rate = min(waits, key=lambda wait: wait[0])
        raise TooManyRequests(rate, math.ceil(seconds))

    def _count(self, key: str, rate: Rate) -> float:
        """Count the request and return 0, or return the seconds to wait."""
        number, place, due = self._find(key)
        now, pause = self._clock(), rate.seconds / rate.number
        due = max(due, now)
        wait = due + pause - now - rate.seconds
        if wait > 1e-9:  # noqa: PLR2004  rounding
            return wait
        _ENTRY.pack_into(self._memory, place, number, due + pause)
        return 0.0

    def _find(self, key: str) -> tuple[int, int, float]:
        """Return the number of the key, where its entry is or may be, and when its next request is due."""
        digest = blake2b(key.encode("utf-8", "replace"), key=self._secret, digest_size=16).digest()
        number = int.from_bytes(digest[:8], signed=True)
        begin = int.from_bytes(digest[8:]) % self._sets * _PLACES * _ENTRY.size
        places = range(begin, begin + _PLACES * _ENTRY.size, _ENTRY.size)
        entries = {place: _ENTRY.unpack_from(self._memory, place) for place in places}
        for place, (known, due) in entries.items():
            if known == number:
                return number, place, due
        return number, min(places, key=lambda place: float(entries[place][1])), -math.inf
