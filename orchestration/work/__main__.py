"""The process that does one try of an order: `python -m orchestration.work`, started by the embedded runner."""

import ctypes
import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from orchestration.addresses import any_address, is_public
from orchestration.errors import OrchestrationError
from orchestration.fetch import Fetcher
from orchestration.full import NO_SPACE, is_full
from orchestration.job import Job, Status
from orchestration.store.sqlite import SqliteStore
from orchestration.work import Bench, Work, work_of
from orchestration.work.attempt import Progress, attempt
from products.progress import Report

_PR_SET_PDEATHSIG = 1
_FIRST_TO_GO = "500"
_PATIENCE = 60.0


def main(arguments: Sequence[str], work_of: Callable[[str], Work] = work_of) -> None:
    """Do the try that the command line names; how it ended is in its folder, or its code says that the disk is full."""
    options = _parse(arguments)
    _die_with(options.parent)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)
    try:
        _try(options, work_of)
    except OrchestrationError as error:
        if not is_full(error):
            raise
        sys.exit(NO_SPACE)


def _try(options: Namespace, work_of: Callable[[str], Work]) -> None:
    orders = options.state_dir / "orders.sqlite"
    job = SqliteStore(orders, busy_seconds=_PATIENCE).get(options.job)
    if job is not None and job.status is Status.RUNNING and job.attempt == options.attempt:
        bench = _bench(options, job, Progress(SqliteStore(orders, busy_seconds=1), job))
        attempt(lambda: work_of(job.order.process), bench)


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m orchestration.work", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--fetch-private", action="store_true")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("job")
    parser.add_argument("attempt", type=int)
    parser.add_argument("try_", type=int, metavar="try")
    return parser.parse_args(arguments)


def _die_with(parent: int) -> None:
    """End this process when its parent ends, also when that happened before we asked."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()


def _bench(options: Namespace, job: Job, report: Report) -> Bench:
    results = options.state_dir / "results"
    return Bench(
        job_id=job.id,
        order=job.order,
        results=results,
        folder=results / job.id / str(options.attempt) / str(options.try_),
        configuration=options.config,
        fetch=Fetcher(allowed=any_address if options.fetch_private else is_public),
        report=report,
        orders=options.state_dir / "orders.sqlite",
    )


if __name__ == "__main__":
    main(sys.argv[1:])
