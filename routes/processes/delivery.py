"""What a successful job answers with: table 11 of 18-062r2, by what its order asked for; and what one can ask for."""

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth.identity import ANONYMOUS
from orchestration.errors import ResultMissing, StoreUnavailable
from orchestration.files import document as result_document
from orchestration.files.document import Delivery
from orchestration.job import UNFINISHED, Job, Output, ResultFile, Status
from processes.base import Processor
from processes.messages import shown
from routes.errors import problem_of_failure
from routes.http.file_response import send_file
from routes.http.multipart import BodyPart, related
from routes.http.problem import RESULT_NOT_READY, Problem, bad_member
from routes.resources import Resources, resources_of

_LOGGER = logging.getLogger(__name__)

_MODES = ("value", "reference")
PRIVATE = {"Cache-Control": "private", "Referrer-Policy": "no-referrer"}


def check_delivered(job: Job) -> None:
    """Raise the Problem where the job has no result to give: not yet, never, or no more."""
    if job.status in UNFINISHED:
        raise Problem(
            HTTPStatus.NOT_FOUND,
            f"the job is {job.status}; its results are not there yet",
            type_=RESULT_NOT_READY,
            headers=waiting(job),
        )
    if job.status is Status.FAILED:
        raise problem_of_failure(job)
    if job.status is Status.DISMISSED:
        raise Problem(HTTPStatus.GONE, "the job was dismissed; it has no results")
    if job.expired and any(output.file for output in job.manifest):
        raise _expired()


def deliveries(job: Job, resources: Resources) -> list[Delivery]:
    """Return the outputs that the order asked for, in its order. Raises the 410 Problem where a file was removed."""
    try:
        return result_document.deliveries(job, resources.results, resources.url)
    except ResultMissing as error:
        raise _expired() from error


