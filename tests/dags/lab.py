"""DAGs for tests, in Airflow's environment: one task that is quick, is slow, fails, or never starts."""

import time
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task


@task
def quick() -> str:
    return "done"


@task
def slow(**context: Any) -> None:
    """Work for the `seconds` of the conf; if it names a file `beats`, add a line every tenth of a second."""
    conf = context["dag_run"].conf
    until = time.monotonic() + conf.get("seconds", 60)
    while time.monotonic() < until:
        if beats := conf.get("beats"):
            with Path(beats).open("a") as stream:
                stream.write(f"{time.time()}\n")
        time.sleep(0.1)


@task
def bad() -> None:
    raise ValueError("on purpose")


with DAG("test-quick", schedule=None):
    quick()

with DAG("test-slow", schedule=None):
    slow()

with DAG("test-bad", schedule=None):
    bad()

with DAG("test-paused", schedule=None, is_paused_upon_creation=True):
    quick()
