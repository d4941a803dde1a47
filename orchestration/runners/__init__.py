"""Where work runs: one interface, one module a runner."""

from dataclasses import dataclass
from typing import Protocol

from orchestration.job import Job, Manifest


@dataclass(frozen=True, slots=True)
class Queued:
    """The run waits for its turn."""


@dataclass(frozen=True, slots=True)
class Running:
    """The run works; `percent` is None where the work itself reports to the store."""

    percent: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """The run made a complete result, staged below the results folder."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Failed:
    """The work said that it cannot be done: `reason` is for the caller, `detail` for the log.

    `fault` names the class of the error, empty where it was unexpected.
    """

    reason: str
    detail: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class NoSpace:
    """The run is over because the disk was full; what it left is of no use."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The run is not there and left no word; `how` says what is known of its end."""

    how: str = ""


RunState = Queued | Running | Done | Failed | NoSpace | Gone


class Runner(Protocol):
    """Run attempts of jobs, each under the id `run_id`."""

    def start(self, job: Job, attempt: int) -> None:
        """Start a run and return at once. Raises RunnerUnavailable."""

    def look(self, run: str) -> RunState:
        """Return how the run stands; only Queued and Running mean that one of its processes may work."""

    def stop(self, run: str) -> None:
        """Ask the run to end; called again until `look` says that it is over, within 2 s."""


def run_id(job_id: str, attempt: int) -> str:
    """Return the name of a run, `{job}.{attempt}`."""
    return f"{job_id}.{attempt}"
