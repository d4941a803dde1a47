"""What is not there, or may not be seen by the caller: the same answer for both."""

from collections.abc import Iterable
from http import HTTPStatus

from routes.http.problem import NO_SUCH_JOB, NO_SUCH_PROCESS, NOT_FOUND, Problem


def no_such_collection(collection_id: str) -> Problem:
    """Return the 404 for a collection."""
    return Problem(HTTPStatus.NOT_FOUND, f"there is no collection {collection_id[:80]!r}", type_=NOT_FOUND)


def no_such_process(process_id: str, there_are: Iterable[str]) -> Problem:
    """Return the 404 for a process; `there_are` is what the caller may see."""
    detail = f"there is no process {process_id[:80]!r}; there are {', '.join(there_are) or 'none'}"
    return Problem(HTTPStatus.NOT_FOUND, detail, type_=NO_SUCH_PROCESS)


def no_such_job(job_id: str) -> Problem:
    """Return the 404 for a job."""
    return Problem(HTTPStatus.NOT_FOUND, f"there is no job {job_id[:80]!r}", type_=NO_SUCH_JOB)
