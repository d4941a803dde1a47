"""The job that a request names, as far as it is the caller's, and when to look again."""

from http import HTTPStatus

import anyio
from starlette.requests import Request

from auth.identity import current_identity
from orchestration.job import UNFINISHED, Job
from routes.problem import NO_SUCH_JOB, Problem
from routes.resources import resources_of

RETRY_AFTER = "2"
"""Seconds after which an unfinished job is worth another look."""


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


def waiting(job: Job) -> dict[str, str]:
    """Return the headers that tell a caller when to look again."""
    return {"Retry-After": RETRY_AFTER} if job.status in UNFINISHED else {}
