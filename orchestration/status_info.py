"""How a job stands, and why it failed, as the documents of OGC API Processes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from orchestration.job import REPAIRED, UNFINISHED, Job, Status, is_test

_RESULTS = "http://www.opengis.net/def/rel/ogc/1.0/results"
_MESSAGES: Mapping[Status, str] = {
    Status.ACCEPTED: "Waiting for its turn.",
    Status.RUNNING: "At work.",
    Status.SUCCESSFUL: "Done; the result is there.",
    Status.FAILED: "Failed.",
    Status.DISMISSED: "Dismissed.",
}


def status_info(job: Job, url: str) -> dict[str, Any]:
    """Return the job as 18-062r2's statusInfo.yaml."""
    return {
        "processID": job.order.process,
        "type": "process",
        "jobID": job.id,
        "status": str(job.status),
        "message": _message(job),
        "created": instant(job.created),
        **({"started": instant(job.started)} if job.started else {}),
        **({"finished": instant(job.finished)} if job.finished else {}),
        "updated": instant(job.updated),
        "progress": job.progress,
        "links": _links(job, f"{url}/jobs/{job.id}"),
    }


def _message(job: Job) -> str:
    """Return what the job says; in a list, whose jobs carry no inputs, one of a test looks as any other."""
    repaired = f" {job.order.inputs[REPAIRED]}" if REPAIRED in job.order.inputs else ""
    return ("Test order: " if is_test(job.order) else "") + (job.message or _MESSAGES[job.status]) + repaired


def instant(time: datetime) -> str:
    """Return the time as the standard writes it, in whole seconds of UTC."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _links(job: Job, address: str) -> list[dict[str, str]]:
    links = [
        {"rel": "self", "type": "application/json", "title": "This job", "href": f"{address}?f=json"},
        {"rel": "alternate", "type": "text/html", "title": "This job as a page", "href": f"{address}?f=html"},
    ]
    if job.status in UNFINISHED:
        links.append({"rel": "monitor", "type": "application/json", "title": "Ask again here", "href": address})
    if job.status is Status.SUCCESSFUL:
        links.append({"rel": _RESULTS, "title": "The results", "href": f"{address}/results"})
    return links


def failure(job: Job, url: str) -> dict[str, Any]:
    """Return a failed job as statusInfo.yaml, and in it, as `exception`, why it failed as exception.yaml."""
    reason = {"type": "about:blank", "title": "The job failed", "detail": job.message or "the job failed"}
    return {**status_info(job, url), "exception": reason}
