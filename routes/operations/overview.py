"""The operator's page: what needs attention, who has ordered what, what waits and what has failed."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from orchestration.job import UNFINISHED, Job, JobCursor, JobQuery, Status, instant, status_info
from routes.accounts.person import session_of
from routes.guard import ADMINISTRATION, GuardedRoute
from routes.operations.health import all_checks
from routes.pages.render import translator_of
from routes.pages.respond import respond
from routes.pages.translator import noted
from routes.processes.job_page import STATES, summary_of
from routes.processes.processes import OF_FORMS
from routes.query.parameters import allow_parameters, negotiate
from routes.resources import resources_of

_ADDRESS = "/operations"
_MOST = 20
"""Orders and owners in each list."""
_BEFORE_ALL = JobCursor(datetime(1970, 1, 1, tzinfo=UTC), "", newer=True)
_HEADERS = {"Cache-Control": "no-store"}


def get_overview(request: Request) -> Response:
    """Answer with the dependencies, the orders by status and owner, the oldest unfinished and the latest failed."""
    allow_parameters(request)
    resources = resources_of(request)
    page = negotiate(request) == "html"
    tally = resources.store.tally(_MOST)
    oldest = JobQuery(statuses=tuple(UNFINISHED), cursor=_BEFORE_ALL, limit=_MOST, detailed=page)
    unfinished = resources.store.find(oldest).jobs[::-1]
    failed = resources.store.find(JobQuery(statuses=(Status.FAILED,), limit=_MOST, detailed=page)).jobs
    address = f"{resources.url}{_ADDRESS}"
    document = {
        "title": noted("Operations"),
        "checks": all_checks(request),
        "orders": {
            str(status): {"number": number, "oldest": instant(tally.oldest[status])}
            for status, number in sorted(tally.orders.items())
        },
        "owners": [asdict(each) for each in tally.owners],
        "unfinished": [_status_of(job, resources.url) for job in unfinished],
        "failed": [_status_of(job, resources.url) for job in failed],
        "links": [
            {"rel": "self", "type": "application/json", "title": "This page as JSON", "href": f"{address}?f=json"},
            {"rel": "alternate", "type": "text/html", "title": "This page as HTML", "href": f"{address}?f=html"},
        ],
    }
    only_page = _described(request, unfinished, failed) if page else {}
    return respond(request, document, page="operations.html", headers=_HEADERS | OF_FORMS, only_page=only_page)


def _status_of(job: Job, url: str) -> dict[str, Any]:
    return status_info(job, url) | {"owner": job.order.owner}


def _described(request: Request, unfinished: tuple[Job, ...], failed: tuple[Job, ...]) -> Mapping[str, Any]:
    """Return what the page says besides: the orders and states in words, and what a form proves."""
    resources, session, translator = resources_of(request), session_of(request), translator_of(request)

    def described(jobs: tuple[Job, ...]) -> list[Mapping[str, Any]]:
        return [
            {**summary_of(job, resources, resources.catalogue, translator), "owner": job.order.owner} for job in jobs
        ]

    return {
        "waiting_orders": described(unfinished),
        "failed_orders": described(failed),
        "states": {str(status): text for status, text in STATES.items()},
        "csrf": session.csrf if session else None,
        "size": translator.size,
    }


routes = [GuardedRoute(_ADDRESS, get_overview, needs=ADMINISTRATION, threads="light")]
