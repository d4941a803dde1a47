"""A configured collection: what its configuration says, and the providers that read it."""

import logging
from collections.abc import Hashable, Mapping
from functools import cached_property
from http import HTTPStatus
from importlib import import_module
from typing import Any, cast

from pygeoapi.error import GenericError
from pygeoapi.plugin import PLUGINS
from starlette.requests import Request

from plugins.coverages import CoverageProvider
from plugins.features import FeatureProvider
from products.errors import BrokenSource, ProductError
from products.whole import version_of
from routes.http.problem import NOT_FOUND, Problem
from routes.pygeoapi.threads import FewThreads

FAILURES = (ProductError, GenericError, OSError, LookupError, TypeError, ValueError, AttributeError)
"""What a provider raises for a source that cannot be read, or for a configuration that it was not made for."""

_BESIDE = ("-wal", ".msk", ".ovr", ".aux.xml")
"""Files beside one of ours that change what it is."""
_LOGGER = logging.getLogger(__name__)
_PATHS = {"feature": "items", "record": "items", "tile": "tiles", "edr": "EDR"}
"""What a kind of provider answers, where it is not called like the kind."""


class Collection:
    """One collection of the configuration, shared by all requests; a provider of ours is made once.

    `described` are the versions of the files that its document describes, the document and its JSON; None until then.
    Providers that have no faster interface are asked by pygeoapi's handlers, in the collection's own `threads`.
    """

    def __init__(self, id_: str, configured: Mapping[str, Any]) -> None:
        self.id = id_
        self.configured = configured
        self.kinds = frozenset(str(definition["type"]) for definition in configured["providers"])
        self.threads = FewThreads(f"collection {id_!r}")
        self.described: tuple[Hashable, dict[str, Any], bytes] | None = None
        self._providers: dict[int, FeatureProvider | CoverageProvider] = {}
        self._readable: Hashable = None

    @property
    def title(self) -> str:
        """The title."""
        return str(self.configured["title"])

    @cached_property
    def foreign(self) -> frozenset[str]:
        """The kinds that pygeoapi's handlers answer; asking for them first imports the plugins."""
        return frozenset(str(each["type"]) for each in self.configured["providers"] if _is_foreign(each))

    def definition(self, kind: str) -> Mapping[str, Any]:
        """Return the configuration of the provider of that kind. Raises Problem 404 where there is none."""
        return self._definition(kind)[1]

    def _definition(self, kind: str) -> tuple[int, Mapping[str, Any]]:
        for number, definition in enumerate(self.configured["providers"]):
            if definition["type"] == kind:
                return number, definition
        raise Problem(HTTPStatus.NOT_FOUND, f"collection {self.id!r} has no {_PATHS.get(kind, kind)}", type_=NOT_FOUND)

    def features(self) -> FeatureProvider:
        """Return what reads the features. Raises Problem 404 where there are none, BrokenSource."""
        return cast("FeatureProvider", self._provider(*self._definition("feature")))

    def coverage(self) -> CoverageProvider:
        """Return what reads the coverage. Raises Problem 404 where there is none, BrokenSource."""
        return cast("CoverageProvider", self._provider(*self._definition("coverage")))

    def readable_features(self) -> FeatureProvider:
        """Return what reads the features. Raises Problem: 404 where there are none, 503 while they cannot be read."""
        provider = self.features()
        self.require_readable()
        return provider

    def readable_coverage(self) -> CoverageProvider:
        """Return what reads the coverage. Raises Problem: 404 where there is none, 503 while it cannot be read."""
        provider = self.coverage()
        self.require_readable()
        return provider

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
        """Return what differs where a file of ours does; None where one is missing or is no file."""
        ours = [each for each in self.configured["providers"] if each["type"] not in self.foreign]
        versions = tuple(version_of(str(each["data"]), _BESIDE) for each in ours)
        return versions if all(version[0] for version in versions) else None

    def failure(self) -> str | None:
        """Return why the collection cannot be read, None while it can; foreign providers are not asked."""
        versions = self.versions()
        if versions is not None and versions == self._readable:
            return None
        try:
            for number, definition in enumerate(self.configured["providers"]):
                if definition["type"] not in self.foreign:
                    self._provider(number, definition).get_fields()
        except FAILURES as error:
            return str(error) or type(error).__name__
        self._readable = versions
        return None

    def require_readable(self) -> None:
        """Raise Problem 503 while the source is missing or malformed; the reason, which may name files, is logged."""
        if (reason := self.failure()) is not None:
            _LOGGER.error("collection %s: %s", self.id, reason)
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"collection {self.id!r} cannot be read at present",
                headers={"Retry-After": "60"},
            )

    def log_failure(self) -> None:
        """Name a broken or odd collection in the log; it does not keep others from being served."""
        if (reason := self.failure()) is not None:
            _LOGGER.error("collection %s is broken and answers 503: %s", self.id, reason)
        elif "coverage" in self.kinds - self.foreign and (lost := self.coverage().lost_class):
            _LOGGER.warning("collection %s: %s", self.id, lost)


def plugin_of(definition: Mapping[str, Any]) -> Any:
    """Return the class of a provider, by pygeoapi's short name or its dotted one. Raises BrokenSource."""
    name = str(definition["name"])
    module, _, class_name = PLUGINS["provider"].get(name, name).rpartition(".")
    if not module:
        raise BrokenSource(f"there is no provider {name}; allowed: {', '.join(sorted(PLUGINS['provider']))}")
    try:
        plugin = getattr(import_module(module), class_name)
    except (Exception, SystemExit) as error:  # a plugin may fail in any way while it is imported
        raise BrokenSource(f"provider {name}: {error}") from error
    bases = plugin.__mro__ if isinstance(plugin, type) else ()
    if not any(each.__module__.startswith("pygeoapi.provider.") for each in bases):
        raise BrokenSource(f"provider {name}: is no subclass of a base class in pygeoapi.provider")
    return plugin


def _is_foreign(definition: Mapping[str, Any]) -> bool:
    try:
        return not hasattr(plugin_of(definition), "reads")
    except BrokenSource:
        return False


def collection_of(request: Request) -> Collection:
    """Return the collection that the path names, which the guard found."""
    collection: Collection = request.state.collection
    return collection
