"""What every route works with, built by the application factory."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from anyio import CapacityLimiter
from pygeoapi.api import API
from starlette.requests import Request

from auth.access import Policy
from auth.recent import Recent
from auth.throttle import Throttle
from orchestration.admission import Admission
from orchestration.files.results import Results
from orchestration.runners.airflow.health import AirflowHealth
from orchestration.store import JobStore
from orchestration.store.outbox import Outbox
from processes.loading import LoadedProcesses
from products.catalogue import Catalogue
from routes.processes.subscribers import Mailing

_DESCRIBED = 4_096


@dataclass(frozen=True, slots=True)
class AirflowEvents:
    """Takes events that are signed with `key`; `tell` passes on which run an event is about."""

    key: bytes = field(repr=False)
    tell: Callable[[str], None]
    throttle: Throttle = field(default_factory=Throttle)


@dataclass(slots=True)
class Resources:
    """The collaborators of the routes; `url` is the public address without a slash at its end.

    `light` and `heavy` bound the threads of the two kinds of requests, so that heavy ones never starve light ones.
    `policy` is the one that decides; `api` shows only what the caller may see, `catalogue` is whole.
    `described` are the documents of collections, by id, with the versions of the files that they describe.
    `processes` are those that are loaded. `admission` takes orders or refuses them, `mailing` says which of them get
    a mail. `wait` is how many seconds a synchronous execution waits at most. Where orders run on Airflow,
    `airflow_events` takes its events, and `airflow_health` says whether it works.
    """

    api: API
    url: str
    policy: Policy
    catalogue: Catalogue
    store: JobStore
    admission: Admission
    outbox: Outbox
    mailing: Mailing
    results: Results
    light: CapacityLimiter
    heavy: CapacityLimiter
    wait: float
    processes: LoadedProcesses
    airflow_events: AirflowEvents | None = None
    airflow_health: AirflowHealth | None = None
    described: Recent[str, tuple[Hashable, dict[str, Any]]] = field(default_factory=lambda: Recent(_DESCRIBED))


def resources_of(request: Request) -> Resources:
    """Return the resources of the application that serves this request."""
    resources: Resources = request.app.state.resources
    return resources
