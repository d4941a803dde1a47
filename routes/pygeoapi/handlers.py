"""pygeoapi's own handlers, which answer for foreign providers."""

import json
import logging
import time
from collections.abc import Collection as Names
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from math import inf
from types import SimpleNamespace
from typing import Any

from pygeoapi.api import API, APIRequest
from pygeoapi.plugin import load_plugin
from pygeoapi.util import get_dataset_formatters
from starlette.requests import Request
from starlette.responses import Response

from auth.policy import refuse_restriction
from plugins.loading import formatter_fault
from routes.http.language import LANG, asked_languages
from routes.http.problem import INVALID_PARAMETER, NOT_FOUND, Problem
from routes.pygeoapi.ask import handler_of
from routes.pygeoapi.size import CoverageSize
from routes.query.parameters import START_INDEX, allow_parameters
from routes.resources import Collection, collection_of, note_language, resources_of

_LOGGER = logging.getLogger(__name__)
_LONGEST = 500
_HAVE_FIELDS = ("feature", "record")
_FRESH, _OLDEST = 60, 600
"""The ages in seconds at which facts about a provider are renewed: in the background, and before an answer."""
_HEADERS = ("Content-Crs", "Content-Language", "Content-Disposition")
"""The headers of a handler's answer that are kept, besides its type."""


@dataclass(frozen=True, slots=True)
class Handled:
    """The answer of a handler: its body, its media type, and the headers that are kept."""

    content: bytes
    media_type: str
    headers: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """Return the body as JSON."""
        document: dict[str, Any] = json.loads(self.content)
        return document

    def response(self, media_type: str | None = None, *, headers: Mapping[str, str] | None = None) -> Response:
        """Return a response with the unchanged body and more headers."""
        every = {**self.headers, **(headers or {})}
        return Response(self.content, headers=every, media_type=media_type or self.media_type)


def provider_of(collection: Collection, kind: str) -> Any:
    """Return a new provider, as pygeoapi makes one for each request. Raises pygeoapi's GenericError, Problem."""
    return load_plugin("provider", dict(plain(collection.definition(kind))))


@dataclass(slots=True)
class KnownProvider:
    """Facts about a foreign provider, and when they were read (`since`)."""

    fields: frozenset[str]
    extra: bool
    """Whether it accepts parameters besides its fields (`include_extra_query_parameters`)."""
    uri_field: str | None
    """The field with an item's own URI."""
    size: CoverageSize
    """What a coverage has, as far as the provider says it."""
    queries: frozenset[str]
    """The queries that an EDR provider answers."""
    since: float
    again: bool = False
    """Whether they are being renewed."""


def known_of(collection: Collection, kind: str) -> KnownProvider:
    """Return the facts about a provider, renewed in the background after a minute, at once after ten.

    Called in one of the collection's threads. Raises as `provider_of` and the provider's `get_fields`.
    """
    known: KnownProvider | None = collection.known.get(kind)
    age = inf if known is None else time.monotonic() - known.since
    if known is None or age > _OLDEST:
        return _look(collection, kind)
    if age > _FRESH and not known.again:
        known.again = True
        collection.threads.start(partial(_look, collection, kind))
    return known


def _look(collection: Collection, kind: str) -> KnownProvider:
    provider = provider_of(collection, kind)
    known = KnownProvider(
        frozenset(map(str, provider.get_fields())) if kind in _HAVE_FIELDS else frozenset(),
        extra=bool(getattr(provider, "include_extra_query_parameters", False)),
        uri_field=getattr(provider, "uri_field", None),
        size=CoverageSize.of(provider),
        queries=frozenset(provider.get_query_types() if kind == "edr" else ()),
        since=time.monotonic(),
    )
    collection.known[kind] = known
    return known


