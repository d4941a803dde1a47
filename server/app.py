"""The application factory."""

import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter
from pygeoapi.api import API
from starlette.applications import Starlette
from starlette.middleware import Middleware

from auth.access import Policy
from auth.rate import RateLimiter
from orchestration.admission import Admission, Backlog
from orchestration.notifications.broker import Broker
from orchestration.prebuilt.product import PrebuiltProducts
from orchestration.registry import Registry
from orchestration.runners.airflow.events import tell
from orchestration.runners.airflow.health import AirflowHealth
from orchestration.store.jobs import StoredJobs
from orchestration.store.outbox import Outbox
from orchestration.trace import OrderTraces
from plugins.patches import apply_patches
from processes.loading import LoadedProcesses, load_processes
from products.catalogue import catalogue_of
from products.remote import configure
from products.tiling import matrix_sets_of
from routes.accounts import account, api_keys, login, tokens
from routes.common import about, collections, landing
from routes.coverages import coverage
from routes.coverages import map as map_
from routes.errors import HANDLERS
from routes.features import edit, items, vector_tiles
from routes.guard import GuardedRoute
from routes.middleware.authentication import Authentication, Options
from routes.middleware.bounds import Bounds, Failures
from routes.middleware.compression import Compression
from routes.middleware.edge import Count, Counted, Edge
from routes.middleware.tracing import Tracing
from routes.openapi import secured
from routes.openapi.document import build
from routes.openapi.secured import Definition, Definitions
from routes.operations import airflow, health, overview
from routes.pages import assets
from routes.processes import area, execution, jobs, processes, results
from routes.processes import updates as orders
from routes.processes.subscribers import Mailing
from routes.pygeoapi import asyncapi, edr, stac, tiles
from routes.resources import STAC, AirflowEvents, Collection, Downloads, Resources, is_listed
from routes.stac import api as stac_api
from routes.tiles import styles, tile, tilesets, wmts
from server.access import announced, as_system, authenticating, make_policy
from server.airflow import events_key, on_airflow
from server.api import languages_of, make_api, years_of
from server.api_rules import ApiRules, api_rules_of
from server.database import database_of
from server.logs import in_background, lost_lines
from server.metrics.counters import CounterSlot, SharedCounters, counting
from server.notifications import make_results
from server.processes import available, log_wrong
from server.settings import Settings
from server.templates import pages_of
from server.tiles import tile_cache
from sql import connections

_LIGHT_THREADS = 32

ROUTES: tuple[GuardedRoute, ...] = (
    *landing.routes,
    *about.routes,
    *collections.routes,
    *items.routes,
    *vector_tiles.routes,
    *coverage.routes,
    *map_.routes,
    *tilesets.routes,
    *tile.routes,
    *styles.routes,
    *wmts.routes,
    *processes.routes,
    *execution.routes,
    *area.routes,
    *jobs.routes,
    *orders.routes,
    *results.routes,
    *secured.routes,
    *health.routes,
    *overview.routes,
    *assets.routes,
)
FOR_PEOPLE: tuple[GuardedRoute, ...] = (*login.routes, *account.routes, *api_keys.routes, *tokens.routes)
"""Served only if callers are known; an open server has nothing at these addresses."""
_BROKER, _STAC_API, _PRODUCTS, _EDITED = "broker", "STAC API", "products", "editable"
OF_KINDS: Mapping[str, Sequence[GuardedRoute]] = {
    "tile": tiles.routes,
    "edr": edr.routes,
    STAC: stac.routes,
    _STAC_API: stac_api.SEARCH,
    _PRODUCTS: stac_api.OF_PRODUCTS,
    _BROKER: asyncapi.routes,
    _EDITED: edit.routes,
}
"""Served only if a collection has a provider of the kind or is one of STAC, or by products, a broker or `editable`."""
OF_AIRFLOW: tuple[GuardedRoute, ...] = (*airflow.routes,)
"""Served only if orders run on Airflow."""
COUNTED_ROUTES: Sequence[str] = list(
    dict.fromkeys(route.path for routes in (ROUTES, FOR_PEOPLE, OF_AIRFLOW, *OF_KINDS.values()) for route in routes)
)
"""The paths that requests are counted by, the same for every configuration."""


@dataclass(frozen=True, slots=True)
class _Served:
    """What is made of the configuration before a database is opened."""

    configuration: Mapping[str, Any]
    settings: Settings
    policy: Policy
    translations: Mapping[str, "_Translation"]
    """By language, the default first."""

    @property
    def default(self) -> "_Translation":
        """What is served in the default language."""
        return next(iter(self.translations.values()))


