"""The files that the server and the tasks of an attempt exchange in its folder: the order, and the status of each task.

The order is not in the `conf` of the DAG run, because Airflow returns that with every task and run, so an order of some
megabytes would slow down all others. Its database also refuses NUL and does not keep the order of members.
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
"""Maximum number of tasks whose status is shown: if ten fail alike, three are enough."""


def hand_order(folder: Path, order: Order, row: ProcessRow) -> None:
    """Write the order and the row of its process into the folder of an attempt, atomically. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{ORDER_FILE}.draft"
    draft.write_text(encode_order(order, row=encode_row(row)))
    draft.replace(folder / ORDER_FILE)


def handed_order(folder: Path) -> Order:
    """Return the order without its owner. Raises WorkFailed if it cannot be read."""
    with _readable():
        return decode_order(json.loads((folder / ORDER_FILE).read_text()))
    raise AssertionError


def handed_row(folder: Path) -> ProcessRow:
    """Return the row of the order's process. Raises WorkFailed if it cannot be read."""
    with _readable():
        return decode_row(json.loads((folder / ORDER_FILE).read_text())["row"])
    raise AssertionError


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkFailed("the order cannot be read") from error


def encode_order(order: Order, **more: str | int) -> str:
    """Return the order as JSON without its owner, with `more` members for its reader."""
    outputs = None if order.outputs is None else dict(order.outputs)
    members = {"process": order.process, "inputs": dict(order.inputs), "outputs": outputs, "response": order.response}
    return json.dumps({**members, **more})


def decode_order(members: Mapping[str, Any]) -> Order:
    """Return the order that `encode_order` wrote. Raises KeyError, ValueError, TypeError."""
    response, inputs = members.get("response", "raw"), dict(members["inputs"])
    return Order(str(members["process"]), inputs, owner="", outputs=members["outputs"], response=response)


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """The status of a task: `message` for the caller; `reason` of the last failed try, empty at the first try."""

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
    """Return the last status of the task, or None if there is none or it cannot be read."""
    return _read(folder / f"{_STATUS}{task}.json")


def status_of_tasks(folder: Path) -> str:
    """Return the messages of the attempt's tasks, those with a failed try first; empty if there is none."""
    found = [status for path in sorted(folder.glob(f"{_STATUS}*.json")) if (status := _read(path))]
    found.sort(key=lambda status: not status.reason)
    more = f" And {len(found) - _MOST} more requests." if len(found) > _MOST else ""
    return " ".join(status.message for status in found[:_MOST]) + more


def _read(path: Path) -> TaskStatus | None:
    try:
        members = json.loads(path.read_text())
        return TaskStatus(str(members["message"]), str(members["reason"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
