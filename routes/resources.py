"""The collaborators of the routes, which the application factory builds, and the collections."""

import logging
from collections.abc import Callable, Hashable, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

import anyio
from anyio import CapacityLimiter
from pygeoapi.api import API
from pygeoapi.error import GenericError
from starlette.requests import Request

from auth.access import Policy
from auth.throttle import Throttle
from orchestration.admission import Admission
from orchestration.errors import StoreUnavailable
from orchestration.files.results import Results
from orchestration.notifications.broker import Broker
from orchestration.prebuilt.product import PrebuiltProducts
from orchestration.runners.airflow.health import AirflowHealth
from orchestration.store import JobStore
from orchestration.store.outbox import Outbox
from plugins.coverages import CoverageProvider
from plugins.crs import Box
from plugins.features import FeatureProvider
from plugins.loading import WrongPlugin, plugin_class
from processes.base import Processor
from processes.loading import LoadedProcesses
from products.catalogue import Catalogue
from products.errors import BrokenSource, ProductError
from products.tiling import TileMatrixSet
from products.whole import version_of
from routes.http.language import SCOPE_KEY, choose_language
from routes.http.problem import NOT_FOUND, Problem, no_such_process
from routes.processes.subscribers import Mailing
from routes.pygeoapi.threads import FewThreads
from routes.query.parameters import extent_of
from routes.tiles.cache import TileCache

FAILURES = (ProductError, GenericError, OSError, LookupError, TypeError, ValueError, AttributeError)
"""The exceptions of a provider whose source cannot be read, or that does not know the configuration."""

STAC = "stac-collection"
"""The type of a resource in the STAC catalog."""
_BESIDE = ("-wal", ".msk", ".ovr", ".aux.xml")
"""Endings of the files beside a source that belong to it."""
_LOGGER = logging.getLogger(__name__)
_PATHS = {"feature": "items", "record": "items", "tile": "tiles", "edr": "EDR"}
"""The path of a kind of provider, if it is not the kind's name."""


