"""The results of a job, and the signed links to their files (18-062r2, 7.13)."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from auth.access import Access, Action, Verdict
from auth.identity import current_identity
from auth.policy import audit
from orchestration.files.document import Delivery
from orchestration.job import Job, ResultFile, instant
from processes.messages import shown
from routes.guard import NOTHING, READ_JOB, GuardedRoute
from routes.http.accept import choose_for
from routes.http.problem import NOT_FOUND, Problem, bad_parameter
from routes.pages.render import render
from routes.pages.translator import noted
from routes.processes.delivery import (
    PRIVATE,
    check_delivered,
    deliver,
    deliver_document,
    deliver_one,
    deliveries,
    media_type,
    own_job,
    send_result,
)
from routes.query.parameters import Parameter, allow_parameters
from routes.resources import Resources, resources_of

EXPIRY = Parameter("exp", "When the link ends, in seconds since 1970.", {"type": "integer"}, required=True)
SIGNATURE = Parameter("sig", "The signature.", required=True)


def results(request: Request) -> Response:
    """Answer as the order asked; `f=json` is a document that links files, `f=html` a page, which browsers get."""
    allow_parameters(request)
    form = request.query_params.get("f")
    if form not in {None, "json", "html"}:
        raise bad_parameter("f", str(form), "allowed: json, html")
    job = own_job(request)
    check_delivered(job)
    if form == "html" or (form is None and _is_browser(request)):
        return Response(render(request, "results.html", _page(request, job)), headers=PRIVATE, media_type="text/html")
    if form == "json" and job.order.response == "raw":
        return deliver_document(request, _linked(deliveries(job, resources_of(request))), PRIVATE)
    return deliver(request, job)


def _linked(outputs: list[Delivery]) -> list[Delivery]:
    return [replace(delivery, by_reference=True) if delivery.output.file else delivery for delivery in outputs]


def _is_browser(request: Request) -> bool:
    return choose_for(request, ("application/octet-stream", "text/html")) == "text/html"


def _page(request: Request, job: Job) -> Mapping[str, Any]:
    outputs = [_row(delivery) for delivery in deliveries(job, resources_of(request))]
    until = instant(job.files_until) if job.files_until else None
    page = {"title": noted("Results of the order"), "jobID": job.id, "outputs": outputs, "files_until": until}
    return {**page, "estimate": _estimate(resources_of(request), job)}


def _estimate(resources: Resources, job: Job) -> Any:
    """Return the estimate for the page, or None if the job is none."""
    process = resources.processes.processors.get(job.order.process)
    estimates = process is not None and process.asks_of is not None
    return next((output.value for output in job.manifest), None) if estimates else None


def _row(delivery: Delivery) -> Mapping[str, Any]:
    output = delivery.output
    ends = parse_qs(urlsplit(delivery.href).query).get("exp") if output.file else None
    return {
        "id": output.id,
        "href": delivery.href,
        "media_type": None if output.href else media_type(output),
        "shown": output.href or shown(output.value),
        "file": output.file,
        "link_until": instant(datetime.fromtimestamp(int(ends[0]), UTC)) if ends else None,
    }


def one_output(request: Request) -> Response:
    """Answer with one output by itself, whatever the order asked for."""
    allow_parameters(request, one_form=True)
    job = own_job(request)
    check_delivered(job)
    name = request.path_params["output_id"]
    output = next((output for output in job.manifest if output.id == name), None)
    if output is None:
        there = ", ".join(output.id for output in job.manifest)
        raise Problem(HTTPStatus.NOT_FOUND, f"the job has no output {name[:80]!r}; it has {there}", type_=NOT_FOUND)
    return deliver_one(request, job, output, PRIVATE)


def result_file(request: Request) -> Response:
    """Answer with a file by its signed link, which needs no identity: 403 not ours, 410 ended.

    The owner of the job is signed too: without the job no link can be distinguished from a forged one.
    """
    allow_parameters(request, EXPIRY, SIGNATURE, one_form=True)
    job_id, name = request.path_params["job_id"], request.path_params["name"]
    job = _linked_to(request, resources_of(request).store.get(job_id))
    check_delivered(job)
    return send_result(request, job, _file(job, name))


def _linked_to(request: Request, job: Job | None) -> Job:
    """Return the job, if the link leads to it. Raises the 403 and 410 Problem."""
    name = request.path_params["name"]
    exp, sig = EXPIRY.text(request) or "", SIGNATURE.text(request) or ""
    job_id, owner = (job.id, job.order.owner) if job else ("", "")
    verdict = resources_of(request).results.verify(job_id, name, exp, sig, owner=owner, now=datetime.now(UTC))
    _note(request, job, verdict)
    if job is None or verdict == "invalid":
        detail = "this link was not made by this server, was changed, or its job was deleted"
        raise Problem(HTTPStatus.FORBIDDEN, detail, headers=PRIVATE)
    if verdict == "expired":
        raise Problem(HTTPStatus.GONE, "this link has expired; the results of the job have a new one", headers=PRIVATE)
    return job


def _note(request: Request, job: Job | None, verdict: str) -> None:
    """Write down who came by the link: whoever has it, so mostly nobody known."""
    access = Access(Action.READ_OWN_JOBS, job.order.process if job else None)
    good = Verdict(allowed=job is not None and verdict == "valid", reason=f"the link is {verdict}", rule="signed-link")
    audit(current_identity.get(), access, good, job=request.path_params["job_id"][:80])


def _file(job: Job, name: str) -> ResultFile:
    for output in job.manifest:
        if output.file and output.file.name == name:
            return output.file
    raise Problem(HTTPStatus.NOT_FOUND, f"the job has no file {name[:80]!r}", type_=NOT_FOUND)


routes = [
    GuardedRoute("/jobs/{job_id}/results", results, needs=READ_JOB, threads="heavy"),
    GuardedRoute("/jobs/{job_id}/results/{output_id}", one_output, needs=READ_JOB, threads="light"),
    GuardedRoute("/results/{job_id}/{name}", result_file, needs=NOTHING, threads="light"),
]
