"""Format and write the log in a thread, so that neither a slow reader nor the formatting blocks a request."""

import logging
from contextlib import suppress
from contextvars import Context, copy_context
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import sleep
from typing import TextIO, override

_LINES = 10_000
_TOGETHER, _AT_ONCE = 0.02, 50
"""Seconds between batches and records in one: waking for each record, or formatting many at once, would slow others."""
_FLUSH_SECONDS = 2.0
"""Maximum seconds to write the remaining records at the end."""

type _Waiting = tuple[Context, logging.LogRecord] | str | Event


class BackgroundHandler(logging.Handler):
    """Writes records to a stream in the background; beyond 10,000 queued records new ones are dropped and counted.

    A record is formatted in the context that it was logged in, which has the request id.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: SimpleQueue[_Waiting] = SimpleQueue()
        self._dropped = 0
        self.lost = 0
        """Number of records that were dropped or could not be written."""
        Thread(target=self._write_all, name="log", daemon=True).start()

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record without waiting."""
        if self._lines.qsize() < _LINES:
            self._lines.put(self._queueable(record))
        else:
            self._dropped += 1
            self.lost += 1

    def _queueable(self, record: logging.LogRecord) -> _Waiting:
        """Return what to queue, without arguments that may change or a traceback that keeps objects alive."""
        if record.exc_info:
            return self.format(record)
        record.msg, record.args = record.getMessage(), None
        return copy_context(), record

    def _write_all(self) -> None:
        """Block only for the first record of a batch, so that further records do not wake this thread."""
        while True:
            waiting = [self._lines.get()]
            with suppress(Empty):
                while len(waiting) < _AT_ONCE:
                    waiting.append(self._lines.get_nowait())
            self._write([self._formatted(one) for one in waiting if not isinstance(one, Event)])
            for flushed in waiting:
                if isinstance(flushed, Event):
                    flushed.set()
            if len(waiting) < _AT_ONCE:
                sleep(_TOGETHER)

    def _formatted(self, waiting: tuple[Context, logging.LogRecord] | str) -> str:
        """Return the formatted line; a failure to format is logged instead and does not end the thread."""
        if isinstance(waiting, str):
            return waiting
        context, record = waiting
        try:
            return context.run(self.format, record)
        except Exception as error:  # noqa: BLE001 - the outermost handler of this thread
            return context.run(self.format, _unreadable(record, error))

    def _write(self, lines: list[str]) -> None:
        dropped, self._dropped = self._dropped, 0
        written = [*lines, self.format(_lost(dropped))] if dropped else lines
        try:
            self._stream.write("".join(f"{line}\n" for line in written))
            self._stream.flush()
        except (OSError, ValueError):
            self._dropped += dropped + len(lines)
            self.lost += len(lines)

    @override
    def flush(self) -> None:
        """Wait until the queued records are written, at most two seconds."""
        written = Event()
        self._lines.put(written)
        written.wait(_FLUSH_SECONDS)

    @override
    def close(self) -> None:
        """Write the queued records."""
        self.flush()
        super().close()


def _lost(count: int) -> logging.LogRecord:
    message = "%s log records were dropped: the log was not read fast enough"
    return logging.LogRecord("landcast", logging.ERROR, "", 0, message, (count,), None)


def _unreadable(record: logging.LogRecord, error: Exception) -> logging.LogRecord:
    message = "%s (the record cannot be formatted: %s)"
    return logging.LogRecord(record.name, record.levelno, "", 0, message, (record.msg, type(error).__name__), None)
