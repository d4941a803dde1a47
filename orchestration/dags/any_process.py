"""The DAG of each process whose entry in the configuration says `airflow: {}`: all of its work as one task."""

from __future__ import annotations

from orchestration.dags.steps import at_once

any_process = at_once("landcast-process", "clc_prod_processes_queue", hours=168, runs=64, tasks=64)
