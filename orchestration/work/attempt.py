"""One try of an order, from its plan to its ending."""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from orchestration.ending import write_ending
from orchestration.errors import AttemptOver, NoSpaceLeft, OrchestrationError, StoreUnavailable
from orchestration.full import RESERVE, free_bytes, is_full
from orchestration.job import Manifest
from orchestration.runners import Done, Failed
from orchestration.work import JobContext, Piece, Work
from products.errors import ProductError
from products.progress import Report, between

READ = 0.1
"""The progress after planning, which may read large files."""
MADE = 0.9
"""The progress after all parts are made; the rest is assembling."""
_READING = "Reading the order"
_AGAIN = 5.0
"""Seconds after which the same progress is reported again, to learn whether the attempt is still the running one."""
_UNEXPECTED = "The work ended with an unexpected error; the operator finds it in the log under the job's id."


class Ended(Exception):
    """The work failed; `ending` has been written to its folder."""

    def __init__(self, ending: Failed) -> None:
        super().__init__(ending.reason)
        self.ending = ending


def attempt(work: Callable[[], Work], context: JobContext) -> None:
    """Do the work and write its ending to the context's folder, last of all.

    A result without files may be lost by a power failure before it is published; the order is then attempted again.
    Raises NoSpaceLeft if the disk is full, AttemptOver if the attempt is not the running one, and writes nothing then.
    """
    with suppress(Ended), failing_into(context.folder):
        begin(context.report)
        done = Done(performed(work(), context))
        write_ending(context.folder, done, durable=any(output.file for output in done.manifest))


def begin(report: Report) -> None:
    """Report that the work has begun, before it loads what it needs."""
    report(READ / 10, _READING)


@contextmanager
def failing_into(folder: Path) -> Iterator[None]:
    """Write an error raised inside to the folder as the ending of the try, and raise Ended.

    Raises NoSpaceLeft if the disk is full, lets AttemptOver pass, and writes nothing then.
    """
    try:
        with _noticing_a_full_disk(folder):
            yield
    except (NoSpaceLeft, AttemptOver):
        raise
    except Exception as error:
        ending = _failure(error)
        with _noticing_a_full_disk(folder):
            write_ending(folder, ending)
        raise Ended(ending) from error


@contextmanager
def _noticing_a_full_disk(folder: Path) -> Iterator[None]:
    """Raise NoSpaceLeft for an error that a full disk has caused, also if the library does not say so."""
    try:
        yield
    except Exception as error:
        expected = isinstance(error, ProductError | OrchestrationError)
        if is_full(error) or (not expected and free_bytes(folder) < RESERVE):
            raise NoSpaceLeft("there is no space left on the server's disk") from error
        raise


def performed(work: Work, context: JobContext) -> Manifest:
    """Do all steps of the work in this process, inside of its lock, and return the result."""
    with work.lock(context):
        context.report(READ / 2, _READING)
        parts = work.plan(context)
        making = between(context.report, READ, MADE)
        making(0, _READING)
        pieces = []
        for number, part in enumerate(parts):
            span = between(making, number / len(parts), (number + 1) / len(parts))
            pieces.append(work.make(part, replace(context, report=span)))
        return assembled(work, pieces, context)


def assembled(work: Work, pieces: Sequence[Piece], context: JobContext) -> Manifest:
    """Return the outputs of the result that the order asks for."""
    manifest = work.assemble(pieces, replace(context, report=between(context.report, MADE, 1)))
    wanted = context.order.outputs
    return tuple(output for output in manifest if wanted is None or output.id in wanted)


def _failure(error: Exception) -> Failed:
    if isinstance(error, ProductError | OrchestrationError):
        return Failed(str(error), fault=type(error).__name__)
    detail = "".join(traceback.format_exception(error))
    if isinstance(error, MemoryError):
        return Failed("The work needed more memory than the server gives an order; try a smaller area.", detail)
    return Failed(_UNEXPECTED, detail)


class Tell(Protocol):
    """Records the progress of an attempt in per cent, if it is the running one, and returns whether it is."""

    def __call__(self, job_id: str, attempt: int, percent: int, message: str) -> bool:
        """Record it. Raises StoreUnavailable."""


class Progress:
    """Reports the progress of an attempt to the store: at most twice a second, and now and then without news.

    It reports nothing in the first `silent` seconds.
    """

    def __init__(self, tell: Tell, job_id: str, attempt: int, *, silent: float = 0.0) -> None:
        self._tell = tell
        self._run = (job_id, attempt)
        self._next = time.monotonic() + silent
        self._reported = self._last = (-1, "")
        self._again = 0.0

    def __call__(self, fraction: float, message: str) -> None:
        """Report it, unless nothing is new or the last report was just now; an unavailable store is not waited for.

        Raises AttemptOver if the attempt is not the running one.
        """
        self._last, now = (min(99, int(fraction * 100)), message), time.monotonic()
        if now >= self._next and (self._last != self._reported or now >= self._again):
            self._say(self._last)

    def end(self) -> None:
        """Report what has not been reported yet. Raises AttemptOver."""
        if self._last != self._reported:
            self._say(self._last)

    def _say(self, news: tuple[int, str]) -> None:
        now = time.monotonic()
        self._reported, self._next, self._again = news, now + 0.5, now + _AGAIN
        try:
            runs = self._tell(*self._run, *news)
        except StoreUnavailable:
            self._next = time.monotonic() + 10
            return
        if not runs:
            raise AttemptOver(f"the attempt {self._run[1]} of the order does not run any more")
