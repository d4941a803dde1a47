from pathlib import Path
from typing import Any

from starlette.testclient import TestClient


def test_live_answers(client: TestClient) -> None:
    answer = client.get("/health/live")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}
    assert answer.headers["cache-control"] == "no-store"


def test_ready_names_each_dependency_and_that_it_is_open(client: TestClient) -> None:
    answer = client.get("/health/ready")
    assert answer.status_code == 200
    document = answer.json()
    assert document["open"] is True
    assert document["status"] == "degraded"
    assert document["checks"]["orders"] == {"status": "ok"}
    assert document["checks"]["worker"]["status"] == "unavailable"
    names = ("clcplus-raster", "clcplus-vector", "parks", "nations")
    assert all(document["checks"][f"collection:{name}"] == {"status": "ok"} for name in names)


def test_a_worker_that_was_seen_is_well(make_app: Any, tmp_path: Path) -> None:
    with TestClient(make_app()) as client:
        (tmp_path / "state" / "heartbeat").touch()
        document = client.get("/health/ready").json()
    assert document["checks"]["worker"] == {"status": "ok"}
    assert document["status"] == "ok"


def test_without_the_orders_it_is_not_ready(make_app: Any, tmp_path: Path) -> None:
    with TestClient(make_app()) as client:
        assert client.get("/health/ready").status_code == 200
        for path in (tmp_path / "state").glob("orders.sqlite*"):
            path.write_bytes(b"no database any more" * 1000)
        answer = client.get("/health/ready")
        live = client.get("/health/live")
    assert answer.status_code == 503
    assert answer.json()["checks"]["orders"]["status"] == "unavailable"
    assert live.status_code == 200
