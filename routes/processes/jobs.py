"""The jobs: their list, how each stands, and its end (18-062r2, 7.12, clauses 12 and 14)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response

from auth.identity import current_identity
from orchestration.job import UNFINISHED, Job, JobPage, Status
from orchestration.status_info import instant, status_info
from orchestration.store.outbox import Notification
from processes.words import shown
from routes.guard import DISMISS_JOB, JOBS, READ_JOB, GuardedRoute
from routes.http.problem import no_such_job
from routes.pages.respond import respond
from routes.processes.job_query import cursor_of, read_job_query
from routes.processes.own_job import own_job, waiting
from routes.query.paging import list_links
from routes.query.parameters import allow_parameters
from routes.resources import resources_of

_PRIVATE = {"Cache-Control": "private, no-cache"}


async def jobs(request: Request) -> Response:
    """List the caller's jobs, newest first."""
    resources = resources_of(request)
    query = read_job_query(request)
    found = await anyio.to_thread.run_sync(resources.store.find, query, limiter=resources.light)
    document = {
        "title": "Jobs",
        "jobs": [_told(job, resources.url) for job in found.jobs],
        "links": _around(request, found),
        "numberMatched": found.matched,
        "numberReturned": len(found.jobs),
    }
    return respond(request, document, page="jobs.html", headers=_PRIVATE)


def _around(request: Request, page: JobPage) -> list[dict[str, str]]:
    """Return the links of a page: those around it begin at its own last and first job, whatever comes or goes.

    From a page whose jobs are all gone the way is back to the beginning.
    """
    jobs = page.jobs
    older = {"cursor": cursor_of(jobs[-1])} if jobs else {}
    newer = {"cursor": cursor_of(jobs[0], newer=True)} if jobs else {}
    return list_links(request, following=older if page.older else None, previous=newer if page.newer else None)


async def job(request: Request) -> Response:
    """Tell how the job stands."""
    allow_parameters(request)
    found = own_job(request)
    resources = resources_of(request)
    told = await anyio.to_thread.run_sync(resources.outbox.notifications, found.id, limiter=resources.light)
    return _answer(request, found, told)


async def dismiss(request: Request) -> Response:
    """Dismiss an unfinished job; delete a finished or dismissed one, which is unknown from then on."""
    allow_parameters(request)
    job_id = own_job(request).id
    resources = resources_of(request)
    gone = await anyio.to_thread.run_sync(resources.store.dismiss, job_id, limiter=resources.light)
    if gone is None:
        raise no_such_job(job_id)
    return _answer(request, replace(gone, status=Status.DISMISSED))


def _told(found: Job, url: str) -> dict[str, Any]:
    """Return the status, with its owner where that is somebody else."""
    owner = found.order.owner
    return status_info(found, url) | ({} if owner == current_identity.get().owner else {"owner": owner})


def _answer(request: Request, found: Job, told: Sequence[Notification] = ()) -> Response:
    document = _told(found, resources_of(request).url)
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
    GuardedRoute("/jobs", jobs, needs=JOBS),
    GuardedRoute("/jobs/{job_id}", job, needs=READ_JOB, methods=["GET"]),
    GuardedRoute("/jobs/{job_id}", dismiss, needs=DISMISS_JOB, methods=["DELETE"]),
]
