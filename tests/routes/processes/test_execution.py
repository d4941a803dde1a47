"""An execution is a stored job before it is answered; the mode is that of 18-062r2's tables."""

import re
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from auth.identity import LOCAL
from orchestration.errors import StoreUnavailable
from orchestration.job import JobQuery, Output, Status
from processes.base import Processor
from routes.processes.execution import Mode, _applied, choose_mode
from routes.query.parameters import Preferences

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx2 import Response

    from tests.routes.conftest import OrderSite

EXECUTION = "/processes/echo/execution"
URL = "https://maps.example.org/land"
NO_SUCH_PROCESS = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/no-such-process"

ASYNC = ["async-execute", "dismiss"]
SYNC = ["sync-execute"]
BOTH = ["sync-execute", "async-execute"]
NONE = Preferences()
ASKED = Preferences(respond_async=True)
PATIENT = Preferences(respond_async=True, wait=10)


@pytest.mark.parametrize(
    ("options", "preferences", "mode"),
    [
        (ASYNC, NONE, Mode(0, gives_up=False)),
        (ASYNC, ASKED, Mode(0, gives_up=False)),
        (ASYNC, PATIENT, Mode(0, gives_up=False)),
        (SYNC, NONE, Mode(60, gives_up=True)),
        (SYNC, ASKED, Mode(60, gives_up=True)),
        (SYNC, PATIENT, Mode(10, gives_up=True)),
        (BOTH, NONE, Mode(60, gives_up=True)),
        (BOTH, Preferences(wait=5), Mode(5, gives_up=True)),
        (BOTH, Preferences(wait=500), Mode(60, gives_up=True)),
        (BOTH, ASKED, Mode(0, gives_up=False)),
        (BOTH, PATIENT, Mode(10, gives_up=False)),
        (BOTH, Preferences(respond_async=True, wait=999), Mode(60, gives_up=False)),
    ],
)
def test_the_execution_mode_follows_the_standard(options: list[str], preferences: Preferences, mode: Mode) -> None:
    class Process(Processor):
        description = {"inputs": {}, "jobControlOptions": options}  # noqa: RUF012  its base says what it is

    assert choose_mode(Process({"name": "process"}), preferences, 60) == mode


def execute(site: "OrderSite", body: Any, **headers: str) -> "Response":
    return site.client.post(EXECUTION, json=body, headers=headers)


def soon(work: "Callable[[], None]") -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def served(site: "OrderSite", *outputs: Output, after: float = 0.0) -> threading.Thread:
    """Serve the next job in another thread, like a worker; the execution waits for it."""
    site.resources.wait = 60

    def work() -> None:
        while not (waiting := site.resources.store.unfinished()):
            time.sleep(0.01)
        time.sleep(after)
        site.serve(waiting[0].id, *outputs)

    return soon(work)


def count(site: "OrderSite") -> int:
    return site.resources.store.find(JobQuery()).matched


def test_an_asynchronous_execution_is_201_with_the_job(site: "OrderSite") -> None:
    answer = execute(site, {"inputs": {"stringInput": "a"}}, Prefer="respond-async")
    job = answer.json()
    assert answer.status_code == HTTPStatus.CREATED
    assert answer.headers["location"] == f"{URL}/jobs/{job['jobID']}"
    assert answer.headers["preference-applied"] == "respond-async"
    assert {name: job[name] for name in ("processID", "type", "status", "progress")} == {
        "processID": "echo",
        "type": "process",
        "status": "accepted",
        "progress": 0,
    }
    stored = site.resources.store.get(job["jobID"])
    assert stored is not None
    assert stored.order.owner == LOCAL.owner
    assert stored.order.inputs == {"stringInput": "a", "pause": 0}


def test_an_execution_is_synchronous_by_default(site: "OrderSite") -> None:
    thread = served(site, Output("stringOutput", "hello"), after=0.1)
    answer = execute(site, {"inputs": {"stringInput": "hello"}})
    thread.join()
    job = site.resources.store.find(JobQuery()).jobs[0]
    assert answer.status_code == HTTPStatus.OK
    assert answer.json() == "hello"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["link"] == f'<{URL}/jobs/{job.id}>; rel="monitor"'
    assert "preference-applied" not in answer.headers


def test_a_long_synchronous_execution_is_504_and_its_job_continues(site: "OrderSite") -> None:
    answer = execute(site, {})
    job = site.resources.store.find(JobQuery()).jobs[0]
    assert answer.status_code == HTTPStatus.GATEWAY_TIMEOUT
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["link"] == f'<{URL}/jobs/{job.id}>; rel="monitor"'
    assert job.status is Status.ACCEPTED


def test_a_wait_ends_with_the_result_or_with_201(site: "OrderSite") -> None:
    thread = served(site, Output("stringOutput", "x"), after=0.1)
    done = execute(site, {}, Prefer="respond-async, wait=60")
    thread.join()
    site.resources.wait = 1
    begun = time.monotonic()
    late = execute(site, {}, Prefer="respond-async, wait=60")
    assert (done.status_code, done.json()) == (200, "x")
    assert late.status_code == HTTPStatus.CREATED
    assert late.headers["preference-applied"] == "respond-async"
    assert 0.3 < time.monotonic() - begun < 30, "the server waits a second"


@pytest.mark.parametrize(
    ("mode", "preferences", "accepted", "applied"),
    [
        (Mode(60, gives_up=True), NONE, False, None),
        (Mode(10, gives_up=False), PATIENT, False, "wait=10"),
        (Mode(10, gives_up=False), PATIENT, True, "respond-async, wait=10"),
        (Mode(5, gives_up=False), PATIENT, True, "respond-async"),
        (Mode(0, gives_up=False), ASKED, True, "respond-async"),
        (Mode(0, gives_up=False), NONE, True, None),
    ],
)
def test_preference_applied_has_only_honoured_preferences(
    mode: Mode, preferences: Preferences, *, accepted: bool, applied: str | None
) -> None:
    assert _applied(mode, preferences, accepted=accepted).get("Preference-Applied") == applied


