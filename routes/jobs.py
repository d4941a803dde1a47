"""The jobs: their list, how each stands, and its end (18-062r2, 7.12, clauses 12 and 14)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.job import UNFINISHED, Job, Status
from orchestration.status_info import instant, status_info
from orchestration.store.outbox import Notification
from processes.words import shown
from routes.job_query import read_job_query
from routes.own_job import no_such_job, own_job, waiting
from routes.paging import Page, page_links
from routes.parameters import allow_parameters
from routes.resources import resources_of
from routes.respond import respond

_PRIVATE = {"Cache-Control": "private, no-cache"}


async def jobs(request: Request) -> Response:
    """List the caller's jobs, newest first."""
    resources = resources_of(request)
    query = read_job_query(request)
    found = await anyio.to_thread.run_sync(resources.store.find, query, limiter=resources.light)
    document = {
        "title": "Jobs",
        "jobs": [status_info(job, resources.url) for job in found.jobs],
        "links": page_links(request, Page(query.limit, query.offset), found.matched),
        "numberMatched": found.matched,
        "numberReturned": len(found.jobs),
    }
    return respond(request, document, page="jobs.html", headers=_PRIVATE)


async def job(request: Request) -> Response:
    """Tell how the job stands."""
    allow_parameters(request)
    found = await own_job(request)
    resources = resources_of(request)
    told = await anyio.to_thread.run_sync(resources.outbox.notifications, found.id, limiter=resources.light)
    return _answer(request, found, told)


async def dismiss(request: Request) -> Response:
    """Dismiss an unfinished job; delete a finished or dismissed one, which is unknown from then on."""
    allow_parameters(request)
    job_id = (await own_job(request)).id
    resources = resources_of(request)
    gone = await anyio.to_thread.run_sync(resources.store.dismiss, job_id, limiter=resources.light)
    if gone is None:
        raise no_such_job(job_id)
    return _answer(request, replace(gone, status=Status.DISMISSED))


def _answer(request: Request, found: Job, told: Sequence[Notification] = ()) -> Response:
    document = status_info(found, resources_of(request).url)
    if told:
        document["notifications"] = [asdict(notification) for notification in told]
    headers = {**_PRIVATE, **waiting(found)}
    return respond(request, document, page="job.html", headers=headers, only_page=_in_words(found))


def _in_words(found: Job) -> Mapping[str, Any]:
    """Return what the page says besides: the inputs, the files, whether to look again."""
    return {
        "title": f"Job {found.id}",
        "unfinished": found.status in UNFINISHED,
        "inputs": {name: shown(value) for name, value in found.order.inputs.items()},
        "files": [
            {"output": output.id, "name": output.file.name, "size": output.file.size}
            for output in found.manifest
            if output.file and not found.expired
        ],
        "started": instant(found.started) if found.started else None,
        "finished": instant(found.finished) if found.finished else None,
    }


routes = [
    Route("/jobs", jobs),
    Route("/jobs/{job_id}", job, methods=["GET"]),
    Route("/jobs/{job_id}", dismiss, methods=["DELETE"]),
]
