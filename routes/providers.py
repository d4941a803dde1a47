"""The collections of the configuration and what reads them."""

import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any, ClassVar, Protocol, cast

from pygeoapi.api import API
from pygeoapi.error import GenericError
from pygeoapi.plugin import load_plugin

from plugins.coverages import CoverageProvider
from plugins.features import FeatureProvider
from products.errors import BrokenSource, ProductError
from products.whole import version_of
from routes.http.problem import NOT_FOUND, Problem, no_such_collection

FAILURES = (ProductError, GenericError, OSError, LookupError, TypeError, ValueError, AttributeError)
"""What a provider raises for a source that cannot be read, or for a configuration that it was not made for."""

_BESIDE = ("-wal", ".msk", ".ovr", ".aux.xml")
"""Files beside one of ours that change what it is."""
_PROVIDERS = 4_096
_LOGGER = logging.getLogger(__name__)
_OFFERED = {"feature": "items", "coverage": "coverage"}


class Provider(Protocol):
    """What every provider of ours tells, whatever it reads."""

    reads: ClassVar[str]
    data: str
    crs_list: list[str]
    storage_crs_uri: str

    def get_fields(self) -> dict[str, Any]:
        """Return the fields; raises for a source that cannot be read."""


def collections_of(api: API) -> Mapping[str, Mapping[str, Any]]:
    """Return the configured collections by id, hidden ones too: they may be asked for, and stand in no list."""
    return {name: entry for name, entry in api.config["resources"].items() if entry["type"] == "collection"}


def listed_collections(api: API) -> Mapping[str, Mapping[str, Any]]:
    """Return the collections that lists and pages show."""
    return {name: entry for name, entry in collections_of(api).items() if is_listed(entry)}


def processes_of(api: API) -> list[str]:
    """Return the ids of the processes that the caller may see, as configured."""
    return [name for name, entry in api.config["resources"].items() if entry["type"] == "process"]


def listed_processes(api: API) -> list[str]:
    """Return the ids of the processes that lists and pages show."""
    return [name for name in processes_of(api) if is_listed(api.config["resources"][name])]


def is_listed(resource: Mapping[str, Any]) -> bool:
    """Say whether a resource stands in lists: one of `visibility: hidden` answers at its own address alone."""
    return resource.get("visibility") != "hidden"


def collection_of(api: API, collection_id: str) -> Mapping[str, Any]:
    """Return one collection's configuration. Raises Problem 404."""
    entry = api.config["resources"].get(collection_id)
    if entry is None or entry["type"] != "collection":
        raise no_such_collection(collection_id)
    return cast("Mapping[str, Any]", entry)


def kinds_of(collection: Mapping[str, Any]) -> frozenset[str]:
    """Return what the collection offers: `feature`, `coverage`."""
    return frozenset(provider["type"] for provider in collection["providers"])


def definition_of(api: API, collection_id: str, kind: str) -> Mapping[str, Any]:
    """Return the configuration of the collection's provider of that kind. Raises Problem 404 where it has none."""
    for definition in collection_of(api, collection_id)["providers"]:
        if definition["type"] == kind:
            return cast("Mapping[str, Any]", definition)
    raise Problem(HTTPStatus.NOT_FOUND, f"collection {collection_id!r} has no {_OFFERED[kind]}", type_=NOT_FOUND)


def provider_of(api: API, collection_id: str, kind: str) -> Provider:
    """Return the collection's provider of that kind. Raises Problem 404 where it has none, BrokenSource."""
    return _load(_ByIdentity(definition_of(api, collection_id, kind)))


@dataclass(frozen=True, slots=True, eq=False)
class _ByIdentity:
    """A part of the configuration, which does not change while it is served, as a key."""

    part: Mapping[str, Any]

    def __hash__(self) -> int:
        return id(self.part)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.part is self.part


@lru_cache(_PROVIDERS)
def _load(key: _ByIdentity) -> Provider:
    """Return the provider of a definition, made once. Raises BrokenSource for none, or one that reads another kind."""
    definition = key.part
    try:
        provider = load_plugin("provider", dict(definition))
    except (ImportError, AttributeError) as error:
        raise BrokenSource(str(error)) from error
    if (reads := getattr(provider, "reads", None)) != definition["type"]:
        raise BrokenSource(f"{definition['name']} reads {reads}, not {definition['type']}")
    return cast("Provider", provider)


def coverage_of(api: API, collection_id: str) -> CoverageProvider:
    """Return what reads the collection's coverage. Raises Problem 404 where it has none."""
    return cast("CoverageProvider", provider_of(api, collection_id, "coverage"))


def features_of(api: API, collection_id: str) -> FeatureProvider:
    """Return what reads the collection's features. Raises Problem 404 where it has none."""
    return cast("FeatureProvider", provider_of(api, collection_id, "feature"))


def failure_of(api: API, collection_id: str) -> str | None:
    """Return why the collection cannot be read, None while it can."""
    collection = collection_of(api, collection_id)
    versions = versions_of(collection)
    try:
        if versions is None:
            _read_fields(collection)
        else:
            _read_fields_once(_ByIdentity(collection), versions)
    except FAILURES as error:
        return str(error) or type(error).__name__
    return None


@lru_cache(_PROVIDERS)
def _read_fields_once(key: _ByIdentity, versions: Hashable) -> None:
    """Read the fields where that was not done of these versions of the files, or failed."""
    del versions
    _read_fields(key.part)


def _read_fields(collection: Mapping[str, Any]) -> None:
    for definition in collection["providers"]:
        _load(_ByIdentity(definition)).get_fields()


def versions_of(collection: Mapping[str, Any]) -> Hashable | None:
    """Return what differs where a file of the collection does; None where one is missing, or what is read is none."""
    versions = tuple(version_of(str(definition["data"]), _BESIDE) for definition in collection["providers"])
    return versions if all(version[0] for version in versions) else None


def require_readable(api: API, collection_id: str) -> None:
    """Raise Problem: 404 for an unknown collection, 503 for one whose source is missing or malformed."""
    if (reason := failure_of(api, collection_id)) is not None:
        _LOGGER.error("collection %s: %s", collection_id, reason)
        raise unavailable(collection_id)


def unavailable(collection_id: str) -> Problem:
    """Return the 503 of a broken collection; the reason, which may name files, is for the log."""
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"collection {collection_id!r} cannot be read at present",
        headers={"Retry-After": "60"},
    )


def log_failures(api: API) -> None:
    """Name every broken or odd collection in the log; they do not keep the others from being served."""
    for collection_id, collection in collections_of(api).items():
        if (reason := failure_of(api, collection_id)) is not None:
            _LOGGER.error("collection %s is broken and answers 503: %s", collection_id, reason)
        elif "coverage" in kinds_of(collection) and (lost := coverage_of(api, collection_id).lost_class):
            _LOGGER.warning("collection %s: %s", collection_id, lost)
