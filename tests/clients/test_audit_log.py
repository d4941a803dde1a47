"""The audit log as an operator reads it: the JSON lines of a running server, one for each decision."""

import json
import time
import uuid
from typing import Any

import httpx2
import pytest

from tests.clients.conftest import FILE, Guarded
from tests.server.served import eventually


class Caller:
    """Sends one request and returns its lines of the audit log."""

    def __init__(self, guarded: Guarded) -> None:
        self.guarded = guarded

    def lines(self, request_id: str) -> list[dict[str, Any]]:
        """Return the request's lines of the audit, once the log has the line that ends the request."""
        found: list[dict[str, Any]] = []

        def logged() -> bool:
            lines = [json.loads(line) for line in self.guarded.log.read_text().splitlines() if request_id in line]
            found[:] = [line for line in lines if line["logger"] == "landcast.audit"]
            return any(line["logger"] == "landcast.access" for line in lines)

        eventually(logged)
        return found

    def ask(self, path: str, method: str = "GET", **asked: Any) -> tuple[int, list[dict[str, Any]]]:
        request_id = uuid.uuid4().hex
        headers = {"X-Request-Id": request_id, **asked.pop("headers", {})}
        answer = httpx2.request(method, f"{self.guarded.url}{path}", headers=headers, timeout=30, **asked)
        return answer.status_code, self.lines(request_id)

    @property
    def by_key(self) -> dict[str, str]:
        return {"X-Api-Key": self.guarded.key}


@pytest.fixture
def caller(guarded: Guarded) -> Caller:
    return Caller(guarded)


def members_of(lines: list[dict[str, Any]], *members: str) -> list[tuple[Any, ...]]:
    return [tuple(line.get(member) for member in members) for line in lines]


def test_a_line_has_caller_action_resource_rule_and_key(caller: Caller, guarded: Guarded) -> None:
    status, (line,) = caller.ask(FILE, "HEAD", headers=caller.by_key)
    assert status == 200
    owner = guarded.keycloak.admin("GET", "/users?username=quinn")[0]["id"]
    assert line.pop("time").startswith(time.strftime("%Y-", time.gmtime()))
    assert len(line.pop("requestId")) == 32
    assert isinstance(line.pop("process"), int)
    assert line == {
        "level": "INFO",
        "logger": "landcast.audit",
        "message": "allowed",
        "who": f"{guarded.keycloak.issuer}|{owner}",
        "by": "key",
        "key": guarded.key_id,
        "action": "download",
        "resource": "clcplus-raster",
        "decision": "allowed",
        "rule": "the-known-read",
    }


def test_every_decision_is_one_line(caller: Caller, guarded: Guarded) -> None:
    token = {"Authorization": f"Bearer {guarded.token()}"}
    nowhere = f"/jobs/{uuid.uuid4()}"
    # path, method, headers: status, then by, action, resource, decision of the one line
    expected: list[tuple[str, str, dict[str, str], int, tuple[str | None, ...]]] = [
        (FILE, "HEAD", {}, 401, ("anonymous", "download", "clcplus-raster", "refused")),
        (FILE, "HEAD", token, 200, ("token", "download", "clcplus-raster", "allowed")),
        ("/collections/parks/items?limit=1", "GET", {}, 404, ("anonymous", "discover", "parks", "refused")),
        ("/collections/parks/items?limit=1", "GET", token, 200, ("token", "read-items", "parks", "allowed")),
        ("/collections/nowhere", "GET", token, 404, ("token", "discover", "nowhere", "refused")),
        ("/jobs", "GET", {}, 401, ("anonymous", "read-own-jobs", None, "refused")),
        ("/jobs", "GET", token, 200, ("token", "read-own-jobs", None, "allowed")),
        (nowhere, "GET", token, 404, ("token", "read-own-jobs", None, "refused")),
        (nowhere, "DELETE", token, 404, ("token", "dismiss-own-jobs", None, "refused")),
        ("/results/x/y?exp=1&sig=f", "GET", {}, 403, ("anonymous", "read-own-jobs", None, "refused")),
        ("/", "GET", {"X-Api-Key": "x"}, 401, (None, "bad-credentials", None, "refused")),
    ]
    for path, method, headers, status, line in expected:
        answered, lines = caller.ask(path, method, headers=headers)
        assert answered == status, path
        assert members_of(lines, "by", "action", "resource", "decision") == [line], path


def test_public_resources_have_no_line(caller: Caller) -> None:
    for path in ("/", "/conformance", "/openapi", "/collections", "/health/live"):
        assert caller.ask(path) == (200, [])


def test_an_order_and_its_result_name_the_job(caller: Caller, guarded: Guarded) -> None:
    status, (line,) = caller.ask("/processes/echo/execution", "POST", headers=caller.by_key, json={"inputs": {}})
    assert (status, line["action"], line["resource"], line["rule"]) == (204, "execute", "echo", "the-known-order")
    jobs = httpx2.get(f"{guarded.url}/jobs", headers=caller.by_key).json()["jobs"]
    status, (line,) = caller.ask(f"/jobs/{jobs[0]['jobID']}", headers=caller.by_key)
    assert (status, line["action"], line["resource"], line["job"]) == (200, "read-own-jobs", "echo", jobs[0]["jobID"])
    status, (line,) = caller.ask(f"/jobs/{jobs[0]['jobID']}", "DELETE", headers=caller.by_key)
    assert (status, line["decision"]) == (403, "refused")
    assert line["reason"] == "dismiss-own-jobs of echo is not granted to you"


def test_refused_credentials_have_a_line_without_the_credentials(caller: Caller, guarded: Guarded) -> None:
    wrong = guarded.key[:-1] + ("0" if guarded.key[-1] != "0" else "1")
    status, (line,) = caller.ask("/", headers={"X-Api-Key": wrong})
    assert (status, line["who"], line["action"], line["address"]) == (401, "unknown", "bad-credentials", "127.0.0.1")
    assert "API key" in line["reason"]
    assert guarded.secret[:20] not in guarded.log.read_text()