class Collection:
    """One collection of the configuration, shared by all requests; a provider of ours is made once.

    `url` is its public address. `described` caches its document: the versions of the files that it describes, the
    document and its JSON. pygeoapi's handlers call foreign providers in the collection's own `threads`; `known` caches
    what is known of these, by kind.
    """

    def __init__(self, id_: str, configured: Mapping[str, Any], url: str) -> None:
        self.id = id_
        self.url = f"{url}/collections/{quote(id_)}"
        self.configured = configured
        self.kinds = frozenset(str(definition["type"]) for definition in configured["providers"])
        self.threads = FewThreads(f"collection {id_!r}")
        self.known: dict[str, Any] = {}
        self.described: tuple[Hashable, dict[str, Any], bytes] | None = None
        self._providers: dict[int, FeatureProvider | CoverageProvider] = {}
        self._readable: tuple[Hashable, dict[int, FeatureProvider | CoverageProvider]] = (None, {})
        """The versions of the files when they were last read, and the providers of that state by their number."""

    def translated(self, configured: Mapping[str, Any]) -> "Collection":
        """Return the same collection with the texts of another language; providers and threads are shared."""
        other = copy(self)
        other.configured = configured
        return other

    @property
    def is_stac(self) -> bool:
        """Whether it is in the STAC catalog, and so not among the OGC API collections."""
        return bool(self.configured["type"] == STAC)

    @cached_property
    def has_records(self) -> bool:
        """Whether its items are records of ours, of products and collections."""
        return "record" in self.kinds - self.foreign

    @cached_property
    def asks_database(self) -> bool:
        """Whether one of its providers reads no file but a database."""
        return any(not isinstance(each["data"], str) for each in self.configured["providers"]) and not self.has_records

    @property
    def title(self) -> str:
        """The configured title."""
        return str(self.configured["title"])

    @cached_property
    def foreign(self) -> frozenset[str]:
        """The kinds that pygeoapi's handlers answer; the first call imports the plugins."""
        return frozenset(str(each["type"]) for each in self.configured["providers"] if _is_foreign(each))

    @cached_property
    def _times(self) -> dict[str, str]:
        """Content-Datetime, where a time is configured."""
        begin, end = extent_of(self.configured)
        return {"Content-Datetime": f"{_instant(begin)}/{_instant(end)}"} if begin or end else {}

    def headers_of(self, box: Box, year: int | None = None) -> dict[str, str]:
        """Return Content-Crs, Content-Bbox in the order of its axes and, where it is known, Content-Datetime.

        OGC API Coverages /req/core/response-headers, OGC API Maps /req/core/map-response.
        """
        place = ",".join(map(str, box.as_written))
        times = {"Content-Datetime": "/".join(ends_of(year, year))} if year else self._times
        return {"Content-Crs": f"<{box.crs.uri}>", "Content-Bbox": place, **times}

    def definition(self, kind: str) -> Mapping[str, Any]:
        """Return the configuration of the provider of that kind. Raises Problem 404 without one."""
        return self._definition(kind)[1]

    def _definition(self, kind: str) -> tuple[int, Mapping[str, Any]]:
        for number, definition in enumerate(self.configured["providers"]):
            if definition["type"] == kind:
                return number, definition
        raise Problem(HTTPStatus.NOT_FOUND, f"collection {self.id!r} has no {_PATHS.get(kind, kind)}", type_=NOT_FOUND)

    def features(self) -> FeatureProvider:
        """Return the provider of features. Raises Problem 404 without one, BrokenSource."""
        return cast("FeatureProvider", self._provider(*self._definition("feature")))

    def coverage(self) -> CoverageProvider:
        """Return the provider of the coverage. Raises Problem 404 without one, BrokenSource."""
        return cast("CoverageProvider", self._provider(*self._definition("coverage")))

    def readable_features(self) -> FeatureProvider:
        """Return the provider of features at present. Raises Problem: 404 without one, 503 if they cannot be read."""
        return cast("FeatureProvider", self._now("feature"))

    def readable_coverage(self) -> CoverageProvider:
        """Return the provider of the coverage at present. Raises Problem: 404 without one, 503 if it cannot be read."""
        return cast("CoverageProvider", self._now("coverage"))

    def _now(self, kind: str) -> FeatureProvider | CoverageProvider:
        number, definition = self._definition(kind)
        self._provider(number, definition)
        self.require_readable()
        return self._readable[1][number]

    def _provider(self, number: int, definition: Mapping[str, Any]) -> FeatureProvider | CoverageProvider:
        """Return a provider of ours, made once. Raises BrokenSource for one that reads another kind."""
        known = self._providers.get(number)
        if known is not None:
            return known
        plugin = plugin_of(definition)
        if (reads := getattr(plugin, "reads", None)) != definition["type"]:
            raise BrokenSource(f"{definition['name']} reads {reads}, not {definition['type']}")
        return self._providers.setdefault(number, plugin(dict(definition)))

    def versions(self) -> Hashable | None:
        """Return the versions of the files and tables of our providers; None if one is missing or cannot be read."""
        definitions = enumerate(self.configured["providers"])
        versions = [self._version(*each) for each in definitions if each[1]["type"] not in self.foreign]
        return tuple(versions) if all(versions) else None

    def _version(self, number: int, definition: Mapping[str, Any]) -> Hashable | None:
        """Return the version of a file, or what a provider that reads no file says, None where there is none."""
        if isinstance(definition["data"], str):
            sources = dict.fromkeys((definition["data"], *(each["data"] for each in definition.get("years") or ())))
            versions = [version_of(each, _BESIDE) for each in sources]
            return tuple(state for each in versions for state in each) if all(each[0] for each in versions) else None
        try:
            provider: Any = self._provider(number, definition)
            return cast("Hashable", provider.version())
        except FAILURES:
            return None

    def failure(self) -> str | None:
        """Return why the collection cannot be read, or None; foreign providers are not called."""
        versions = self.versions()
        if versions is not None and versions == self._readable[0]:
            return None
        found = {}
        try:
            for number, definition in enumerate(self.configured["providers"]):
                if definition["type"] not in self.foreign:
                    found[number] = self._provider(number, definition).now()
                    found[number].get_fields()
        except FAILURES as error:
            return str(error) or type(error).__name__
        self._readable = versions, found
        return None

    def require_readable(self) -> None:
        """Raise Problem 503 if a source is missing or malformed; the reason, which may name files, is only logged."""
        if (reason := self.failure()) is not None:
            _LOGGER.error("collection %s: %s", self.id, reason)
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"collection {self.id!r} cannot be read at present",
                headers={"Retry-After": "60"},
            )

    def log_failure(self) -> None:
        """Log why the collection is broken, or that one of its classes cannot occur."""
        if (reason := self.failure()) is not None:
            _LOGGER.error("collection %s is broken and answers 503: %s", self.id, reason)
        elif "coverage" in self.kinds - self.foreign and (lost := self.coverage().lost_class):
            _LOGGER.warning("collection %s: %s", self.id, lost)


def ends_of(first: int, last: int) -> tuple[str, str]:
    """Return the first instant of a year and the last one of another."""
    return f"{first:04}-01-01T00:00:00Z", f"{last:04}-12-31T23:59:59Z"


def _instant(instant: datetime | None) -> str:
    return instant.isoformat().replace("+00:00", "Z") if instant else ".."


def plugin_of(definition: Mapping[str, Any]) -> Any:
    """Return the class of a provider. Raises BrokenSource."""
    try:
        return plugin_class("provider", str(definition["name"]))
    except WrongPlugin as error:
        raise BrokenSource(str(error)) from error


def _is_foreign(definition: Mapping[str, Any]) -> bool:
    try:
        return not hasattr(plugin_of(definition), "reads")
    except BrokenSource:
        return False


@dataclass(frozen=True, slots=True)
class AirflowEvents:
    """Accepts events that are signed with `key`; `tell` passes on the run of an event."""

    key: bytes = field(repr=False)
    tell: Callable[[str], None]
    throttle: Throttle = field(default_factory=Throttle)


@dataclass(frozen=True, slots=True)
class Downloads:
    """Items that a download has at most: one that is streamed, and one that is written to a file first."""

    streamed: int
    filed: int


