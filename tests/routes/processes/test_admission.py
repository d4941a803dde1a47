"""Orders over HTTP while the results have reached their cap."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from orchestration.files.space import cap_reached
from orchestration.files.usage import note_usage
from orchestration.job import JobQuery
from orchestration.work import REFUSED
from tests.routes.conftest import OrderSite

CAP = 2 << 20
CUT = {"inputs": {"product": "Raster", "aoi": {"bbox": [23.8, 52.68, 23.9, 52.75]}}}


@pytest.fixture
def full(make_app: Callable[..., Starlette]) -> Iterator[OrderSite]:
    """Return a site whose results have reached their cap."""
    app = make_app(jobs={"wait": 1}, results={"cap": CAP})
    with TestClient(app, base_url="http://inside.invalid", follow_redirects=False) as client:
        note_usage(app.state.resources.results.root, CAP)
        yield OrderSite(client, app.state.resources)


def _cut(site: OrderSite, key: str | None = None) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return site.client.post("/processes/extract-product/execution", json=CUT, headers=headers)


def test_an_order_that_needs_space_is_refused_clearly(full: OrderSite) -> None:
    answer = _cut(full)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "3600"
    assert answer.headers["content-type"] == "application/problem+json"
    assert "have reached the limit of 2 MiB; no file expires" in answer.json()["detail"]
    assert full.client.get("/jobs").json()["numberMatched"] == 0


def test_the_refusal_has_the_time_of_free_space(full: OrderSite, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = full.order()
    full.serve(job_id, full.file(job_id, b"PK"))
    job = full.resources.store.get(job_id)
    assert job is not None
    assert job.files_until is not None
    assert full.resources.store.next_expiry() == job.files_until
    assert f"the next files expire at {job.files_until:%Y-%m-%dT%H:%M:%SZ}" in _cut(full).json()["detail"]
    soon = datetime.now(UTC) + timedelta(seconds=90)
    monkeypatch.setattr(full.resources.store, "next_expiry", lambda: soon)
    assert 80 <= int(_cut(full).headers["retry-after"]) <= 90


def test_prebuilt_files_are_not_counted_as_expiring(full: OrderSite) -> None:
    job_id = full.order()
    output = full.file(job_id, b"PK")
    assert output.file is not None
    full.serve(job_id, replace(output, file=replace(output.file, path="house/0/Raster.zip")))
    assert full.resources.store.next_expiry() is None


def test_an_estimate_reports_that_the_order_would_be_refused(full: OrderSite) -> None:
    def noted() -> str | None:
        answer = full.client.post("/processes/estimate-product/execution", json=CUT, headers={"Prefer": "wait=0"})
        assert answer.status_code == 504
        job = full.resources.store.get(full.resources.store.find(JobQuery()).jobs[0].id)
        assert job is not None
        assert job.order.process == "estimate-product"
        refusal: str | None = job.order.inputs.get(REFUSED)
        return refusal

    assert noted() == _cut(full).json()["detail"]
    note_usage(full.resources.results.root, CAP - 1)
    assert noted() is None


def test_orders_without_files_are_accepted(full: OrderSite) -> None:
    assert full.client.get("/jobs").status_code == 200
    assert full.order()
    note_usage(full.resources.results.root, CAP - 1)
    first = _cut(full, "k")
    note_usage(full.resources.results.root, CAP)
    again = _cut(full, "k")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json()["jobID"] == first.json()["jobID"], "it was accepted before"
    assert _cut(full, "other").status_code == 503


def test_a_job_that_waits_for_space_has_a_message(full: OrderSite) -> None:
    job_id = full.order()
    full.resources.store.tell([job_id], cap_reached(CAP))
    document = full.client.get(f"/jobs/{job_id}?f=json").json()
    assert (document["status"], document["message"]) == ("accepted", cap_reached(CAP))
    assert (
        "Waits for space: the stored results have reached their limit of 2 MiB"
        in full.client.get(f"/jobs/{job_id}?f=html").text
    )
    full.resources.store.tell([job_id], "")
    assert full.client.get(f"/jobs/{job_id}?f=json").json()["message"] == "Waiting in the queue."
    full.serve(job_id)
    full.resources.store.tell([job_id], "late")
    assert full.client.get(f"/jobs/{job_id}?f=json").json()["message"] == "The result is ready."
