"""The job that a request names, as far as it is the caller's, and how it stands."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

import anyio
from starlette.requests import Request

from auth.identity import current_identity
from orchestration.job import UNFINISHED, Job, Status
from routes.problem import NO_SUCH_JOB, Problem
from routes.resources import resources_of

RETRY_AFTER = "2"
"""Seconds after which an unfinished job is worth another look."""

_RESULTS = "http://www.opengis.net/def/rel/ogc/1.0/results"
_MESSAGES: Mapping[Status, str] = {
    Status.ACCEPTED: "Waiting for its turn.",
    Status.RUNNING: "At work.",
    Status.SUCCESSFUL: "Done; the result is there.",
    Status.FAILED: "Failed.",
    Status.DISMISSED: "Dismissed.",
}


async def own_job(request: Request) -> Job:
    """Return the job that the path names. Raises the 404 Problem where it is unknown, deleted or not the caller's."""
    job_id: str = request.path_params["job_id"]
    resources = resources_of(request)
    job = await anyio.to_thread.run_sync(resources.store.get, job_id, limiter=resources.light)
    if job is None or job.order.owner != current_identity.get().owner:
        raise no_such_job(job_id)
    return job


def no_such_job(job_id: str) -> Problem:
    """Return the 404 for a job."""
    return Problem(HTTPStatus.NOT_FOUND, f"there is no job {job_id[:80]!r}", type_=NO_SUCH_JOB)


def status_info(job: Job, url: str) -> dict[str, Any]:
    """Return the job as 18-062r2's statusInfo.yaml."""
    return {
        "processID": job.order.process,
        "type": "process",
        "jobID": job.id,
        "status": str(job.status),
        "message": job.message or _MESSAGES[job.status],
        "created": instant(job.created),
        **({"started": instant(job.started)} if job.started else {}),
        **({"finished": instant(job.finished)} if job.finished else {}),
        "updated": instant(job.updated),
        "progress": job.progress,
        "links": _links(job, f"{url}/jobs/{job.id}"),
    }


def instant(time: datetime) -> str:
    """Return the time as the standard writes it, in whole seconds of UTC."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _links(job: Job, address: str) -> list[dict[str, str]]:
    links = [
        {"rel": "self", "type": "application/json", "title": "This job", "href": f"{address}?f=json"},
        {"rel": "alternate", "type": "text/html", "title": "This job as a page", "href": f"{address}?f=html"},
    ]
    if job.status is Status.SUCCESSFUL:
        links.append({"rel": _RESULTS, "title": "The results", "href": f"{address}/results"})
    return links


def waiting(job: Job) -> dict[str, str]:
    """Return the headers that tell a caller when to look again."""
    return {"Retry-After": RETRY_AFTER} if job.status in UNFINISHED else {}
