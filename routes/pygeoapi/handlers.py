"""pygeoapi's own handlers, which answer for providers that have no faster interface of ours."""

import json
import logging
from collections.abc import Collection as Names
from collections.abc import Mapping
from copy import copy, deepcopy
from dataclasses import dataclass
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

from pygeoapi.api import API, APIRequest
from pygeoapi.plugin import load_plugin
from pygeoapi.util import get_dataset_formatters
from starlette.requests import Request
from starlette.responses import Response

from plugins.restriction import refuse_restriction
from routes.collection import Collection, collection_of
from routes.http.problem import INVALID_PARAMETER, NOT_FOUND, Problem
from routes.pygeoapi.ask import handler_of
from routes.query.parameters import allow_parameters
from routes.resources import resources_of

_LOGGER = logging.getLogger(__name__)
_LONGEST = 500
_ASKED = ("accept-language",)
"""What a handler is told of the request's headers: no credentials, which a plugin could keep or log."""
_HEADERS = ("Content-Crs", "Content-Language", "Content-Disposition")
"""What counts of an answer's headers besides its type."""


@dataclass(frozen=True, slots=True)
class Handled:
    """What a handler answered: its body, its media type, and the headers that count."""

    content: bytes
    media_type: str
    headers: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """Return the body as JSON."""
        document: dict[str, Any] = json.loads(self.content)
        return document

    def response(self, media_type: str | None = None, *, headers: Mapping[str, str] | None = None) -> Response:
        """Answer with the body as it is, with these headers besides."""
        every = {**self.headers, **(headers or {})}
        return Response(self.content, headers=every, media_type=media_type or self.media_type)


def provider_of(collection: Collection, kind: str) -> Any:
    """Return a provider made anew, as pygeoapi makes one for each request. Raises pygeoapi's GenericError, Problem."""
    return load_plugin("provider", dict(plain(collection.definition(kind))))


def plain(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the definition of a provider as it stands in the configuration, without what ours are given besides."""
    return {name: value for name, value in definition.items() if name != "classes"}


def plain_providers(collection: Collection) -> list[Mapping[str, Any]]:
    """Return the definitions of all providers of a collection, as they stand in the configuration."""
    return list(map(plain, collection.configured["providers"]))


def formatters_of(collection: Collection) -> dict[str, str]:
    """Return the media types that pygeoapi's formatters write for the collection, by what `f` calls them."""
    formatters = get_dataset_formatters({**collection.configured, "providers": plain_providers(collection)})
    return {each.f: each.mimetype for each in formatters.values()}


def allow(request: Request, *names: str, fields: Names[str] = (), extra: bool = False) -> None:
    """Raise the 400 Problem for a parameter that neither the handler nor a field of the provider knows.

    `extra` says that the provider takes any others (`include_extra_query_parameters`).
    """
    known = {*names, *fields, "lang", "profile"}
    others = set(request.query_params) if extra else ()
    allow_parameters(request, *known, *others)


def handle(request: Request, handler: str, *arguments: str | None, form: str, **parameters: str) -> Handled:
    """Return what a handler answers for the collection of the request, in the form that `f` names; call it in a thread.

    The handler is named as for `handler_of`. `parameters` replace those of the request. It sees this collection alone,
    in a copy of its own: handlers alter the configuration. Raises the Problem that it answers with, 503 where a file or
    a server does not answer, RestrictionUnsupported.
    """
    refuse_restriction()
    collection, api = collection_of(request), resources_of(request).api
    asked = SimpleNamespace(
        args={**request.query_params, **parameters, "f": form},
        headers={name: request.headers[name] for name in _ASKED if name in request.headers},
        path_info=request.scope["path"].strip("/"),
    )
    function = handler_of(handler)
    try:
        answered, status, content = function(
            _alone(api, collection), APIRequest(asked, api.locales), collection.id, *arguments
        )
    except OSError as error:
        _LOGGER.exception("collection %s: what it is read from does not answer", collection.id)
        detail = f"what collection {collection.id!r} is read from does not answer at present"
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "60"}) from error
    body = content if isinstance(content, bytes) else str(content).encode()
    if status >= HTTPStatus.BAD_REQUEST:
        raise _problem(status, body)
    media_type = answered.get("Content-Type", "application/json")
    return Handled(body, media_type, {name: answered[name] for name in _HEADERS if name in answered})


def _alone(api: API, collection: Collection) -> API:
    entry = {**collection.configured, "links": [], "providers": plain_providers(collection)}
    alone = copy(api)
    alone.config = {**api.config, "resources": {collection.id: deepcopy(entry)}}
    return alone


def _problem(status: int, body: bytes) -> Problem:
    """Return the problem for an exception that a handler wrote by itself."""
    try:
        described = str(json.loads(body)["description"])
    except ValueError:
        described = body.decode(errors="replace")[:_LONGEST]
    except (KeyError, TypeError):
        described = "the provider of this collection failed"
    type_ = INVALID_PARAMETER if status == HTTPStatus.BAD_REQUEST else "about:blank"
    return Problem(HTTPStatus(status), described, type_=type_)


def no_such_part(request: Request) -> Response:
    """Raise Problem: 404 as the collection has no such data, or its provider not this form of it, 503 while broken."""
    collection_of(request).require_readable()
    detail = f"collection {collection_of(request).id!r} has nothing at this address"
    raise Problem(HTTPStatus.NOT_FOUND, detail, type_=NOT_FOUND)
