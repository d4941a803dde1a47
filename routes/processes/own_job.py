"""The job that a request names, and when to look again."""

from starlette.requests import Request

from orchestration.job import UNFINISHED, Job

RETRY_AFTER = "2"
"""Seconds after which an unfinished job is worth another look."""


def own_job(request: Request) -> Job:
    """Return the job that the path names, which the guard found and let the caller at."""
    job: Job = request.state.job
    return job


def waiting(job: Job) -> dict[str, str]:
    """Return the headers that tell a caller when to look again."""
    return {"Retry-After": RETRY_AFTER} if job.status in UNFINISHED else {}
