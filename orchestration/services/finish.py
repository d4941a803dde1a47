"""The end of a run of a production service: its answer as the result, or the reason for the owner."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from orchestration.ending import write_ending
from orchestration.errors import ServiceFailed, WorkFailed
from orchestration.handover import handed_order
from orchestration.job import Output
from orchestration.runners import Done, Failed

_RESULT = "result"
_LONGEST = 4000


@dataclass(frozen=True, slots=True)
class ServiceRun:
    """The run of an order's attempt: its id, as the services get it, and what was ordered."""

    id: str
    job: str
    attempt: int
    inputs: Mapping[str, Any]

    @classmethod
    def of(cls, conf: Mapping[str, Any], run_id: str, results: Path) -> "ServiceRun":
        """Return the run with the configuration that it was started with. Raises WorkFailed where it is for no order.

        Its job and its attempt name a folder, so they are what the server gives them or nothing.
        """
        match conf:
            case {"job": str(job), "attempt": int(attempt)} if _is_uuid(job) and attempt > 0:
                return cls(run_id, job, attempt, handed_order(results / job / str(attempt)).inputs)
        raise WorkFailed("the run was started for no order: its configuration has no job and attempt")

    def process_id(self, *parts: int) -> str:
        """Return the name that a service gets for one request: the run's id, its parts, and the try as the last."""
        return "_".join((self.id, *map(str, parts)))


def finish(run: ServiceRun, results: Path, try_: int, value: Any) -> None:
    """Write the result of the order, a JSON value, durably."""
    write_ending(_folder(run, results, try_), Done((Output(_RESULT, value),)))


def give_up(run: ServiceRun, results: Path, try_: int, reason: str) -> None:
    """Write the reason of the failure, for the caller."""
    reason = reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]}…"
    write_ending(_folder(run, results, try_), Failed(reason, fault=ServiceFailed.__name__))


def _folder(run: ServiceRun, results: Path, try_: int) -> Path:
    folder = results / run.job / str(run.attempt) / str(try_)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
