"""Events of Airflow, its health, and the backlog of orders that wait for it."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from orchestration.admission import Backlog
from orchestration.job import Order
from orchestration.notifications.signature import sign
from orchestration.runners.airflow.health import AirflowHealth
from orchestration.services import LACKING, LACKS
from orchestration.store.jobs import StoredJobs
from routes.resources import AirflowEvents
from tests.orchestration.played_airflow import PlayedAirflow, playing_airflow
from tests.ports import free_port

KEY = "matrix" * 8
RUN = "6f2b4c1e-0000-4000-8000-000000000000.1"
AIRFLOW = {"username": "landcast", "password": "pass", "key": KEY}
MakeApp = Callable[..., Starlette]


@pytest.fixture
def played() -> Iterator[PlayedAirflow]:
    with playing_airflow() as made:
        yield made


class Post:
    """A server with an Airflow that records its notifications to the worker."""

    def __init__(self, app: Starlette, client: TestClient) -> None:
        self.client = client
        self.answers: list[str] = []
        app.state.resources.airflow_events = AirflowEvents(KEY.encode(), self.answers.append)

    def send(self, body: bytes, headers: dict[str, str] | None = None) -> Any:
        sent = sign(KEY.encode(), "id", int(time.time()), body) if headers is None else headers
        return self.client.post("/airflow/events", content=body, headers={"Content-Type": "application/json", **sent})


@pytest.fixture
def post(make_app: MakeApp, played: PlayedAirflow) -> Iterator[Post]:
    app = make_app(airflow={**AIRFLOW, "url": played.url})
    with TestClient(app, base_url="http://inside.invalid", follow_redirects=False) as client:
        yield Post(app, client)


def _event(**members: Any) -> bytes:
    return json.dumps({"dag": "echo", "run": RUN, "state": "success", **members}).encode()


def test_signed_events_of_our_runs_are_passed_on(post: Post) -> None:
    assert post.send(_event()).status_code == 204
    assert post.answers == [RUN]


def test_events_of_other_runs_are_ignored(post: Post) -> None:
    assert post.send(_event(run="manual__2026-11-25T00:00:00+00:00")).status_code == 204
    assert post.answers == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"{}", _event(run=None), _event(run=["x"]), _event(run=5)])
def test_an_invalid_event_is_400(post: Post, body: bytes) -> None:
    answer = post.send(body)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert "inputs" not in answer.json()["detail"]
    assert post.answers == []


def test_forged_old_and_changed_events_have_no_effect(post: Post) -> None:
    """Attack: cause checks of every run, again and again, without the key."""
    body = _event()
    old = sign(KEY.encode(), "id", int(time.time()) - 3600, body)
    forged = sign(b"another key of as many characters", "id", int(time.time()), body)
    for headers in ({}, old, forged, sign(KEY.encode(), "id", int(time.time()), b"{}")):
        answer = post.send(body, headers)
        assert answer.status_code == 400
        assert "webhook-" in answer.json()["detail"]
    assert post.answers == []


def test_repeated_wrong_signatures_are_slowed(post: Post) -> None:
    answers = [post.send(_event(), {}) for _ in range(40)]
    assert [answers[0].status_code, answers[-1].status_code] == [400, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_the_body_is_json_of_limited_size(post: Post) -> None:
    assert post.send(_event(state="x" * 5000)).status_code == 413
    answer = post.client.post("/airflow/events", content=_event(), headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    assert post.client.post("/airflow/events?x=1", content=_event()).status_code == 400


def test_without_airflow_the_address_is_404(client: TestClient) -> None:
    assert client.post("/airflow/events", json={}).status_code == 404
    assert "/airflow/events" not in client.get("/openapi").json()["paths"]
    assert "airflow" not in client.get("/health/ready").json()["checks"]


def test_an_unavailable_airflow_degrades_health_only(
    make_app: MakeApp, played: PlayedAirflow, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.runners.airflow.health._FRESH", 0)
    assert post.client.get("/health/ready").json()["checks"]["airflow"] == {"status": "ok"}
    played.scheduler = "unhealthy"
    answer = post.client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert "sends no heartbeat" in answer.json()["checks"]["airflow"]["detail"]
    moods: list[tuple[int, Any]] = [(500, b"x"), (200, b"x"), (200, []), (200, {"scheduler": None})]
    for mood in moods:
        played.mood = [mood]
        assert post.client.get("/health/ready").json()["checks"]["airflow"]["status"] == "unavailable"
    app = make_app(airflow={**AIRFLOW, "url": f"http://127.0.0.1:{free_port()}"})
    with TestClient(app) as client:
        answer = client.get("/health/ready")
        assert answer.status_code == 200
        assert "does not answer" in answer.json()["checks"]["airflow"]["detail"]


def test_airflow_is_asked_no_more_often_than_every_few_seconds(played: PlayedAirflow, post: Post) -> None:
    for _ in range(5):
        post.client.get("/health/ready")
    assert played.asked == ["GET /api/v2/monitor/health", "POST /auth/token", "GET /api/v2/dags"]


def test_a_refused_login_is_reported_and_a_working_one_tried_once_a_minute(
    make_app: MakeApp, played: PlayedAirflow
) -> None:
    clock = [0.0]
    airflow_health = AirflowHealth(played.access(), clock=lambda: clock[0])
    for clock[0], logins in ((0, 1), (30, 1), (61, 2)):
        assert (airflow_health.trouble(), played.logins) == ("", logins)
    shut = make_app(airflow={**AIRFLOW, "url": played.url, "password": "changed"})
    with TestClient(shut) as client:
        answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["checks"]["airflow"] == {
        "status": "unavailable",
        "detail": "Airflow does not let this server in: it answers the login with 401",
    }


def test_health_reports_a_service_without_a_connection(
    make_app: MakeApp, played: PlayedAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.runners.airflow.health._FRESH", 0)
    monkeypatch.setattr("orchestration.runners.airflow.health._LET_IN", 0)
    played.dags = {"apply-model": False, "echo": False, "not-offered": False}
    lacking = [LACKING, f"{LACKS}clc_prod_a_service", "prod"]
    played.tags = {"apply-model": lacking, "echo": ["landcast"], "not-offered": [LACKING, f"{LACKS}clc_other"]}
    with TestClient(make_app(airflow={**AIRFLOW, "url": played.url})) as client:
        document = client.get("/health/ready").json()
        assert (document["status"], document["checks"]["airflow"]) == ("degraded", {"status": "ok"})
        assert document["checks"]["services"] == {
            "status": "unavailable",
            "detail": "Airflow has no connection clc_prod_a_service: docs/production-services.md",
        }
        assert "services" not in client.get("/health/orders").json()["checks"], "orders of other processes are done"
        played.tags = {}
        assert "services" not in client.get("/health/ready").json()["checks"]


def test_health_reports_all_paused_dags(
    make_app: MakeApp, played: PlayedAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.runners.airflow.health._FRESH", 0)
    monkeypatch.setattr("orchestration.runners.airflow.health._LET_IN", 0)
    monkeypatch.setattr("orchestration.runners.airflow.health._PAGE", 2)
    played.dags = {"a": True, "b": True, "echo": True, "extract-product-testing": True, "national-product": False}
    with TestClient(make_app(airflow={**AIRFLOW, "url": played.url})) as client:
        document = client.get("/health/ready").json()
        assert document["status"] == "degraded"
        assert "dags" not in client.get("/health/orders").json()["checks"], "orders of other processes are done"
        assert document["checks"]["dags"] == {
            "status": "paused",
            "detail": "paused in Airflow: echo, extract-product-testing; `landcast airflow unpause` lets them run",
        }
        played.dags |= {"echo": False, "extract-product-testing": False}
        assert "dags" not in client.get("/health/ready").json()["checks"]


def test_orders_beyond_the_backlog_are_503(make_app: MakeApp, played: PlayedAirflow) -> None:
    app = make_app(airflow={**AIRFLOW, "url": played.url, "backlog": 2})
    echo: dict[str, Any] = {"json": {"inputs": {}}, "headers": {"Prefer": "respond-async", "Idempotency-Key": "a"}}
    with TestClient(app) as client:
        first = client.post("/processes/echo/execution", **echo)
        other = client.post("/processes/echo/execution", json={"inputs": {}}, headers={"Prefer": "respond-async"})
        assert [first.status_code, other.status_code] == [201, 201]
        refused = client.post("/processes/echo/execution", json={"inputs": {}}, headers={"Prefer": "respond-async"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "60")
        assert "2 orders wait for Airflow" in refused.json()["detail"]
        again = client.post("/processes/echo/execution", **echo)
        assert again.json()["jobID"] == first.json()["jobID"], "an order that is repeated is taken"
        park = {"inputs": {"park": "Ojcowski National Park"}}
        answer = client.post("/processes/area-statistics/execution", json=park, headers={"Prefer": "respond-async"})
        assert answer.status_code == 201, "what does not run there waits for nobody there"


def test_the_backlog_is_counted_once_a_second_however_many_orders_come(tmp_path: Any) -> None:
    store, clock = StoredJobs(tmp_path / "orders.sqlite"), [0.0]
    counted: list[int] = []
    count = store.waiting
    store.waiting = lambda *given: counted.append(1) or count(*given)  # type: ignore[method-assign, func-returns-value]
    backlog = Backlog(store, frozenset({"echo"}), 3, clock=lambda: clock[0])
    for _ in range(3):
        assert not backlog.is_full("echo")
        store.add(Order("echo", {}, "local"))
        backlog.took("echo")
    assert backlog.is_full("echo")
    assert len(counted) == 1
    job = store.unfinished()[0]
    store.begin(job.id)
    store.add(Order("area-statistics", {}, "local"))
    clock[0] = 1.5
    assert not backlog.is_full("echo")
    assert len(counted) == 2
    store.close()
