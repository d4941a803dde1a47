"""Where work runs: one interface, one module a runner."""

import re
from dataclasses import dataclass
from typing import Protocol

from orchestration.job import Job, Manifest

_RUN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.[1-9]\d{0,8}")


@dataclass(frozen=True, slots=True)
class Queued:
    """The run waits for its turn; `message` says why, where that is worth a word to the caller."""

    message: str = ""


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


@dataclass(frozen=True, slots=True)
class NotBegun:
    """The run was never begun, and will not be: `why` is for the log; the order waits."""

    why: str


RunState = Queued | Running | Done | Failed | NoSpace | Gone | NotBegun
WAITS = "Waits"
"""How every message begins that says why an order waits, so that it is known for one when it waits no more."""


class Runner(Protocol):
    """Run attempts of jobs: of each job the attempt that it is at, under the id `run_id`. Nothing here waits."""

    @property
    def survives(self) -> bool:
        """Whether runs outlive the worker: they are neither ended nor handed back when it stops."""

    def why_wait(self, job: Job) -> str:
        """Return why an accepted order must not begin now, `WAITS` first, for the caller; empty where it may."""

    def start(self, job: Job, *, again: bool = False) -> None:
        """Start a run and return at once. Raises RunnerUnavailable.

        `again` says that a worker before us may have started it: then the same run is followed, and no second begins.
        """

    def look(self, job: Job) -> RunState:
        """Return how the run stands; only Queued and Running mean that one of its processes may work."""

    def stop(self, job: Job) -> None:
        """Ask the run to end; called again until `look` says that it is over, soon after."""

    def close(self) -> None:
        """Give back what the runner holds; runs that survive go on."""


def run_id(job_id: str, attempt: int) -> str:
    """Return the name of a run, `{job}.{attempt}`."""
    return f"{job_id}.{attempt}"


def is_run(name: str) -> bool:
    """Say whether a run may be one of ours, by its name."""
    return _RUN.fullmatch(name) is not None
