"""Which runner an order goes to, and how many run there at once."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.job import Job
from orchestration.registry import Registry
from orchestration.runners import Runner
from orchestration.trace import Record
from sql.address import Url

if TYPE_CHECKING:
    from orchestration.runners.airflow import AirflowAccess, OnAirflow
    from orchestration.runners.airflow.client import Airflow

_QUICK_PLACES = 2


@dataclass(slots=True)
class RunnerPool:
    """At most `places` orders of some processes run at once by one runner; of all others where none are named."""

    runner: Runner
    places: int
    processes: frozenset[str] | None = None
    next_start: float = field(default=0.0)
    """When the next order may begin, after one could not."""

    def takes(self, job: Job) -> bool:
        """Say whether the order is one of the pool's processes."""
        return self.processes is None or job.order.process in self.processes


class RunnerPools:
    """All pools; an order goes to the first that takes it, the last takes every order."""

    def __init__(self, pools: Sequence[RunnerPool]) -> None:
        self._pools = pools

    def place_of(self, job: Job) -> int:
        """Return the number of the order's pool."""
        return next(number for number, pool in enumerate(self._pools) if pool.takes(job))

    def of(self, job: Job) -> RunnerPool:
        """Return the order's pool."""
        return self._pools[self.place_of(job)]

    def runner_of(self, job: Job) -> Runner:
        """Return the runner of the order."""
        return self.of(job).runner

    def places(self) -> list[int]:
        """Return how many orders may run at once in each."""
        return [pool.places for pool in self._pools]


def pools_on_this_machine(runner: Runner, parallel: int, quick: frozenset[str]) -> list[RunnerPool]:
    """Return the pools of a runner of children: orders of the processes `quick` have two places of their own."""
    return [RunnerPool(runner, _QUICK_PLACES, quick), RunnerPool(runner, parallel)]


def pools_on_airflow(runner: Runner, runs: int, processes: frozenset[str]) -> list[RunnerPool]:
    """Return the pools of Airflow's runner, which come first: one a process, none of which waits for another."""
    return [RunnerPool(runner, runs, frozenset({process})) for process in sorted(processes)]


@contextmanager
def open_pools(
    children: Runner,
    parallel: int,
    *,
    processes: Registry,
    airflow: "OnAirflow | None",
    results: Path,
    url: Url | None,
    record: Record | None = None,
) -> Iterator[list[RunnerPool]]:
    """Open the runners: children of this process, and before them Airflow where there is one, heard of by `url`."""
    own = pools_on_this_machine(children, parallel, processes.quick)
    if airflow is None or url is None:
        yield own
        return
    from orchestration.runners.airflow.events import hearing  # noqa: PLC0415  a worker without Airflow needs none of it
    from orchestration.runners.airflow.runner import AirflowRunner  # noqa: PLC0415  likewise

    runner = AirflowRunner(partial(_connect, airflow.access), results, processes, pace=airflow.pace, record=record)
    with closing(runner), hearing(url, runner.hear):
        yield [*pools_on_airflow(runner, airflow.runs, processes.on_airflow), *own]


def _connect(access: "AirflowAccess") -> "Airflow":
    from orchestration.runners.airflow.client import Airflow  # noqa: PLC0415  it takes seconds, and 40 MB

    return Airflow(access)
