"""The DAG `sample-extraction` and its twin, which send a request for each entry of the list, in parallel."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from orchestration.dags.services import (
    NO_REASON,
    Twin,
    end,
    last_task,
    pulled,
    reasons,
    reporting,
    run_of_task,
    try_number,
)
from orchestration.errors import ServiceRefused, WorkFailed
from orchestration.services.sample_extraction import extract_sentinel_2, summary

_SERVICE = "sample-extraction-service"
_LIMIT = timedelta(hours=2.5)
_TWIN = Twin(
    "sample-extraction", "sample_extract", (_SERVICE,), retries=6, pause=timedelta(minutes=2), runs=10, tasks=8
)
_TWINS = (_TWIN, replace(_TWIN, process="sample-extraction-testing", retries=2, pause=timedelta(minutes=1), tasks=10))
_TASK = "extract_sentinel_2"


def _dag(twin: Twin) -> DAG:
    @task
    def plan() -> list[int]:
        return list(range(len(run_of_task().inputs["s2_parameter_list"])))

    @task(task_id=_TASK, execution_timeout=_LIMIT)
    def ask(index: int) -> dict[str, Any]:
        run = run_of_task()
        with reporting(ServiceRefused, service=_SERVICE, index=index):
            service = twin.service(_SERVICE, _LIMIT)
            entry = run.inputs["s2_parameter_list"][index]
            return {"index": index, "answer": extract_sentinel_2(service, entry, run.process_id(index, try_number()))}

    @last_task
    def finish() -> None:
        end(_answers)

    with DAG(**twin.dag("Extract the samples of up to ten Sentinel-2 scenes"), schedule=None) as dag:
        ask.expand(index=plan()) >> finish()
    return dag


def _answers() -> list[Any]:
    """Return the answers in the order of the entries."""
    entries = run_of_task().inputs["s2_parameter_list"]
    answers = {each["index"]: each["answer"] for each in pulled([_TASK])}
    given = {each["index"]: each["reason"] for each in reasons([_TASK])}
    failures = {index: given.get(index, NO_REASON) for index in range(len(entries)) if index not in answers}
    if failures:
        raise WorkFailed(summary(entries, failures))
    return [answers[index] for index in range(len(entries))]


for _twin in _TWINS:
    globals()[_twin.process] = _dag(_twin)
