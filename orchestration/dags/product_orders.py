"""The DAGs of product orders, each with its twin for test orders; Airflow's settings limit them all together."""

from __future__ import annotations

from orchestration.dags.steps import at_once, in_parts

_QUEUE = "prod_products"
_TEST_QUEUE = "test_products"

extract = at_once("extract-product", _QUEUE, hours=6, runs=48, tasks=48)
extract_testing = at_once("extract-product-testing", _TEST_QUEUE, hours=6, runs=4, tasks=4)
national = in_parts("national-product", _QUEUE, hours=24, runs=16, tasks=48)
national_testing = in_parts("national-product-testing", _TEST_QUEUE, hours=24, runs=2, tasks=8)
european = in_parts("european-product", _QUEUE, hours=6, runs=4, tasks=16)
european_testing = in_parts("european-product-testing", _TEST_QUEUE, hours=6, runs=2, tasks=4)
