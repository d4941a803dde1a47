"""The DAG `prepare-samples` and its twin, which send one request."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from orchestration.dags.services import Twin, answer_of_run, end, last_task, reporting, run_of_task, try_number
from orchestration.errors import ServiceRefused
from orchestration.services.prepare_samples import prepare_samples

_SERVICE = "sample-extraction-service"
_LIMIT = timedelta(hours=2.5)
_TWIN = Twin(
    "prepare-samples", "prepare_samples", (_SERVICE,), retries=6, pause=timedelta(minutes=2), runs=12, tasks=10
)
_TWINS = (_TWIN, replace(_TWIN, process="prepare-samples-testing", runs=10))
_TASK = "prepare_samples_service"


def _dag(twin: Twin) -> DAG:
    @task(task_id=_TASK, execution_timeout=_LIMIT)
    def ask() -> Any:
        run = run_of_task()
        with reporting(ServiceRefused, service=_SERVICE):
            service = twin.service(_SERVICE, _LIMIT)
            return prepare_samples(service, run.inputs, run.process_id(try_number()))

    @last_task
    def finish() -> None:
        end(lambda: answer_of_run([_TASK], [_TASK]))

    with DAG(**twin.dag("Prepare samples of the places of a feature collection"), schedule=None) as dag:
        ask() >> finish()
    return dag


for _twin in _TWINS:
    globals()[_twin.process] = _dag(_twin)
