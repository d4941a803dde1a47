"""The worker: the one reconciler of a state folder, until it is told to stop."""

import fcntl
import logging
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from orchestration.errors import StoreUnavailable
from orchestration.heartbeat import Heartbeat
from orchestration.housekeeping import spare_house, sweep_drafts, sweep_house
from orchestration.outbox.desk import Desk, delivering
from orchestration.reconcile import Reconciler
from orchestration.results import ResultFiles
from orchestration.runners.embedded import WORK, EmbeddedRunner
from orchestration.space import Space
from orchestration.store.sqlite import SqliteStore

_log = logging.getLogger(__name__)

_SOON = 0.2
_PATIENCE = 5.0
"""Seconds between two attempts to open a store that cannot be opened."""
_GRACE = 2.0
"""Seconds after the signal that what is being told is given to end."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is kept: files and entries of jobs so many days, results of so many bytes in all."""

    results_days: int
    jobs_days: int
    results_cap: int | None = None


def run_work(
    *,
    state_dir: Path,
    config: Path,
    parallel: int,
    keeping: Keeping,
    allow_private_fetch: bool,
    work: Sequence[str] = WORK,
    desk: Desk | None = None,
) -> None:
    """Run the orders of a state folder until SIGTERM or SIGINT; stand by while another process does.

    What orders have to tell goes out from the `desk`; without one it waits.

    Call it in the main thread. It returns within 5 s of the signal, with running work handed back.
    """
    state_dir = state_dir.absolute()
    state_dir.mkdir(parents=True, exist_ok=True)
    arguments = ["--state-dir", str(state_dir), "--config", str(config.absolute())]
    arguments += ["--fetch-private"] if allow_private_fetch else []
    stop = _Stop()
    with _turn(state_dir / "work.lock", stop) as ours:
        if ours and (store := _open(state_dir / "orders.sqlite", min(keeping.results_days, keeping.jobs_days), stop)):
            files = ResultFiles(state_dir / "results")
            runner = EmbeddedRunner(files.root, arguments, work=work)
            chores = [
                partial(sweep_house, files.root, store, config.absolute()),
                partial(spare_house, files.root, store, keeping.results_cap),
                partial(sweep_drafts, [state_dir, state_dir / "products", state_dir / "sample"]),
            ]
            telling = delivering(desk, state_dir / "orders.sqlite", stop, left=stop.left) if desk else nullcontext()
            space = Space(files.root, cap=keeping.results_cap)
            with closing(store), telling:
                Reconciler(
                    store, runner, files, parallel=parallel, jobs_days=keeping.jobs_days, chores=chores, space=space
                ).run(stop, beat=Heartbeat(state_dir))


class _Stop:
    """Says whether SIGTERM or SIGINT has come; a plain flag, as a signal may arrive anywhere."""

    def __init__(self) -> None:
        self._come: float | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self._come = self._come or time.monotonic()

    def __call__(self) -> bool:
        return self._come is not None

    def left(self) -> float:
        """Return what is left of the grace after the signal."""
        return _GRACE if self._come is None else max(0.0, self._come + _GRACE - time.monotonic())


@contextmanager
def _turn(path: Path, stop: _Stop) -> Iterator[bool]:
    """Wait for the lock, which ends with the process that holds it; False when we are stopped before."""
    with path.open("w") as lock:
        while not stop():
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_SOON)
            else:
                yield True
                return
        yield False


def _pause(seconds: float, stop: _Stop) -> None:
    """Wait, but not for longer than until we are stopped."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stop():
        time.sleep(_SOON)


def _open(path: Path, files_days: int, stop: _Stop) -> SqliteStore | None:
    """Open the store as soon as it can be opened; None when we are stopped before."""
    while not stop():
        try:
            return SqliteStore(path, files_days=files_days)
        except StoreUnavailable as error:
            _log.warning("orders wait: %s", error)
            _pause(_PATIENCE, stop)
    return None
