"""What every route works with, built by the application factory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from anyio import CapacityLimiter
from pygeoapi.api import API
from starlette.requests import Request

from auth.access import Policy
from auth.throttle import Throttle
from orchestration.admission import Admission
from orchestration.files.results import Results
from orchestration.runners.airflow.health import AirflowHealth
from orchestration.store import JobStore
from orchestration.store.outbox import Outbox
from processes.loading import LoadedProcesses
from products.catalogue import Catalogue
from routes.collection import Collection
from routes.processes.subscribers import Mailing


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
    `collections` are all that are configured, by id; `processes` are those that are loaded. `admission` takes orders or
    refuses them, `mailing` says which of them get a mail. `wait` is how many seconds a synchronous execution waits at
    most. Where orders run on Airflow, `airflow_events` takes its events, and `airflow_health` says whether it works.
    """

    api: API
    collections: Mapping[str, Collection]
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

    def visible_collections(self) -> list[Collection]:
        """Return the collections that the caller may see, hidden ones too: they are asked for, and stand in no list."""
        return [self.collections[name] for name in self.api.config["resources"] if name in self.collections]

    def listed_collections(self) -> list[Collection]:
        """Return the collections that lists and pages show the caller."""
        return [collection for collection in self.visible_collections() if is_listed(collection.configured)]


def resources_of(request: Request) -> Resources:
    """Return the resources of the application that serves this request."""
    resources: Resources = request.app.state.resources
    return resources


def processes_of(api: API) -> list[str]:
    """Return the ids of the processes that the caller may see, as configured."""
    return [name for name, entry in api.config["resources"].items() if entry["type"] == "process"]


def listed_processes(api: API) -> list[str]:
    """Return the ids of the processes that lists and pages show."""
    return [name for name in processes_of(api) if is_listed(api.config["resources"][name])]


def is_listed(resource: Mapping[str, Any]) -> bool:
    """Say whether a resource stands in lists: one of `visibility: hidden` answers at its own address alone."""
    return resource.get("visibility") != "hidden"
