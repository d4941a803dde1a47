"""The jobs: their list, how each stands, and its end (18-062r2, 7.12, clauses 12 and 14)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from auth.identity import current_identity
from orchestration.job import Job, JobPage, Status, status_info
from orchestration.store.outbox import Notification
from routes.accounts.person import session_of
from routes.guard import DISMISS_JOB, JOBS, READ_JOB, GuardedRoute
from routes.http.form import CSRF, read_form
from routes.http.language import in_same_language
from routes.http.problem import no_such_job
from routes.pages.render import translator_of
from routes.pages.respond import list_links, respond
from routes.pages.translator import noted
from routes.processes.delivery import own_job, waiting
from routes.processes.form import check_sender
from routes.processes.job_page import (
    commands_of,
    describe_inputs,
    execution_of_order,
    history_of,
    map_of,
    summary_of,
)
from routes.processes.job_query import cursor_of, read_job_query
from routes.processes.processes import OF_FORMS, process_description, process_page
from routes.query.parameters import allow_parameters, negotiate
from routes.resources import listed_processes, resources_of

_PRIVATE = {"Cache-Control": "private, no-cache"}
_MOST_DETAILED = 100
"""Jobs of a page that are named by what was ordered; more are named by their process."""
_MOST_AT_ONCE = 100
"""Jobs that one form ends."""
_UNFINISHED = "unfinished"
"""The field of a form that ends unfinished jobs alone."""
_SINCE = {
    0: noted("today"),
    7: noted("the last 7 days"),
    30: noted("the last 30 days"),
    365: noted("the last year"),
}
"""How long ago a job was ordered, in days and in words."""
_STATUSES = {
    ",".join(Status): noted("all"),
    "accepted,running": noted("waiting or in progress"),
    "successful": noted("ready"),
    "failed": noted("failed"),
    "dismissed": noted("cancelled"),
}


_NOTIFICATIONS = (
    *(noted("callback"), noted("mail"), noted("message")),
    *(noted("accepted"), noted("running"), noted("successful"), noted("failed"), noted("dismissed")),
    *(noted("waiting"), noted("due"), noted("sending"), noted("delivered"), noted("unknown")),
)
"""What a page says of notifications."""


def jobs(request: Request) -> Response:
    """List the caller's jobs, newest first."""
    resources = resources_of(request)
    query, page = read_job_query(request), negotiate(request) == "html"
    found = resources.store.find(replace(query, detailed=page and query.limit <= _MOST_DETAILED))
    document = {
        "title": noted("Jobs"),
        "jobs": [_status_of(job, resources.url) for job in found.jobs],
        "links": _around(request, found),
        "numberMatched": found.matched,
        "numberReturned": len(found.jobs),
    }
    only_page = _listed(request, found) if page else {}
    return respond(request, document, page="jobs.html", headers={**_PRIVATE, **OF_FORMS}, only_page=only_page)


def _listed(request: Request, found: JobPage) -> dict[str, Any]:
    """Return what the page of the list says besides: each job in words, and what its filters may be."""
    resources, session, today = resources_of(request), session_of(request), datetime.now(UTC).date()
    translator = translator_of(request)
    seen = resources.catalogue.seen({collection.id for collection in resources.visible_collections()})
    processes = {name: resources.processor(name).metadata["title"] for name in listed_processes(resources.api)}
    return {
        "title": noted("My orders"),
        "orders": [summary_of(each, resources, seen, translator) for each in found.jobs],
        "csrf": session.csrf if session else None,
        "asked": request.query_params,
        "since": {"1970-01-01/..": noted("at any time")}
        | {f"{today - timedelta(days=days)}/..": text for days, text in _SINCE.items()},
        "states": _STATUSES,
        "kinds": {",".join(processes): "all", **processes} if processes else {},
    }


def _around(request: Request, page: JobPage) -> list[dict[str, str]]:
    """Return the links of a page: those around it begin at its own last and first job, whatever comes or goes.

    From a page whose jobs are all gone the way is back to the beginning.
    """
    jobs = page.jobs
    older = {"cursor": cursor_of(jobs[-1])} if jobs else {}
    newer = {"cursor": cursor_of(jobs[0], newer=True)} if jobs else {}
    return list_links(
        request,
        f"{resources_of(request).url}/jobs",
        following=older if page.older else None,
        previous=newer if page.newer else None,
    )


