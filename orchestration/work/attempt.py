"""One try of an order, from its plan to its last act."""

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from orchestration.ending import write_ending
from orchestration.errors import NoSpaceLeft, OrchestrationError, StoreUnavailable
from orchestration.full import RESERVE, free_bytes, is_full
from orchestration.job import Job, Manifest
from orchestration.runners import Done, Failed
from orchestration.store import JobStore
from orchestration.work import Bench, Work
from products.errors import ProductError
from products.progress import between

_MADE = 0.9
"""The share of an order that making its parts takes; the rest is assembling."""
_UNEXPECTED = "The work ended with an unexpected error; the operator finds it in the log under the job's id."


def attempt(work: Callable[[], Work], bench: Bench) -> None:
    """Do the work and write how it ended into the bench's folder, as the last act.

    Raises NoSpaceLeft where the disk is full; nothing is written then.
    """
    try:
        with _noticing_a_full_disk(bench.folder):
            write_ending(bench.folder, Done(_perform(work(), bench)))
    except NoSpaceLeft:
        raise
    except Exception as error:  # noqa: BLE001  the outermost handler of the process: whatever it is becomes the order's end
        with _noticing_a_full_disk(bench.folder):
            write_ending(bench.folder, _failure(error))


@contextmanager
def _noticing_a_full_disk(folder: Path) -> Iterator[None]:
    """Raise NoSpaceLeft for what a full disk is behind, also where a library keeps that to itself."""
    try:
        yield
    except Exception as error:
        expected = isinstance(error, ProductError | OrchestrationError)
        if is_full(error) or (not expected and free_bytes(folder) < RESERVE):
            raise NoSpaceLeft("there is no space left on the server's disk") from error
        raise


def _perform(work: Work, bench: Bench) -> Manifest:
    with work.turn(bench):
        manifest = _assembled(work, bench)
    wanted = bench.order.outputs
    return tuple(output for output in manifest if wanted is None or output.id in wanted)


def _assembled(work: Work, bench: Bench) -> Manifest:
    parts = work.plan(bench)
    pieces = []
    for number, part in enumerate(parts):
        span = between(bench.report, _MADE * number / len(parts), _MADE * (number + 1) / len(parts))
        pieces.append(work.make(part, replace(bench, report=span)))
    return work.assemble(pieces, replace(bench, report=between(bench.report, _MADE, 1)))


def _failure(error: Exception) -> Failed:
    if isinstance(error, ProductError | OrchestrationError):
        return Failed(str(error), fault=type(error).__name__)
    detail = "".join(traceback.format_exception(error))
    if isinstance(error, MemoryError):
        return Failed("The work needed more memory than the server gives an order; try a smaller area.", detail)
    return Failed(_UNEXPECTED, detail)


class Progress:
    """Tells the store how far an attempt is: in per cent, at most twice a second."""

    def __init__(self, store: JobStore, job: Job) -> None:
        self._store = store
        self._job = job
        self._next = 0.0
        self._told = (-1, "")

    def __call__(self, fraction: float, message: str) -> None:
        """Tell it, unless nothing is new or it is too early; a store that is away is not waited for."""
        news = (min(99, int(fraction * 100)), message)
        if news == self._told or time.monotonic() < self._next:
            return
        self._told, self._next = news, time.monotonic() + 0.5
        try:
            self._store.report(self._job.id, self._job.attempt, *news)
        except StoreUnavailable:
            self._next = time.monotonic() + 10
