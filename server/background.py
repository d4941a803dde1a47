"""Log lines written by a thread of their own: a reader that does not keep up holds nobody up."""

import logging
from queue import Full, Queue
from threading import Thread
from time import monotonic, sleep
from typing import TextIO, override

_LINES = 10_000
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
            self._write(self._lines.get())
            self._lines.task_done()

    def _write(self, line: str) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            line = f"{line}\n{self.format(_lost(dropped))}"
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._dropped += 1

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
