"""Which processes run on Airflow, where there is one, and as which DAG."""

from orchestration.job import Order

PRODUCTS = frozenset({"echo", "extract-product", "national-product", "european-product"})
"""Processes whose work is ours, on Airflow as in a child: an attempt that leaves no word is made again."""
_SERVICES = ("apply-model", "prepare-samples", "sample-extraction")
_TWIN = "-testing"
SERVICES = frozenset(name + twin for name in _SERVICES for twin in ("", _TWIN))
"""Processes that only Airflow runs: it repeats their tasks itself, and what it gave up is failed."""
ON_AIRFLOW = PRODUCTS | SERVICES


def dag_of(order: Order) -> str:
    """Return the DAG of an order, inputs included; a product order that is a test goes to the DAG's twin."""
    is_test = order.process in PRODUCTS and order.inputs.get("test") is True
    return order.process + _TWIN if is_test else order.process


def dags_of(process: str) -> tuple[str, ...]:
    """Return the DAGs that an order of the process may have gone to, the likelier first."""
    return (process, process + _TWIN) if process in PRODUCTS else (process,)
