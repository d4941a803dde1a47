"""The application factory."""

import os
from collections.abc import AsyncIterator, Callable, Container, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter
from pygeoapi.api import API
from starlette.applications import Starlette
from starlette.middleware import Middleware

from auth.access import Policy
from orchestration.admission import Admission, Backlog
from orchestration.registry import Registry
from orchestration.runners.airflow.events import tell
from orchestration.runners.airflow.health import AirflowHealth
from orchestration.store.jobs import StoredJobs
from orchestration.store.outbox import Outbox
from plugins.patches import apply_patches
from processes.loading import LoadedProcesses, load_processes
from products.catalogue import catalogue_of
from routes.accounts import account, api_keys, login, tokens
from routes.collection import Collection
from routes.common import collections, landing
from routes.coverages import coverage
from routes.coverages import map as map_
from routes.errors import HANDLERS
from routes.features import items
from routes.guard import GuardedRoute
from routes.middleware.authentication import Authentication
from routes.middleware.bounds import Bounds
from routes.middleware.compression import Compression
from routes.middleware.failures import Failures
from routes.middleware.options import Options
from routes.middleware.request_log import RequestLog
from routes.middleware.request_target import RequestTarget
from routes.middleware.response_headers import ResponseHeaders
from routes.openapi import endpoint
from routes.openapi.document import build
from routes.openapi.secured import Definition
from routes.operations import airflow, health
from routes.pages import assets
from routes.processes import execution, jobs, processes, results
from routes.processes import updates as orders
from routes.processes.subscribers import Mailing
from routes.pygeoapi import edr, tiles
from routes.resources import AirflowEvents, Resources, is_listed
from server.access import as_system, authenticating, make_policy
from server.airflow import events_key, on_airflow
from server.api import language_of, make_api, years_of
from server.database import place_of
from server.logs import in_background
from server.notifications import make_results
from server.processes import log_wrong, offered
from server.settings import Settings
from sql import connections

_LIGHT_THREADS = 32

ROUTES: tuple[GuardedRoute, ...] = (
    *landing.routes,
    *collections.routes,
    *items.routes,
    *coverage.routes,
    *map_.routes,
    *processes.routes,
    *execution.routes,
    *jobs.routes,
    *orders.routes,
    *results.routes,
    *endpoint.routes,
    *health.routes,
    *assets.routes,
)
FOR_PEOPLE: tuple[GuardedRoute, ...] = (*login.routes, *account.routes, *api_keys.routes, *tokens.routes)
"""Served besides where callers are known; an open server has nothing at these addresses."""
OF_KINDS: Mapping[str, Sequence[GuardedRoute]] = {"map": map_.style_routes, "tile": tiles.routes, "edr": edr.routes}
"""Served besides where a collection has a provider of the kind."""
OF_AIRFLOW: tuple[GuardedRoute, ...] = (*airflow.routes,)
"""Served besides where orders run on Airflow."""


@dataclass(frozen=True, slots=True)
class _Served:
    """What is made of the configuration before a database is opened."""

    configuration: Mapping[str, Any]
    settings: Settings
    policy: Policy
    api: API
    collections: Mapping[str, Collection]
    processes: LoadedProcesses


def create_app(configuration: dict[str, Any], settings: Settings) -> Starlette:
    """Return the application; databases and threads begin in its lifespan, so it may be made before a fork."""
    apply_patches()
    url = settings.server.public_url
    policy = make_policy(configuration, settings)
    loaded = load_processes(
        configuration["resources"], years_of(catalogue_of(configuration), policy), language_of(configuration)
    )
    configuration = offered(configuration, loaded.registry, airflow=settings.airflow.url is not None)
    api = make_api(configuration, url, policy)
    with as_system():
        entries = dict(api.config["resources"])
    of_type = {name: entry for name, entry in entries.items() if entry["type"] == "collection"}
    found = {name: Collection(name, entry) for name, entry in of_type.items()}
    kinds = {kind for collection in found.values() for kind in collection.kinds}
    slashed = [name for name in found if "/" in name]
    routes = tuple(route.with_ids(slashed) if slashed else route for route in _routes(settings, kinds))
    app = Starlette(
        routes=routes,
        middleware=_middleware(settings, routes),
        exception_handlers=HANDLERS,
        lifespan=_lifespan(_Served(configuration, settings, policy, api, found, loaded)),
    )
    app.router.redirect_slashes = False
    app.state.settings = settings
    app.state.issuer = settings.auth.issuer
    with as_system():
        app.state.definition = Definition(
            build(
                api,
                [each for each in found.values() if is_listed(each.configured)],
                loaded.processors,
                for_people=not settings.auth.open,
                of_airflow=settings.airflow.url is not None,
            ),
            routes,
        )
    return app


