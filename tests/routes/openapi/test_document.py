import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator, validate
from starlette.routing import Route
from starlette.testclient import TestClient

from routes.http.media_types import COG
from routes.openapi.schema import as_openapi
from server.app import OF_KINDS, ROUTES

URL = "https://maps.example.org/land"
SERVED = (*ROUTES, *OF_KINDS["STAC API"], *OF_KINDS["products"])


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    answer = client.get("/openapi")
    assert answer.headers["content-type"] == "application/vnd.oai.openapi+json;version=3.0"
    found: dict[str, Any] = answer.json()
    return found


def _operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method.upper(), entry) for path, each in document["paths"].items() for method, entry in each.items()]


def _route_of(path: str, method: str) -> Route | None:
    concrete = re.sub(r"\{\w+\}", "x", path)
    found = [route for route in SERVED if route.path_regex.match(concrete) and method in (route.methods or ())]
    return found[0] if found else None


def test_openapi_is_valid(document: dict[str, Any]) -> None:
    validate(document, cls=OpenAPIV30SpecValidator)


def test_openapi_has_no_external_references(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    assert all(ref.startswith("#/") for ref in re.findall(r'"\$ref": "([^"]*)"', text))
    assert document["servers"] == [{"url": URL}]


def test_every_component_is_used_and_defined(document: dict[str, Any]) -> None:
    referred = set(re.findall(r'"\$ref": "#/components/(\w+/[\w-]+)"', json.dumps(document)))
    there = {f"{kind}/{name}" for kind, entries in document["components"].items() for name in entries}
    assert referred == there


def test_every_operation_has_its_route(document: dict[str, Any]) -> None:
    for path, method, _ in _operations(document):
        assert _route_of(path, method) is not None, f"{method} {path}"


def test_every_route_has_its_operation(document: dict[str, Any]) -> None:
    described = {
        (route.path, method) for path, method, _ in _operations(document) if (route := _route_of(path, method))
    }
    there = {
        (route.path, method)
        for route in SERVED
        if route.include_in_schema
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert described == there


def test_every_collection_and_process_is_in_openapi(document: dict[str, Any]) -> None:
    for name in ("clcplus-vector", "parks", "nations"):
        assert f"/collections/{name}/items" in document["paths"]
        assert f"/collections/{name}/coverage" not in document["paths"]
    assert "/collections/clcplus-raster/coverage" in document["paths"]
    assert "/collections/clcplus-raster/items" not in document["paths"]
    assert {"/processes/echo/execution", "/processes/extract-product/execution"} <= set(document["paths"])


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in _operations(document)]
    assert len(names) == len(set(names))


def test_qgis_reads_the_limit_from_the_components(document: dict[str, Any]) -> None:
    schema = document["components"]["parameters"]["limit"]["schema"]
    assert schema == {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 10}


def _names(document: dict[str, Any], operation: dict[str, Any]) -> list[str]:
    parameters = [
        document["components"]["parameters"][given["$ref"].rpartition("/")[2]] if "$ref" in given else given
        for given in operation["parameters"]
    ]
    return [parameter["name"] for parameter in parameters if parameter["in"] == "query"]


def test_the_described_parameters_are_those_that_are_allowed(client: TestClient, document: dict[str, Any]) -> None:
    """The parameters that a 400 names as allowed are those of the document, for each operation."""
    job = client.post("/processes/echo/execution", json={}, headers={"Prefer": "respond-async"}).json()["jobID"]
    for path, method, operation in _operations(document):
        if method != "GET":
            continue
        concrete = re.sub(r"\{\w+\}", "x", path.replace("{job_id}", job))
        answer = client.get(concrete, params={"no-such-thing": "1"})
        assert answer.status_code == 400, path
        allowed = set(answer.json()["detail"].partition("allowed: ")[2].split(", "))
        assert allowed - {"none"} == set(_names(document, operation)), path


def test_an_execution_declares_its_results(document: dict[str, Any]) -> None:
    found = {
        name: set(document["paths"][f"/processes/{name}/execution"]["post"]["responses"]["200"]["content"])
        for name in ("area-statistics", "national-product", "estimate-product")
    }
    assert found == {
        "area-statistics": {"application/json", "text/csv", "image/svg+xml"},
        "national-product": {"application/json", "application/zip"},
        "estimate-product": {"application/json"},
    }


def test_an_execution_declares_its_inputs(document: dict[str, Any]) -> None:
    operation = document["paths"]["/processes/extract-product/execution"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]["inputs"]["properties"]) == {
        "product",
        "aoi",
        "series",
        "year",
        "project",
        "test",
        "send_mail",
    }
    assert set(schema["properties"]["inputs"]["required"]) == {"product", "aoi"}
    assert "201" in operation["responses"]
    assert "200" not in operation["responses"]


