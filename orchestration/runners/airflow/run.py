"""A run, as the runner knows it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from orchestration.job import Job
from orchestration.registry import ProcessRow
from orchestration.runners import Done, Failed, Gone, NotBegun, Queued, Running, RunState, run_id
from orchestration.trace import TraceContext, context_of_run, handed_on

End = Done | Failed | Gone | NotBegun


@dataclass(slots=True)
class Run:
    """A run in one of `dags`, in the first of them if it is still to be handed over; its tasks stage below `folder`.

    `conf` is None for a run that is only looked up. Members that no method locks are used by one thread at a time.
    """

    name: str
    process: ProcessRow
    dags: tuple[str, ...]
    folder: Path
    conf: Mapping[str, Any] | None = None
    sent: bool = False
    """Whether Airflow may have received it."""
    sent_at: float = 0.0
    handed: bool = False
    """Whether Airflow has it."""
    state: RunState = field(default_factory=Queued)
    is_over: bool = False
    stopping: bool = False
    verdict: Failed | Gone | None = None
    """The ending of a run that we stopped ourselves."""
    ended_at: float | None = None
    """When Airflow confirmed that it is over, after we stopped it."""
    over_at: float | None = None
    """When it was found over without an ending."""
    failures: int = 0
    """The number of consecutive failed requests."""
    changed_at: float = field(default_factory=time.monotonic)
    asked_at: float = field(default_factory=time.monotonic)
    closer_at: float = 0.0
    tasks: object = None
    reported: tuple[int, str] = (0, "")
    trace: TraceContext | None = None
    """The context of its span, until the spans of its tasks are recorded."""
    lock: Lock = field(default_factory=Lock)

    def look(self, job: Job) -> RunState:
        """Return its state; new progress or a new message of the job counts as a change."""
        self.asked_at = time.monotonic()
        reported = (job.progress, job.message)
        if reported != self.reported:
            self.reported, self.changed_at = reported, self.asked_at
        return self.state

    def end(self, state: End) -> None:
        """Record that it is over, with its ending."""
        with self.lock:
            self.state, self.is_over, self.conf = state, True, None

    def give_up(self, verdict: Failed | Gone) -> None:
        """Stop it; `verdict` is its ending once it is over."""
        self.verdict, self.stopping = verdict, True

    def note(self, state: str, waits: str) -> None:
        """Record its state in Airflow, by any thread; `waits` is why it does not run now, or empty."""
        with self.lock:
            if self.is_over:
                return
            before = self.state
            self.state = Running(message=waits) if state == "running" else Queued(waits)
            if type(before) is not type(self.state):
                self.changed_at = time.monotonic()


def run_of(job: Job, dags: tuple[str, ...], results: Path, process: ProcessRow) -> Run:
    """Return a run that is only looked up."""
    folder = results / job.id / str(job.attempt)
    return Run(run_id(job.id, job.attempt), process, dags, folder, trace=context_of_run(job))


def conf_of(job: Job, process: ProcessRow) -> dict[str, Any]:
    """Return the `conf` of a DAG run: how to find the order, its trace, and for an operator's own DAG the inputs."""
    conf = {"job": job.id, "attempt": job.attempt, "process": job.order.process, **handed_on(job)}
    return {**conf, "inputs": dict(job.order.inputs)} if process.hands_over else conf
