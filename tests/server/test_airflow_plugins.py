"""Processes configured to run on a real Airflow: a plugin by the general DAG, and an operator's DAG."""

import os
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.airflow import EXAMPLES, Airflow
from tests.server.served import Served, end, eventually

pytestmark = pytest.mark.long

TEXT = "a rose is a rose"
COUNTS = {"a": 2, "rose": 2, "is": 1}


@pytest.fixture(scope="module")
def client(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    folder = tmp_path_factory.mktemp("beside")
    environment = {
        **airflow.server_environment(),
        "LANDCAST_SERVER_WORKERS": "1",
        "PYTHONPATH": os.pathsep.join([str(EXAMPLES), os.environ.get("PYTHONPATH", "")]),
    }
    served = Served(airflow.state, folder / "log", "--config", str(airflow.config), **environment)
    served.url = environment["LANDCAST_SERVER_URL"]
    try:
        served.ready()
        with httpx2.Client(base_url=served.url, timeout=90, trust_env=False) as made:
            yield made
    finally:
        end(served)


def ordered(client: httpx2.Client, process: str, inputs: dict[str, Any]) -> str:
    answer = client.post(
        f"/processes/{process}/execution", json={"inputs": inputs}, headers={"Prefer": "respond-async"}
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["jobID"])


def over(client: httpx2.Client, job: str) -> dict[str, Any]:
    def status() -> dict[str, Any]:
        found: dict[str, Any] = client.get(f"/jobs/{job}?f=json").json()
        return found

    eventually(lambda: status()["status"] in {"successful", "failed", "dismissed"}, 180)
    return status()


def test_a_plugin_runs_as_a_task_of_the_general_dag(client: httpx2.Client, airflow: Airflow) -> None:
    job = ordered(client, "hello", {"name": "Ann"})
    assert over(client, job)["status"] == "successful"
    assert client.get(f"/jobs/{job}/results").json() == {"id": "echo", "value": "Hello Ann!"}
    assert airflow.ask("GET", f"/dags/landcast-process/dagRuns/{job}.1")["state"] == "success"
    refused = ordered(client, "hello", {})
    status = over(client, refused)
    assert (status["status"], status["message"]) == ("failed", "Cannot process without a name")


def test_an_operators_dag_gets_the_inputs_and_its_value_is_the_result(client: httpx2.Client) -> None:
    job = ordered(client, "count-words", {"text": TEXT})
    assert over(client, job)["status"] == "successful"
    assert client.get(f"/jobs/{job}/results").json() == COUNTS


def test_a_file_that_such_a_dag_names_is_the_result(client: httpx2.Client, airflow: Airflow) -> None:
    job = ordered(client, "count-words", {"text": TEXT, "table": True})
    assert over(client, job)["status"] == "successful"
    (airflow.folder / "files" / job / "words.csv").unlink()
    answer = client.get(f"/jobs/{job}/results")
    assert answer.headers["content-type"] == "text/csv"
    assert answer.text == "a,2\r\nis,1\r\nrose,2\r\n"


def test_a_final_failure_of_the_dag_fails_the_order(client: httpx2.Client) -> None:
    job = ordered(client, "count-words", {"words": "no text"})
    assert "count after 2 tries" in over(client, job)["message"]


@pytest.mark.parametrize("inputs", [{"text": "a\0b"}, {"text": "x" * 300_000}])
def test_inputs_that_airflow_cannot_store_are_refused_at_once(client: httpx2.Client, inputs: dict[str, Any]) -> None:
    answer = client.post("/processes/count-words/execution", json={"inputs": inputs})
    assert answer.status_code == 400, answer.text
