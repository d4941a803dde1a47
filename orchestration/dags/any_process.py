"""The DAG of all processes with `airflow: {}` in the configuration: the whole work is one task."""

from __future__ import annotations

from orchestration.dags.steps import at_once

any_process = at_once("landcast-process", "prod_processes", hours=168, runs=64, tasks=64)
