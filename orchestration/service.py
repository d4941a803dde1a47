"""The worker: the one reconciler of a state folder or a database, until it is told to stop."""

import logging
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import current_thread, main_thread
from types import FrameType
from typing import TYPE_CHECKING

from orchestration.errors import StoreUnavailable
from orchestration.files.results import ResultFiles
from orchestration.files.space import Space
from orchestration.heartbeat import Heartbeat
from orchestration.housekeeping import spare_prebuilt, sweep_drafts, sweep_prebuilt
from orchestration.leader import lead_database, lead_folder, pause
from orchestration.notifications.notifier import Notifier, delivering
from orchestration.pools import RunnerPool, open_lanes
from orchestration.reconcile import Reconciler
from orchestration.registry import Registry, arguments_of
from orchestration.runners.airflow import OnAirflow
from orchestration.runners.embedded import WORK, EmbeddedRunner
from orchestration.store.jobs import StoredJobs
from orchestration.store.place import environment_of
from sql.connections import Place

if TYPE_CHECKING:
    from sql.pool import PostgresPool

_log = logging.getLogger(__name__)

_PATIENCE = 5.0
"""Seconds between two attempts to open a store that cannot be opened."""
_GRACE = 2.0
"""Seconds after the signal that what is being told is given to end."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept: files and entries of jobs so many days, results of so many bytes in all."""

    results_days: int
    jobs_days: int
    results_cap: int | None = None


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many product orders run at once on this machine, and what is run on Airflow instead."""

    parallel: int
    airflow: OnAirflow | None = None


def run_work(  # noqa: PLR0913  each is a matter of its own
    *,
    state_dir: Path,
    config: Path,
    processes: Registry,
    capacity: Capacity,
    retention: Retention,
    allow_private_fetch: bool,
    work: Sequence[str] = WORK,
    notifier: Notifier | None = None,
    database: "PostgresPool | None" = None,
    beat: Callable[[], None] = lambda: None,
) -> None:
    """Run the orders of a state folder until SIGTERM or SIGINT; stand by while another process does.

    With a `database` the orders are there, and of all the machines that share it one worker runs them at a time.
    `processes` say how orders are executed: on Airflow where they and `capacity` say so, which needs a database.
    The `notifier` sends what orders have to tell; without one it waits. `beat` is called as long as the worker goes on,
    whether it works, stands by or waits for the store.

    Call it in the main thread. It returns within 5 s of the signal, with running work handed back.
    """
    state_dir = state_dir.absolute()
    state_dir.mkdir(parents=True, exist_ok=True)
    arguments = ["--state-dir", str(state_dir), "--config", str(config.absolute())]
    arguments += ["--fetch-private"] if allow_private_fetch else []
    arguments += arguments_of(processes)
    url = database.url if database else None
    place = database or state_dir / "orders.sqlite"
    root = state_dir / "results"
    stop = _Stop(beat)

    children = EmbeddedRunner(root, arguments, work=work, environment=environment_of(url))
    open_runners = partial(open_lanes, children, capacity.parallel)

    def make(store: StoredJobs, pools: Sequence[RunnerPool]) -> Reconciler:
        chores = _chores(state_dir, store, config.absolute(), cap=retention.results_cap)
        space = Space(root, cap=retention.results_cap, without_files=processes.without_files)
        days = retention.jobs_days
        return Reconciler(
            store,
            pools,
            ResultFiles(root),
            jobs_days=days,
            chores=chores,
            space=space,
            processes=processes,
            rest=children.wait,
        )

    with lead_folder(state_dir / "work.lock", stop) as ours:
        while ours and not stop():
            with lead_database(url, stop) as leadership:
                if leadership and (store := _open(place, min(retention.results_days, retention.jobs_days), stop)):
                    delivery = delivering(notifier, place, stop, left=stop.left) if notifier else nullcontext()
                    runners = open_runners(processes=processes, airflow=capacity.airflow, results=root, url=url)
                    with closing(store), delivery, closing(children), runners as pools:
                        make(store, pools).run(lambda: stop() or leadership.is_over(), beat=Heartbeat(state_dir))


def _chores(state_dir: Path, store: StoredJobs, config: Path, *, cap: int | None) -> list[Callable[[], None]]:
    results = state_dir / "results"
    return [
        partial(sweep_prebuilt, results, store, config),
        partial(spare_prebuilt, results, store, cap),
        partial(sweep_drafts, [state_dir, state_dir / "products", state_dir / "sample"]),
    ]


class _Stop:
    """Says whether SIGTERM or SIGINT has come; a plain flag, as a signal may arrive anywhere.

    The main thread polls it in everything that it does, so polling it is the heartbeat.
    """

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._come: float | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self._come = self._come or time.monotonic()

    def __call__(self) -> bool:
        if current_thread() is main_thread():
            self._beat()
        return self._come is not None

    def left(self) -> float:
        """Return what is left of the grace after the signal."""
        return _GRACE if self._come is None else max(0.0, self._come + _GRACE - time.monotonic())


def _open(place: Place, files_days: int, stop: _Stop) -> StoredJobs | None:
    """Open the store as soon as it can be opened; None when we are stopped before."""
    while not stop():
        try:
            return StoredJobs(place, files_days=files_days)
        except StoreUnavailable as error:
            _log.warning("orders wait: %s", error)
            pause(_PATIENCE, stop)
    return None