def deliver(request: Request, job: Job, *, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with the job's results as its order asked for them. Raises Problem where there are none.

    It may read files: call it in a thread.
    """
    check_delivered(job)
    resources = resources_of(request)
    outputs = deliveries(job, resources)
    all_headers = {**PRIVATE, **(headers or {})}
    if job.order.response == "document":
        return deliver_document(request, outputs, all_headers)
    if all(delivery.by_reference for delivery in outputs):
        return _linked(outputs, all_headers)
    if len(outputs) == 1:
        return deliver_one(request, job, outputs[0].output, all_headers)
    parts = [_part(delivery, resources) for delivery in outputs]
    return noted(request, job, related(parts, all_headers))


def deliver_document(request: Request, outputs: list[Delivery], headers: Mapping[str, str]) -> Response:
    """Answer with the results as one JSON object by the outputs' id (results.yaml)."""
    resources = resources_of(request)
    document = result_document.result_document(outputs, resources.results.path_of)
    return JSONResponse(document, headers=headers)


def _linked(outputs: list[Delivery], headers: Mapping[str, str]) -> Response:
    response = Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
    for delivery in outputs:
        response.headers.append("Link", _link(delivery.href, delivery.output))
    return response


def _link(href: str, output: Output) -> str:
    """Return the link to an output; of what lies elsewhere we do not know the media type."""
    type_ = f'; type="{media_type(output)}"' if output.href is None else ""
    return f'<{href}>; rel="related"; title="{output.id}"{type_}'


def deliver_one(request: Request, job: Job, output: Output, headers: Mapping[str, str]) -> Response:
    """Answer with the output itself: its file, by range, or its value; one that lies elsewhere is linked."""
    if output.href is not None:
        return _linked([Delivery(output, by_reference=True, href=output.href)], headers)
    if output.file is not None:
        return send_result(request, job, output.file, headers)
    return Response(value_bytes(output), headers=headers, media_type=output.media_type)


def send_result(request: Request, job: Job, file: ResultFile, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a file of a result, by range, its type to the letter: nobody knows the charset of bytes.

    Raises the 410 Problem where it was removed.
    """
    try:
        path = resources_of(request).results.path_of(file)
    except ResultMissing as error:
        raise _expired() from error
    if not path.is_file():
        raise _expired()
    sent = send_file(
        request,
        path,
        media_type=file.media_type,
        filename=file.name,
        sha256=file.sha256,
        headers={**PRIVATE, **(headers or {}), "Content-Type": file.media_type},
    )
    return noted(request, job, sent)


def noted(request: Request, job: Job, sent: Response) -> Response:
    """Return the answer; where a download begins with it, there is a message to the broker about it.

    A later range of a file is no download of its own. A message that cannot be stored does not stop the download.
    """
    resources = resources_of(request)
    begins = sent.status_code == HTTPStatus.OK or sent.headers.get("content-range", "").startswith("bytes 0-")
    process = job.order.process
    if resources.broker is None or process not in resources.announced or job.order.owner == ANONYMOUS.owner:
        return sent
    if begins and request.method != "HEAD":
        try:
            resources.store.downloaded(job.id, resources.broker.channel_of("downloads", process))
        except StoreUnavailable as error:
            _LOGGER.warning("no message about a download: %s", error, extra={"job": job.id})
    return sent


def _part(delivery: Delivery, resources: Resources) -> BodyPart:
    output = delivery.output
    head = {"Content-ID": output.id, "Content-Type": media_type(output)}
    if delivery.by_reference:
        return BodyPart({**head, "Content-Location": delivery.href})
    if output.file is None:
        return BodyPart(head, content=value_bytes(output))
    return BodyPart(head, file=resources.results.path_of(output.file), size=output.file.size)


def media_type(output: Output) -> str:
    """Return the media type of the output's file or value."""
    return output.file.media_type if output.file else output.media_type


def value_bytes(output: Output) -> bytes:
    """Return the value as its media type has it: JSON, or text as it is."""
    if isinstance(output.value, str) and not output.media_type.endswith("json"):
        return output.value.encode()
    return json.dumps(output.value, ensure_ascii=False).encode()


def _expired() -> Problem:
    return Problem(HTTPStatus.GONE, "the files of this result were removed at the end of their time; order again")


RETRY_AFTER = "2"
"""Seconds after which an unfinished job is worth another look."""


def own_job(request: Request) -> Job:
    """Return the job that the path names, which the guard found and let the caller at."""
    job: Job = request.state.job
    return job


def waiting(job: Job) -> dict[str, str]:
    """Return the headers that tell a caller when to look again."""
    return {"Retry-After": RETRY_AFTER} if job.status in UNFINISHED else {}


def check_outputs(processor: Processor, outputs: Mapping[str, Any]) -> None:
    """Raise the 400 Problem for an output that the process does not have, or not in such a form."""
    described = processor.metadata["outputs"]
    for name, output in outputs.items():
        if name not in described:
            raise bad_member(f"outputs.{shown(name)}", output, ", ".join(described))
        if not isinstance(output, dict) or not output.keys() <= {"transmissionMode", "format"}:
            raise bad_member(f"outputs.{name}", output, "an object with transmissionMode, format")
        if output.get("transmissionMode", "value") not in _MODES:
            raise bad_member(f"outputs.{name}.transmissionMode", output["transmissionMode"], " or ".join(_MODES))
        _check_format(name, described[name]["schema"], output.get("format", {}))


def _check_format(name: str, schema: Mapping[str, Any], asked: Any) -> None:
    formats = formats_of(schema)
    if not isinstance(asked, dict) or not any(_is_of(asked, each) for each in formats):
        raise bad_member(f"outputs.{name}.format", asked, " or ".join(map(shown, formats)))


def _is_of(asked: Mapping[str, Any], there_is: Mapping[str, str]) -> bool:
    return all(there_is.get(member) == value for member, value in asked.items())


def formats_of(schema: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
    """Return the formats that the schema of an output describes, its default first: media type, encoding of a file."""
    formats = []
    alternatives = schema.get("oneOf")
    for alternative in alternatives if isinstance(alternatives, list) else [schema]:
        said = alternative.get("contentMediaType") if isinstance(alternative, Mapping) else None
        described = {"mediaType": said if isinstance(said, str) else "application/json"}
        if isinstance(alternative, Mapping) and alternative.get("format") == "binary":
            described["encoding"] = "base64"
        if described not in formats:
            formats.append(described)
    return formats
