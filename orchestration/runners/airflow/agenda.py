"""What is to be done when, by some threads: each thing by one of them at a time."""

import time
from collections.abc import Callable
from threading import Condition


class Agenda:
    """Things by their name; each is due at some time, or rests until somebody has it due."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: dict[str, float] = {}
        self._in_hand: set[str] = set()
        self._condition = Condition()
        self._is_closed = False

    def put(self, name: str, after: float = 0.0) -> None:
        """Have it due after so many seconds, or sooner where it was due sooner."""
        with self._condition:
            at = self._clock() + after
            self._due[name] = min(at, self._due.get(name, at))
            self._condition.notify()

    def take(self) -> str | None:
        """Wait until something is due and take it in hand; None once the agenda is closed."""
        with self._condition:
            while not self._is_closed:
                free = [(at, name) for name, at in self._due.items() if name not in self._in_hand]
                at, name = min(free, default=(None, ""))
                if at is not None and at <= self._clock():
                    del self._due[name]
                    self._in_hand.add(name)
                    return name
                self._condition.wait(None if at is None else at - self._clock())
            return None

    def give_back(self, name: str, after: float | None) -> None:
        """Have it rest, or due again after so many seconds; what was put meanwhile stands."""
        with self._condition:
            self._in_hand.discard(name)
            self._condition.notify()
        if after is not None:
            self.put(name, after)

    def close(self) -> None:
        """Let nothing be taken any more."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()