@dataclass(frozen=True, slots=True)
class _Translation:
    """Everything with texts of the configuration, in one language."""

    api: API
    configured: Mapping[str, Mapping[str, Any]]
    collections: Mapping[str, Collection]
    processes: LoadedProcesses

    def in_language(self, api: API, language: str) -> "_Translation":
        """Return the same collections and processes with the texts of the API's configuration."""
        with as_system():
            entries = dict(api.config["resources"])
        collections = {name: collection.translated(entries[name]) for name, collection in self.collections.items()}
        return _Translation(api, entries, collections, self.processes.in_language(language))


def create_app(configuration: dict[str, Any], settings: Settings, counters: SharedCounters | None = None) -> Starlette:
    """Return the application; databases and threads begin in its lifespan, so it may be made before a fork.

    Its requests are counted in the `counters`.
    """
    apply_patches()
    rules = api_rules_of(configuration)
    settings = rules.settings(settings)
    url = settings.server.public_url
    policy = make_policy(configuration, settings)
    default, *others = languages_of(configuration)
    catalogue = catalogue_of(configuration)
    loaded = load_processes(configuration["resources"], years_of(catalogue, policy), default)
    configuration = available(configuration, loaded.registry, airflow=settings.airflow.url is not None)
    api = make_api(configuration, url, policy, default)
    with as_system():
        entries = dict(api.config["resources"])
    found = {name: Collection(name, entry, url) for name, entry in entries.items() if entry["type"] != "process"}
    translations = {default: _Translation(api, entries, found, loaded)}
    for each in others:
        translations[each] = translations[default].in_language(make_api(configuration, url, policy, each), each)
    kinds = {kind for each in found.values() for kind in ({STAC} if each.is_stac else each.kinds)}
    kinds |= set() if Broker.of(configuration) is None else {_BROKER}
    edited = any(given.get("editable") is True for each in found.values() for given in each.configured["providers"])
    kinds |= {_EDITED} if edited else set()
    kinds |= {_PRODUCTS} if catalogue.products else set()
    kinds |= {_STAC_API} if kinds & {STAC, _PRODUCTS} else set()
    slashed = [name for name in found if "/" in name]
    routes = tuple(route.with_ids(slashed) if slashed else route for route in _routes(settings, kinds))
    counted = None if counters is None else deque[Counted]()
    app = Starlette(
        routes=routes,
        middleware=_middleware(settings, rules, routes, None if counted is None else counted.append),
        exception_handlers=HANDLERS,
        lifespan=_lifespan(_Served(configuration, settings, policy, translations), counters, counted),
    )
    app.router.redirect_slashes = False
    app.state.settings = settings
    app.state.issuer = settings.auth.issuer
    app.state.order_traces = None
    app.state.rates = RateLimiter()  # before the fork: all processes count in its memory
    app.state.definitions = Definitions(default, partial(_definition, settings, rules, translations, routes))
    app.state.pages = pages_of(configuration)
    return app


def _definition(
    settings: Settings,
    rules: ApiRules,
    translations: Mapping[str, _Translation],
    routes: tuple[GuardedRoute, ...],
    language: str,
) -> Definition:
    """Return the definition in a language."""
    served = translations[language]
    with as_system():
        document = build(
            served.api,
            [each for each in served.collections.values() if is_listed(each.configured)],
            served.processes.processors,
            for_people=not settings.auth.open,
            of_airflow=settings.airflow.url is not None,
            of_broker=any(route.path == "/asyncapi" for route in routes),
            languages=tuple(translations),
            api_version=rules.version,
        )
    return Definition(document, routes)


def _routes(settings: Settings, kinds: Container[str]) -> tuple[GuardedRoute, ...]:
    """Return what is served with these settings and kinds of providers."""
    of_kinds = tuple(route for kind, routes in OF_KINDS.items() if kind in kinds for route in routes)
    for_people = () if settings.auth.open else FOR_PEOPLE
    return ROUTES + of_kinds + for_people + (OF_AIRFLOW if settings.airflow.url else ())