def test_a_failed_synchronous_execution_is_a_problem_with_its_reason(site: "OrderSite") -> None:
    def work() -> None:
        while not (waiting := site.resources.store.unfinished()):
            time.sleep(0.01)
        site.fail(waiting[0].id, "the image is not an image")

    thread = soon(work)
    answer = execute(site, {})
    thread.join()
    assert answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert answer.json()["detail"] == "the image is not an image"


def test_a_repeated_key_is_the_same_job_with_the_same_answer(site: "OrderSite") -> None:
    headers = {"Prefer": "respond-async", "Idempotency-Key": "once"}
    first, second = (execute(site, {"inputs": {"stringInput": "a"}}, **headers) for _ in range(2))
    assert (first.status_code, first.headers["location"]) == (second.status_code, second.headers["location"])
    assert count(site) == 1


def test_a_key_used_for_something_else_is_422(site: "OrderSite") -> None:
    headers = {"Prefer": "respond-async", "Idempotency-Key": "once"}
    execute(site, {"inputs": {"stringInput": "a"}}, **headers)
    answer = execute(site, {"inputs": {"stringInput": "b"}}, **headers)
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert count(site) == 1


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "\u00fc"])
def test_an_invalid_idempotency_key_is_400(site: "OrderSite", key: str) -> None:
    answer = site.client.post(EXECUTION, json={}, headers=[(b"Idempotency-Key", key.encode("latin-1"))])
    assert (answer.status_code, answer.json()["parameter"]) == (400, "Idempotency-Key")
    assert count(site) == 0


def test_an_unknown_process_is_404_of_the_standards_type(site: "OrderSite") -> None:
    answer = site.client.post("/processes/nothing/execution", json={})
    assert (answer.status_code, answer.json()["type"]) == (404, NO_SUCH_PROCESS)
    assert re.search("extract-product, .*echo", answer.json()["detail"])


@pytest.mark.parametrize("media_type", ["", "text/plain", "multipart/form-data"])
def test_what_is_not_json_is_415(site: "OrderSite", media_type: str) -> None:
    answer = site.client.post(EXECUTION, content=b"{}", headers={"Content-Type": media_type})
    assert answer.status_code == HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    assert answer.headers["accept-post"] == "application/json"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"input": {}}, "inputs, outputs, response, subscriber"),
        ({"inputs": []}, "inputs: []; allowed: an object"),
        ({"inputs": None}, "inputs: null"),
        ({"inputs": {"stringInput": 5}}, "input 'stringInput': 5; allowed: a string"),
        ({"inputs": {"nothing": 5}}, 'input "nothing" is unknown'),
        ({"response": "xml"}, 'response: "xml"; allowed: raw or document'),
        ({"response": ["raw"]}, "response: "),
        ({"outputs": ["stringOutput"]}, "outputs: "),
        ({"outputs": {"nothing": {}}}, "stringOutput"),
        ({"outputs": {"stringOutput": 5}}, "outputs.stringOutput: 5"),
        ({"outputs": {"stringOutput": {"mode": "value"}}}, "transmissionMode, format"),
        ({"outputs": {"stringOutput": {"transmissionMode": "post"}}}, "value or reference"),
        ({"outputs": {"stringOutput": {"transmissionMode": {}}}}, "value or reference"),
        ({"outputs": {"stringOutput": {"format": {"mediaType": "text/xml"}}}}, "application/json"),
        ({"outputs": {"stringOutput": {"format": "json"}}}, "application/json"),
        ([], "not a JSON object"),
        (5, "not a JSON object"),
    ],
)
def test_an_invalid_body_is_400_and_stores_nothing(site: "OrderSite", body: Any, expected: str) -> None:
    answer = execute(site, body)
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert answer.headers["content-type"] == "application/problem+json"
    assert expected in answer.json()["detail"]
    assert count(site) == 0


NULLS: list[Any] = [{"value": None}, {"href": None}, {"bbox": None}]
NONSENSE: list[Any] = [None, True, -1, 1.5, "", "x", [], {}, [[]], {"a": 1}, *NULLS]
MEMBERS = ["inputs", "outputs", "response", "subscriber", "", "\x00"]


@pytest.mark.parametrize("member", MEMBERS)
def test_malformed_bodies_are_never_500(site: "OrderSite", member: str) -> None:
    for value in NONSENSE:
        for body in ({member: value}, {member: {"stringInput": value}}, {member: {"stringOutput": value}}):
            status = execute(site, body, Prefer="respond-async").status_code
            assert status in {201, 400}, body


def test_an_unknown_query_parameter_is_400(site: "OrderSite") -> None:
    assert site.client.post(f"{EXECUTION}?mode=async", json={}).status_code == HTTPStatus.BAD_REQUEST


def test_an_unavailable_store_is_503_without_partial_rows(site: "OrderSite", monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("the database of the orders: locked")

    monkeypatch.setattr(site.resources.store, "add", away)
    answer = execute(site, {})
    assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert int(answer.headers["retry-after"]) > 0
    assert count(site) == 0


def test_a_disconnected_caller_does_not_end_the_order(site: "OrderSite") -> None:
    execute(site, {"inputs": {"pause": 60}})
    assert [job.status for job in site.resources.store.unfinished()] == [Status.ACCEPTED]
