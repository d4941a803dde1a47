"""Run by Airflow's own Python: print the parsed DAGs of a folder as JSON."""

import json
import sys
from datetime import timedelta
from typing import Any

from airflow.dag_processing.dagbag import DagBag  # type: ignore[import-not-found] # Airflow's own environment has it


def _seconds(time: timedelta | None) -> float | None:
    return None if time is None else time.total_seconds()


def _names(callbacks: Any) -> list[str]:
    return [each.__name__ for each in ([callbacks] if callable(callbacks) else callbacks or ())]


def _task(task: Any) -> dict[str, Any]:
    made = task.partial_kwargs if task.is_mapped else None

    def of(name: str, *default: Any) -> Any:
        return made[name] if made is not None and name in made else getattr(task, name, *default)

    return {
        "retries": of("retries"),
        "pause": _seconds(of("retry_delay")),
        "limit": _seconds(of("execution_timeout")),
        "exponential": bool(of("retry_exponential_backoff")),
        "queue": of("queue"),
        "at_once": of("max_active_tis_per_dag"),
        "rule": str(of("trigger_rule").value),
        "after": sorted(task.upstream_task_ids),
        "mapped": bool(task.is_mapped),
        "failed": _names(of("on_failure_callback")),
        "retried": _names(of("on_retry_callback")),
        "python": of("python", None),
        "environment": of("env_vars", None),
    }


def _dag(dag: Any) -> dict[str, Any]:
    return {
        "runs": dag.max_active_runs,
        "tasks_at_once": dag.max_active_tasks,
        "schedule": str(dag.schedule),
        "catchup": dag.catchup,
        "limit": _seconds(dag.dagrun_timeout),
        "failed": _names(dag.on_failure_callback),
        "tasks": {task.task_id: _task(task) for task in dag.tasks},
    }


bag = DagBag(sys.argv[1])
print(json.dumps({"errors": bag.import_errors, "dags": {name: _dag(dag) for name, dag in bag.dags.items()}}))  # noqa: T201
