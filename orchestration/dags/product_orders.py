"""The DAGs of ordered products, each with its twin for orders that are tests."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from orchestration.dags.common import ORDER, TRY, limits
from orchestration.dags.steps import PIECES, assemble, make, perform, plan, step

_QUEUE = "clc_prod_products_queue"
_TEST_QUEUE = "clc_test_products_queue"


def at_once(name: str, queue: str, *, hours: int, runs: int, tasks: int) -> DAG:
    """Return the DAG of orders that one process does."""
    with _dag(name, hours=hours, runs=runs, tasks=tasks) as dag:
        step(perform, queue=queue)(ORDER, TRY)
    return dag


def in_parts(name: str, queue: str, *, hours: int, runs: int, tasks: int) -> DAG:
    """Return the DAG of orders whose parts are made at the same time."""
    with _dag(name, hours=hours, runs=runs, tasks=tasks) as dag:
        parts = step(plan, queue=queue)(ORDER, TRY)
        pieces = step(make, queue=queue).partial(order=ORDER, try_=TRY).expand(planned=parts)
        pieces >> step(assemble, queue=queue)(ORDER, PIECES, TRY)
    return dag


def _dag(name: str, *, hours: int, runs: int, tasks: int) -> DAG:
    return DAG(
        name,
        schedule=None,
        catchup=False,
        dagrun_timeout=timedelta(hours=hours),
        tags=["landcast", "products"],
        **limits(name, runs=runs, tasks=tasks),
    )


extract = at_once("extract-product", _QUEUE, hours=6, runs=48, tasks=48)
extract_testing = at_once("extract-product-testing", _TEST_QUEUE, hours=6, runs=4, tasks=4)
national = in_parts("national-product", _QUEUE, hours=24, runs=16, tasks=48)
national_testing = in_parts("national-product-testing", _TEST_QUEUE, hours=24, runs=2, tasks=8)
european = in_parts("european-product", _QUEUE, hours=6, runs=4, tasks=16)
european_testing = in_parts("european-product-testing", _TEST_QUEUE, hours=6, runs=2, tasks=4)