def _routes(settings: Settings, kinds: Container[str]) -> tuple[GuardedRoute, ...]:
    """Return what is served with these settings and kinds of providers."""
    of_kinds = tuple(route for kind, routes in OF_KINDS.items() if kind in kinds for route in routes)
    for_people = () if settings.auth.open else FOR_PEOPLE
    return ROUTES + of_kinds + for_people + (OF_AIRFLOW if settings.airflow.url else ())


def _middleware(settings: Settings, routes: Sequence[GuardedRoute]) -> list[Middleware]:
    """In the order that `routes.middleware` explains."""
    url = settings.server.public_url
    return [
        Middleware(RequestLog),
        Middleware(ResponseHeaders, url=url),
        Middleware(Compression),
        Middleware(RequestTarget, url=url),
        Middleware(
            Bounds,
            requests=settings.server.requests,
            seconds=settings.server.request_timeout,
            body_seconds=settings.server.body_timeout,
        ),
        Middleware(Failures),
        Middleware(Authentication, url=url),
        Middleware(Options, routes=routes),
    ]


def _lifespan(served: _Served) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        place = place_of(served.settings)
        resources = _open_resources(served, place)
        app.state.resources = resources
        with as_system():
            for collection in served.collections.values():
                collection.log_failure()
        log_wrong(served.processes.wrong)
        try:
            with in_background():
                async with authenticating(app, served.settings, resources.light, place=place):
                    yield
        finally:
            resources.store.close()
            resources.outbox.close()

    return lifespan


def _open_resources(served: _Served, place: connections.Place) -> Resources:
    """Open what the routes work with."""
    settings, registry = served.settings, served.processes.registry
    folder = settings.state.dir
    folder.mkdir(parents=True, exist_ok=True)
    url = settings.server.public_url
    files_days = min(settings.results.retention, settings.jobs.retention)
    store = StoredJobs(place, files_days=files_days, lazy=True)
    results = make_results(settings)
    return Resources(
        api=served.api,
        collections=served.collections,
        processes=served.processes,
        url=url,
        policy=served.policy,
        catalogue=catalogue_of(served.configuration),
        store=store,
        admission=Admission(
            store,
            results.root,
            settings.results.cap,
            _backlog(settings, store, registry),
            registry.without_files,
        ),
        outbox=Outbox(place, lazy=True),
        mailing=Mailing(settings.mail.url is not None, settings.mail.to),
        results=results,
        light=CapacityLimiter(_LIGHT_THREADS),
        heavy=CapacityLimiter(max(2, (os.cpu_count() or 1) // settings.server.workers)),
        wait=settings.jobs.wait,
        airflow_events=_airflow_events(settings, place),
        airflow_health=_airflow_health(settings),
    )


def _airflow_health(settings: Settings) -> AirflowHealth | None:
    airflow = on_airflow(settings)
    return None if airflow is None else AirflowHealth(airflow.access)


def _backlog(settings: Settings, store: StoredJobs, registry: Registry) -> Backlog | None:
    return Backlog(store, registry.on_airflow, settings.airflow.backlog) if settings.airflow.url else None


def _airflow_events(settings: Settings, place: connections.Place) -> AirflowEvents | None:
    """Return what takes the news of Airflow and passes them on through the database, where the worker hears them."""
    key = events_key(settings)
    if key is None or isinstance(place, Path):
        return None
    return AirflowEvents(key, partial(tell, place))
