"""One run, as the runner knows it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from orchestration.job import Job
from orchestration.registry import ProcessRow
from orchestration.runners import Done, Failed, Gone, NotBegun, Queued, Running, RunState, run_id

End = Done | Failed | Gone | NotBegun


@dataclass(slots=True)
class Run:
    """A run in one of the DAGs `dags`, the first where it is handed over; its tasks stage below `folder`.

    `conf` is None for a run that is only looked for. What no method guards is one thread's at a time.
    """

    name: str
    process: ProcessRow
    dags: tuple[str, ...]
    folder: Path
    conf: Mapping[str, Any] | None = None
    sent: bool = False
    """Whether Airflow may have heard of it."""
    sent_at: float = 0.0
    handed: bool = False
    """Whether Airflow has it."""
    state: RunState = field(default_factory=Queued)
    is_over: bool = False
    stopping: bool = False
    verdict: Failed | Gone | None = None
    """What is said of a run that we ended ourselves, once it is over."""
    ended_at: float | None = None
    """When Airflow said that it is over, after we asked for that."""
    over_at: float | None = None
    """When it was found over without an ending."""
    failures: int = 0
    """Of requests, one after the other."""
    changed_at: float = field(default_factory=time.monotonic)
    asked_at: float = field(default_factory=time.monotonic)
    closer_at: float = 0.0
    tasks: object = None
    reported: tuple[int, str] = (0, "")
    lock: Lock = field(default_factory=Lock)

    def look(self, job: Job) -> RunState:
        """Return how it stands; what the work reported by then is a sign of life."""
        self.asked_at = time.monotonic()
        reported = (job.progress, job.message)
        if reported != self.reported:
            self.reported, self.changed_at = reported, self.asked_at
        return self.state

    def end(self, state: End) -> None:
        """Note that it is over, and how it ended."""
        with self.lock:
            self.state, self.is_over, self.conf = state, True, None

    def give_up(self, verdict: Failed | Gone) -> None:
        """Have Airflow end it, and say that of it then."""
        self.verdict, self.stopping = verdict, True

    def note(self, state: str, waits: str) -> None:
        """Note how it stands in Airflow, by any thread; `waits` is why it does not work now, empty where it may."""
        with self.lock:
            if self.is_over:
                return
            before = self.state
            self.state = Running(message=waits) if state == "running" else Queued(waits)
            if type(before) is not type(self.state):
                self.changed_at = time.monotonic()


def run_of(job: Job, dags: tuple[str, ...], results: Path, process: ProcessRow) -> Run:
    """Return a run that is only looked for."""
    return Run(run_id(job.id, job.attempt), process, dags, results / job.id / str(job.attempt))


def conf_of(job: Job, process: ProcessRow) -> dict[str, Any]:
    """Return what a DAG is told of an order: where the rest of it lies; an operator's own DAG is told the inputs."""
    conf = {"job": job.id, "attempt": job.attempt, "process": job.order.process}
    return {**conf, "inputs": dict(job.order.inputs)} if process.hands_over else conf
