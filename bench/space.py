"""What keeping count of the results costs a submission and a round of the reconciler, beside 10,000 stored jobs."""

import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from orchestration.admission import Admission
from orchestration.files.results import ResultFiles
from orchestration.files.space import Space
from orchestration.job import Job, Order, Output, ResultFile
from orchestration.pools import RunnerPool
from orchestration.reconcile import Reconciler
from orchestration.runners import Running, RunState
from orchestration.store.jobs import StoredJobs

_JOBS = 10_000
_ORDER = Order("extract-product", {}, "local")


class _Busy:
    """A runner whose runs never end."""

    survives = False

    def why_wait(self, _job: Job) -> str:
        """Let every order begin."""
        return ""

    def start(self, job: Job, *, again: bool = False) -> None:
        """Start nothing."""

    def look(self, _job: Job) -> RunState:
        """Say that it runs."""
        return Running()

    def stop(self, job: Job) -> None:
        """Stop nothing."""

    def close(self) -> None:
        """Close nothing."""


def measure() -> None:
    """Print microseconds of each step, and of what it is beside."""
    with tempfile.TemporaryDirectory() as folder:
        store = StoredJobs(Path(folder, "orders.sqlite"))
        files = ResultFiles(Path(folder, "results"))
        for number in range(_JOBS):
            _stored(store, files, number)
        _print(store, files)
        store.close()


def _stored(store: StoredJobs, files: ResultFiles, number: int) -> None:
    file = ResultFile("r.zip", f"stored-{number}/1/1/r.zip", "application/zip", 5000, "ab" * 32)
    files.folder(f"stored-{number}", 1, 1).mkdir(parents=True)
    (files.root / file.path).write_bytes(b"x" * file.size)
    store.add(_ORDER, (Output("result", None, file.media_type, file),))


def _print(store: StoredJobs, files: ResultFiles) -> None:
    space, admission = Space(files.root, cap=1 << 50, clock=count().__next__), Admission(store, files.root, 1 << 50)
    reconciler = Reconciler(store, [RunnerPool(_Busy(), 1)], files, jobs_days=365, space=space)
    _time("measuring everything, at the start and once an hour", space.recount, 3)
    job, _ = store.add(_ORDER)
    running = store.begin(job.id) or job
    _time("measuring what is being made, twice a second", lambda: space.look((running,)), 300)
    go_round = reconciler._round  # noqa: SLF001  a round alone, without the pause after it
    go_round()
    _time("a round of the reconciler, such a measuring in each", go_round, 1000)
    _time("a submission", lambda: store.add(_ORDER), 300)
    _time("  the look at the cap before it", admission.is_at_cap, 3000)
    waiting = store.unfinished()
    _time(f"why {len(waiting)} orders may wait, once a round", lambda: [space.why_wait(each) for each in waiting], 100)


def _time(name: str, act: Callable[[], object], times: int) -> None:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        took.append(time.perf_counter() - began)
    print(f"{name}: median {statistics.median(took) * 1e6:,.0f} us of {times}")
