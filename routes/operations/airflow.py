"""Airflow: events of its runs, and its health. Events are not trusted: the run is looked up."""

from datetime import UTC, datetime
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from auth.client_address import client_address
from auth.throttle import TooManyFailures
from orchestration.notifications.signature import NotSigned, verify
from orchestration.runners import is_run
from orchestration.store.database import unavailable
from routes.guard import NOTHING, GuardedRoute
from routes.http.body import parse_object, read_json
from routes.http.problem import Problem
from routes.query.parameters import allow_parameters
from routes.resources import AirflowEvents, resources_of

_LARGEST = 4096


async def _read(request: Request) -> bytes:
    allow_parameters(request, one_form=True)
    return await read_json(request, _LARGEST)


def post_event(request: Request) -> Response:
    """Make the worker look up the run of an event of Airflow; other runs are ignored."""
    body: bytes = request.state.body
    events = _events_of(request)
    _check(request, events, body)
    run = parse_object(body, such_as='{"run": …}').get("run")
    if not isinstance(run, str):
        raise Problem(HTTPStatus.BAD_REQUEST, "member 'run': missing, or no text: the name of a run")
    if is_run(run):
        _tell(events, run)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _events_of(request: Request) -> AirflowEvents:
    events: AirflowEvents | None = resources_of(request).airflow_events
    if events is None:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "there is no key that events could be signed with")
    return events


def _check(request: Request, events: AirflowEvents, body: bytes) -> None:
    """Raise the Problem for an event that is not signed or too old; repeated failures are slowed."""
    attempt = events.throttle.attempt(_address_of(request), "", request.headers.get("webhook-signature", ""))
    try:
        events.throttle.admit(attempt)
        verify(events.key, request.headers, body, datetime.now(UTC).timestamp())
    except TooManyFailures as error:
        headers = {"Retry-After": str(error.seconds)}
        raise Problem(HTTPStatus.TOO_MANY_REQUESTS, str(error), headers=headers) from error
    except NotSigned as error:
        events.throttle.failed(attempt)
        raise Problem(HTTPStatus.BAD_REQUEST, str(error)) from error


def _address_of(request: Request) -> str:
    proxies = request.app.state.settings.server.proxies
    peer = request.client.host if request.client else ""
    return client_address(peer, request.headers.getlist("x-forwarded-for"), proxies)


def _tell(events: AirflowEvents, run: str) -> None:
    with unavailable():
        events.tell(run)


routes = [GuardedRoute("/airflow/events", post_event, needs=NOTHING, threads="light", body=_read, methods=["POST"])]
