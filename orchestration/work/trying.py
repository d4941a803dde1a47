"""One try of a step of an order on Airflow: where it works, when it stops, what its process ends with."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any
from uuid import UUID

from orchestration.child import ATTEMPT_OVER, CALLERS_FAULT, die_with, go_first, work_in
from orchestration.ending import read_ending
from orchestration.errors import AttemptOver, NoSpaceLeft, StoreUnavailable
from orchestration.full import NO_SPACE
from orchestration.handover import handed_order, handed_row
from orchestration.net.addresses import any_address, is_public
from orchestration.net.fetch import Fetcher
from orchestration.registry import Registry
from orchestration.store.database import unavailable
from orchestration.work import JobContext
from orchestration.work.attempt import Ended, Progress, failing_into
from products.errors import BrokenSource
from sql.pool import PostgresPool

_LOOK = 4.0
"""Seconds between two looks whether the attempt still runs, whatever the work is at."""


_OPERATORS = frozenset({"", BrokenSource.__name__})
"""The faults that an operator mends: what is unexpected, and a file of a product."""


@contextmanager
def trying(told: Mapping[str, Any], name: str, *, workers: int = 1) -> Iterator[JobContext]:
    """Give the context of a try of a step whose process this is; `name` tells it from others of the attempt.

    What is raised inside becomes the attempt's ending, and the process ends. It ends without one, and without its
    files, where the disk is full, and within seconds where the attempt is not the running one. It ends with its parent.
    """
    die_with(os.getppid())
    go_first()
    tell = Reporter(os.environ["LANDCAST_DATABASE_URL"])
    job, attempt = str(UUID(told["job"])), int(told["attempt"])
    if not _runs(tell, job, attempt):
        _end(ATTEMPT_OVER, "the attempt is not the running one")
    results = Path(os.environ["LANDCAST_STATE_DIR"]).absolute() / "results"
    folder = _own(results / job / str(attempt), name)
    _watch(tell, job, attempt, folder)
    with _ending_in(folder), failing_into(folder):
        progress = Progress(tell, job, attempt)
        yield replace(_context(told, results, folder, progress), workers=workers)
        if read_ending(folder) is None:
            progress.end()


class Reporter:
    """Tells PostgreSQL how far attempts are, as a login that may call `report` and nothing else."""

    def __init__(self, url: str) -> None:
        self._pool = PostgresPool(url, size=2)

    def __call__(self, job_id: str, attempt: int, percent: int | None, message: str | None) -> bool:
        """Note it and say whether the attempt is the running one; of any other nothing is noted.

        What is None stays as it is. Raises StoreUnavailable.
        """
        values = {"id": job_id, "attempt": attempt, "percent": percent, "message": message}
        with unavailable(), self._pool.writing() as connection:
            (runs,) = connection.execute("select report(:id, :attempt, :percent, :message)", values).fetchone()
        return bool(runs)

    def close(self) -> None:
        """Give the connections back."""
        self._pool.close()

    def runs(self, job_id: str, attempt: int) -> bool:
        """Say whether the attempt is the running one. Raises StoreUnavailable."""
        return self(job_id, attempt, None, None)


def _runs(tell: Reporter, job: str, attempt: int) -> bool:
    """Say whether the attempt is the running one; what cannot be asked is taken for it."""
    try:
        return tell.runs(job, attempt)
    except StoreUnavailable:
        return True


def _own(parent: Path, name: str) -> Path:
    """Make a folder that nobody else works in, also where a killed try of that name has left one, or still works."""
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


def _context(told: Mapping[str, Any], results: Path, folder: Path, progress: Progress) -> JobContext:
    work_in(folder)
    private = os.environ.get("LANDCAST_JOBS_FETCH_PRIVATE", "").lower() in {"1", "true", "yes", "on"}
    handed = results / told["job"] / str(told["attempt"])
    return JobContext(
        job_id=told["job"],
        order=handed_order(handed),
        results=results,
        folder=folder,
        configuration=Path(os.environ["LANDCAST_AIRFLOW_CONFIG"]),
        fetch=Fetcher(allowed=any_address if private else is_public),
        report=progress,
        processes=Registry((handed_row(handed),)),
    )


@contextmanager
def _ending_in(folder: Path) -> Iterator[None]:
    """End the process by a code where the step did not end well; what an operator must mend is raised on."""
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
