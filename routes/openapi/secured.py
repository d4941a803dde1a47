"""The definition as a caller sees it: what is hidden is left out, what needs credentials says so."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.routing import Match

from auth.recent import Recent
from routes.guard import NOTHING, GuardedRoute, OnResource
from routes.openapi.operation import Value, ref
from routes.resources import Resources

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
