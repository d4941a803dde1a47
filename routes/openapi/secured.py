"""The definition as a caller sees it: what is hidden is left out, what needs credentials says so. And its route."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from auth.recent import Recent
from routes.guard import NOTHING, GuardedRoute, OnResource
from routes.http.media_types import OPENAPI
from routes.middleware.edge import content_policy
from routes.openapi.operation import Value, ref
from routes.pages.render import render
from routes.pages.translator import noted
from routes.query.parameters import allow_parameters, negotiate
from routes.resources import Resources, note_language, resources_of

_WAYS: tuple[Value, ...] = ({"oidc": []}, {"bearer": []}, {"basic": []}, {"key": []})
"""Any one of these suffices."""
_VIEWS = 64


@dataclass(frozen=True, slots=True)
class _Place:
    """A path of the definition, and the route that answers it by method."""

    path: str
    routes: Mapping[str, tuple[GuardedRoute, Mapping[str, str]]]

    def resource(self) -> str | None:
        """Return the collection or process that all of the path is about."""
        for route, parameters in self.routes.values():
            if isinstance(route.needs, OnResource):
                return parameters[route.needs.parameter]
        return None


class Definition:
    """The definition of the whole server, cut to what a caller sees."""

    def __init__(self, whole: Value, routes: tuple[GuardedRoute, ...]) -> None:
        self.whole = whole
        self._known: Recent[frozenset[str], tuple[Value, bytes]] = Recent(_VIEWS)
        self._places = {
            path: _Place(path, dict(_answering(path, operations, routes)))
            for path, operations in whole["paths"].items()
        }

    def seen(self, resources: Resources, *, issuer: str | None) -> tuple[Value, bytes]:
        """Return what the caller sees, also as JSON; `issuer` is where tokens come from, None while all is open.

        It is kept by the collections and processes that are visible: neither the policy nor the routes change.
        """
        visible = frozenset(resources.api.config["resources"])
        known = self._known.get(visible)
        if known is None:
            document = self._cut(visible, resources, issuer)
            known = document, json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
            self._known.put(visible, known)
        return known

    def _cut(self, visible: frozenset[str], resources: Resources, issuer: str | None) -> Value:
        paths = {
            path: operations
            for path, operations in self.whole["paths"].items()
            if (resource := self._places[path].resource()) is None or resource in visible
        }
        document = {**self.whole, "paths": paths, "tags": self._tags(visible)}
        return self._secured(document, resources, issuer) if issuer else document

    def _tags(self, visible: frozenset[str]) -> list[Value]:
        hidden = {place.resource() for place in self._places.values()} - visible
        return [tag for tag in self.whole["tags"] if tag["name"] not in hidden]

    def _secured(self, document: Value, resources: Resources, issuer: str) -> Value:
        paths = {
            path: {
                method: {**self._refusing(path, method, operation), "security": self._security(path, method, resources)}
                for method, operation in operations.items()
            }
            for path, operations in document["paths"].items()
        }
        components = {**document["components"], "securitySchemes": schemes(issuer)}
        return {**document, "paths": paths, "components": components}

    def _refusing(self, path: str, method: str, operation: Value) -> Value:
        """Return the operation with the 403 of a caller who may not."""
        route, _ = self._places[path].routes[method]
        if route.needs is NOTHING or "403" in operation["responses"]:
            return operation
        refused = ref("responses", "problem403OrPage" if method == "get" else "problem403")
        return {**operation, "responses": {"403": refused, **operation["responses"]}}

    def _security(self, path: str, method: str, resources: Resources) -> list[Value]:
        route, parameters = self._places[path].routes[method]
        return [*([{}] if route.needs.is_public(resources, parameters) else []), *_WAYS]


class Definitions:
    """The definition in each language: the first is there, others are made when they are first asked for."""

    def __init__(self, first: str, make: Callable[[str], Definition]) -> None:
        self.first = make(first)
        self._make = make
        self._known = {first: self.first}
        self._lock = Lock()

    def of(self, language: str) -> Definition:
        """Return the definition in the language, which must be one of the server's; call it in a thread."""
        with self._lock:
            if language not in self._known:
                self._known[language] = self._make(language)
            return self._known[language]


def schemes(issuer: str) -> Value:
    """Return the ways to say who one is."""
    return {
        "oidc": {
            "type": "openIdConnect",
            "openIdConnectUrl": f"{issuer.rstrip('/')}/.well-known/openid-configuration",
        },
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "basic": {
            "type": "http",
            "scheme": "basic",
            "description": "An API key: its id as user, its secret as password.",
        },
        "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "An API key."},
    }


def _answering(
    path: str, operations: Mapping[str, Any], routes: tuple[GuardedRoute, ...]
) -> Iterator[tuple[str, tuple[GuardedRoute, Mapping[str, str]]]]:
    """Yield the route that answers each operation. Raises LookupError for one that none answers."""
    for method in operations:
        scope = {"type": "http", "path": path, "method": method.upper(), "root_path": ""}
        for route in routes:
            match, child = route.matches(scope)
            if match is Match.FULL:
                yield method, (route, child["path_params"])
                break
        else:
            raise LookupError(f"no route answers {method.upper()} {path}")


def get_openapi(request: Request) -> Response:
    """Answer with the definition: JSON, or a readable page of the operations."""
    allow_parameters(request)
    note_language(request)
    state, resources = request.app.state, resources_of(request)
    document, encoded = state.definitions.of(resources.language).seen(resources, issuer=state.issuer)
    headers = {"Vary": "Accept"}
    if negotiate(request, {"json": OPENAPI, "html": "text/html"}) == "html":
        page = render(request, "openapi.html", {**document, "title": noted("The API")})
        return Response(page, headers=headers, media_type="text/html")
    return Response(encoded, headers=headers, media_type=OPENAPI)


async def get_trial(request: Request) -> Response:
    """Answer with the page on which the operations are tried, with the rights of who is signed in or of a key."""
    allow_parameters(request)
    policy = content_policy(resources_of(request).url, scripts=True, drawn=True)
    page = render(request, "try.html", {"title": noted("Try the API"), "scripted": True})
    return Response(page, headers={"Content-Security-Policy": policy}, media_type="text/html")


routes = [
    GuardedRoute("/openapi", get_openapi, needs=NOTHING, threads="light"),
    GuardedRoute("/openapi/try", get_trial, needs=NOTHING, include_in_schema=False),
]