def test_the_page_names_every_operation(client: TestClient, document: dict[str, Any]) -> None:
    page = client.get("/openapi?f=html").text
    assert all(f'id="{operation["operationId"]}"' in page for _, _, operation in _operations(document))


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"const": 1}, {"enum": [1]}),
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        ({"type": ["string", "number"]}, {"anyOf": [{"type": "string"}, {"type": "number"}]}),
        ({"exclusiveMinimum": 0}, {"minimum": 0, "exclusiveMinimum": True}),
        ({"$schema": "x", "contentMediaType": "image/png", "type": "string"}, {"type": "string"}),
        ({"items": {"const": 2}}, {"items": {"enum": [2]}}),
        ({"properties": {"const": {"const": 3}}}, {"properties": {"const": {"enum": [3]}}}),
        ({"additionalProperties": False}, {"additionalProperties": False}),
        ({"examples": [4, 5]}, {"example": 4}),
        (True, {}),
    ],
)
def test_schemas_are_written_for_openapi_3_0(schema: Any, said: Any) -> None:
    assert as_openapi(schema) == said


def _schemas(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _schemas(part)


def test_generators_of_clients_and_the_ogc_suite_find_what_they_need(document: dict[str, Any]) -> None:
    shared = document["components"]
    given = [
        *shared["parameters"].values(),
        *(each for _, _, one in _operations(document) for each in one["parameters"]),
    ]
    written = {(each["in"], each["style"], each["explode"]) for each in given if each.get("in") in {"query", "path"}}
    assert written == {("query", "form", False), ("path", "simple", False)}
    assert [each for each in _schemas(document) if "nullable" in each and "type" not in each] == []
    assert [each for each in _schemas(document["paths"]) if isinstance(each.get("title"), str)] == []
    for path, method, operation in _operations(document):
        answers = [
            shared["responses"][answer["$ref"].rpartition("/")[2]]
            for answer in operation["responses"].values()
            if "$ref" in answer
        ]
        pages = {"text/html" in answer["content"] for answer in answers}
        takes_form = "application/x-www-form-urlencoded" in operation.get("requestBody", {}).get("content", {})
        assert pages == {method == "GET" or takes_form}, f"{method} {path}"
        assert "503" in operation["responses"] or path == "/health/live", path
        assert ({"408", "413"} <= set(operation["responses"])) == (method in {"POST", "PUT"}), path


def test_a_map_declares_its_formats_and_an_empty_answer(document: dict[str, Any]) -> None:
    answers = document["paths"]["/collections/clcplus-raster/map"]["get"]["responses"]
    assert set(answers["200"]["content"]) == {"image/png", "text/html"}
    assert set(answers) == {"200", "204", "400", "404", "406", "413", "503", "default"}


def test_results_declare_json_files_and_parts(document: dict[str, Any]) -> None:
    paths = document["paths"]
    answers = {
        "echo": paths["/processes/echo/execution"]["post"]["responses"]["200"]["content"],
        "results": paths["/jobs/{job_id}/results"]["get"]["responses"]["200"]["content"],
        "one": paths["/jobs/{job_id}/results/{output_id}"]["get"]["responses"]["200"]["content"],
        "file": paths["/results/{job_id}/{name}"]["get"]["responses"]["200"]["content"],
    }
    assert {name: set(content) for name, content in answers.items()} == {
        "echo": {"application/json", "multipart/related"},
        "results": {
            "application/json",
            "application/zip",
            "image/svg+xml",
            COG,
            "multipart/related",
            "text/csv",
            "text/html",
        },
        "one": {"application/json", "application/zip", "image/svg+xml", COG, "text/csv"},
        "file": {"application/zip", COG},
    }
    value = {"$ref": "#/components/schemas/value"}
    assert all(content["application/json"]["schema"] == value for name, content in answers.items() if name != "file")
    assert "type" not in document["components"]["schemas"]["value"]


def test_an_execution_declares_its_callbacks(document: dict[str, Any]) -> None:
    operation = document["paths"]["/processes/echo/execution"]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["subscriber"] == {"$ref": "#/components/schemas/subscriber"}
    subscriber = document["components"]["schemas"]["subscriber"]
    assert (set(subscriber["properties"]), subscriber["required"]) == (
        {"successUri", "inProgressUri", "failedUri"},
        ["successUri"],
    )
    found = {expression for callback in operation["callbacks"].values() for expression in callback}
    assert found == {f"{{$request.body#/subscriber/{name}}}" for name in subscriber["properties"]}
