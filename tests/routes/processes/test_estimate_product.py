"""Estimates over HTTP: a real server, a real worker, the real sample; then the order, to compare."""

import io
import json
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import pytest
import rasterio
from jsonschema import Draft202012Validator
from starlette.applications import Starlette
from starlette.testclient import TestClient

from orchestration.job import JobQuery
from orchestration.work import REFUSED
from processes.estimate_product import EstimateProduct
from tests.server.served import serving

if TYPE_CHECKING:
    from tests.routes.conftest import OrderSite

ROOT = Path(__file__).parents[3]
PARKS = json.loads((ROOT / "sample" / "parks.geojson").read_text())["features"]
OJCOW = next(park["geometry"] for park in PARKS if park["properties"]["cdda_id"] == 859)
LARGE = {"bbox": [0, 40, 32, 60]}
LONDON = {"bbox": [-0.2, 51.4, 0.1, 51.6]}
EXECUTION = "/processes/estimate-product/execution"


@pytest.fixture(scope="module")
def server(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """Return a client of a real server with its worker, which runs one long order at a time."""
    folder = tmp_path_factory.mktemp("estimates")
    (folder / "state").mkdir()
    (folder / "state" / "sample").symlink_to(sample / "sample")
    with serving(folder / "state", folder / "server.log", LANDCAST_JOBS_PARALLEL="1") as client:
        yield client


def execute(server: httpx2.Client, process: str, inputs: dict[str, Any], **headers: str) -> httpx2.Response:
    return server.post(f"/processes/{process}/execution", json={"inputs": inputs}, headers=headers)


def estimated(server: httpx2.Client, inputs: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = execute(server, "estimate-product", inputs, **headers)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    schema = EstimateProduct.description["outputs"]["result"]["schema"]
    assert not list(Draft202012Validator(schema).iter_errors(said))
    return said


def delivered(server: httpx2.Client, inputs: dict[str, Any]) -> bytes:
    ordered = execute(server, "extract-product", inputs)
    assert ordered.status_code == 201, ordered.text
    until = time.monotonic() + 60
    while server.get(ordered.headers["location"]).json()["status"] in {"accepted", "running"}:
        assert time.monotonic() < until
        time.sleep(0.1)
    return server.get(f"{ordered.headers['location']}/results").raise_for_status().content


def test_an_order_matches_its_estimate(server: httpx2.Client, tmp_path: Path) -> None:
    inputs = {"product": "Raster", "aoi": {"value": OJCOW}}
    said = estimated(server, inputs)
    content = delivered(server, inputs)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".tif"))
        archive.extract(name, tmp_path)
    with rasterio.open(tmp_path / name) as raster:
        values, counts = np.unique(raster.read(1), return_counts=True)
    pixels = {value: count for value, count in zip(values.tolist(), counts.tolist(), strict=True) if value != 255}
    assert said["accepted"] is True
    assert said["pixels"]["exact"] is True
    assert {row["value"]: row["count"] for row in said["pixels"]["classes"]} == pixels
    assert said["size"]["low"] <= len(content) <= said["size"]["high"]


def test_a_vector_order_matches_its_estimate(server: httpx2.Client) -> None:
    inputs = {"product": "Vector", "aoi": {"value": OJCOW}}
    said = estimated(server, inputs)
    assert said["size"]["low"] <= len(delivered(server, inputs)) <= said["size"]["high"]


def test_with_five_past_orders_they_are_the_basis(server: httpx2.Client) -> None:
    small = {"bbox": [23.80, 52.68, 23.84, 52.70]}
    sizes = [len(delivered(server, {"product": "Raster", "aoi": small})) for _ in range(5)]
    for _ in range(20):
        said = estimated(server, {"product": "Raster", "aoi": small})
        if said["basis"]["orders"] >= 5:
            break
    assert said["basis"]["orders"] >= 5
    assert said["size"]["low"] <= sum(sizes) / len(sizes) <= said["size"]["high"]
    assert said["size"]["high"] / said["size"]["low"] < 6, "narrower than without orders"


@pytest.mark.parametrize("aoi", [LARGE, LONDON])
def test_a_refusal_has_the_reason_of_the_order(server: httpx2.Client, aoi: Any) -> None:
    inputs = {"product": "Raster", "aoi": aoi}
    said = estimated(server, inputs)
    refused = execute(server, "extract-product", inputs)
    assert (said["accepted"], refused.status_code) == (False, 400)
    assert refused.json()["detail"].startswith(said["reason"])
    assert ("estimate-product" in refused.json()["detail"]) == (aoi is LARGE)


