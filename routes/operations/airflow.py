"""Airflow: what it tells of its runs, and whether it works. Nothing that it tells is believed: the run is looked at."""

from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

import anyio
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


async def post_event(request: Request) -> Response:
    """Have the run looked at that Airflow tells of; of runs that are none of ours nothing is done."""
    allow_parameters(request, one_form=True)
    body = await read_json(request, _LARGEST)
    events = _events_of(request)
    _check(request, events, body)
    read = partial(parse_object, body, such_as='{"run": …}')
    run = (await anyio.to_thread.run_sync(read, limiter=resources_of(request).light)).get("run")
    if not isinstance(run, str):
        raise Problem(HTTPStatus.BAD_REQUEST, "member 'run': missing, or no text: the name of a run")
    if is_run(run):
        await anyio.to_thread.run_sync(_tell, events, run, limiter=resources_of(request).light)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _events_of(request: Request) -> AirflowEvents:
    events: AirflowEvents | None = resources_of(request).airflow_events
    if events is None:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "there is no key that events could be signed with")
    return events


def _check(request: Request, events: AirflowEvents, body: bytes) -> None:
    """Raise the Problem for what is not signed, or too old; who fails often is slowed."""
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


routes = [GuardedRoute("/airflow/events", post_event, needs=NOTHING, methods=["POST"])]
