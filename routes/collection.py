"""A configured collection: what its configuration says, and the providers that read it."""

import logging
from collections.abc import Hashable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar, Protocol, cast

from pygeoapi.error import GenericError
from pygeoapi.plugin import load_plugin
from starlette.requests import Request

from plugins.coverages import CoverageProvider
from plugins.features import FeatureProvider
from products.errors import BrokenSource, ProductError
from products.whole import version_of
from routes.http.problem import NOT_FOUND, Problem

FAILURES = (ProductError, GenericError, OSError, LookupError, TypeError, ValueError, AttributeError)
"""What a provider raises for a source that cannot be read, or for a configuration that it was not made for."""

_BESIDE = ("-wal", ".msk", ".ovr", ".aux.xml")
"""Files beside one of ours that change what it is."""
_LOGGER = logging.getLogger(__name__)
_PATHS = {"feature": "items", "coverage": "coverage"}


class Provider(Protocol):
    """What every provider of ours has, whatever it reads."""

    reads: ClassVar[str]

    def get_fields(self) -> Mapping[str, Any]:
        """Return the fields; raises for a source that cannot be read."""


class Collection:
    """One collection of the configuration, shared by all requests; a provider is made when it is first asked for.

    `described` is its document with the versions of the files that it describes, None until it is made.
    """

    def __init__(self, id_: str, configured: Mapping[str, Any]) -> None:
        self.id = id_
        self.configured = configured
        self.kinds = frozenset(str(definition["type"]) for definition in configured["providers"])
        self.described: tuple[Hashable, dict[str, Any]] | None = None
        self._providers: dict[int, Provider] = {}
        self._readable: Hashable = None

    @property
    def title(self) -> str:
        """The title."""
        return str(self.configured["title"])

    def definition(self, kind: str) -> Mapping[str, Any]:
        """Return the configuration of the provider of that kind. Raises Problem 404 where there is none."""
        return self._definition(kind)[1]

    def _definition(self, kind: str) -> tuple[int, Mapping[str, Any]]:
        for number, definition in enumerate(self.configured["providers"]):
            if definition["type"] == kind:
                return number, definition
        raise Problem(HTTPStatus.NOT_FOUND, f"collection {self.id!r} has no {_PATHS[kind]}", type_=NOT_FOUND)

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

    def _provider(self, number: int, definition: Mapping[str, Any]) -> Provider:
        """Return a provider, made once. Raises BrokenSource for none, or one that reads another kind."""
        known = self._providers.get(number)
        return known or self._providers.setdefault(number, _load(definition))

    def versions(self) -> Hashable | None:
        """Return what differs where a file of the collection does; None where one is missing or is no file."""
        versions = tuple(version_of(str(each["data"]), _BESIDE) for each in self.configured["providers"])
        return versions if all(version[0] for version in versions) else None

    def failure(self) -> str | None:
        """Return why the collection cannot be read, None while it can."""
        versions = self.versions()
        if versions is not None and versions == self._readable:
            return None
        try:
            for number, definition in enumerate(self.configured["providers"]):
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
        elif "coverage" in self.kinds and (lost := self.coverage().lost_class):
            _LOGGER.warning("collection %s: %s", self.id, lost)


def _load(definition: Mapping[str, Any]) -> Provider:
    try:
        provider = load_plugin("provider", dict(definition))
    except (ImportError, AttributeError) as error:
        raise BrokenSource(str(error)) from error
    if (reads := getattr(provider, "reads", None)) != definition["type"]:
        raise BrokenSource(f"{definition['name']} reads {reads}, not {definition['type']}")
    return cast("Provider", provider)


def collection_of(request: Request) -> Collection:
    """Return the collection that the path names, which the guard found."""
    collection: Collection = request.state.collection
    return collection
