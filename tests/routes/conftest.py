"""Orders over HTTP, and their worker played by the test: real routes, real store, real files."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from orchestration.job import Output, ResultFile
from orchestration.results import Results
from orchestration.store.sqlite import SqliteStore
from products.catalogue import catalogue_of, read_configuration
from routes import execution, jobs, processes, results
from routes.errors import HANDLERS
from routes.middleware.caller import Caller
from routes.resources import Resources
from server.api import make_api

CONFIGURATION = Path(__file__).parents[2] / "pygeoapi-config.yml"
URL = "https://maps.example.org/land"


@dataclass(frozen=True, slots=True)
class Bureau:
    """Takes orders through `client`; `serve` does one as the worker would."""

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

    def fail(self, job_id: str, reason: str) -> None:
        """End the job as failed."""
        job = self.resources.store.begin(job_id)
        assert job is not None
        assert self.resources.store.fail(job_id, job.attempt, reason)

    def file(self, job_id: str, content: bytes, name: str = "Raster.zip") -> Output:
        """Return an output that is this file, written where the worker would."""
        path = self.resources.results.folder(job_id, 1, 1) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        relative = str(path.relative_to(self.resources.results.root))
        digest = hashlib.sha256(content).hexdigest()
        return Output(
            "result", None, "application/zip", ResultFile(name, relative, "application/zip", len(content), digest)
        )


@pytest.fixture
def bureau(tmp_path: Path) -> Iterator[Bureau]:
    """A bureau of its own for each test."""
    configuration = read_configuration(CONFIGURATION)
    resources = Resources(
        api=make_api(configuration, URL),
        url=URL,
        catalogue=catalogue_of(configuration),
        store=SqliteStore(tmp_path / "orders.sqlite"),
        results=Results(tmp_path / "results", key=b"k" * 32, url=URL),
        light=CapacityLimiter(8),
        heavy=CapacityLimiter(2),
        wait=0.4,
    )
    app = Starlette(
        routes=[*processes.routes, *execution.routes, *jobs.routes, *results.routes],
        middleware=[Middleware(Caller)],
        exception_handlers=HANDLERS,
    )
    app.state.resources = resources
    with TestClient(app, base_url=URL) as client:
        client.base_url = "http://anything.invalid"
        yield Bureau(client, resources)
    resources.store.close()