def _middleware(
    settings: Settings, rules: ApiRules, routes: Sequence[GuardedRoute], count: Count | None
) -> list[Middleware]:
    """In the order that `routes.middleware` explains."""
    url = settings.server.public_url
    traced = settings.traces.url is not None
    return [
        *([Middleware(Tracing, share=settings.traces.share)] if traced else []),
        Middleware(Edge, url=url, headers=rules.headers, strict=rules.strict_slashes, count=count),
        Middleware(Compression),
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


def _lifespan(
    served: _Served, counters: SharedCounters | None, counted: deque[Counted] | None
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        database = database_of(served.settings)
        resources = _open_resources(served, database)
        app.state.resources = resources
        with as_system():
            for collection in served.default.collections.values():
                collection.log_failure()
        log_wrong(served.default.processes.wrong)
        try:
            with in_background(), _tracing(app, served.settings):
                async with (
                    authenticating(app, served.settings, resources.light, database=database),
                    _counting(app, counters, counted, database),
                ):
                    yield
        finally:
            resources.store.close()
            resources.outbox.close()

    return lifespan


@contextmanager
def _tracing(app: Starlette, settings: Settings) -> Iterator[None]:
    """Give the application what sends spans, if there is a collector; else nothing is imported for it."""
    if settings.traces.url is None:
        yield
        return
    from server.traces import exporting  # noqa: PLC0415  an extra, which few have

    with exporting(settings) as exporter:
        app.state.record = exporter.record
        app.state.order_traces = OrderTraces(exporter.record, settings.state.dir / "results")
        yield


def _counting(
    app: Starlette, counters: SharedCounters | None, counted: deque[Counted] | None, database: connections.Database
) -> AbstractAsyncContextManager[object]:
    """Count the requests in a slot of the counters, with the state of this process."""
    if counters is None or counted is None or (slot := counters.take()) is None:
        return nullcontext()
    slot.name_routes(COUNTED_ROUTES)
    counters.write_routes(COUNTED_ROUTES)

    def note(slot: CounterSlot) -> None:
        known, cache = app.state.authenticator, app.state.resources.tile_cache
        slot.note(
            keys_fetched=None if known is None else known.tokens.keys.fetched,
            connections=0 if isinstance(database, Path) else database.used,
            lost_lines=lost_lines(),
            dropped_downloads=app.state.resources.store.dropped_downloads,
            tiles=(cache.hits, cache.misses) if cache else (0, 0),
        )

    return counting(slot, counted, note)


def _open_resources(served: _Served, database: connections.Database) -> Resources:
    """Open what the routes work with."""
    settings, default = served.settings, served.default
    configure(settings.remote.options)
    registry = default.processes.registry
    folder = settings.state.dir
    folder.mkdir(parents=True, exist_ok=True)
    url = settings.server.public_url
    files_days = min(settings.results.retention, settings.jobs.retention)
    store = StoredJobs(database, files_days=files_days, lazy=True)
    results = make_results(settings)
    catalogue = catalogue_of(served.configuration)
    resources = Resources(
        api=default.api,
        configured=default.configured,
        collections=default.collections,
        processes=default.processes,
        language=next(iter(served.translations)),
        matrix_sets=matrix_sets_of(served.configuration),
        url=url,
        policy=served.policy,
        catalogue=catalogue,
        shown=catalogue.seen(default.collections),
        store=store,
        admission=Admission(
            store,
            results.root,
            settings.results.cap,
            _backlog(settings, store, registry),
            registry.without_files,
        ),
        outbox=Outbox(database, lazy=True),
        mailing=Mailing(settings.mail.url is not None, settings.mail.to),
        results=results,
        light=CapacityLimiter(_LIGHT_THREADS),
        heavy=CapacityLimiter(max(2, (os.cpu_count() or 1) // settings.server.workers)),
        large=CapacityLimiter(1),
        wait=settings.jobs.wait,
        largest_upload=settings.jobs.upload,
        most_values=settings.coverage.values,
        downloads=Downloads(settings.features.streamed, settings.features.filed),
        tile_cache=tile_cache(settings),
        prebuilt=PrebuiltProducts(results.root),
        airflow_events=_airflow_events(settings, database),
        page_key=results.derived_key("pages"),
        airflow_health=_airflow_health(settings),
        broker=Broker.of(served.configuration),
        announced=announced(served.configuration, served.policy),
    )
    if len(served.translations) > 1:
        resources.languages = _by_language(resources, served)
    return resources


def _by_language(resources: Resources, served: _Served) -> dict[str, Resources]:
    """Return the resources in each language; each knows the others."""
    languages = {
        language: replace(
            resources,
            language=language,
            api=each.api,
            configured=each.configured,
            collections=each.collections,
            processes=each.processes,
        )
        for language, each in served.translations.items()
    }
    for each in languages.values():
        each.languages = languages
    return languages


def _airflow_health(settings: Settings) -> AirflowHealth | None:
    airflow = on_airflow(settings)
    return None if airflow is None else AirflowHealth(airflow.access)


def _backlog(settings: Settings, store: StoredJobs, registry: Registry) -> Backlog | None:
    return Backlog(store, registry.on_airflow, settings.airflow.backlog) if settings.airflow.url else None


def _airflow_events(settings: Settings, database: connections.Database) -> AirflowEvents | None:
    """Return what takes the news of Airflow and passes them on through the database, where the worker hears them."""
    key = events_key(settings)
    if key is None or isinstance(database, Path):
        return None
    return AirflowEvents(key, partial(tell, database))
