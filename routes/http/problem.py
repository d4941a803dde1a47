"""Errors as RFC 9457 problem+json."""

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

from processes.messages import shown

_EXCEPTIONS = "http://www.opengis.net/def/exceptions"
NO_SUCH_PROCESS = f"{_EXCEPTIONS}/ogcapi-processes-1/1.0/no-such-process"
NO_SUCH_JOB = f"{_EXCEPTIONS}/ogcapi-processes-1/1.0/no-such-job"
RESULT_NOT_READY = f"{_EXCEPTIONS}/ogcapi-processes-1/1.0/result-not-ready"
INVALID_PARAMETER = f"{_EXCEPTIONS}/ogcapi-features-1/1.0/invalid-parameter-value"
NOT_FOUND = f"{_EXCEPTIONS}/ogcapi-common-1/1.0/not-found"

current_request_id: ContextVar[str] = ContextVar("current_request_id")
"""The id of the running request, in its answer and in its log lines; unset outside of a request."""


class Problem(Exception):
    """An error answer, raised anywhere in a route; `detail` names the mistake, its place, and the allowed values."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        type_: str = "about:blank",
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.type = type_
        self.headers = dict(headers or {})
        self.members = members

    def document(self, instance: str, request_id: str) -> dict[str, Any]:
        """Return the body: type, title, status, detail, instance, requestId and additional members."""
        return {
            "type": self.type,
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
            "instance": instance,
            "requestId": request_id,
            **self.members,
        }


def bad_parameter(name: str, value: str, allowed: str) -> Problem:
    """Return the 400 for a query parameter: its name, its value, the allowed values."""
    return Problem(
        HTTPStatus.BAD_REQUEST,
        f"parameter {name}={value!r}: {allowed}",
        type_=INVALID_PARAMETER,
        parameter=name,
        value=value,
    )


def bad_member(name: str, value: object, allowed: str) -> Problem:
    """Return the 400 for a member of a body: its name, its value, what is allowed."""
    return Problem(
        HTTPStatus.BAD_REQUEST, f"{name}: {shown(value)}; allowed: {allowed}", type_=INVALID_PARAMETER, parameter=name
    )


def no_such_collection(collection_id: str) -> Problem:
    """Return the 404 for a collection."""
    return Problem(HTTPStatus.NOT_FOUND, f"there is no collection {collection_id[:80]!r}", type_=NOT_FOUND)


def no_such_process(process_id: str, there_are: Iterable[str]) -> Problem:
    """Return the 404 for a process; `there_are` are the processes that the caller may see."""
    detail = f"there is no process {process_id[:80]!r}; there are {', '.join(there_are) or 'none'}"
    return Problem(HTTPStatus.NOT_FOUND, detail, type_=NO_SUCH_PROCESS)


def no_such_job(job_id: str) -> Problem:
    """Return the 404 for a job."""
    return Problem(HTTPStatus.NOT_FOUND, f"there is no job {job_id[:80]!r}", type_=NO_SUCH_JOB)
