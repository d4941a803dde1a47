"""Orders over HTTP, with the test as their worker: real routes, real store, real files."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from orchestration.job import Output, ResultFile
from routes.resources import Resources
from tests.routes.people import POLICY, SECRET, Browser, LoginIssuer, browser_of


@dataclass(frozen=True, slots=True)
class OrderSite:
    """Accepts orders through `client`; `serve` executes one like the worker."""

    client: TestClient
    resources: Resources

    def order(self, inputs: dict[str, Any] | None = None, **members: Any) -> str:
        """Order an echo and return the job's id."""
        body = {"inputs": inputs or {}, **members}
        answer = self.client.post("/processes/echo/execution", json=body, headers={"Prefer": "respond-async"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["jobID"])

    def serve(self, job_id: str, *outputs: Output) -> None:
        """Publish these outputs as the job's result."""
        job = self.resources.store.begin(job_id)
        assert job is not None
        assert self.resources.store.publish(job_id, job.attempt, outputs)

    def fail(self, job_id: str, reason: str, fault: str = "") -> None:
        """End the job as failed."""
        job = self.resources.store.begin(job_id)
        assert job is not None
        assert self.resources.store.fail(job_id, job.attempt, reason, fault=fault)

    def file(self, job_id: str, content: bytes, name: str = "Raster.zip") -> Output:
        """Return an output with this file, written to the worker's folder."""
        path = self.resources.results.folder(job_id, 1, 1) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        relative = str(path.relative_to(self.resources.results.root))
        digest = hashlib.sha256(content).hexdigest()
        return Output(
            "result", None, "application/zip", ResultFile(name, relative, "application/zip", len(content), digest)
        )


@pytest.fixture
def site(make_app: Callable[..., Starlette]) -> Iterator[OrderSite]:
    """Return a new site for each test; it waits a second for a result."""
    app = make_app(jobs={"wait": 1})
    with TestClient(app, base_url="http://inside.invalid", follow_redirects=False) as client:
        yield OrderSite(client, app.state.resources)


@pytest.fixture
def login_issuer() -> Iterator[LoginIssuer]:
    """Return an issuer for sign-in."""
    made = LoginIssuer()
    yield made
    made.close()


@pytest.fixture
def make_closed_app(make_app: Callable[..., Starlette], login_issuer: LoginIssuer) -> Callable[..., Starlette]:
    """Return a factory of the application with access control; keywords are settings of the concern `auth`."""

    def make(**auth: Any) -> Starlette:
        chosen = {"open": False, "issuer": login_issuer.url, "client_secret": SECRET, "policy": POLICY, **auth}
        return make_app(auth=chosen)

    return make


@pytest.fixture
def browser(make_closed_app: Callable[..., Starlette], login_issuer: LoginIssuer) -> Iterator[Browser]:
    """Return a browser of the application with access control."""
    with browser_of(make_closed_app(), login_issuer) as made:
        yield made
