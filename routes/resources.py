"""What every route works with, built by the application factory."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter
from pygeoapi.api import API
from starlette.requests import Request

from auth.access import Policy
from auth.recent import Recent
from orchestration.files.results import Results
from orchestration.store import JobStore
from orchestration.store.outbox import Outbox
from products.catalogue import Catalogue
from routes.processes.subscribers import Mailing
from routes.room import Room

if TYPE_CHECKING:
    from routes.operations.airflow import News
    from routes.pulse import Pulse

_DESCRIBED = 4_096


@dataclass(slots=True)
class Resources:
    """The collaborators of the routes; `url` is the public address without a slash at its end.

    `light` and `heavy` bound the threads of the two kinds of requests, so that heavy ones never starve light ones.
    `policy` is the one that decides; `api` shows only what the caller may see, `catalogue` is whole.
    `described` are the documents of collections, by id, with the versions of the files that they describe.
    `room` takes orders while there is space, `mailing` says which of them get a mail. `wait` is how many seconds a
    synchronous execution waits at most. Where orders run on Airflow, `news` takes what that tells, and `pulse` says
    whether it works.
    """

    api: API
    url: str
    policy: Policy
    catalogue: Catalogue
    store: JobStore
    room: Room
    outbox: Outbox
    mailing: Mailing
    results: Results
    light: CapacityLimiter
    heavy: CapacityLimiter
    wait: float
    news: "News | None" = None
    pulse: "Pulse | None" = None
    described: Recent[str, tuple[Hashable, dict[str, Any]]] = field(default_factory=lambda: Recent(_DESCRIBED))


def resources_of(request: Request) -> Resources:
    """Return the resources of the application that serves this request."""
    resources: Resources = request.app.state.resources
    return resources
