"""What the server and the tasks of an attempt exchange in the attempt's folder: the order, and the status of each task.

Airflow gives a run's `conf` to every task and to whoever looks at the run, so an order of some megabytes there holds up
everybody's; and its database takes no NUL and keeps no order of members.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestration.errors import WorkFailed
from orchestration.job import Order
from orchestration.registry import ProcessRow, decode_row, encode_row

ORDER_FILE = "order.json"
_STATUS = "status-"
_MOST = 3
"""Tasks whose status is shown: where ten fail alike, the first three say enough."""


def hand_order(folder: Path, order: Order, row: ProcessRow) -> None:
    """Write what was ordered, and how it is executed, into the folder of an attempt, whole. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{ORDER_FILE}.draft"
    draft.write_text(encode_order(order, row=encode_row(row)))
    draft.replace(folder / ORDER_FILE)


def handed_order(folder: Path) -> Order:
    """Return what was ordered, without its owner. Raises WorkFailed where that cannot be read."""
    with _readable():
        return decode_order(json.loads((folder / ORDER_FILE).read_text()))
    raise AssertionError


def handed_row(folder: Path) -> ProcessRow:
    """Return how the order is executed. Raises WorkFailed where that cannot be read."""
    with _readable():
        return decode_row(json.loads((folder / ORDER_FILE).read_text())["row"])
    raise AssertionError


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkFailed("what was ordered cannot be read") from error


def encode_order(order: Order, **more: str | int) -> str:
    """Return what was ordered as JSON, and not who did; with more members where who reads it needs them."""
    outputs = None if order.outputs is None else dict(order.outputs)
    told = {"process": order.process, "inputs": dict(order.inputs), "outputs": outputs, "response": order.response}
    return json.dumps({**told, **more})


def decode_order(told: Mapping[str, Any]) -> Order:
    """Return what was ordered. Raises KeyError, ValueError, TypeError."""
    response = told.get("response", "raw")
    return Order(str(told["process"]), dict(told["inputs"]), owner="", outputs=told["outputs"], response=response)


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """The status of a task: `message` for the caller, `reason` why its last try failed, empty at the first try."""

    message: str
    reason: str = ""


def write_status(folder: Path, task: str, status: TaskStatus | None) -> None:
    """Write the status of a task of the attempt; None removes it. Raises OSError."""
    path = folder / f"{_STATUS}{task}.json"
    if status is None:
        path.unlink(missing_ok=True)
        return
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(status)))
    draft.replace(path)


def read_status(folder: Path, task: str) -> TaskStatus | None:
    """Return the status that the task wrote last, None where there is none or it cannot be read."""
    return _read(folder / f"{_STATUS}{task}.json")


def status_of_tasks(folder: Path) -> str:
    """Return the messages of the tasks of the attempt, those with a failed try first; empty where there is none."""
    found = [status for path in sorted(folder.glob(f"{_STATUS}*.json")) if (status := _read(path))]
    found.sort(key=lambda status: not status.reason)
    more = f" And {len(found) - _MOST} more requests." if len(found) > _MOST else ""
    return " ".join(status.message for status in found[:_MOST]) + more


def _read(path: Path) -> TaskStatus | None:
    try:
        told = json.loads(path.read_text())
        return TaskStatus(str(told["message"]), str(told["reason"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
