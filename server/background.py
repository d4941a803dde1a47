"""Log lines made and written by a thread of their own: neither their making nor their reader holds anybody up."""

import logging
from contextlib import suppress
from contextvars import Context, copy_context
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import sleep
from typing import TextIO, override

_LINES = 10_000
_TOGETHER, _AT_ONCE = 0.02, 50
"""Seconds in which records are gathered, and how many are written at once: to wake for each would slow all others, to
make many lines without a break too."""
_LAST_WORDS = 2.0
"""Seconds that what is left is given to be written at the end."""

type _Waiting = tuple[Context, logging.LogRecord] | str | Event


class BackgroundHandler(logging.Handler):
    """Write records to a stream in the background; of more than 10,000 that wait the newest are dropped, and counted.

    A line is made in the context of its record, which names the request.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: SimpleQueue[_Waiting] = SimpleQueue()
        self._dropped = 0
        Thread(target=self._write_all, name="log", daemon=True).start()

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Hand the record on; never waits."""
        if self._lines.qsize() < _LINES:
            self._lines.put(self._kept(record))
        else:
            self._dropped += 1

    def _kept(self, record: logging.LogRecord) -> _Waiting:
        """Return what can wait: no message whose arguments may change, no traceback that holds a request's memory."""
        if record.exc_info:
            return self.format(record)
        record.msg, record.args = record.getMessage(), None
        return copy_context(), record

    def _write_all(self) -> None:
        """Wait for the first record alone: while more come, none of them wakes this thread."""
        while True:
            waiting = [self._lines.get()]
            with suppress(Empty):
                while len(waiting) < _AT_ONCE:
                    waiting.append(self._lines.get_nowait())
            self._write([self._line(one) for one in waiting if not isinstance(one, Event)])
            for flushed in waiting:
                if isinstance(flushed, Event):
                    flushed.set()
            if len(waiting) < _AT_ONCE:
                sleep(_TOGETHER)

    def _line(self, waiting: tuple[Context, logging.LogRecord] | str) -> str:
        """Return the line; what cannot be made into one is told of, and ends nothing."""
        if isinstance(waiting, str):
            return waiting
        context, record = waiting
        try:
            return context.run(self.format, record)
        except Exception as error:  # noqa: BLE001 - the outermost handler of this thread
            return context.run(self.format, _unreadable(record, error))

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
        written = Event()
        self._lines.put(written)
        written.wait(_LAST_WORDS)

    @override
    def close(self) -> None:
        """Write what was handed on."""
        self.flush()
        super().close()


def _lost(count: int) -> logging.LogRecord:
    message = "%s lines of the log were dropped: nobody read them in time"
    return logging.LogRecord("landcast", logging.ERROR, "", 0, message, (count,), None)


def _unreadable(record: logging.LogRecord, error: Exception) -> logging.LogRecord:
    message = "%s, to which was added what cannot be written (%s)"
    return logging.LogRecord(record.name, record.levelno, "", 0, message, (record.msg, type(error).__name__), None)
