"""Execute a process: the order is durable before it is answered (18-062r2, 7.11)."""

from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from auth.identity import current_identity
from orchestration.house import House
from orchestration.job import UNFINISHED, Job, Order
from orchestration.status_info import status_info
from orchestration.work import REFUSED
from processes.base import Processor
from routes.body import read_json
from routes.delivery import deliver
from routes.execution_request import read_order
from routes.own_job import no_such_job
from routes.parameters import allow_parameters
from routes.prefer import Preferences, read_preferences
from routes.problem import Problem
from routes.processes import processor_of
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
    process = processor_of(resources.api, request.path_params["process_id"])
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
    read = partial(
        read_order,
        await read_json(request),
        process,
        catalogue=resources.catalogue,
        identity=current_identity.get(),
        key=request.headers.get("idempotency-key"),
    )
    order = await anyio.to_thread.run_sync(read, limiter=resources.heavy)
    add = resources.mailing.add_to if process.orders else partial(_note_refusal, resources)
    order = await anyio.to_thread.run_sync(add, order, limiter=resources.light)
    ready = partial(process.ready, order.inputs, resources.catalogue, House(resources.results.root))
    manifest = await anyio.to_thread.run_sync(ready, limiter=resources.light)
    return await anyio.to_thread.run_sync(resources.room.take, order, manifest, limiter=resources.light)


def _note_refusal(resources: Resources, order: Order) -> Order:
    """Return an order that only asks about another, with why that would be refused where it would."""
    refusal = order.inputs.get(REFUSED) or resources.mailing.refusal_of(order) or resources.room.refusal()
    return replace(order, inputs={**order.inputs, REFUSED: refusal}) if refusal else order


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


routes = [Route("/processes/{process_id}/execution", execute, methods=["POST"])]
