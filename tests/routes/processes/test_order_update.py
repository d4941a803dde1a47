"""`PUT /orders/{id}`: updates by an external back end, as in the old API."""

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from starlette.testclient import TestClient

from orchestration.files.document import deliveries, result_document
from orchestration.job import Job, Notice, Order, Status
from orchestration.notifications.message import compose
from tests.conftest import MakeApp
from tests.routes.conftest import OrderSite

if TYPE_CHECKING:
    from routes.resources import Resources

LINK = "https://files.example.org/a/Raster.zip?exp=soon&sig=x"
DONE = {"status": "SUCCESS", "result": LINK}


def ordered(site: OrderSite, process: str = "extract-product", **members: Any) -> str:
    return site.resources.store.add(Order(process, {}, "local", **members))[0].id


def put(site: OrderSite, job: str, **said: Any) -> httpx2.Response:
    return site.client.put(f"/orders/{job}", json=said)


def stored(site: OrderSite, job_id: str) -> Job:
    job = site.resources.store.get(job_id)
    assert job is not None
    return job


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"status": "RECEIVED"}, "accepted"),
        ({"status": "QUEUED", "result": None, "message": None, "send_mail": False}, "accepted"),
        ({"status": "RUNNING", "send_mail": None}, "running"),
        ({"status": "SUCCESS", "result": LINK}, "successful"),
        ({"status": "FAILED"}, "failed"),
        ({"status": "INVALID", "message": "no scene\nof that day"}, "failed"),
    ],
)
@pytest.mark.parametrize("process", ["extract-product", "national-product", "apply-model", "sample-extraction-testing"])
def test_old_statuses_become_those_of_the_standard(
    site: OrderSite, process: str, said: dict[str, Any], status: str
) -> None:
    job = ordered(site, process)
    for _ in range(2):
        answer = put(site, job, id=job, **said)
        assert (answer.status_code, answer.json()["status"]) == (200, status), answer.text
        assert answer.json() == site.client.get(f"/jobs/{job}?f=json").json()
        assert answer.headers["cache-control"] == "private, no-cache"
        assert ("retry-after" in answer.headers) == (status in {"accepted", "running"})


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        ({}, "status: null; allowed: RECEIVED, QUEUED, RUNNING, SUCCESS, FAILED, INVALID, in capitals"),
        ({"status": "success", "result": LINK}, 'status: "success"; allowed: RECEIVED'),
        ({"status": "successful"}, 'status: "successful"; allowed: RECEIVED'),
        ({"status": "DISMISSED"}, "allowed: RECEIVED"),
        ({"status": ["SUCCESS"]}, "allowed: RECEIVED"),
        ({"status": {}}, "status: {}"),
        ({"status": "RUNNING", "progress": 4}, '"progress": 4; allowed: the members id, status, result, message'),
        ({"status": "RUNNING", "id": "another"}, 'id: "another"; allowed: that of the address'),
        ({"status": "RUNNING", "id": 7}, "id: 7; allowed: that of the address"),
        ({"status": "RUNNING", "result": LINK}, "allowed: only with the status SUCCESS"),
        ({"status": "FAILED", "result": {}}, "result: {}; allowed: only with the status SUCCESS"),
        ({"status": "SUCCESS"}, "result: null; allowed: with the status SUCCESS a link"),
        ({"status": "SUCCESS", "result": ""}, "begins with http:// or https://"),
        ({"status": "SUCCESS", "result": "done"}, "or JSON that is no text"),
        ({"status": "SUCCESS", "result": "javascript:alert(1)"}, "begins with http:// or https://"),
        ({"status": "SUCCESS", "result": "file:///etc/passwd"}, "begins with http:// or https://"),
        ({"status": "SUCCESS", "result": "//files.example.org/x"}, "begins with http:// or https://"),
        ({"status": "SUCCESS", "result": "https://me:secret@example.org/x"}, "without user name or password"),
        ({"status": "SUCCESS", "result": "https://example.org/x\r\nX-Evil: 1"}, "result:"),
        ({"status": "SUCCESS", "result": 'https://example.org/x>;rel="next",<https://evil.example'}, "result:"),
        ({"status": "SUCCESS", "result": "https://exämple.org/x"}, "result:"),
        ({"status": "SUCCESS", "result": "https://example.org/" + "x" * 2000}, "of at most 2000 characters"),
        ({"status": "SUCCESS", "result": LINK, "message": "fine"}, "only with the status FAILED and INVALID"),
        ({"status": "QUEUED", "message": "soon"}, "only with the status FAILED and INVALID"),
        ({"status": "FAILED", "message": ""}, "message: "),
        ({"status": "FAILED", "message": 3}, "message: 3; allowed: text"),
        ({"status": "FAILED", "message": "a\x00b"}, "without control characters"),
        ({"status": "FAILED", "message": "x" * 1001}, "at most 1000 characters"),
        ({"status": "FAILED", "send_mail": "yes"}, 'send_mail: "yes"; allowed: true or false'),
        ({"status": "FAILED", "send_mail": 1}, "send_mail: 1; allowed: true or false"),
        ({"status": "RUNNING", "send_mail": True}, "true only with SUCCESS, FAILED and INVALID"),
        ({"status": "FAILED", "send_mail": True}, "send_mail: true; this server sends no mail"),
    ],
)
def test_an_invalid_update_is_400_and_changes_nothing(site: OrderSite, said: dict[str, Any], detail: str) -> None:
    job = ordered(site)
    before = stored(site, job)
    answer = put(site, job, **said)
    assert answer.status_code == 400, answer.text
    assert detail in answer.json()["detail"]
    assert stored(site, job) == before


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"status": "RUNNING"}', {"Content-Type": "text/plain"}, 415),
        (b'{"status": "RUNNING"}', {}, 415),
        (b"", {"Content-Type": "application/json"}, 400),
        (b"[]", {"Content-Type": "application/json"}, 400),
        (b'{"status": "SUCCESS", "result": NaN}', {"Content-Type": "application/json"}, 400),
        (b'{"status": "SUCCESS", "result": "\\ud800"}', {"Content-Type": "application/json"}, 400),
    ],
)
def test_a_body_that_is_not_an_update_is_refused(
    site: OrderSite, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = site.client.put(f"/orders/{ordered(site)}", content=body, headers=headers)
    assert answer.status_code == status
    if body == b"[]":
        assert answer.json()["detail"].endswith('allowed: {"status": "SUCCESS", "result": …}')


def test_a_parameter_is_refused(site: OrderSite) -> None:
    answer = site.client.put(f"/orders/{ordered(site)}?status=SUCCESS", json=DONE)
    assert (answer.status_code, answer.json()["parameter"]) == (400, "status")


@pytest.mark.parametrize("process", ["echo", "area-statistics", "estimate-product"])
def test_quick_processes_cannot_be_taken_over(site: OrderSite, process: str) -> None:
    job = ordered(site, process)
    for said in (DONE, {"status": "RUNNING"}, {"status": "FAILED"}):
        answer = put(site, job, **said)
        assert (answer.status_code, answer.json()["detail"]) == (
            409,
            f"orders of {process} are done by this server alone",
        )
    assert stored(site, job).status is Status.ACCEPTED


def test_a_finished_order_is_409_with_its_status(site: OrderSite) -> None:
    ours, theirs, dismissed = (ordered(site) for _ in range(3))
    site.serve(ours)
    put(site, theirs, **DONE)
    site.client.delete(f"/jobs/{dismissed}")
    for job, status in ((ours, "successful"), (theirs, "successful"), (dismissed, "dismissed")):
        before = stored(site, job)
        for said in ({"status": "FAILED"}, {"status": "QUEUED"}, {"status": "SUCCESS", "result": {"n": 1}}):
            answer = put(site, job, **said)
            assert answer.status_code == 409
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["detail"].startswith(f"the order is {status}, which is final")
        assert stored(site, job) == before


def test_a_running_order_does_not_wait_again(site: OrderSite) -> None:
    job = ordered(site)
    put(site, job, status="RUNNING")
    answer = put(site, job, status="QUEUED")
    assert (answer.status_code, stored(site, job).status) == (409, Status.RUNNING)


def test_an_update_of_a_missing_order_is_404(site: OrderSite) -> None:
    job = ordered(site)
    put(site, job, **DONE)
    site.client.delete(f"/jobs/{job}")
    for job_id in (job, "nothing", "%00"):
        answer = site.client.put(f"/orders/{job_id}", json=DONE)
        assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (404, "no-such-job")


def result_of(site: OrderSite, job: str, query: str = "", **headers: str) -> httpx2.Response:
    return site.client.get(f"/jobs/{job}/results{query}", headers=headers)


def test_a_link_is_returned_as_a_reference_and_never_fetched(site: OrderSite) -> None:
    """The link may be broken: the server never fetches it, and interprets no part of it."""
    job = ordered(site)
    put(site, job, **DONE)
    link = f'<{LINK}>; rel="related"; title="result"'
    for answer in (result_of(site, job), result_of(site, job, "/result")):
        assert (answer.status_code, answer.headers["link"], answer.content) == (204, link, b"")
    assert result_of(site, job, "?f=json").json() == {"result": {"href": LINK, "title": "result"}}
    page = result_of(site, job, "?f=html")
    assert page.status_code == 200
    shown = LINK.replace("&", "&amp;")
    assert f'<a href="{shown}">{shown}</a>' in page.text
    assert "Media type" not in page.text
    assert site.client.get(f"/jobs/{job}?f=html").status_code == 200


def test_a_link_in_a_document_is_a_link(site: OrderSite) -> None:
    job = ordered(site, response="document", outputs={"result": {"transmissionMode": "value"}})
    put(site, job, **DONE)
    assert result_of(site, job).json() == {"result": {"href": LINK, "title": "result"}}


@pytest.mark.parametrize("value", [{"scenes": [1, 2.5]}, [], 0, False, {"href": "file:///etc/passwd"}, {"ä": "\x00"}])
def test_a_value_is_the_result(site: OrderSite, value: Any) -> None:
    job = ordered(site)
    assert put(site, job, status="SUCCESS", result=value).status_code == 200
    assert result_of(site, job).json() == value
    assert result_of(site, job, "/result").json() == value
    assert result_of(site, job, "?f=html").status_code == 200
    assert json.dumps(value) in json.dumps(result_of(site, job, "?f=json").json())


@pytest.mark.parametrize(
    ("said", "status", "detail"),
    [
        ({"status": "INVALID", "message": "no scene of that day"}, 400, "no scene of that day"),
        ({"status": "INVALID"}, 400, "The back end found the order invalid."),
        ({"status": "FAILED", "message": "<b>disk</b>"}, 500, "<b>disk</b>"),
        ({"status": "FAILED"}, 500, "The back end could not do it."),
    ],
)
def test_a_failure_answers_with_its_reason(site: OrderSite, said: dict[str, Any], status: int, detail: str) -> None:
    job = ordered(site)
    assert put(site, job, **said).json()["message"] == detail
    answer = result_of(site, job)
    assert (answer.status_code, answer.json()["detail"]) == (status, detail)
    assert "<b>" not in site.client.get(f"/jobs/{job}?f=html").text


def mailing(make_app: MakeApp, order: Order, **said: Any) -> tuple[int, Any, Job, "Resources"]:
    app = make_app(mail={"url": "smtp://127.0.0.1:1", "to": "desk@example.org"})
    with TestClient(app, base_url="http://inside.invalid") as client:
        resources: Resources = app.state.resources
        job, _ = resources.store.add(order)
        answer = client.put(f"/orders/{job.id}", json=said)
        after = resources.store.get(job.id)
        assert after is not None
        return answer.status_code, resources.outbox.take("mail"), after, resources


@pytest.mark.parametrize(("email", "address"), [("her@example.org", "her@example.org"), (None, "desk@example.org")])
def test_the_owner_gets_a_mail_if_the_back_end_requests_it(make_app: MakeApp, email: str | None, address: str) -> None:
    order = Order("extract-product", {}, "local", email=email)
    status, entry, job, resources = mailing(make_app, order, **DONE, send_mail=True)
    assert (status, entry.address, entry.event) == (200, address, "successful")
    outputs = deliveries(job, resources.results, resources.url)
    mail = compose(job, outputs, url=resources.url, sender="maps@example.org", to=address)
    text = mail.get_body(("plain",))
    assert text is not None
    assert f"result: {LINK}\n" in text.get_content()
    assert result_document(outputs, resources.results.path_of) == {"result": {"href": LINK, "title": "result"}}


def test_an_owner_who_ordered_a_mail_gets_one(make_app: MakeApp) -> None:
    order = Order("extract-product", {}, "local", notices=(Notice("mail", Status.FAILED, "own@example.org"),))
    status, entry, _, resources = mailing(make_app, order, status="FAILED", send_mail=True)
    assert (status, entry.address) == (200, "own@example.org")
    assert len(resources.outbox.notifications(entry.job_id)) == 1


def test_a_mail_without_an_address_is_400_and_changes_nothing(make_app: MakeApp) -> None:
    order = Order("extract-product", {}, "local", email="a@example.org\r\nBcc: b@example.org")
    status, entry, job, _ = mailing(make_app, order, **DONE, send_mail=True)
    assert (status, entry, job.status) == (400, None, Status.ACCEPTED)


def test_the_documented_examples_are_accepted(site: OrderSite) -> None:
    operation = site.client.get("/openapi").json()["paths"]["/orders/{job_id}"]["put"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    assert len(examples) == 4
    for example in examples.values():
        said = {name: value for name, value in example["value"].items() if name not in ("id", "send_mail")}
        assert put(site, ordered(site), **said).status_code == 200