def job(request: Request) -> Response:
    """Tell how the job stands."""
    allow_parameters(request)
    found = own_job(request)
    resources = resources_of(request)
    notifications = resources.outbox.notifications(found.id)
    return _answer(request, found, notifications)


def dismiss(request: Request) -> Response:
    """Dismiss an unfinished job; delete a finished or dismissed one, which is unknown from then on."""
    allow_parameters(request)
    job_id = own_job(request).id
    resources = resources_of(request)
    gone = resources.store.dismiss(job_id)
    if gone is None:
        raise no_such_job(job_id)
    return _answer(request, replace(gone, status=Status.DISMISSED))


def order(request: Request) -> Response:
    """Answer with the body of the execution that orders the same again; its page is a form filled in with it."""
    allow_parameters(request)
    found, resources = own_job(request), resources_of(request)
    body = execution_of_order(found)
    if negotiate(request) == "json":
        return respond(request, body, page="process.html", headers=_PRIVATE)
    process = resources.processor(found.order.process)
    document = process_description(process, resources.url)
    only_page = {**process_page(request, document, body["inputs"]), "repeated": found.id}
    return respond(request, document, page="process.html", headers={**_PRIVATE, **OF_FORMS}, only_page=only_page)


async def dismiss_several(request: Request) -> Response:
    """Dismiss or delete the jobs whose ids are the names of a form's fields, as `dismiss` does one; all or none.

    With the field `unfinished` those that have finished since the form was shown stay as they are. It leads to the job
    where that is still there, else to the list.
    """
    allow_parameters(request, one_form=True)
    form = await read_form(request, allowed=None, most=_MOST_AT_ONCE + 2)
    check_sender(request, form.pop(CSRF, ""))
    resources = resources_of(request)
    end = resources.store.dismiss if form.pop(_UNFINISHED, None) is None else resources.store.cancel
    for job_id in form:
        await DISMISS_JOB.permitted(request, job_id)
    for job_id in form:
        await resources.in_light(end, job_id)
    left = [job_id for job_id in form if await resources.in_light(resources.store.get, job_id)]
    place = f"/{left[0]}" if len(form) == len(left) == 1 else ""
    address = in_same_language(request, f"{resources.url}/jobs{place}?f=html")
    return RedirectResponse(address, HTTPStatus.SEE_OTHER, _PRIVATE)


def _status_of(found: Job, url: str) -> dict[str, Any]:
    """Return the status, with its owner where that is somebody else."""
    owner = found.order.owner
    return status_info(found, url) | ({} if owner == current_identity.get().owner else {"owner": owner})


def _answer(request: Request, found: Job, notifications: Sequence[Notification] = ()) -> Response:
    document = _status_of(found, resources_of(request).url)
    if notifications:
        document["notifications"] = [asdict(notification) for notification in notifications]
    headers = {**_PRIVATE, **OF_FORMS, **waiting(found)}
    only_page = _described(request, found) if negotiate(request) == "html" else {}
    return respond(request, document, page="job.html", headers=headers, only_page=only_page)


def _described(request: Request, found: Job) -> Mapping[str, Any]:
    """Return what the page says besides: the state in words, the inputs, the files, and the order as commands."""
    resources, session = resources_of(request), session_of(request)
    seen = resources.catalogue.seen({collection.id for collection in resources.visible_collections()})
    translator = translator_of(request)
    summary = summary_of(found, resources, seen, translator)
    orderable = found.order.process in listed_processes(resources.api)
    return {
        "title": summary["name"],
        "order": summary,
        "csrf": session.csrf if session else None,
        "inputs": describe_inputs(found.order),
        "commands": commands_of(found, resources.url, keyed=request.app.state.people is not None) if orderable else {},
        "files": [
            {"output": output.id, "name": output.file.name, "size": translator.size(output.file.size)}
            for output in found.manifest
            if output.file and not found.expired
        ],
        "map": map_of(found.order, resources, seen),
        "history": history_of(found, resources.store.history(found.id), translator),
    }


routes = [
    GuardedRoute("/jobs", jobs, needs=JOBS, threads="light"),
    GuardedRoute("/jobs/dismissals", dismiss_several, needs=JOBS, methods=["POST"]),
    GuardedRoute("/jobs/{job_id}/order", order, needs=READ_JOB, threads="light"),
    GuardedRoute("/jobs/{job_id}", job, needs=READ_JOB, threads="light", methods=["GET"]),
    GuardedRoute("/jobs/{job_id}", dismiss, needs=DISMISS_JOB, threads="light", methods=["DELETE"]),
]
