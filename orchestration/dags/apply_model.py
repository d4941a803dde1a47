"""The DAG `apply-model` and its twin: calculate features, apply the model; if it fails, again without the cache."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowSkipException

from orchestration.dags.services import (
    Twin,
    answer_of_run,
    end,
    last_task,
    pulled,
    reporting,
    run_of_task,
    try_number,
)
from orchestration.services.apply_model import apply_model, calculate_features

_CALCULATE, _APPLY = "calculate_feature_service", "apply_model_service"
_SERVICES = _FEATURES, _MODEL = "calculate-feature-service", "apply-model-service"
_AGAIN = "_without_cache"
_IN_ORDER = [_CALCULATE, _APPLY, _CALCULATE + _AGAIN, _APPLY + _AGAIN]


@dataclass(frozen=True, slots=True)
class _Limits:
    """The time limits of both services."""

    calculate: timedelta
    apply: timedelta


_PRODUCTION = (
    Twin("apply-model", "apply_model", _SERVICES, retries=10, pause=timedelta(minutes=1), runs=22, tasks=20),
    _Limits(timedelta(hours=5), timedelta(hours=1)),
)
_TESTING = (
    Twin("apply-model-testing", "apply_model", _SERVICES, retries=2, pause=timedelta(minutes=3), runs=2, tasks=2),
    _Limits(timedelta(hours=2.5), timedelta(hours=2.5)),
)


def _dag(twin: Twin, limits: _Limits) -> DAG:
    with DAG(**twin.dag("Calculate the features of Sentinel-2 scenes and apply a model to them"), schedule=None) as dag:
        asked = [_pair(twin, limits)]
        if not twin.testing:
            asked.append(_pair(twin, limits, again=True))
            asked[0][1] >> asked[1][0]
        _finish([applied for _, applied in asked])
    return dag


def _pair(twin: Twin, limits: _Limits, *, again: bool = False) -> tuple[Any, Any]:
    """Return both tasks, the second after the first; with `again` they run after the model has failed."""
    after = _AGAIN if again else ""
    rule = "one_failed" if again else "all_success"

    @task(task_id=_CALCULATE + after, execution_timeout=limits.calculate, trigger_rule=rule)
    def calculate() -> dict[str, Any]:
        run = run_of_task()
        if again and not pulled([_CALCULATE]):
            raise AirflowSkipException("there are no features that the model could fail at")
        with reporting(service=_FEATURES):
            service = twin.service(_FEATURES, limits.calculate)
            use_cache = run.inputs["use_cache"] and not again
            return calculate_features(service, run.inputs, run.process_id(_number(twin, again)), use_cache=use_cache)

    @task(task_id=_APPLY + after, execution_timeout=limits.apply)
    def apply(features: Any) -> Any:
        run = run_of_task()
        with reporting(service=_MODEL):
            service = twin.service(_MODEL, limits.apply)
            return apply_model(service, run.inputs, features, run.process_id(_number(twin, again)))

    calculated = calculate()
    return calculated, apply(calculated)


def _number(twin: Twin, again: bool) -> int:  # noqa: FBT001  it has two values
    """Return the number of the try; with `again` it continues, so each request has a name of its own."""
    return try_number() + (twin.retries + 1 if again else 0)


def _finish(applied: list[Any]) -> None:
    @last_task
    def finish() -> None:
        end(lambda: answer_of_run([_APPLY, _APPLY + _AGAIN], _IN_ORDER))

    applied >> finish()


for _twin, _limits in (_PRODUCTION, _TESTING):
    globals()[_twin.process] = _dag(_twin, _limits)
