"""Which runner an order goes to, and how many run there at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestration.job import Job
from orchestration.runners import Runner
from orchestration.work import QUICK

_QUICK_PLACES = 2


@dataclass(slots=True)
class Lane:
    """At most `places` orders of some processes run at once by one runner; of all others where none are named."""

    runner: Runner
    places: int
    processes: frozenset[str] | None = None
    next_start: float = field(default=0.0)
    """When the next order may begin, after one could not."""

    def takes(self, job: Job) -> bool:
        """Say whether the order is one of the lane's processes."""
        return self.processes is None or job.order.process in self.processes


class Lanes:
    """All lanes; an order goes to the first that takes it, the last takes every order."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes

    def place_of(self, job: Job) -> int:
        """Return the number of the order's lane."""
        return next(number for number, lane in enumerate(self._lanes) if lane.takes(job))

    def of(self, job: Job) -> Lane:
        """Return the order's lane."""
        return self._lanes[self.place_of(job)]

    def runner_of(self, job: Job) -> Runner:
        """Return the runner of the order."""
        return self.of(job).runner

    def places(self) -> list[int]:
        """Return how many orders may run at once in each."""
        return [lane.places for lane in self._lanes]


def lanes_on_this_machine(runner: Runner, parallel: int, quick: frozenset[str] = QUICK) -> list[Lane]:
    """Return the lanes of a runner of children: orders of the processes `quick` have two places of their own."""
    return [Lane(runner, _QUICK_PLACES, quick), Lane(runner, parallel)]


def lanes_on_airflow(runner: Runner, runs: int, processes: frozenset[str]) -> list[Lane]:
    """Return the lanes of Airflow's runner, which come first; quick orders have as many places as the others."""
    return [Lane(runner, runs, processes & QUICK), Lane(runner, runs, processes - QUICK)]
