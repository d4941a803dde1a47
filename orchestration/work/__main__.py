"""The process that does one try of an order: `python -m orchestration.work`, started by the embedded runner."""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from orchestration.child import die_with, go_first
from orchestration.errors import AttemptOver, OrchestrationError, StoreUnavailable
from orchestration.full import NO_SPACE, is_full
from orchestration.job import Job, Status
from orchestration.net.addresses import any_address, is_public
from orchestration.net.fetch import Fetcher
from orchestration.registry import Registry, decode_row
from orchestration.store.jobs import StoredJobs
from orchestration.store.place import place_of_environment
from orchestration.work import JobContext, Work
from orchestration.work.attempt import Progress, attempt
from products.progress import Report
from sql.connections import Place

_PATIENCE = 60.0


def main(arguments: Sequence[str], works: Mapping[str, Work] | None = None) -> None:
    """Do the try that the command line names; how it ended is in its folder, or its code says that the disk is full.

    `works` are known by the name of their process, before those that the registry names.
    """
    options = _parse(arguments)
    die_with(options.parent)
    go_first()
    try:
        _try(options, works or {})
    except OrchestrationError as error:
        if not is_full(error):
            raise
        sys.exit(NO_SPACE)


def _try(options: Namespace, works: Mapping[str, Work]) -> None:
    place = place_of_environment(options.state_dir)
    job = _job(place, options.job)
    if job is not None and job.status is Status.RUNNING and job.attempt == options.attempt:
        report = Progress(StoredJobs(place, busy_seconds=1, lazy=True).report, job.id, job.attempt)
        context = replace(_context(options, job, report), orders=place)
        with suppress(AttemptOver):
            attempt(lambda: works.get(job.order.process) or context.process.find_work(), context)


def _job(place: Place, job_id: str) -> Job | None:
    """Return our order; a database that is away now is waited for a while."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return StoredJobs(place, busy_seconds=_PATIENCE, lazy=True).get(job_id)
        except StoreUnavailable as error:
            if is_full(error) or isinstance(place, Path) or time.monotonic() > until:
                raise
            time.sleep(1)


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m orchestration.work", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--fetch-private", action="store_true")
    parser.add_argument("--process", type=decode_row, action="append", default=[])
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("job")
    parser.add_argument("attempt", type=int)
    parser.add_argument("try_", type=int, metavar="try")
    return parser.parse_args(arguments)


def _context(options: Namespace, job: Job, report: Report) -> JobContext:
    results = options.state_dir / "results"
    return JobContext(
        job_id=job.id,
        order=job.order,
        results=results,
        folder=results / job.id / str(options.attempt) / str(options.try_),
        configuration=options.config,
        fetch=Fetcher(allowed=any_address if options.fetch_private else is_public),
        report=report,
        processes=Registry(options.process),
    )


if __name__ == "__main__":
    main(sys.argv[1:])
