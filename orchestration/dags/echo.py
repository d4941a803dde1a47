"""The DAG of the process that gives its inputs back; Airflow reads only files that name it."""

from __future__ import annotations

from orchestration.dags.steps import at_once

echo = at_once("echo", "clc_prod_echo_queue", hours=1, runs=64, tasks=64)
