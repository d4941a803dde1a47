"""The orders as external back ends tell how they stand: the one old call that has no counterpart in OGC's."""

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth.audit import audit_event
from auth.identity import current_identity
from orchestration.backend import BackendUpdate
from orchestration.job import Job
from orchestration.status_info import status_info
from routes.guard import UPDATE_JOB, GuardedRoute
from routes.http.body import read_json
from routes.http.unknown import no_such_job
from routes.processes.order_update import read_update
from routes.processes.own_job import own_job, waiting
from routes.query.parameters import allow_parameters
from routes.resources import resources_of

_PRIVATE = {"Cache-Control": "private, no-cache"}


async def update(request: Request) -> Response:
    """Bring the order to what its back end says and answer how it then stands."""
    allow_parameters(request, one_form=True)
    resources, job = resources_of(request), own_job(request)
    body = await read_json(request)
    said = await anyio.to_thread.run_sync(read_update, body, job, resources.mailing, limiter=resources.heavy)
    now = await anyio.to_thread.run_sync(resources.store.update, job.id, said, limiter=resources.light)
    if now is None:
        raise no_such_job(job.id)
    _note(job, said)
    return JSONResponse(status_info(now, resources.url), headers={**_PRIVATE, **waiting(now)})


def _note(job: Job, said: BackendUpdate) -> None:
    """Write down who told what, beside the guard's line on who may; the caller of an open server is nobody."""
    identity = current_identity.get()
    if identity.method != "local":
        audit_event(identity.owner, "update-order", job=job.id, resource=job.order.process, status=said.status.value)


routes = [GuardedRoute("/orders/{job_id}", update, needs=UPDATE_JOB, methods=["PUT"])]
