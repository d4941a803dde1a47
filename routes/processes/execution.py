"""Execute a process: the order is durable before it is answered (18-062r2, 7.11)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth.access import Access, Action, Verdict, current_verdict
from auth.audit import audit
from auth.identity import current_identity
from auth.limits import LimitExceeded, max_open
from orchestration.errors import TooManyOpenOrders
from orchestration.job import UNFINISHED, Job, Order
from orchestration.prebuilt.product import PrebuiltProducts
from orchestration.status_info import status_info
from orchestration.work import REFUSED
from plugins.restriction import refuse_restriction
from processes.base import Processor
from products.catalogue import Catalogue
from routes.guard import GuardedRoute, on_process, permit
from routes.http.body import read_json
from routes.http.prefer import Preferences, read_preferences
from routes.http.problem import Problem, no_such_job
from routes.processes.delivery import deliver
from routes.processes.execution_request import Execution, read_order
from routes.processes.processes import processor_of
from routes.query.parameters import allow_parameters
from routes.resources import Resources, resources_of

_FIRST_LOOK, _LAST_LOOK, _SLOWER = 0.02, 0.25, 1.3
"""Seconds between two looks at a job that is waited for, and how they grow."""


@dataclass(frozen=True, slots=True)
class Mode:
    """How to answer: wait so many seconds for the result, then give up (504) or answer that it is accepted (201)."""

    wait: float
    gives_up: bool


def choose_mode(process: Processor, preferences: Preferences, most: float) -> Mode:
    """Return the mode of /req/core/process-execute-default-execution-mode and …-auto-execution-mode."""
    options = process.metadata["jobControlOptions"]
    if "sync-execute" not in options:
        return Mode(0, gives_up=False)
    wait = most if preferences.wait is None else min(most, preferences.wait)
    if "async-execute" not in options or not preferences.respond_async:
        return Mode(wait, gives_up=True)
    return Mode(0 if preferences.wait is None else wait, gives_up=False)


async def execute(request: Request) -> Response:
    """Store the order, then answer as the mode says; a caller who goes away changes nothing of the order."""
    allow_parameters(request)
    resources = resources_of(request)
    process = processor_of(resources, request.path_params["process_id"])
    job = await _ordered(request, process)
    preferences = read_preferences(request)
    mode = choose_mode(process, preferences, resources.wait)
    job = await _look(resources, job, mode.wait)
    if job.status not in UNFINISHED and (mode.wait or mode.gives_up):
        headers = {**_applied(mode, preferences), **_monitor(job, resources.url)}
        return await deliver(request, job, headers=headers)
    if mode.gives_up:
        raise _too_long(job, resources)
    headers = {**_applied(mode, preferences, accepted=True), "Location": f"{resources.url}/jobs/{job.id}"}
    return JSONResponse(status_info(job, resources.url), HTTPStatus.CREATED, headers)


async def _ordered(request: Request, process: Processor) -> Job:
    resources = resources_of(request)
    body = await read_json(request)
    order, open_orders = await anyio.to_thread.run_sync(_admitted, request, process, body, limiter=resources.heavy)
    ready = partial(process.ready, order.inputs, resources.catalogue, PrebuiltProducts(resources.results.root))
    manifest = await anyio.to_thread.run_sync(ready, limiter=resources.light)
    take = partial(resources.admission.take, order, manifest, max_open=open_orders)
    try:
        return await anyio.to_thread.run_sync(take, limiter=resources.light)
    except TooManyOpenOrders as error:
        _note_refusal(order, error)
        raise


def _admitted(request: Request, process: Processor, body: bytes) -> tuple[Order, int | None]:
    """Return the order, checked and inside of its caller's limits, and how many unfinished ones they may have.

    Products and features of collections that the caller does not see are not there; what an order reads must be theirs
    as a whole. Raises Problem, LimitExceeded, BrokenSource, RestrictionUnsupported.
    """
    resources = resources_of(request)
    visible = {collection.id for collection in resources.visible_collections()}
    seen = resources.catalogue.seen(visible)
    execution = Execution(body)
    asked = set(process.reads(execution.inputs)) & visible
    _permit_reading(request, asked)
    order = read_order(
        execution,
        process,
        catalogue=seen,
        identity=current_identity.get(),
        key=request.headers.get("idempotency-key"),
    )
    _permit_reading(request, set(process.reads(order.inputs)) - asked)
    if process.asks_of is not None:
        return _told_why_refused(resources, process, order), _limits_of_asking(resources, process, order)
    return resources.mailing.add_to(order), _within_limits(process, order, seen)


def _within_limits(process: Processor, order: Order, catalogue: Catalogue) -> int | None:
    """Return how many unfinished orders the caller may have. Raises LimitExceeded."""
    try:
        return max_open(current_verdict.get().limits, process.place(order.inputs, catalogue))
    except LimitExceeded as error:
        _note_refusal(order, error)
        raise


def _limits_of_asking(resources: Resources, process: Processor, order: Order) -> int | None:
    """Return what `_within_limits` does; but limits that the order asked of has too are told, not kept to."""
    ordering = resources.policy(current_identity.get(), Access(Action.EXECUTE, process.asks_of))
    if ordering.allowed and ordering.limits == current_verdict.get().limits:
        return None
    return _within_limits(process, order, resources.catalogue)


def _note_refusal(order: Order, error: Exception) -> None:
    """Write down that an order which the policy allows is beyond one of its limits."""
    refused = Verdict(allowed=False, reason=str(error), rule=current_verdict.get().rule)
    audit(current_identity.get(), Access(Action.EXECUTE, order.process), refused)


def _permit_reading(request: Request, collections: Iterable[str]) -> None:
    """Let an order at the items of these collections, all of them. Raises the refusal, RestrictionUnsupported."""
    for collection_id in collections:
        refuse_restriction(permit(request, Access(Action.READ_ITEMS, collection_id)))


def _told_why_refused(resources: Resources, process: Processor, order: Order) -> Order:
    """Return an order that only asks of another with why that would be refused, where it would."""
    refusal = (
        order.inputs.get(REFUSED)
        or _beyond(resources, process, order)
        or resources.mailing.refusal_of(order)
        or resources.admission.refusal(process.asks_of or order.process)
    )
    return replace(order, inputs={**order.inputs, REFUSED: refusal}) if refusal else order


def _beyond(resources: Resources, process: Processor, order: Order) -> str | None:
    """Return what the policy or a limit of it says against an order of what is asked of."""
    identity = current_identity.get()
    if not resources.policy(identity, Access(Action.DISCOVER, process.asks_of)).allowed:
        return "there is no process that you could order this with"
    verdict = resources.policy(identity, Access(Action.EXECUTE, process.asks_of))
    try:
        max_open(verdict.limits, process.place(order.inputs, resources.catalogue))
    except LimitExceeded as error:
        return verdict.reason or str(error)
    return verdict.reason or None


async def _look(resources: Resources, job: Job, seconds: float) -> Job:
    """Return the job once it is finished, else as it is after so many seconds; no thread is held in between."""
    pause, end = _FIRST_LOOK, anyio.current_time() + seconds
    while job.status in UNFINISHED and anyio.current_time() < end:
        await anyio.sleep(min(pause, end - anyio.current_time()))
        pause = min(pause * _SLOWER, _LAST_LOOK)
        found = await anyio.to_thread.run_sync(resources.store.get, job.id, limiter=resources.light)
        if found is None:
            raise no_such_job(job.id)
        job = found
    return job


def _applied(mode: Mode, preferences: Preferences, *, accepted: bool = False) -> dict[str, str]:
    """Name the preferences that were honoured in full (RFC 7240, section 3)."""
    asynchronous = ["respond-async"] if accepted and preferences.respond_async else []
    waited = [f"wait={preferences.wait}"] if mode.wait == preferences.wait else []
    return {"Preference-Applied": ", ".join(asynchronous + waited)} if asynchronous or waited else {}


def _monitor(job: Job, url: str) -> dict[str, str]:
    return {"Link": f'<{url}/jobs/{job.id}>; rel="monitor"'}


def _too_long(job: Job, resources: Resources) -> Problem:
    return Problem(
        HTTPStatus.GATEWAY_TIMEOUT,
        f"the process is not done yet; it goes on as job {job.id}",
        headers=_monitor(job, resources.url),
        jobID=job.id,
    )


routes = [
    GuardedRoute("/processes/{process_id}/execution", execute, needs=on_process(Action.EXECUTE), methods=["POST"])
]
