import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from orchestration.files.usage import note_usage
from orchestration.store.jobs import StoredJobs


def test_health_live_answers(client: TestClient) -> None:
    answer = client.get("/health/live")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}
    assert answer.headers["cache-control"] == "no-store"


def test_health_ready_has_each_dependency_and_open(client: TestClient) -> None:
    answer = client.get("/health/ready")
    assert answer.status_code == 200
    document = answer.json()
    assert document["open"] is True
    assert document["status"] == "degraded"
    assert document["checks"]["orders"] == {"status": "ok"}
    assert document["checks"]["worker"]["status"] == "unavailable"
    names = ("clcplus-raster", "clcplus-vector", "parks", "nations")
    assert all(document["checks"][f"collection:{name}"] == {"status": "ok"} for name in names)


def test_health_reads_no_orders(make_app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of orders counts all: with 100,000 orders, each call of a load balancer would be as costly as a list."""

    def find(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(StoredJobs, "find", find)
    with TestClient(make_app()) as client:
        for path in ("/health/ready", "/health/orders"):
            assert client.get(path).json()["checks"]["orders"] == {"status": "ok"}


def test_a_worker_with_a_heartbeat_is_ok(make_app: Any, tmp_path: Path) -> None:
    with TestClient(make_app()) as client:
        (tmp_path / "state" / "heartbeat").touch()
        document = client.get("/health/ready").json()
        orders = client.get("/health/orders")
    assert document["checks"]["worker"] == {"status": "ok"}
    assert (document["status"], document["orders"]) == ("ok", "ok")
    assert (orders.status_code, orders.json()["status"]) == (200, "ok")
    assert "retry-after" not in orders.headers
    assert set(orders.json()["checks"]) == {"orders", "worker", "results"}


@pytest.mark.parametrize("age", [None, 20, 1000])
def test_without_a_worker_only_orders_are_down(make_app: Any, tmp_path: Path, age: int | None) -> None:
    with TestClient(make_app()) as client:
        if age is not None:
            (beat := tmp_path / "state" / "heartbeat").touch()
            os.utime(beat, (time.time() - age,) * 2)
        ready, orders = client.get("/health/ready"), client.get("/health/orders")
    assert (ready.status_code, ready.json()["status"], ready.json()["orders"]) == (200, "degraded", "down")
    assert orders.status_code == 503
    assert orders.headers["retry-after"] == "15"
    assert orders.json()["checks"]["worker"]["status"] == "unavailable"


def test_a_broken_collection_does_not_affect_orders(
    make_app: Any, configuration: dict[str, Any], tmp_path: Path
) -> None:
    configuration["resources"]["parks"]["providers"][0]["data"] = str(tmp_path / "nowhere.gpkg")
    with TestClient(make_app(configuration)) as client:
        (tmp_path / "state" / "heartbeat").touch()
        ready, orders = client.get("/health/ready"), client.get("/health/orders")
    assert (ready.json()["status"], ready.json()["orders"], orders.status_code) == ("degraded", "ok", 200)


def test_maps_are_served_without_the_orders_database(make_app: Any, tmp_path: Path) -> None:
    with TestClient(make_app()) as client:
        assert client.get("/health/ready").status_code == 200
        for path in (tmp_path / "state").glob("orders.sqlite*"):
            path.write_bytes(b"no database any more" * 1000)
        answer = client.get("/health/ready")
        live = client.get("/health/live")
        orders = client.get("/health/orders")
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["orders"]) == ("degraded", "down")
    assert answer.json()["checks"]["orders"]["status"] == "unavailable"
    assert (orders.status_code, orders.json()["status"], orders.headers["retry-after"]) == (503, "down", "15")
    assert live.status_code == 200


def test_health_has_the_results_with_their_cap(make_app: Any, tmp_path: Path) -> None:
    with TestClient(make_app(results={"cap": "2M"})) as client:
        (tmp_path / "state" / "heartbeat").touch()
        before = client.get("/health/ready").json()
        note_usage(tmp_path / "state" / "results", 2 << 20)
        answer = client.get("/health/ready")
    assert before["status"] == "ok"
    assert before["checks"]["results"].items() >= {"status": "ok", "used": None, "cap": 2 << 20}.items()
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    results = answer.json()["checks"]["results"]
    assert (results["status"], results["used"]) == ("full", 2 << 20)
    assert "cap" in results["detail"]
    assert results["free"] > 0


def test_health_reports_a_full_disk(make_app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routes.operations.health.free_bytes", lambda _folder: 1000)
    with TestClient(make_app()) as client:
        answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["checks"]["results"] == {
        "status": "full", "detail": "the disk is full: orders wait or get 503", "used": None, "cap": None, "free": 1000
    }  # fmt: skip


def test_health_reports_a_read_only_database(make_app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with TestClient(app := make_app()) as client:
        monkeypatch.setattr(app.state.resources.store._pool, "_busy_seconds", 0.1)
        assert client.get("/health/ready").json()["checks"]["orders"] == {"status": "ok"}
        app.state.resources.store.close()
        with closing(sqlite3.connect(tmp_path / "state" / "orders.sqlite", isolation_level=None)) as other:
            other.execute("begin immediate")
            answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["checks"]["orders"]["status"] == "read-only"
    assert "locked" in answer.json()["checks"]["orders"]["detail"]
