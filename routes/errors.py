"""Every error as an answer: one table from exceptions to statuses, one form of body."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from pygeoapi.error import GenericError
from pygeoapi.plugin import InvalidPluginError
from pygeoapi.provider.base import ProviderConnectionError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from auth.policy import LimitExceeded, RestrictionUnsupported
from orchestration.errors import (
    AddressRefused,
    IdempotencyConflict,
    NotAdmitted,
    OrchestrationError,
    QuotaUsedUp,
    ReferenceRefused,
    ServiceFailed,
    StoreUnavailable,
    TooManyOpenOrders,
    UnknownUnit,
    UpdateRefused,
    WorkFailed,
)
from orchestration.job import Job
from products.errors import (
    AreaTooLarge,
    BrokenSource,
    InvalidArea,
    NothingInside,
    ProductError,
    RequestTooLarge,
    UnknownPlace,
    UnknownProduct,
)
from routes.http.accept import choose_for
from routes.http.challenge import refusal_of
from routes.http.form import is_form
from routes.http.problem import INVALID_PARAMETER, NOT_FOUND, Problem, current_request_id
from routes.pages.render import render, translator_of
from routes.pages.translator import noted

_LOGGER = logging.getLogger(__name__)

STATUSES: Mapping[type[Exception], HTTPStatus] = {
    InvalidArea: HTTPStatus.BAD_REQUEST,
    AreaTooLarge: HTTPStatus.BAD_REQUEST,
    NothingInside: HTTPStatus.BAD_REQUEST,
    UnknownProduct: HTTPStatus.BAD_REQUEST,
    UnknownPlace: HTTPStatus.BAD_REQUEST,
    BrokenSource: HTTPStatus.SERVICE_UNAVAILABLE,
    RequestTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnknownUnit: HTTPStatus.BAD_REQUEST,
    IdempotencyConflict: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotAdmitted: HTTPStatus.SERVICE_UNAVAILABLE,
    TooManyOpenOrders: HTTPStatus.TOO_MANY_REQUESTS,
    QuotaUsedUp: HTTPStatus.TOO_MANY_REQUESTS,
    UpdateRefused: HTTPStatus.CONFLICT,
    LimitExceeded: HTTPStatus.FORBIDDEN,
    RestrictionUnsupported: HTTPStatus.FORBIDDEN,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    ReferenceRefused: HTTPStatus.BAD_REQUEST,
    AddressRefused: HTTPStatus.BAD_REQUEST,
    WorkFailed: HTTPStatus.BAD_REQUEST,
    ServiceFailed: HTTPStatus.BAD_GATEWAY,
    ProviderConnectionError: HTTPStatus.SERVICE_UNAVAILABLE,
    InvalidPluginError: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""An exception that is not here is a failure of ours: 500, unless pygeoapi's own class says otherwise."""

_FAULTS = {kind.__name__: status for kind, status in STATUSES.items()}

EXPLAINED: Mapping[HTTPStatus, str] = {
    HTTPStatus.BAD_REQUEST: noted("The server does not understand something in this request."),
    HTTPStatus.UNAUTHORIZED: noted("You need to sign in for this."),
    HTTPStatus.FORBIDDEN: noted("You are not allowed to do this."),
    HTTPStatus.NOT_FOUND: noted("There is nothing at this address."),
    HTTPStatus.METHOD_NOT_ALLOWED: noted("This cannot be done at this address."),
    HTTPStatus.NOT_ACCEPTABLE: noted("The server does not have this in the requested form."),
    HTTPStatus.CONFLICT: noted("This does not fit the present state."),
    HTTPStatus.GONE: noted("This is no longer available."),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: noted("This is more than the server takes at once."),
    HTTPStatus.UNPROCESSABLE_ENTITY: noted("The server cannot do what this request asks for."),
    HTTPStatus.TOO_MANY_REQUESTS: noted("These were too many requests. Please wait a moment and try again."),
    HTTPStatus.INTERNAL_SERVER_ERROR: noted("The server failed. This is not your fault."),
    HTTPStatus.BAD_GATEWAY: noted("Another server, which is needed for this, did not answer as expected."),
    HTTPStatus.SERVICE_UNAVAILABLE: noted("This is not available at present. Please try again in a moment."),
    HTTPStatus.GATEWAY_TIMEOUT: noted("This took too long. Please try again."),
}
"""What an error page says in languages that the detail is not translated into."""
_TITLES = (
    *(noted("Bad Request"), noted("Unauthorized"), noted("Forbidden"), noted("Not Found"), noted("Method Not Allowed")),
    *(noted("Not Acceptable"), noted("Conflict"), noted("Gone"), noted("Content Too Large")),
    *(noted("Request Entity Too Large"), noted("Unprocessable Entity"), noted("Unprocessable Content")),
    *(noted("Too Many Requests"), noted("Internal Server Error")),
    *(noted("Bad Gateway"), noted("Service Unavailable"), noted("Gateway Timeout")),
)

