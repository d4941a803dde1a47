"""The DAG of the process that gives its inputs back."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from orchestration.dags.common import ORDER, TRY, limits
from orchestration.dags.steps import perform, step

with DAG(
    "echo",
    schedule=None,
    catchup=False,
    dagrun_timeout=timedelta(hours=1),
    tags=["landcast"],
    **limits("echo", runs=64, tasks=64),
):
    step(perform, queue="clc_prod_echo_queue", priority_weight=10)(ORDER, TRY)