def test_an_estimate_never_waits_for_orders(server: httpx2.Client) -> None:
    wanted = ("Vector", "Poland"), ("Raster", "Poland"), ("Vector", "Slovakia")
    orders = [{"product": product, "nation": nation} for product, nation in wanted]
    answers = [execute(server, "national-product", order, Prefer="respond-async") for order in orders]
    locations = [answer.headers["location"] for answer in answers]
    said = estimated(server, {"product": "Raster", "aoi": {"value": OJCOW}})
    assert said["waiting"]["orders"] >= 1
    assert server.get(locations[-1]).json()["status"] == "accepted"
    for location in locations:
        server.delete(location)


def test_an_estimate_is_always_synchronous_and_has_a_page(server: httpx2.Client) -> None:
    answer = execute(server, "estimate-product", {"product": "Raster", "aoi": LARGE}, Prefer="respond-async")
    assert answer.status_code == 200
    page = server.get(f"{answer.links['monitor']['url']}/results", params={"f": "html"}).text
    assert "An order with these inputs would be refused:" in page
    assert "an order covers at most 5,000,000 km2" in page
    assert "of at most 5,000,000 km²" in page
    assert ">Woody needle leaved trees<" in page
    taken = execute(server, "estimate-product", {"product": "Vector", "aoi": {"value": OJCOW}})
    page = server.get(f"{taken.links['monitor']['url']}/results", params={"f": "html"}).text
    assert "would be accepted" in page
    assert re.search(r"Polygons by class: [\d,]+\. <span>every polygon was counted<", page)
    assert "respond-async" not in server.get("/processes/estimate-product", params={"f": "html"}).text


@pytest.mark.parametrize(
    ("inputs", "name"),
    [
        ({"aoi": LARGE}, "product"),
        ({"product": "Raster"}, "aoi"),
        ({"product": "Raster", "aoi": "POLYGON((0 50, 1 51, 1 50, 0 51, 0 50))"}, "aoi"),
        ({"product": "Raster", "aoi": [1, 2, 3, 4]}, "aoi"),
        ({"product": "Raster", "aoi": LARGE, "year": 1}, "year"),
        ({"product": "Raster", "aoi": LARGE, "refused": "x"}, "refused"),
    ],
)
def test_an_invalid_input_is_400_by_name(site: "OrderSite", inputs: Any, name: str) -> None:
    answer = site.client.post(EXECUTION, json={"inputs": inputs})
    assert (answer.status_code, answer.json()["input"]) == (400, name)
    assert site.resources.store.find(JobQuery()).matched == 0


def asked(client: TestClient, app: Starlette, **inputs: Any) -> Any:
    """Send the request without a worker; return the stored inputs and the notifications."""
    answer = client.post(EXECUTION, json={"inputs": {"product": "Raster", "aoi": {"value": OJCOW}, **inputs}})
    assert answer.status_code == 504, answer.text
    job = app.state.resources.store.get(answer.json()["jobID"])
    return job.order.inputs, app.state.resources.outbox.notifications(job.id)


@pytest.mark.parametrize(
    ("mail", "expected"),
    [
        ({}, "input 'send_mail': true; this server sends no mail (LANDCAST_MAIL_URL is not set); allowed: false"),
        ({"url": "smtp://mail.example.org"}, "there is no address to send it to"),
        ({"url": "smtp://mail.example.org", "to": "desk@example.org"}, None),
    ],
)
def test_an_estimate_reports_an_impossible_mail_and_sends_none(
    make_app: Callable[..., Starlette], mail: dict[str, str], expected: str | None
) -> None:
    app = make_app(mail=mail)
    with TestClient(app, base_url="http://inside.invalid") as client:
        app.state.resources.wait = 0.05
        inputs, notifications = asked(client, app, send_mail=True)
        assert (expected or "") in inputs.get(REFUSED, "")
        assert (REFUSED in inputs) == (expected is not None)
        assert notifications == ()
        assert REFUSED not in asked(client, app)[0]
        both, _ = asked(client, app, send_mail=True, aoi=LONDON)
        assert "there is nothing of" in both[REFUSED], "what an order would say first"
        ordered = client.post(
            "/processes/extract-product/execution",
            json={"inputs": {"product": "Raster", "aoi": {"value": OJCOW}, "send_mail": True}},
        )
        assert ordered.status_code == (201 if expected is None else 400)
        if expected:
            assert ordered.json()["detail"] == inputs[REFUSED]
