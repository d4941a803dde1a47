"""One try of a step of an order on Airflow: its folder, its end, its exit code."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any
from uuid import UUID

from orchestration import environment
from orchestration.child import ATTEMPT_OVER, CALLERS_FAULT, die_with, go_first, work_in
from orchestration.ending import read_ending
from orchestration.errors import AttemptOver, NoSpaceLeft, StoreUnavailable
from orchestration.full import NO_SPACE
from orchestration.handover import handed_order, handed_row
from orchestration.net.addresses import any_address, is_public
from orchestration.net.fetch import Fetcher
from orchestration.registry import Registry
from orchestration.store.database import unavailable
from orchestration.trace import TraceContext, context_of_task, traced_child
from orchestration.work import JobContext
from orchestration.work.attempt import Ended, Progress, failing_into
from products.errors import BrokenSource
from sql.pool import PostgresPool

_LOOK = 4.0
"""Seconds between two checks whether the attempt is still the running one, in a thread of its own."""


@dataclass(frozen=True, slots=True)
class TaskOfTry:
    """The task of Airflow that a process works for: its name, the number of its try, and its map index."""

    name: str
    try_: int
    number: int = -1

    def context(self, conf: Mapping[str, Any]) -> TraceContext | None:
        """Return the context of the task's span, None if the order is not traced."""
        run = TraceContext.read(conf.get("traceparent"))
        return run and context_of_task(run, self.name, self.number, self.try_)


_OPERATORS = frozenset({"", BrokenSource.__name__})
"""The faults that an operator has to repair: unexpected errors and broken files of products."""


@contextmanager
def trying(conf: Mapping[str, Any], name: str, task: TaskOfTry, *, workers: int = 1) -> Iterator[JobContext]:
    """Yield the context of a try of a step, a `task` of Airflow, in this process; `name` is unique within the attempt.

    An error raised inside becomes the attempt's ending, and the process exits. If the disk is full, or within seconds
    after the attempt is no longer the running one, it exits without an ending and its files are removed. It ends with
    its parent.
    """
    die_with(os.getppid())
    go_first()
    tell = Reporter(environment.tasks_database())
    job, attempt = str(UUID(conf["job"])), int(conf["attempt"])
    if not _runs(tell, job, attempt):
        _end(ATTEMPT_OVER, "the attempt is not the running one")
    results = environment.results()
    folder = _own(results / job / str(attempt), name)
    _watch(tell, job, attempt, folder)
    with _ending_in(folder), traced_child(task.context(conf), folder, conf["process"]), failing_into(folder):
        progress = Progress(tell, job, attempt)
        yield replace(_context(conf, results, folder, progress), workers=workers)
        if read_ending(folder) is None:
            progress.end()


class Reporter:
    """Reports progress to PostgreSQL, as a login that may call the function `report` and nothing else."""

    def __init__(self, url: str) -> None:
        self._pool = PostgresPool(url, size=2)

    def __call__(self, job_id: str, attempt: int, percent: int | None, message: str | None) -> bool:
        """Record it and return whether the attempt is the running one; for any other nothing is recorded.

        None leaves a value unchanged. Raises StoreUnavailable.
        """
        values = {"id": job_id, "attempt": attempt, "percent": percent, "message": message}
        with unavailable(), self._pool.writing() as connection:
            (runs,) = connection.execute("select report(:id, :attempt, :percent, :message)", values).fetchone()
        return bool(runs)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def runs(self, job_id: str, attempt: int) -> bool:
        """Return whether the attempt is the running one. Raises StoreUnavailable."""
        return self(job_id, attempt, None, None)


def _runs(tell: Reporter, job: str, attempt: int) -> bool:
    """Return whether the attempt is the running one; True if the database is unavailable."""
    try:
        return tell.runs(job, attempt)
    except StoreUnavailable:
        return True


def _own(parent: Path, name: str) -> Path:
    """Create a folder for this try alone, although a killed try of that name may have left one, or may still work."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        folder = parent / (name if number == 1 else f"{name}.{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError


def _watch(tell: Reporter, job: str, attempt: int, folder: Path) -> None:
    def look() -> None:
        sleep(_LOOK)
        while _runs(tell, job, attempt):
            sleep(_LOOK)
        if read_ending(folder) is None:  # else it may be the result
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(ATTEMPT_OVER)

    Thread(target=look, daemon=True).start()


def _context(conf: Mapping[str, Any], results: Path, folder: Path, progress: Progress) -> JobContext:
    work_in(folder)
    handed = results / conf["job"] / str(conf["attempt"])
    return JobContext(
        job_id=conf["job"],
        order=handed_order(handed),
        results=results,
        folder=folder,
        configuration=environment.configuration(),
        fetch=Fetcher(allowed=any_address if environment.fetch_private() else is_public),
        report=progress,
        processes=Registry((handed_row(handed),)),
    )


@contextmanager
def _ending_in(folder: Path) -> Iterator[None]:
    """Exit with a code if the step fails; an error that an operator has to repair is raised again."""
    try:
        yield
    except Ended as error:
        if error.ending.fault in _OPERATORS:
            raise
        _end(CALLERS_FAULT, error.ending.reason)
    except AttemptOver as error:
        shutil.rmtree(folder, ignore_errors=True)
        _end(ATTEMPT_OVER, str(error))
    except NoSpaceLeft as error:
        shutil.rmtree(folder, ignore_errors=True)
        _end(NO_SPACE, str(error))


def _end(code: int, why: str) -> None:
    sys.stderr.write(f"landcast: {why}\n")
    sys.exit(code)
