"""The updates of an order by an external back end: one compare-and-set each."""

from collections.abc import Mapping

from orchestration.backend import BackendUpdate
from orchestration.errors import UpdateRefused
from orchestration.job import UNFINISHED, Job, Status
from orchestration.manifest import encode
from orchestration.store import statements
from orchestration.store.rows import job_of
from sql.connections import Connection
from sql.times import now

_CHANGES: Mapping[Status, str] = {
    Status.ACCEPTED: statements.BACKEND_QUEUED,
    Status.RUNNING: statements.BACKEND_BEGUN,
    Status.SUCCESSFUL: statements.BACKEND_DONE,
    Status.FAILED: statements.BACKEND_FAILED,
}


def updated(connection: Connection, job_id: str, update: BackendUpdate) -> Job | None:
    """Change the job and return it, None where it is unknown; a repetition changes nothing and mails nobody.

    Raises UpdateRefused where the job does not come from how it stands to what the update says.
    """
    values = {
        "id": job_id,
        "now": now(),
        "manifest": encode(update.manifest),
        "reason": update.reason,
        "fault": update.fault,
        "event": update.status,
        "address": update.mail_to,
    }
    if row := connection.execute(_CHANGES[update.status], values).fetchone():
        if update.mail_to:
            connection.execute(statements.MAIL, values)
        return job_of(row)
    found = connection.execute(statements.GET, values).fetchone()
    return _unchanged(job_of(found), update) if found else None


def _unchanged(job: Job, update: BackendUpdate) -> Job:
    if update.is_repeated(job):
        return job
    if job.status in UNFINISHED:
        raise UpdateRefused(f"the order is {job.status} and does not come to {update.status} any more")
    raise UpdateRefused(f"the order is {job.status} and never changes any more; it does not come to {update.status}")
