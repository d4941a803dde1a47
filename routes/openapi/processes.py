"""The operations of processes, jobs and results."""

from collections.abc import Iterator, Mapping
from typing import Any

from pygeoapi.api import API

from routes.formats import formats_of
from routes.openapi.components import DATETIME
from routes.openapi.news import CALLBACKS
from routes.openapi.operation import binary, content, document, form, operation, path, query, ref
from routes.openapi.schema import as_openapi

Value = dict[str, Any]
_TEXT: Value = {"type": "string"}
_JOB = path("job_id", "The job's identifier.")
_FORM = form("json", "html")
_OFFSET = query("offset", "How many to leave out first.", {"type": "integer", "minimum": 0, "default": 0})
_MOST_OFFSET: Value = {"type": "integer", "minimum": 0, "maximum": 100_000, "default": 0}
_PREFER: Value = {
    "name": "Prefer",
    "in": "header",
    "description": "`respond-async`, `wait=N` (RFC 7240).",
    "schema": _TEXT,
}
_KEY: Value = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Sent again with the same body it is the same job; with another body 422.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


def process_paths(api: API) -> Value:
    """Return the paths of every configured process."""
    paths: Value = {
        "/processes": {
            "get": operation(
                "getProcesses",
                "What can be run",
                tag="processes",
                parameters=[ref("parameters", "limit"), _OFFSET, _FORM],
                responses=document("processes", "The processes."),
            )
        }
    }
    for process_id in api.manager.processes:
        metadata = api.manager.get_processor(process_id).metadata
        paths[f"/processes/{process_id}"] = {"get": _description(process_id, metadata)}
        paths[f"/processes/{process_id}/execution"] = {"post": _execution(process_id, metadata)}
    return paths


def _description(process_id: str, metadata: Mapping[str, Any]) -> Value:
    return operation(
        f"describe.{process_id}",
        str(metadata["title"]),
        tag="processes",
        parameters=[_FORM],
        responses=document("process", "The process, its inputs and outputs."),
        description=str(metadata["description"]),
    )


def _execution(process_id: str, metadata: Mapping[str, Any]) -> Value:
    body: Value = {"schema": _request(metadata)}
    if "example" in metadata:
        body["example"] = metadata["example"]
    return operation(
        f"execute.{process_id}",
        f"{metadata['title']}: execute",
        tag="processes",
        parameters=[_PREFER, _KEY],
        responses=dict(_answers(metadata)),
        errors=(400, 413, 415, 422, 503),
        requestBody={"required": True, "content": {"application/json": body}},
        callbacks=CALLBACKS,
    )


