"""Send callbacks about the status of a job (18-062r2, clause 13: callback)."""

import json
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from orchestration.errors import AddressRefused, ReferenceRefused, ResultMissing, Unreachable
from orchestration.files.document import deliveries, result_document
from orchestration.files.results import Results
from orchestration.job import Job, Status, failure, status_info
from orchestration.net.post import Poster
from orchestration.notifications.outcome import Outcome
from orchestration.notifications.signature import sign
from orchestration.store.outbox import Entry, State

_AGAIN = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
_LATER = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class Callback:
    """Posts the signed document of an event; the id in the signature is the same for every attempt."""

    post: Poster
    results: Results = field(repr=False)
    url: str
    key: bytes = field(repr=False)

    def __call__(self, entry: Entry, job: Job) -> Outcome:
        """Post it once, and return the outcome."""
        try:
            body = json.dumps(self._document(entry.event, job)).encode()
        except (ResultMissing, OSError):
            return Outcome(State.FAILED, "the result files no longer exist")
        headers = sign(self.key, f"msg_{entry.number}_{job.id}", int(time.time()), body)
        try:
            answer = self.post(entry.address, body, {"Content-Type": "application/json", **headers})
        except AddressRefused:
            return Outcome(State.FAILED, "not an address of the public internet")
        except ReferenceRefused:
            return Outcome(State.DUE, "the host's name cannot be resolved")
        except Unreachable as error:
            return Outcome(State.DUE, str(error))
        after = answer.retry_after if answer.status in _LATER else 0
        return Outcome(_verdict(answer.status), f"answered with status {answer.status}", after)

    def _document(self, event: Status, job: Job) -> dict[str, Any]:
        if event is Status.SUCCESSFUL:
            return result_document(deliveries(job, self.results, self.url), self.results.path_of)
        return failure(job, self.url) if event is Status.FAILED else status_info(job, self.url)


def _verdict(status: int) -> State:
    if HTTPStatus(200) <= status < HTTPStatus(300):
        return State.DELIVERED
    if HTTPStatus(400) <= status < HTTPStatus(500) and status not in _AGAIN:
        return State.FAILED
    return State.DUE
