"""The interface of runners; each has a module of its own."""

import re
from dataclasses import dataclass
from typing import Protocol

from orchestration.job import Job, Manifest

_RUN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.[1-9]\d{0,8}")


@dataclass(frozen=True, slots=True)
class Queued:
    """The run is queued; `message` tells the caller why, or is empty."""

    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """The run works; `percent` is None if the work itself reports to the store."""

    percent: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """The run made a complete result, staged below the results folder."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Failed:
    """The work failed: `reason` is for the caller, `detail` for the log.

    `fault` is the class of the error, or empty if it was unexpected.
    """

    reason: str
    detail: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class NoSpace:
    """The run ended because the disk was full; its files are of no use."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The run is gone without a recorded ending; `how` describes what is known of its end."""

    how: str = ""


@dataclass(frozen=True, slots=True)
class NotBegun:
    """The run was never started and will not be; `why` is for the log, the order waits."""

    why: str


RunState = Queued | Running | Done | Failed | NoSpace | Gone | NotBegun
WAITS = "Waits"
"""The first word of each message about why an order waits; it identifies the message once the order no longer waits."""


class Runner(Protocol):
    """Runs attempts of jobs: the current attempt of each, under the id `run_id`. No method blocks."""

    @property
    def survives(self) -> bool:
        """Whether runs outlive the worker; if so, they continue when it stops."""

    def why_wait(self, job: Job) -> str:
        """Return why an accepted order must wait, for the caller, beginning with `WAITS`; or an empty text."""

    def start(self, job: Job, *, again: bool = False) -> None:
        """Start a run and return at once. Raises RunnerUnavailable.

        With `again` an earlier worker may have started the run: it is followed, and no second one starts.
        """

    def look(self, job: Job) -> RunState:
        """Return the state of the run; a process of it can be alive only in the states Queued and Running."""

    def stop(self, job: Job) -> None:
        """Ask the run to end; called repeatedly until `look` returns another state than Queued and Running."""

    def close(self) -> None:
        """Release what the runner holds; runs that survive go on."""


def run_id(job_id: str, attempt: int) -> str:
    """Return the id of a run, `{job}.{attempt}`."""
    return f"{job_id}.{attempt}"


def is_run(name: str) -> bool:
    """Return whether a text has the form of the id of a run."""
    return _RUN.fullmatch(name) is not None