def _answers(metadata: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    if "sync-execute" in metadata["jobControlOptions"]:
        yield "200", _results("The results, waited for.", *_media_types(metadata["outputs"]))
        yield "504", ref("responses", "problem504")
    if "async-execute" in metadata["jobControlOptions"]:
        place = {"description": "The job.", "schema": {"type": "string", "format": "uri"}}
        yield (
            "201",
            {
                "description": "Accepted; the job tells how it stands.",
                "headers": {"Location": place},
                "content": content(ref("schemas", "job"), "application/json"),
            },
        )


def _media_types(outputs: Mapping[str, Any]) -> list[str]:
    return [each["mediaType"] for described in outputs.values() for each in formats_of(described["schema"])]


def _request(metadata: Mapping[str, Any]) -> Value:
    inputs: Mapping[str, Any] = metadata["inputs"]
    required = [name for name, described in inputs.items() if _is_required(described)]
    asked: Value = {
        "type": "object",
        "properties": {name: _input(described) for name, described in inputs.items()},
        "additionalProperties": False,
    }
    if required:
        asked["required"] = required
    return {
        "type": "object",
        "properties": {
            "inputs": asked,
            "outputs": _outputs(metadata["outputs"]),
            "response": {"type": "string", "enum": ["raw", "document"], "default": "raw"},
            "subscriber": ref("schemas", "subscriber"),
        },
        **({"required": ["inputs"]} if required else {}),
    }


def _outputs(outputs: Mapping[str, Any]) -> Value:
    properties = {name: _output(described["schema"]) for name, described in outputs.items()}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _output(schema: Mapping[str, Any]) -> Value:
    """Allow to ask for a transmission and for a format that the output has."""
    types = {"type": "string", "enum": [each["mediaType"] for each in formats_of(schema)]}
    properties = {"mediaType": types, "encoding": _TEXT}
    asked = {"type": "object", "properties": properties, "additionalProperties": False}
    mode = {"type": "string", "enum": ["value", "reference"], "default": "value"}
    return {"type": "object", "properties": {"transmissionMode": mode, "format": asked}, "additionalProperties": False}


def _is_required(described: Mapping[str, Any]) -> bool:
    return "default" not in described["schema"] and described.get("minOccurs", 1) > 0


def _input(described: Mapping[str, Any]) -> Value:
    """Allow the value as it is, or as `{"value": …}`; by reference and several times where the process says so."""
    schema = as_openapi(described["schema"])
    forms: list[Value] = [schema, {"type": "object", "required": ["value"], "properties": {"value": schema}}]
    if "byReference" in described.get("valuePassing", ()):
        forms.append({"type": "object", "required": ["href"], "properties": {"href": {**_TEXT, "format": "uri"}}})
    if described.get("maxOccurs", 1) != 1:
        forms.append({"type": "array", "items": {}})
    text = {key: described[key] for key in ("title", "description") if key in described}
    return {"anyOf": forms, **text}


def _results(description: str, *media_types: str) -> Value:
    """Describe all results as one document, or one of them as it is; of unknown `media_types` where none is given."""
    raw = binary("", *(media_types or ("application/octet-stream",)))["content"]
    return {"description": description, "content": {**raw, **content(ref("schemas", "results"), "application/json")}}


def job_paths() -> Value:
    """Return the paths of jobs and results."""
    return {
        "/jobs": {
            "get": operation(
                "getJobs",
                "The jobs, newest first",
                tag="jobs",
                parameters=_job_filters(),
                responses=document("jobs", "One page of jobs."),
            )
        },
        "/jobs/{job_id}": {"get": _job("getJob", "How a job stands"), "delete": _job("dismiss", "End or forget a job")},
        "/jobs/{job_id}/results": {"get": _job_results("getResults", "The results of a job", [_JOB, _FORM])},
        "/jobs/{job_id}/results/{output_id}": {
            "get": _job_results("getResult", "One output of a job", [_JOB, path("output_id", "The output's name.")])
        },
        "/results/{job_id}/{name}": {"get": _signed_file()},
    }


def _job_filters() -> list[Value]:
    words = {"type": "array", "items": _TEXT}
    seconds = {"type": "number", "minimum": 0}
    return [
        ref("parameters", "limit"),
        query("offset", "How many to leave out first; `next` goes on from there.", _MOST_OFFSET),
        query("cursor", "Where the page begins, as the links `next` and `prev` have it.", _TEXT),
        query("type", "The kind: `process`.", words, style="form", explode=False),
        query("processID", "Jobs of these processes.", words, style="form", explode=False),
        query("status", "Jobs that stand so.", words, style="form", explode=False),
        query("owner", "Jobs of this owner, for who administers.", _TEXT),
        query("datetime", f"When they were created. {DATETIME}", _TEXT),
        query("minDuration", "Jobs that took at least so many seconds.", seconds),
        query("maxDuration", "Jobs that took at most so many seconds.", seconds),
        _FORM,
    ]


def _job(name: str, summary: str) -> Value:
    return operation(
        name, summary, tag="jobs", parameters=[_JOB, _FORM], responses=document("job", f"{summary}."), errors=(400, 404)
    )


def _job_results(name: str, summary: str, parameters: list[Value]) -> Value:
    return operation(
        name,
        summary,
        tag="jobs",
        parameters=parameters,
        responses={"200": _results(f"{summary}."), "204": {"description": "By reference: the links are headers."}},
        errors=(400, 404, 410, 502, 503),
    )


def _signed_file() -> Value:
    return operation(
        "getResultFile",
        "A file of a result, by its signed link",
        tag="jobs",
        parameters=[
            _JOB,
            path("name", "The file's name."),
            query("exp", "When the link ends, in seconds since 1970.", {"type": "integer"}, required=True),
            query("sig", "The signature.", _TEXT, required=True),
        ],
        responses={
            "200": binary("The file.", "application/octet-stream"),
            "206": binary("A part of it.", "application/octet-stream"),
            "304": {"description": "Unchanged."},
        },
        errors=(400, 403, 404, 410, 412, 416),
    )
