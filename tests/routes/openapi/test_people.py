"""The OpenAPI document of a server with authentication."""

import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator, validate

from server.app import FOR_PEOPLE
from tests.routes.people import Browser

_CALLBACK = "/auth/callback"


@pytest.fixture
def document(browser: Browser) -> dict[str, Any]:
    found: dict[str, Any] = browser.http.get("/openapi").json()
    return found


def test_openapi_is_valid_and_has_every_route_for_people(document: dict[str, Any]) -> None:
    validate(document, cls=OpenAPIV30SpecValidator)
    described = {
        (re.sub(r"\{\w+\}", "{}", path), method.upper())
        for path, operations in document["paths"].items()
        for method in operations
        if path.startswith("/auth/")
    }
    served = {
        (re.sub(r"\{\w+\}", "{}", route.path), method)
        for route in FOR_PEOPLE
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert described == served


def test_operations_with_a_body_declare_408_and_413(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert ({"408", "413"} <= set(operation["responses"])) == ("requestBody" in operation), f"{method} {path}"
    assert "413" in document["paths"]["/auth/refresh"]["post"]["responses"]


def test_operation_ids_and_tags_are_unique(document: dict[str, Any]) -> None:
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert {tag for operation in operations for tag in operation["tags"]} == {tag["name"] for tag in document["tags"]}


def test_the_described_parameters_are_those_that_are_allowed(browser: Browser, document: dict[str, Any]) -> None:
    """A callback ignores unknown parameters (RFC 6749, 4.1.2)."""
    browser.sign_in()
    for path, operations in document["paths"].items():
        if path.startswith("/auth/") and path != _CALLBACK and "get" in operations:
            answer = browser.http.get(path, params={"no-such-thing": "1"})
            assert answer.status_code == 400, path
            allowed = set(answer.json()["detail"].partition("allowed: ")[2].split(", "))
            assert allowed == {parameter["name"] for parameter in operations["get"]["parameters"]}


def test_required_credentials_are_declared(document: dict[str, Any]) -> None:
    public = {
        path for path, operations in document["paths"].items() for one in operations.values() if {} in one["security"]
    }
    assert {path for path in document["paths"] if path.startswith("/auth/")} - public == {
        "/auth/account",
        "/auth/keys",
        "/auth/keys/{key_id}",
        "/auth/keys/{key_id}/revoke",
    }
