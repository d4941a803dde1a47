"""What passes between the server and the tasks of an attempt in the attempt's folder: the order, and how tasks stand.

Airflow gives a run's `conf` to every task and to whoever looks at the run, so an order of some megabytes there holds up
everybody's; and its database takes no NUL and keeps no order of members.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestration.errors import WorkFailed
from orchestration.job import Order

ORDER_FILE = "order.json"
_SAID = "said-"
_MOST = 3
"""Tasks of which it is told how they stand; of ten that fail alike the first say enough."""


def hand_order(folder: Path, order: Order) -> None:
    """Write what was ordered into the folder of an attempt, whole, and not who did. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    outputs = None if order.outputs is None else dict(order.outputs)
    draft = folder / f"{ORDER_FILE}.draft"
    draft.write_text(json.dumps({"process": order.process, "inputs": dict(order.inputs), "outputs": outputs}))
    draft.replace(folder / ORDER_FILE)


def handed_order(folder: Path) -> Order:
    """Return what was ordered, without its owner. Raises WorkFailed where that cannot be read."""
    try:
        told = json.loads((folder / ORDER_FILE).read_text())
        return Order(str(told["process"]), dict(told["inputs"]), owner="", outputs=told["outputs"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkFailed("what was ordered cannot be read") from error


@dataclass(frozen=True, slots=True)
class Said:
    """How a task of a service stands: `message` for the caller, `reason` what its last try met, empty at the first."""

    message: str
    reason: str = ""


def say(folder: Path, task: str, said: Said | None) -> None:
    """Write how a task of the attempt stands; None once there is nothing to say. Raises OSError."""
    path = folder / f"{_SAID}{task}.json"
    if said is None:
        path.unlink(missing_ok=True)
        return
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(said)))
    draft.replace(path)


def said_of(folder: Path, task: str) -> Said | None:
    """Return how a task stood when it last said so, None where it did not or that cannot be read."""
    return _said(folder / f"{_SAID}{task}.json")


def said_by_all(folder: Path) -> str:
    """Return how the tasks of the attempt stand, those that failed first, empty where none says anything."""
    found = [said for path in sorted(folder.glob(f"{_SAID}*.json")) if (said := _said(path))]
    found.sort(key=lambda said: not said.reason)
    more = f" And {len(found) - _MOST} more requests." if len(found) > _MOST else ""
    return " ".join(said.message for said in found[:_MOST]) + more


def _said(path: Path) -> Said | None:
    try:
        told = json.loads(path.read_text())
        return Said(str(told["message"]), str(told["reason"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
