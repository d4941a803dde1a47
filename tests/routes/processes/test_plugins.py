"""Descriptions, pages and OpenAPI document of third-party processes, and of one that cannot be loaded."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate
from pygeoapi.process.base import BaseProcessor
from starlette.testclient import TestClient

from products.catalogue import read_configuration
from tests.conftest import ROOT, MakeApp

ODD_SCHEMAS: dict[str, Any] = {
    "float": {"type": "float"},
    "draft4": {"type": "number", "exclusiveMinimum": True},
    "remote": {"$ref": "http://schemas.example.org/never.yaml"},
    "local": {"$defs": {"a": {"type": "string"}}, "$ref": "#/$defs/a"},
    "types": {"type": ["string", "null", "array"]},
    "null": {"type": "null"},
    "bare": {"type": "array"},
    "empty": {"enum": [], "required": []},
    "both": {"oneOf": [{"type": "string"}, True]},
    "any": {"anyOf": [{"const": 5}, {"type": "object", "properties": {"a": {}}}]},
    "nullable": {"type": "string", "nullable": "yes", "deprecated": 1, "maxLength": -1},
    "most": {"type": "array", "maxItems": 3, "items": {"maximum": 5}},
    "text": "string",
    "title": {"title": 5, "type": "string"},
    "pattern": {"type": "string", "pattern": "("},
}


class Bare(BaseProcessor):
    """Has no description."""

    def __init__(self, processor_def: dict[str, Any]) -> None:
        super().__init__(processor_def, {})


class Wild(BaseProcessor):
    """Has unusual schemas of every kind."""

    def __init__(self, processor_def: dict[str, Any]) -> None:
        inputs = {name: {"schema": schema, "maxOccurs": "unbounded"} for name, schema in ODD_SCHEMAS.items()}
        outputs = {name: {"schema": schema} for name, schema in ODD_SCHEMAS.items()}
        metadata = {"title": "<b>Wild</b>", "inputs": inputs, "outputs": outputs, "links": [{"href": "https://a.b/c"}]}
        super().__init__(processor_def, metadata)


ENTRIES = {
    "hello": "HelloWorld",
    "shapes": "ShapelyFunctions",
    "others-echo": "Echo",
    "bare": f"{__name__}.Bare",
    "wild": f"{__name__}.Wild",
    "missing": f"{__name__}.Missing",
}


@pytest.fixture
def configuration() -> dict[str, Any]:
    """Return a configuration that needs no data."""
    return {"metadata": read_configuration(ROOT / "pygeoapi-config.yml")["metadata"], "resources": {}}


@pytest.fixture
def client(make_app: MakeApp, configuration: dict[str, Any]) -> Iterator[TestClient]:
    added = {name: {"type": "process", "processor": {"name": plugin}} for name, plugin in ENTRIES.items()}
    app = make_app({**configuration, "resources": {**configuration["resources"], **added}})
    with TestClient(app, base_url="http://inside.invalid", follow_redirects=False) as made:
        yield made


def test_plugins_are_listed_and_described_except_missing_ones(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    del caplog
    listed = {each["id"]: each for each in client.get("/processes?f=json&limit=100").json()["processes"]}
    assert listed.keys() & ENTRIES.keys() == ENTRIES.keys() - {"missing"}
    assert listed["hello"]["title"] == "Hello World"
    for name in ENTRIES.keys() - {"missing"}:
        described = client.get(f"/processes/{name}?f=json").json()
        assert described["id"] == name
        assert {"version", "title", "inputs", "outputs", "links", "jobControlOptions"} <= described.keys()
        page = client.get(f"/processes/{name}?f=html")
        assert (page.status_code, "<b>Wild" in page.text) == (200, False)
    assert "missing" not in client.get("/processes?f=html").text
    assert client.get("/processes/missing").status_code == 404
    assert client.post("/processes/missing/execution", json={}).status_code == 404


def test_a_missing_plugin_is_named_at_the_start(
    make_app: MakeApp, configuration: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    entry = {"type": "process", "processor": {"name": f"{__name__}.Missing"}}
    app = make_app({**configuration, "resources": {**configuration["resources"], "missing": entry}})
    with caplog.at_level(logging.ERROR), TestClient(app):
        pass
    assert "the process missing is left out" in caplog.text


def test_openapi_with_plugins_is_valid_without_external_references(client: TestClient) -> None:
    document = client.get("/openapi?f=json")
    validate(document.json())
    assert "schemas.example.org" not in document.text
    body = document.json()["paths"]["/processes/hello/execution"]["post"]["requestBody"]["content"]["application/json"]
    assert body["example"]["inputs"]["name"] == "World"
    assert "additionalProperties" not in body["schema"]["properties"]["inputs"]


@pytest.mark.parametrize("outputs", [{"nothing": {}}, {"echo": {"format": {"mediaType": "text/csv"}}}, {"echo": 5}])
def test_unknown_outputs_are_refused(client: TestClient, outputs: Any) -> None:
    body = {"inputs": {"name": "Ann"}, "outputs": outputs}
    assert client.post("/processes/hello/execution", json=body).status_code == 400


def test_an_order_is_stored_unchanged(client: TestClient) -> None:
    inputs = {"name": {"href": "http://127.0.0.1/x"}, "unknown": {"value": 1, "mediaType": "a/b"}}
    answer = client.post("/processes/hello/execution", json={"inputs": inputs}, headers={"Prefer": "respond-async"})
    assert answer.status_code == 201
    resources: Any = client.app.state.resources  # type: ignore[attr-defined] # Starlette's
    assert resources.store.get(answer.json()["jobID"]).order.inputs == inputs
    assert client.post("/processes/hello/execution", json={"inputs": {"name": 5}}).status_code == 400
