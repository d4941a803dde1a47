"""Log lines written by a thread of their own: a reader that does not keep up holds nobody up."""

import logging
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Thread
from time import monotonic, sleep
from typing import TextIO, override

_LINES = 10_000
_TOGETHER, _AT_ONCE = 0.02, 200
"""Seconds in which lines are gathered, and how many are written at once: to wake for each would slow all others."""
_LAST_WORDS, _LOOK = 2.0, 0.002
"""Seconds that what is left is given to be written at the end, and between two looks."""


class BackgroundHandler(logging.Handler):
    """Write records to a stream in the background; of more than 10,000 that wait the newest are dropped, and counted.

    The line is made where the record is, whose context names the request.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: Queue[str] = Queue(_LINES)
        self._dropped = 0
        Thread(target=self._write_all, name="log", daemon=True).start()

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Hand the line on; never waits."""
        try:
            self._lines.put_nowait(self.format(record))
        except Full:
            self._dropped += 1

    def _write_all(self) -> None:
        while True:
            lines = [self._lines.get()]
            sleep(_TOGETHER)
            with suppress(Empty):
                while len(lines) < _AT_ONCE:
                    lines.append(self._lines.get_nowait())
            self._write(lines)
            for _ in lines:
                self._lines.task_done()

    def _write(self, lines: list[str]) -> None:
        dropped, self._dropped = self._dropped, 0
        told = [*lines, self.format(_lost(dropped))] if dropped else lines
        try:
            self._stream.write("".join(f"{line}\n" for line in told))
            self._stream.flush()
        except (OSError, ValueError):
            self._dropped += dropped + len(lines)

    @override
    def flush(self) -> None:
        """Wait for what was handed on, for two seconds at most."""
        until = monotonic() + _LAST_WORDS
        while self._lines.unfinished_tasks and monotonic() < until:
            sleep(_LOOK)

    @override
    def close(self) -> None:
        """Write what was handed on."""
        self.flush()
        super().close()


def _lost(count: int) -> logging.LogRecord:
    message = "%s lines of the log were dropped: nobody read them in time"
    return logging.LogRecord("landcast", logging.ERROR, "", 0, message, (count,), None)
