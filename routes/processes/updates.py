"""The orders as external back ends tell how they stand: the one old call that has no counterpart in OGC's."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth.identity import current_identity
from auth.policy import audit_event
from orchestration.backend import BackendUpdate
from orchestration.errors import ReferenceRefused, WorkFailed
from orchestration.job import UNFINISHED, Job, Manifest, Output, Status, status_info
from orchestration.net.connection import parse_address
from processes.messages import shown
from routes.guard import UPDATE_JOB, GuardedRoute
from routes.http.body import parse_object, read_json
from routes.http.problem import Problem, bad_member, no_such_job
from routes.processes.delivery import own_job, waiting
from routes.query.parameters import allow_parameters
from routes.resources import Resources, resources_of

_PRIVATE = {"Cache-Control": "private, no-cache"}


def update(request: Request) -> Response:
    """Bring the order to what its back end says and answer how it then stands."""
    allow_parameters(request, one_form=True)
    resources, job = resources_of(request), own_job(request)
    said = read_update(request.state.body, job, resources)
    now = resources.store.update(job.id, said)
    if now is None:
        raise no_such_job(job.id)
    _note(job, said)
    return JSONResponse(status_info(now, resources.url), headers={**_PRIVATE, **waiting(now)})


def _note(job: Job, said: BackendUpdate) -> None:
    """Log who reported what, beside the guard's line on the right to; the caller of an open server is nobody."""
    identity = current_identity.get()
    if identity.method != "local":
        audit_event(identity.owner, "update-order", job=job.id, resource=job.order.process, status=said.status.value)


STATES: Mapping[str, Status] = {
    "RECEIVED": Status.ACCEPTED,
    "QUEUED": Status.ACCEPTED,
    "RUNNING": Status.RUNNING,
    "SUCCESS": Status.SUCCESSFUL,
    "FAILED": Status.FAILED,
    "INVALID": Status.FAILED,
}
"""The words of back ends, and what they are here."""
LONGEST_REASON = 1000

_INVALID = "INVALID"
_REASONS = {"FAILED": "The back end could not do it.", _INVALID: "The back end found the order invalid."}
_MEMBERS = ("id", "status", "result", "message", "send_mail")
_LINK = "a link that begins with http:// or https://, without user name or password, of at most 2000 characters"
_RESULT = f"{_LINK}, or JSON that is no text"
_NOT_IN_A_LINK = frozenset('<>"{}|^`')
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class _Given:
    """The body's members, checked one by one; each may be null, which is as if it was not there."""

    members: Mapping[str, Any]

    def word(self) -> str:
        word = self.members.get("status")
        if not isinstance(word, str) or word not in STATES:
            raise bad_member("status", word, f"{', '.join(STATES)}, in capitals")
        return word

    def check_id(self, job: Job) -> None:
        if (given := self.members.get("id")) not in (None, job.id):
            raise bad_member("id", given, "that of the address, or none")

    def manifest(self, status: Status) -> Manifest:
        result = self.members.get("result")
        if status is not Status.SUCCESSFUL:
            self._only_with("result", "SUCCESS")
            return ()
        if result is None:
            raise bad_member("result", result, f"with the status SUCCESS {_RESULT}")
        return (Output("result", href=_checked_link(result)) if isinstance(result, str) else Output("result", result),)

    def reason(self, word: str) -> str:
        if word not in _REASONS:
            self._only_with("message", " and ".join(_REASONS))
            return ""
        reason = self.members.get("message")
        if reason is None:
            return _REASONS[word]
        if not isinstance(reason, str) or not reason.strip() or _UNPRINTABLE.search(reason):
            raise bad_member("message", reason, "text without control characters but line breaks and tabs")
        if len(reason) > LONGEST_REASON:
            raise bad_member("message", reason, f"at most {LONGEST_REASON} characters")
        return reason

    def wants_mail(self, status: Status) -> bool:
        wanted = self.members.get("send_mail")
        if wanted is not None and not isinstance(wanted, bool):
            raise bad_member("send_mail", wanted, "true or false")
        if wanted and status in UNFINISHED:
            raise bad_member("send_mail", wanted, "true only with SUCCESS, FAILED and INVALID")
        return bool(wanted)

    def _only_with(self, name: str, statuses: str) -> None:
        if self.members.get(name) is not None:
            raise bad_member(name, self.members[name], f"only with the status {statuses}")


def read_update(body: bytes, job: Job, resources: Resources) -> BackendUpdate:
    """Return what a back end says of the job. Raises the 400 Problem; the 409 where none may have such a job."""
    members = parse_object(body, such_as='{"status": "SUCCESS", "result": …}')
    unknown = next((name for name in members if name not in _MEMBERS), None)
    if unknown is not None:
        raise bad_member(shown(unknown), members[unknown], f"the members {', '.join(_MEMBERS)}")
    given = _Given(members)
    given.check_id(job)
    word = given.word()
    status = STATES[word]
    update = BackendUpdate(
        status,
        manifest=given.manifest(status),
        reason=given.reason(word),
        fault=WorkFailed.__name__ if word == _INVALID else "",
        mail_to=resources.mailing.recipient(job.order) if given.wants_mail(status) else None,
    )
    _check_process(job, resources)
    return update


def _check_process(job: Job, resources: Resources) -> None:
    """Raise the 409 Problem for an order that is done here in seconds, with outputs of its own."""
    if job.order.process in resources.processes.registry.quick:
        raise Problem(HTTPStatus.CONFLICT, f"orders of {job.order.process} are done by this server alone", jobID=job.id)


def _checked_link(link: str) -> str:
    """Return the link, which goes into headers, pages and mail as it is; nobody here asks what is there."""
    try:
        parse_address(link)
    except ReferenceRefused as error:
        raise bad_member("result", link, _RESULT) from error
    if _NOT_IN_A_LINK & set(link):
        raise bad_member("result", link, _RESULT)
    return link


routes = [GuardedRoute("/orders/{job_id}", update, needs=UPDATE_JOB, threads="heavy", body=read_json, methods=["PUT"])]