@dataclass(slots=True)
class Resources:
    """The collaborators of the routes; `url` is the public address without a slash at its end.

    `light` and `heavy` bound the threads of the two kinds of requests, so that heavy ones never starve light ones;
    `large` those for coverages that are too large for memory, of at most `most_values`.
    `api` has only the resources that the caller may see; `configured` has all of them by id, `collections` the
    collections among them (also those of STAC), `processes` the loaded processes. `catalogue` has all products, `shown`
    those of the collections. `admission` accepts or refuses orders, `mailing` decides which of them get a mail. `wait`
    is the most seconds that a synchronous execution waits, `largest_upload` the most bytes of a file with an area.
    `searching` are the threads of searches over several collections. With Airflow, `airflow_events` accepts its
    events, and `airflow_health` knows whether it works. The messages to the `broker` are about `announced` resources
    only, which everybody may discover. The configuration's texts are in `language`; if there are several, `languages`
    has the resources in each. `page_key` signs cursors. Map tiles are served in `matrix_sets`, which are found by
    their ids, and kept in the `tile_cache`, if there is one.
    """

    api: API
    configured: Mapping[str, Mapping[str, Any]]
    collections: Mapping[str, Collection]
    url: str
    policy: Policy
    catalogue: Catalogue
    shown: Catalogue
    store: JobStore
    admission: Admission
    outbox: Outbox
    mailing: Mailing
    results: Results
    light: CapacityLimiter
    heavy: CapacityLimiter
    large: CapacityLimiter
    wait: float
    largest_upload: int
    most_values: int
    downloads: Downloads
    prebuilt: PrebuiltProducts
    processes: LoadedProcesses
    page_key: bytes = field(repr=False)
    language: str = "en"
    matrix_sets: Mapping[str, TileMatrixSet] = field(default_factory=dict)
    airflow_events: AirflowEvents | None = None
    airflow_health: AirflowHealth | None = None
    broker: Broker | None = None
    announced: frozenset[str] = frozenset()
    searching: FewThreads = field(default_factory=partial(FewThreads, "the search of STAC API"))
    languages: Mapping[str, "Resources"] = field(default_factory=dict)
    tile_cache: TileCache | None = None

    async def in_light[*Ts, T](self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Call a function that waits for a database or a file in one of the light threads, and return its value."""
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self.light)

    async def in_heavy[*Ts, T](self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Call a function that computes in one of the heavy threads, and return its value."""
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self.heavy)

    def processor(self, process_id: str) -> Processor:
        """Return the process. Raises the 404 Problem if the caller may see none of this id."""
        seen = self.api.config["resources"]
        if process_id not in seen or seen[process_id]["type"] != "process":
            raise no_such_process(process_id, listed_processes(self.api))
        return self.processes.processors[process_id]

    def visible_collections(self) -> list[Collection]:
        """Return the collections that the caller may see, also hidden ones, which are in no list."""
        return [collection for collection in self._visible() if not collection.is_stac]

    def _visible(self) -> list[Collection]:
        return [self.collections[name] for name in self.api.config["resources"] if name in self.collections]

    def note_download(self, collection_id: str) -> None:
        """Store a message about a download from a collection, if there is a broker and everybody may discover it.

        A message that cannot be stored does not stop the download.
        """
        if self.broker is not None and collection_id in self.announced:
            try:
                self.store.collection_downloaded(collection_id, self.broker.channel_of("downloads", collection_id))
            except StoreUnavailable as error:
                _LOGGER.warning("no message about a download: %s", error, extra={"collection": collection_id})

    def listed_collections(self) -> list[Collection]:
        """Return the collections in the caller's lists and pages."""
        return [collection for collection in self.visible_collections() if is_listed(collection.configured)]

    def listed_stac(self) -> list[Collection]:
        """Return the STAC collections in the caller's lists and search."""
        return [each for each in self._visible() if each.is_stac and is_listed(each.configured)]


def resources_of(request: Request) -> Resources:
    """Return the resources of the application, in the language of the request."""
    resources: Resources = request.app.state.resources
    if not resources.languages:
        return resources
    return resources.languages[choose_language(request, tuple(resources.languages))]


def note_language(request: Request) -> None:
    """Note in the scope that the answer has texts of the configuration, for Content-Language."""
    resources = resources_of(request)
    noted = request.scope.setdefault(SCOPE_KEY, {})
    noted.update(written=resources.language, varies=bool(resources.languages))


def processes_of(api: API) -> list[str]:
    """Return the ids of the processes that the caller may see, as configured."""
    return [name for name, entry in api.config["resources"].items() if entry["type"] == "process"]


def listed_processes(api: API) -> list[str]:
    """Return the ids of the processes that lists and pages show."""
    return [name for name in processes_of(api) if is_listed(api.config["resources"][name])]


def is_listed(resource: Mapping[str, Any]) -> bool:
    """Return whether a resource is in lists; one of `visibility: hidden` only answers at its own address."""
    return resource.get("visibility") != "hidden"


def collection_of(request: Request) -> Collection:
    """Return the collection that the path names, which the guard found."""
    collection: Collection = request.state.collection
    return collection
