"""Subscribers of an order: accepted and refused ones, and the delivery in the job's status."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from auth.identity import Identity
from orchestration.job import JobQuery, Output
from orchestration.store.outbox import State

if TYPE_CHECKING:
    from tests.routes.conftest import OrderSite

EXECUTION = "/processes/echo/execution"
ORDER = "/processes/extract-product/execution"
DONE = "https://example.org/done?a=b"
AREA = "POLYGON((23.80 52.68, 23.90 52.68, 23.90 52.75, 23.80 52.75, 23.80 52.68))"
ASYNC = {"Prefer": "respond-async"}
WANTED = {"inputs": {"product": "Raster", "aoi": AREA, "send_mail": True}}

MakeApp = Callable[..., Starlette]


@pytest.mark.parametrize(
    ("subscriber", "expected"),
    [
        (None, "subscriber: null; allowed: an object with inProgressUri, successUri, failedUri"),
        ("https://example.org", "allowed: an object"),
        ([], "allowed: an object"),
        ({}, "allowed: an object that has successUri"),
        ({"failedUri": DONE}, "allowed: an object that has successUri"),
        ({"successUri": DONE, "doneUri": DONE}, 'subscriber."doneUri"'),
        ({"successUri": None}, "subscriber.successUri: null"),
        ({"successUri": 5}, "subscriber.successUri: 5"),
        ({"successUri": ""}, "begins with http:// or https://"),
        ({"successUri": "example.org"}, "begins with http:// or https://"),
        ({"successUri": "ftp://example.org/"}, "begins with http:// or https://"),
        ({"successUri": "file:///etc/passwd"}, "begins with http:// or https://"),
        ({"successUri": "http://user:secret@example.org/"}, "without user name or password"),
        ({"successUri": "http://example.org/ x"}, "subscriber.successUri"),
        ({"successUri": "http://example.org/\r\nX-Evil: 1"}, "subscriber.successUri"),
        ({"successUri": "http://example.org:99999/"}, "subscriber.successUri"),
        ({"successUri": "http://exämple.org/"}, "subscriber.successUri"),
        ({"successUri": "http://example.org/" + "x" * 2000}, "of at most 2000 characters"),
        ({"successUri": DONE, "failedUri": "//example.org"}, "subscriber.failedUri"),
        ({"successUri": DONE, "inProgressUri": {}}, "subscriber.inProgressUri"),
    ],
)
def test_a_wrong_subscriber_is_400_and_leaves_nothing(site: "OrderSite", subscriber: Any, expected: str) -> None:
    answer = site.client.post(EXECUTION, json={"subscriber": subscriber}, headers=ASYNC)
    assert answer.status_code == 400, answer.text
    assert expected in answer.json()["detail"]
    assert site.resources.store.find(JobQuery()).matched == 0


def notifications(site: "OrderSite", job: str) -> list[tuple[str, str, str]]:
    found = site.client.get(f"/jobs/{job}?f=json").json().get("notifications", [])
    return [(entry["kind"], entry["event"], entry["state"]) for entry in found]


def test_the_state_of_callbacks_is_shown_without_addresses(site: "OrderSite") -> None:
    job = site.order(subscriber={"successUri": DONE, "inProgressUri": "http://example.org/on"})
    assert notifications(site, job) == [("callback", "running", "waiting"), ("callback", "successful", "waiting")]
    site.serve(job, Output("stringOutput", "a"))
    assert notifications(site, job) == [("callback", "running", "due"), ("callback", "successful", "due")]
    entry = site.resources.outbox.take("callback")
    assert entry is not None
    site.resources.outbox.settle(entry, State.DELIVERED)
    page = site.client.get(f"/jobs/{job}?f=html").text
    assert "<td>delivered</td>" in page
    assert "example.org/on" not in page
    assert "example.org" not in site.client.get(f"/jobs/{job}?f=json").text.replace("maps.example.org", "")


def test_an_order_without_subscribers_has_no_notifications(site: "OrderSite") -> None:
    assert "notifications" not in site.client.get(f"/jobs/{site.order()}?f=json").json()


def order(make_app: MakeApp, **mail: str) -> Any:
    with TestClient(make_app(mail=mail), base_url="http://inside.invalid") as client:
        answer = client.post(ORDER, json=WANTED)
        if answer.status_code == 201:
            return client.get(f"/jobs/{answer.json()['jobID']}?f=json").json()["notifications"]
        return answer.status_code, answer.json()["detail"], answer.json()["input"]


def test_a_mail_without_a_mail_server_is_400(make_app: MakeApp) -> None:
    status, detail, named = order(make_app)
    assert (status, named) == (400, "send_mail")
    assert detail.startswith("input 'send_mail': true; this server sends no mail")
    assert detail.endswith("allowed: false")


def test_a_mail_without_an_address_is_400(make_app: MakeApp) -> None:
    status, detail, _ = order(make_app, url="smtp://127.0.0.1:1")
    assert status == 400
    assert "LANDCAST_MAIL_TO is not set" in detail


def test_a_mail_goes_to_the_operator_if_the_caller_has_no_address(make_app: MakeApp) -> None:
    found = order(make_app, url="smtp://127.0.0.1:1", to="maps@example.org")
    assert found == [
        {"kind": "mail", "event": "successful", "state": "waiting", "tries": 0},
        {"kind": "mail", "event": "failed", "state": "waiting", "tries": 0},
    ]


@pytest.mark.parametrize(
    ("email", "address"),
    [
        ("her@example.org", "her@example.org"),
        (None, "to@example.org"),
        ("no address", None),
        ("a@example.org\r\nBcc: b@example.org", None),
        ("a@example.org,b@example.org", None),
    ],
)
def test_a_mail_goes_to_the_caller_if_they_have_an_address(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, email: str | None, address: str | None
) -> None:
    monkeypatch.setattr("routes.middleware.authentication.LOCAL", Identity("local", email, method="local"))
    app = make_app(mail={"url": "smtp://127.0.0.1:1", "to": "to@example.org"})
    with TestClient(app, base_url="http://inside.invalid") as client:
        answer = client.post(ORDER, json=WANTED)
        assert answer.status_code == (201 if address else 400)
        if address:
            job = answer.json()["jobID"]
            app.state.resources.store.begin(job)
            app.state.resources.store.fail(job, 1, "no")
            assert app.state.resources.outbox.take("mail").address == address