def plain(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the definition of a provider as configured, without the `classes` that ours get."""
    return {name: value for name, value in definition.items() if name != "classes"}


def plain_providers(collection: Collection) -> list[Mapping[str, Any]]:
    """Return the definitions of all providers of a collection, as configured."""
    return list(map(plain, collection.configured["providers"]))


def formatters_of(collection: Collection) -> dict[str, str]:
    """Return the media types of pygeoapi's formatters for the collection, by the values of `f`."""
    formatters = get_dataset_formatters({**_without_faults(collection), "providers": plain_providers(collection)})
    return {each.f: each.mimetype for each in formatters.values()}


def _without_faults(collection: Collection) -> dict[str, Any]:
    """Return the entry of the collection without formatters that cannot be made, which `check` names."""
    entry = dict(collection.configured)
    if "formatters" in entry:
        faults = collection.known.setdefault("formatters", [*map(formatter_fault, entry["formatters"])])
        entry["formatters"] = [each for each, fault in zip(entry["formatters"], faults, strict=True) if fault is None]
    return entry


def allow(request: Request, *names: str, fields: Names[str] = (), extra: bool = False) -> None:
    """Raise the 400 Problem for a parameter that neither the handler nor a field of the provider knows.

    With `extra` the provider accepts any others (`include_extra_query_parameters`).
    """
    known = {*names, *fields, "profile"}
    others = set(request.query_params) if extra else ()
    allow_parameters(request, *known, *others)


def handle(request: Request, handler: str, *arguments: str | None, form: str, **parameters: str) -> Handled:
    """Return a handler's answer for the collection of the request, in this `form`; called in a thread.

    The handler is named as for `handler_of`. Of the headers it gets only the requested languages, no credentials, which
    a plugin could keep or log. `parameters` replace those of the request. It gets only this collection, in a copy, as
    handlers change the configuration. Raises the handler's error as a Problem, 503 if a file or server does not answer,
    RestrictionUnsupported.
    """
    refuse_restriction()
    collection = collection_of(request)
    given = {name: value for name, value in request.query_params.items() if name != START_INDEX.name}
    asked = {**given, **parameters, "f": form}
    return handle_all(request, handler, [collection], asked, collection.id, *arguments)


def handle_all(
    request: Request,
    handler: str,
    collections: Sequence[Collection],
    parameters: Mapping[str, str],
    *arguments: str | None,
) -> Handled:
    """Return a handler's answer for these collections, all of which the caller may read, as `handle` does.

    `parameters` are the whole query; its `lang` is that of the request, without invalid languages.
    """
    api = resources_of(request).api
    languages = ", ".join(asked_languages(request))
    asked = SimpleNamespace(
        args={
            name: languages if name == LANG else parameters[name] for name in parameters if name != LANG or languages
        },
        headers={"accept-language": languages} if languages else {},
        path_info=request.scope["path"].strip("/"),
    )
    function = handler_of(handler)
    try:
        answered, status, content = function(_only(api, collections), APIRequest(asked, api.locales), *arguments)
    except OSError as error:
        names = ", ".join(repr(each.id) for each in collections)
        _LOGGER.exception("collection %s: its data source does not answer", names)
        detail = f"what collection {names} is read from does not answer at present"
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "60"}) from error
    body = content if isinstance(content, bytes) else str(content).encode()
    if status >= HTTPStatus.BAD_REQUEST:
        raise _problem(status, body)
    media_type = answered.get("Content-Type", "application/json")
    if "json" in media_type:
        note_language(request)
    return Handled(body, media_type, {name: answered[name] for name in _HEADERS if name in answered})


def _only(api: API, collections: Sequence[Collection]) -> API:
    """Return the API with a copy of only these collections."""
    entries = {each.id: _as_configured(each) for each in collections}
    only = copy(api)
    only.config = {**api.config, "resources": deepcopy(entries)}
    return only


def _as_configured(collection: Collection) -> dict[str, Any]:
    configured = _without_faults(collection)
    extents = configured.get("extents") or {}
    return {**configured, "extents": extents, "links": [], "providers": plain_providers(collection)}


def _problem(status: int, body: bytes) -> Problem:
    """Return the problem for an error in the body of a handler's answer."""
    try:
        described = str(json.loads(body)["description"])
    except ValueError:
        described = body.decode(errors="replace")[:_LONGEST]
    except (KeyError, TypeError):
        described = "the provider of this collection failed"
    type_ = INVALID_PARAMETER if status == HTTPStatus.BAD_REQUEST else "about:blank"
    return Problem(HTTPStatus(status), described, type_=type_)


def no_such_part(request: Request) -> Response:
    """Raise Problem 404 as the collection has no such data, or not in this form; 503 if it is broken."""
    collection_of(request).require_readable()
    detail = f"collection {collection_of(request).id!r} has nothing at this address"
    raise Problem(HTTPStatus.NOT_FOUND, detail, type_=NOT_FOUND)
