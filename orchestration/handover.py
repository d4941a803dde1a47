"""What the tasks of an attempt read of their order: a file in the attempt's folder.

Airflow gives a run's `conf` to every task and to whoever looks at the run, so an order of some megabytes there holds up
everybody's; and its database takes no NUL and keeps no order of members.
"""

import json
from pathlib import Path

from orchestration.errors import WorkFailed
from orchestration.job import Order

ORDER_FILE = "order.json"


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
