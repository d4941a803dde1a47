"""The operations of processes, jobs and results."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pygeoapi.api import API

from processes.base import Processor
from processes.schemas import is_valid
from routes.http.media_types import GEOJSON
from routes.openapi.operation import (
    BYTES,
    HTML,
    JSON,
    Value,
    content,
    declared,
    document,
    file,
    form,
    header,
    headers,
    operation,
    path,
    ref,
)
from routes.openapi.schema import as_openapi, described
from routes.processes.area import UPLOADED
from routes.processes.delivery import formats_of
from routes.processes.job_query import JOBS_PARAMETERS
from routes.processes.results import EXPIRY, SIGNATURE
from routes.query.parameters import LIMIT, OFFSET
from routes.resources import listed_processes

_TEXT: Value = {"type": "string"}
_JOB = path("job_id", "The job's identifier.")
_FORM = form("json", "html")
_PREFER = header("Prefer", "`respond-async`, `wait=N` (RFC 7240).", _TEXT)
_KEY = header(
    "Idempotency-Key",
    "Sent again with the same body it is the same job; with another body 422.",
    {"type": "string", "minLength": 1, "maxLength": 255},
)
_RELATED = "multipart/related"
_BY_REFERENCE: Value = {"description": "By reference: the links are headers.", **headers("Link", "Preference-Applied")}


def process_paths(api: API, processors: Mapping[str, Processor]) -> Value:
    """Return the paths of every listed process."""
    paths: Value = {
        "/processes": {
            "get": operation(
                "getProcesses",
                "What can be run",
                tag="processes",
                parameters=[*declared(LIMIT, OFFSET), _FORM],
                responses=document("processes", "The processes."),
            )
        }
    }
    if listed_processes(api):
        paths["/area"] = {"post": _AREA}
    for process_id in listed_processes(api):
        metadata = processors[process_id].metadata
        paths[f"/processes/{process_id}"] = {"get": _description(process_id, metadata)}
        execution = _execution(process_id, metadata, strict=processors[process_id].strict)
        paths[f"/processes/{process_id}/execution"] = {"post": execution}
    return paths


_AREA: Value = operation(
    "readArea",
    "The polygons of a file, as the area of an order",
    tag="processes",
    description=(
        "GeoJSON, GeoPackage, KML, KMZ, or a ZIP with one Shapefile, in any coordinate system that it names; "
        f"also as {', '.join(UPLOADED[1:])}. "
        "Needs the right to execute a process."
    ),
    responses={
        "200": {
            "description": "All polygons as one Feature; `notes` says what was left out or repaired.",
            "content": {
                GEOJSON: {
                    "schema": {
                        "type": "object",
                        "required": ["type", "properties", "geometry"],
                        "properties": {
                            "type": {"type": "string", "enum": ["Feature"]},
                            "properties": {
                                "type": "object",
                                "properties": {
                                    "km2": {"type": "number"},
                                    "notes": {"type": "array", "items": {"type": "string"}},
                                },
                            },
                            "geometry": {"type": "object"},
                        },
                    }
                }
            },
        }
    },
    errors=(400, 403, 413, 415, 429, 503),
    requestBody={"required": True, "content": {UPLOADED[0]: {"schema": BYTES}}},
)


def _description(process_id: str, metadata: Mapping[str, Any]) -> Value:
    return operation(
        f"describe.{process_id}",
        str(metadata["title"]),
        tag="processes",
        parameters=[_FORM],
        responses=document("process", "The process, its inputs and outputs."),
        errors=(400, 404, 406),
        description=str(metadata["description"]),
    )


def _execution(process_id: str, metadata: Mapping[str, Any], *, strict: bool) -> Value:
    body: Value = {"schema": _request(metadata, strict=strict)}
    if "example" in metadata:
        body["example"] = metadata["example"]
    return operation(
        f"execute.{process_id}",
        f"{metadata['title']}: execute",
        tag="processes",
        parameters=[_PREFER, _KEY],
        responses=dict(_answers(metadata)),
        errors=(400, 403, 404, 415, 422, 429, 503),
        requestBody={"required": True, "content": {JSON: body}},
        callbacks=CALLBACKS,
    )


def _answers(metadata: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    if "sync-execute" in metadata["jobControlOptions"]:
        answer = _results("The results, waited for.", _media_types(metadata["outputs"]))
        yield "200", {**answer, **headers("Link", "Preference-Applied")}
        yield "204", _BY_REFERENCE
        yield from ((str(status), ref("responses", f"problem{status}")) for status in (410, 502, 504))
    if "async-execute" in metadata["jobControlOptions"]:
        yield (
            "201",
            {
                "description": "Accepted; the job has the status.",
                **headers("Location", "Preference-Applied"),
                "content": content(ref("schemas", "job"), JSON),
                "links": _LINKS,
            },
        )


_LINKS: Value = {
    operation: {"operationId": operation, "parameters": {"job_id": "$response.body#/jobID"}}
    for operation in ("getJob", "dismiss", "getResults")
}


def _media_types(outputs: Mapping[str, Any]) -> list[str]:
    types = [each["mediaType"] for output in outputs.values() for each in formats_of(output["schema"])]
    return [*dict.fromkeys(types), *([_RELATED] if len(outputs) > 1 else [])]


def _file_types(processors: Mapping[str, Processor]) -> list[str]:
    """Return the media types of the files that the processes make."""
    schemas = [output["schema"] for process in processors.values() for output in process.metadata["outputs"].values()]
    formats = [each for schema in schemas for each in formats_of(schema)]
    return [*dict.fromkeys(each["mediaType"] for each in formats if "encoding" in each)] or ["application/octet-stream"]


def _request(metadata: Mapping[str, Any], *, strict: bool) -> Value:
    inputs: Mapping[str, Any] = metadata["inputs"]
    required = [name for name, input_ in inputs.items() if _is_required(input_)]
    asked: Value = {
        "type": "object",
        "properties": {name: _input(input_) for name, input_ in inputs.items()},
        **({"additionalProperties": False} if strict else {}),
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
            "unit": ref("schemas", "unit"),
        },
        **({"required": ["inputs"]} if required else {}),
    }


def _outputs(outputs: Mapping[str, Any]) -> Value:
    properties = {name: _output(output["schema"]) for name, output in outputs.items()}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _output(schema: Mapping[str, Any]) -> Value:
    """Allow to ask for a transmission and for a format that the output has."""
    types = {"type": "string", "enum": [each["mediaType"] for each in formats_of(schema)]}
    properties = {"mediaType": types, "encoding": _TEXT}
    asked = {"type": "object", "properties": properties, "additionalProperties": False}
    mode = {"type": "string", "enum": ["value", "reference"], "default": "value"}
    return {"type": "object", "properties": {"transmissionMode": mode, "format": asked}, "additionalProperties": False}


def _is_required(description: Mapping[str, Any]) -> bool:
    return "default" not in description["schema"] and description.get("minOccurs", 1) > 0


def _input(description: Mapping[str, Any]) -> Value:
    """Allow the value as it is, or as `{"value": …}`; by reference and several times where the process says so."""
    schema = as_openapi(description["schema"]) if is_valid(description["schema"]) else {}
    forms: list[Value] = [schema, {"type": "object", "required": ["value"], "properties": {"value": schema}}]
    if "byReference" in description.get("valuePassing", ()):
        forms.append({"type": "object", "required": ["href"], "properties": {"href": {**_TEXT, "format": "uri"}}})
    if description.get("maxOccurs", 1) != 1:
        forms.append({"type": "array", "items": {}})
    return {"anyOf": forms, **described(description)}


def _results(description: str, media_types: Iterable[str]) -> Value:
    """Describe all results as one document or as parts, or one of them as it is: any JSON, or of `media_types`."""
    raw = {each: {"schema": _TEXT if each.startswith("text/") else BYTES} for each in media_types}
    return {"description": description, "content": {**raw, JSON: {"schema": ref("schemas", "value")}}}


def job_paths(processors: Mapping[str, Processor]) -> Value:
    """Return the paths of jobs and results."""
    made = [media_type for process in processors.values() for media_type in _media_types(process.metadata["outputs"])]
    types = [*dict.fromkeys(made)]
    return {
        "/jobs": {
            "get": operation(
                "getJobs",
                "The jobs, newest first",
                tag="jobs",
                parameters=[*declared(*JOBS_PARAMETERS), _FORM],
                responses=document("jobs", "One page of jobs."),
            )
        },
        "/jobs/{job_id}": {
            "get": _job("getJob", "Status of a job"),
            "delete": _job("dismiss", "End or forget a job"),
        },
        "/jobs/dismissals": {"post": _DISMISSALS},
        "/jobs/{job_id}/order": {
            "get": operation(
                "getOrder",
                "What was ordered, to order it again",
                tag="jobs",
                parameters=[_JOB, _FORM],
                responses=document("value", "The body of an execution."),
                errors=(400, 404, 406),
            )
        },
        "/jobs/{job_id}/results": {
            "get": _job_results("getResults", "The results of a job", [_JOB, _FORM], [*types, HTML])
        },
        "/jobs/{job_id}/results/{output_id}": {
            "get": _job_results(
                "getResult",
                "One output of a job",
                [_JOB, path("output_id", "The output's name.")],
                [each for each in types if each != _RELATED],
            )
        },
        "/results/{job_id}/{name}": {"get": _signed_file(_file_types(processors))},
    }


_DISMISSALS: Value = operation(
    "dismissSeveral",
    "End or forget jobs, by the form of their list",
    tag="jobs",
    responses={"303": {"description": "To the list of jobs, or to the one job that is still there."}},
    errors=(400, 403, 404, 413, 415, 503),
    requestBody={
        "required": True,
        "description": "Each field is the id of a job, with any value; `csrf` is the token of the page's session; "
        "with `unfinished` finished jobs stay.",
        "content": {"application/x-www-form-urlencoded": {"schema": {"type": "object", "maxProperties": 102}}},
    },
)


def _job(name: str, summary: str) -> Value:
    answers = document("job", f"{summary}.")
    return operation(
        name,
        summary,
        tag="jobs",
        parameters=[_JOB, _FORM],
        responses={"200": {**answers["200"], **headers("Retry-After")}},
        errors=(400, 404, 406),
    )


def _job_results(name: str, summary: str, parameters: list[Value], media_types: list[str]) -> Value:
    """Describe results, of which one that is a file is sent by range."""
    files = file(*(each for each in media_types if each not in {JSON, HTML, _RELATED}))
    return operation(
        name,
        summary,
        tag="jobs",
        parameters=parameters,
        responses={
            "200": {**_results(f"{summary}.", media_types), "headers": files["200"]["headers"]},
            "204": _BY_REFERENCE,
            "206": files["206"],
            "304": files["304"],
        },
        errors=(400, 403, 404, 406, 410, 412, 413, 416, 422, 502, 503),
    )


def _signed_file(media_types: list[str]) -> Value:
    return operation(
        "getResultFile",
        "A file of a result, by its signed link",
        tag="jobs",
        parameters=[
            _JOB,
            path("name", "The file's name."),
            *declared(EXPIRY, SIGNATURE),
        ],
        responses=file(*media_types),
        errors=(400, 403, 404, 410, 412, 416),
    )


_HEADERS = {
    "webhook-id": "The same on every try.",
    "webhook-timestamp": "When it was sent, in seconds since 1970.",
    "webhook-signature": "`v1,` and base64 of HMAC-SHA256 over id, time and body, dots between (Standard Webhooks).",
}

_EXCEPTION: Value = {
    "type": "object",
    "required": ["type"],
    "properties": {name: {"type": "string"} for name in ("type", "title", "detail")},
}
_FAILURE: Value = {
    "allOf": [
        ref("schemas", "job"),
        {"type": "object", "required": ["exception"], "properties": {"exception": _EXCEPTION}},
    ]
}


def _callback(member: str, schema: Value, description: str) -> Value:
    post = {
        "summary": description,
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
            for name, text in _HEADERS.items()
        ],
        "requestBody": {"required": True, "content": content(schema, "application/json")},
        "responses": {
            "2XX": {"description": "Taken."},
            "4XX": {"description": "Not sent again, but for 408 and 429."},
            "default": {"description": "Sent again later, after 429 and 503 not before `Retry-After` says."},
        },
    }
    return {f"{{$request.body#/subscriber/{member}}}": {"post": post}}


CALLBACKS: Value = {
    "success": _callback("successUri", ref("schemas", "results"), "The results."),
    "inProgress": _callback("inProgressUri", ref("schemas", "job"), "The job, once it is running."),
    "failed": _callback("failedUri", _FAILURE, "The job, and why it failed."),
}
