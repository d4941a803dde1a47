"""Which processes run on Airflow, where there is one, and as which DAG."""

from orchestration.job import Order

_TWIN = "-testing"
_TWINNED = frozenset({"extract-product", "national-product", "european-product"})
PRODUCTS = _TWINNED | {"echo"}
"""Processes whose work is ours, on Airflow as in a child: an attempt that leaves no word is made again."""
_SERVICES = ("apply-model", "prepare-samples", "sample-extraction")
SERVICES = frozenset(name + twin for name in _SERVICES for twin in ("", _TWIN))
"""Processes that only Airflow runs: it repeats their tasks itself, and what it gave up is failed."""
ON_AIRFLOW = PRODUCTS | SERVICES
DAGS = ON_AIRFLOW | {name + _TWIN for name in _TWINNED}
"""The DAGs that Airflow must have: one a process, and of the products one for tests."""


def dag_of(order: Order) -> str:
    """Return the DAG of an order, inputs included; a product order that is a test goes to the DAG's twin."""
    is_test = order.process in _TWINNED and order.inputs.get("test") is True
    return order.process + _TWIN if is_test else order.process


def dags_of(process: str) -> tuple[str, ...]:
    """Return the DAGs that an order of the process may have gone to, the likelier first."""
    return (process, process + _TWIN) if process in _TWINNED else (process,)