_RETRY = {HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "5"}, HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": "30"}}


def answer(request: Request, problem: Problem) -> Response:
    """Answer with the problem: problem+json, or a page where a GET prefers one."""
    if problem.status is HTTPStatus.NO_CONTENT:
        return Response(status_code=problem.status, headers=problem.headers)
    document = problem.document(
        quote(request.scope.get("public_path", request.scope["path"])), current_request_id.get("-")
    )
    headers = {"Vary": "Accept", "Cache-Control": "no-store", **problem.headers}
    if prefers_page(request):
        translator = translator_of(request)
        explained = "" if translator.known(problem.detail) else translator(EXPLAINED.get(problem.status, ""))
        page = render(request, "error.html", {**document, "explained": explained})
        return Response(page, problem.status, headers, media_type="text/html")
    return JSONResponse(document, problem.status, headers, media_type="application/problem+json")


def problem_of(error: Exception) -> Problem:
    """Return the problem that a caller gets for an error; a failure of ours is logged, and has no details."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        return _routing(error)
    if (refused := refusal_of(error)) is not None:
        return refused
    status = _status(error)
    if isinstance(error, NotAdmitted | QuotaUsedUp):
        return Problem(status, str(error), headers={"Retry-After": str(error.retry_after)})
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        _LOGGER.error("request failed", exc_info=error)
        return Problem(status, "the server failed on this request; its log names the request id")
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        _LOGGER.error("unavailable: %s", error)
    return Problem(status, _detail_of(error), headers=_RETRY.get(status))


def problem_of_failure(job: Job) -> Problem:
    """Return what a failed job's results answer: the status and type fit its reason (18-062r2, job-results-failed)."""
    status = _FAULTS.get(job.fault, HTTPStatus.INTERNAL_SERVER_ERROR)
    type_ = INVALID_PARAMETER if status is HTTPStatus.BAD_REQUEST else "about:blank"
    return Problem(status, job.message or "the job failed", type_=type_, jobID=job.id)


def _status(error: Exception) -> HTTPStatus:
    for kind in type(error).__mro__:
        if kind in STATUSES:
            return STATUSES[kind]
    if isinstance(error, GenericError):
        return HTTPStatus(error.http_status_code)
    return HTTPStatus.INTERNAL_SERVER_ERROR


def _detail_of(error: Exception) -> str:
    """Ours are made for the caller, but for what names files; pygeoapi's keep that part apart."""
    if isinstance(error, BrokenSource | ProviderConnectionError | InvalidPluginError):
        return "what this is read from is missing or malformed at present"
    return str(error.message) if isinstance(error, GenericError) else str(error)


def _routing(error: HTTPException) -> Problem:
    status = HTTPStatus(error.status_code)
    if status is HTTPStatus.NOT_FOUND:
        return Problem(status, "there is nothing at this address", type_=NOT_FOUND, headers=error.headers)
    return Problem(status, error.detail, headers=error.headers)


def prefers_page(request: Request) -> bool:
    """Say whether the answer is to be a page: a GET of a browser, a form that it sends, or `f=html`."""
    if request.method != "GET" and not is_form(request):
        return False
    if "f" in request.query_params:
        return request.query_params["f"] == "html"
    return choose_for(request, ("application/problem+json", "text/html")) == "text/html"


def allowed_methods(routes: Sequence[BaseRoute], scope: Scope) -> tuple[str, ...]:
    """Return the methods of all routes at this path and OPTIONS; none for an unknown path."""
    found = {
        method
        for route in routes
        if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
    return tuple(sorted(found | {"OPTIONS"})) if found else ()


async def _handle(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    says_itself = isinstance(error, Problem) and "Allow" in error.headers
    if problem.status is HTTPStatus.METHOD_NOT_ALLOWED and not says_itself:
        problem.headers["Allow"] = ", ".join(allowed_methods(request.app.routes, request.scope))
    return answer(request, problem)


Handler = Callable[[Request, Exception], Awaitable[Response]]

_KNOWN = (Problem, HTTPException, ProductError, OrchestrationError, LimitExceeded, RestrictionUnsupported, GenericError)
HANDLERS: Mapping[Any, Handler] = dict.fromkeys(_KNOWN, _handle)
"""For Starlette; `routes.middleware.bounds` answers errors of other classes."""
