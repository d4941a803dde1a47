"""The DAGs as Airflow parses them, in its own environment."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestration.child import FRUGAL
from tests.airflow import CELERY, HOME, ROOT, read_environment

DAGS = ROOT / "orchestration" / "dags"
PYTHON = HOME / "bin" / "python"
Dags = dict[str, Any]


def parse(folder: Path, **environment: str) -> Any:
    """Return the DAGs of a folder as Airflow parses them, without a database."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "LANDCAST"))}
    settings = {"PYTHONPATH": str(ROOT), "LANDCAST_AIRFLOW_PYTHON": "/ours/python", "AIRFLOW_HOME": str(folder)}
    command = [PYTHON, ROOT / "tests" / "orchestration" / "parse_dags.py", DAGS]
    run = subprocess.run(command, env=inherited | settings | environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Dags:
    bag = parse(tmp_path_factory.mktemp("parsed"))
    assert bag["errors"] == {}
    return dict(bag["dags"])


AT_ONCE: dict[str, list[str]] = {"perform": []}
IN_PARTS: dict[str, list[str]] = {"plan": [], "make": ["plan"], "assemble": ["make"]}


@pytest.mark.parametrize(
    ("name", "tasks", "queue", "hours", "runs", "at_once"),
    [
        ("echo", AT_ONCE, "clc_prod_echo_queue", 1, 64, 64),
        ("landcast-process", AT_ONCE, "clc_prod_processes_queue", 168, 64, 64),
        ("extract-product", AT_ONCE, "clc_prod_products_queue", 6, 48, 48),
        ("extract-product-testing", AT_ONCE, "clc_test_products_queue", 6, 4, 4),
        ("national-product", IN_PARTS, "clc_prod_products_queue", 24, 16, 48),
        ("national-product-testing", IN_PARTS, "clc_test_products_queue", 24, 2, 8),
        ("european-product", IN_PARTS, "clc_prod_products_queue", 6, 4, 16),
        ("european-product-testing", IN_PARTS, "clc_test_products_queue", 6, 2, 4),
    ],
)
def test_each_dag_of_orders_has_the_documented_settings(  # noqa: PLR0917  a table's columns
    dags: Dags, name: str, tasks: dict[str, list[str]], queue: str, hours: int, runs: int, at_once: int
) -> None:
    dag = dags[name]
    assert (dag["schedule"], dag["catchup"]) == ("None", False)
    assert (dag["limit"], dag["runs"], dag["tasks_at_once"]) == (hours * 3600, runs, at_once)
    assert {task: said["after"] for task, said in dag["tasks"].items()} == tasks
    assert [task for task, said in dag["tasks"].items() if said["mapped"]] == [task for task in tasks if task == "make"]
    for said in dag["tasks"].values():
        assert (said["queue"], said["retries"], said["at_once"]) == (queue, 0, at_once)
        assert (said["failed"], said["retried"]) == (["mail_operators"], [])
        assert (said["python"], said["environment"]) == ("/ours/python", FRUGAL)
    rules = {task: said["rule"].lower().split(".")[-1] for task, said in dag["tasks"].items()}
    assert rules == {task: "none_failed" if task == "assemble" else "all_success" for task in tasks}


def test_the_limits_of_a_dag_are_settable(tmp_path: Path) -> None:
    bag = parse(tmp_path, LANDCAST_AIRFLOW_RUNS_NATIONAL_PRODUCT="3", LANDCAST_AIRFLOW_TASKS_NATIONAL_PRODUCT="64")
    national, other = bag["dags"]["national-product"], bag["dags"]["national-product-testing"]
    assert (national["runs"], national["tasks_at_once"]) == (3, 64)
    assert (other["runs"], other["tasks_at_once"]) == (2, 8)


def test_queues_and_the_limit_of_all_dags_are_settable(tmp_path: Path) -> None:
    bag = parse(tmp_path, LANDCAST_AIRFLOW_QUEUE_PROD_ECHO="echoes", LANDCAST_AIRFLOW_MOST="16")
    echo, extract, testing = (bag["dags"][name] for name in ("echo", "extract-product", "extract-product-testing"))
    assert (echo["tasks"]["perform"]["queue"], extract["tasks"]["perform"]["queue"]) == (
        "echoes",
        "clc_prod_products_queue",
    )
    assert [(dag["runs"], dag["tasks_at_once"]) for dag in (echo, extract, testing)] == [(16, 16), (16, 16), (4, 4)]


def test_a_celery_worker_listens_to_every_queue_by_default(dags: Dags) -> None:
    queues = {task["queue"] for dag in dags.values() for task in dag["tasks"].values()}
    assert set(read_environment(CELERY)["LANDCAST_AIRFLOW_QUEUES"].split(",")) == queues | {"default"}


@pytest.mark.full
def test_the_dags_pass_the_type_check_in_airflows_environment() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, "--explicit-package-bases"]
    command += ["--follow-imports", "silent", "--python-executable", str(PYTHON), "--cache-dir", ".mypy_cache/airflow"]
    run = subprocess.run(
        [*command, *map(str, DAGS.glob("*.py"))], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
