"""The worker: the one reconciler of a state folder or a database, until it is stopped."""

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
from orchestration.pools import open_pools
from orchestration.reconcile import Reconciler
from orchestration.registry import Registry, arguments_of
from orchestration.runners.airflow import OnAirflow
from orchestration.runners.embedded import WORK, EmbeddedRunner
from orchestration.store.database import environment_of
from orchestration.store.jobs import StoredJobs
from orchestration.trace import OrderTraces, Record
from products.held import descriptors_of, release
from sql.connections import Database

if TYPE_CHECKING:
    from sql.address import Url
    from sql.pool import PostgresPool

_log = logging.getLogger(__name__)

_PATIENCE = 5.0
"""Seconds between two attempts to open a store that cannot be opened."""
_GRACE = 2.0
"""Seconds after the signal within which a notification that is being delivered may end."""


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


@dataclass(frozen=True, slots=True)
class Configured:
    """The configuration that orders are executed with, and the registry of its processes."""

    path: Path
    processes: Registry

    def arguments(self, state_dir: Path, *, allow_private_fetch: bool) -> list[str]:
        """Return the arguments of the program that executes orders on this machine."""
        arguments = ["--state-dir", str(state_dir), "--config", str(self.path)]
        arguments += ["--fetch-private"] if allow_private_fetch else []
        return arguments + arguments_of(self.processes)


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
    renewed: Callable[[], Configured | None] = lambda: None,
    record: Record | None = None,
) -> None:
    """Run the orders of a state folder until SIGTERM or SIGINT; stand by while another process does.

    With a `database` the orders are in it, and one worker of all machines that share it runs them.
    `processes` and `capacity` decide whether an order is executed on Airflow, which needs a database.
    The `notifier` sends notifications; without one they stay in the outbox. `beat` is called as long as the worker is
    alive, whether it works, stands by or waits for the store. `renewed` returns a new configuration, or None; orders
    that begin later are executed with it. `record` takes the spans of traced orders.

    Call it in the main thread. It returns within 5 s of the signal, with running work handed back.
    """
    state_dir = state_dir.absolute()
    state_dir.mkdir(parents=True, exist_ok=True)
    url = database.url if database else None
    orders: Database = database or state_dir / "orders.sqlite"
    stop = _Stop(beat)
    taken = _Taken(Configured(config.absolute(), processes), renewed)
    arguments = partial(Configured.arguments, state_dir=state_dir, allow_private_fetch=allow_private_fetch)
    children = EmbeddedRunner(
        state_dir / "results",
        arguments(taken.now),
        work=work,
        environment=environment_of(url),
        processes=processes,
        descriptors=descriptors_of(taken.now.path),
    )
    worker = _Worker(state_dir, url, taken, children, arguments, capacity, retention, record)
    with lead_folder(state_dir / "work.lock", stop) as ours:
        while ours and not stop():
            with lead_database(url, stop, Heartbeat(state_dir).seen) as leadership:
                if leadership and (store := _open(orders, min(retention.results_days, retention.jobs_days), stop)):
                    delivery = delivering(notifier, orders, stop, left=stop.left) if notifier else nullcontext()
                    with closing(store), delivery, closing(children):
                        worker.reconcile(store, _either(stop, leadership.is_over))


class _Taken:
    """The configuration that orders are executed with, and the next one."""

    def __init__(self, now: Configured, renewed: Callable[[], Configured | None]) -> None:
        self.now = now
        self._renewed = renewed
        self._next: Configured | None = None

    def is_renewed(self) -> bool:
        """Return whether there is a next configuration."""
        self._next = self._renewed() or self._next
        return self._next is not None

    def take(self) -> None:
        """Continue with the next configuration; orders that began with the former no longer need its file."""
        if self._next is not None:
            release(self.now.path)
            self.now, self._next = self._next, None


@dataclass(frozen=True, slots=True)
class _Worker:
    """Reconciles the orders of a store; `url` is PostgreSQL's, None where the state folder has the orders."""

    state_dir: Path
    url: "Url | None"
    taken: _Taken
    children: EmbeddedRunner
    arguments: Callable[[Configured], list[str]]
    capacity: Capacity
    retention: Retention
    record: Record | None = None

    def reconcile(self, store: StoredJobs, over: Callable[[], bool]) -> None:
        """Execute the orders until it is `over`, by each configuration in turn; then hand the running ones back."""
        results, cap, taken = self.state_dir / "results", self.retention.results_cap, self.taken
        space, days = Space(results, cap=cap), self.retention.jobs_days
        reconciler = Reconciler(
            store,
            (),
            ResultFiles(results),
            jobs_days=days,
            space=space,
            rest=self.children.wait,
            traces=OrderTraces(self.record, results) if self.record else None,
        )
        open_runners = partial(
            open_pools,
            self.children,
            self.capacity.parallel,
            airflow=self.capacity.airflow,
            results=results,
            url=self.url,
            record=self.record,
        )
        while True:
            chores = _chores(self.state_dir, store, taken.now.path, cap=cap)
            with open_runners(processes=taken.now.processes) as pools:
                reconciler.renew(pools, taken.now.processes, chores)
                reconciler.follow(lambda: over() or taken.is_renewed(), beat=Heartbeat(self.state_dir))
                if over():
                    reconciler.hand_back()
                    return
            taken.take()
            held = descriptors_of(taken.now.path)
            self.children.renew(self.arguments(taken.now), taken.now.processes, descriptors=held)
            _log.info("orders are executed by another configuration from now on")


def _either(first: Callable[[], bool], second: Callable[[], bool]) -> Callable[[], bool]:
    return lambda: first() or second()


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


def _open(database: Database, files_days: int, stop: _Stop) -> StoredJobs | None:
    """Open the store as soon as it can be opened; None when we are stopped before."""
    while not stop():
        try:
            return StoredJobs(database, files_days=files_days)
        except StoreUnavailable as error:
            _log.warning("orders wait: %s", error)
            pause(_PATIENCE, stop)
    return None
