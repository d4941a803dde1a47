"""The production services over HTTP: available only with Airflow, checked before an order is stored."""

import json
from collections.abc import Iterator

import pytest
from openapi_spec_validator import validate
from starlette.testclient import TestClient

from orchestration.job import JobQuery, Output
from tests.conftest import MakeApp
from tests.registry import SERVICES
from tests.routes.conftest import OrderSite

AIRFLOW = {"url": "http://127.0.0.1:9"}
SCENE = {"acquisition_date": "2023-05-01", "tile_id": "33UXP", "bands": ["B02"]}
SCENES = {"inputs": {"s2_parameter_list": [SCENE]}}


@pytest.fixture
def site(make_app: MakeApp) -> Iterator[OrderSite]:
    """Return a site with an Airflow, whose runs are simulated."""
    app = make_app(airflow=AIRFLOW)
    with TestClient(app, base_url="http://inside.invalid", follow_redirects=False) as client:
        yield OrderSite(client, app.state.resources)


def listed(client: TestClient) -> set[str]:
    return {process["id"] for process in client.get("/processes?limit=100").json()["processes"]}


def test_production_services_are_missing_without_airflow(client: TestClient) -> None:
    assert not listed(client) & SERVICES
    for name in SERVICES:
        assert client.get(f"/processes/{name}").status_code == 404
        assert client.post(f"/processes/{name}/execution", json=SCENES).status_code == 404
    assert (
        not {path.split("/")[2] for path in client.get("/openapi?f=json").json()["paths"] if "/processes/" in path}
        & SERVICES
    )


def test_production_services_are_listed_described_and_documented(site: OrderSite) -> None:
    assert listed(site.client) >= SERVICES
    document = site.client.get("/openapi?f=json").json()
    validate(document)
    for name in SERVICES:
        described = site.client.get(f"/processes/{name}").json()
        assert described["id"] == name
        assert described["jobControlOptions"] == ["async-execute", "dismiss"]
        assert site.client.get(f"/processes/{name}", headers={"accept": "text/html"}).status_code == 200
        assert document["paths"][f"/processes/{name}/execution"]["post"]["operationId"] == f"execute.{name}"


def test_each_example_is_an_order_of_its_process(site: OrderSite) -> None:
    for name in sorted(SERVICES):
        body = site.client.get(f"/processes/{name}").json()["example"]
        answer = site.client.post(f"/processes/{name}/execution", json=body)
        assert (answer.status_code, answer.json()["status"]) == (201, "accepted")
        job = site.resources.store.get(answer.json()["jobID"])
        assert job is not None
        assert (job.order.process, job.order.inputs) == (name, {**body["inputs"], "test": False})


def test_invalid_inputs_are_named_before_an_order_is_stored(site: OrderSite) -> None:
    for name, inputs, wrong in (
        ("apply-model", {"epsg": "3035"}, "epsg"),
        ("prepare-samples-testing", {"start_date": "01.04.2023"}, "start_date"),
        ("sample-extraction", {"s2_parameter_list": [SCENE] * 11}, "s2_parameter_list"),
    ):
        answer = site.client.post(f"/processes/{name}/execution", json={"inputs": inputs})
        assert (answer.status_code, answer.json()["input"]) == (400, wrong)
        assert answer.headers["content-type"] == "application/problem+json"
    assert site.resources.store.find(JobQuery()).matched == 0


def test_a_test_order_is_answered_without_a_run(site: OrderSite) -> None:
    body = {"inputs": {**SCENES["inputs"], "test": True}}
    job = site.client.post("/processes/sample-extraction/execution", json=body).json()
    assert job["status"] == "successful"
    assert site.client.get(f"/jobs/{job['jobID']}/results").json() == {"test": True}
    assert not site.resources.store.unfinished()


def test_the_result_is_the_answer_of_the_service(site: OrderSite) -> None:
    job = site.client.post("/processes/sample-extraction/execution", json=SCENES).json()["jobID"]
    site.serve(job, Output("result", [{"file": "s3://b/33UXP.csv"}]))
    assert site.client.get(f"/jobs/{job}/results").json() == [{"file": "s3://b/33UXP.csv"}]
    document = {**SCENES, "response": "document"}
    job = site.client.post("/processes/sample-extraction/execution", json=document).json()["jobID"]
    site.serve(job, Output("result", [{"file": "s3://b/33UXP.csv"}]))
    assert site.client.get(f"/jobs/{job}/results").json() == {"result": [{"file": "s3://b/33UXP.csv"}]}


def test_a_failure_has_its_reason_in_the_answer(site: OrderSite) -> None:
    job = site.client.post("/processes/sample-extraction/execution", json=SCENES).json()["jobID"]
    site.fail(job, "1 of 1 entries failed: …", "ServiceFailed")
    assert site.client.get(f"/jobs/{job}").json()["message"] == "1 of 1 entries failed: …"
    answer = site.client.get(f"/jobs/{job}/results")
    assert (answer.status_code, answer.json()["detail"]) == (502, "1 of 1 entries failed: …")


def test_a_collection_of_the_largest_size_is_accepted(site: OrderSite) -> None:
    properties = {"note": "x" * 100_000}  # many small ones would cost seconds
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": properties}

    def ordered(bytes_: int) -> int:
        inputs = site.client.get("/processes/prepare-samples").json()["example"]["inputs"]
        inputs["data"] = {"type": "FeatureCollection", "features": [point] * (bytes_ // len(json.dumps(point)))}
        return site.client.post("/processes/prepare-samples/execution", json={"inputs": inputs}).status_code

    assert (ordered(8_000_000), ordered(12_000_000)) == (201, 413)
