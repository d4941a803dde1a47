"""Execute a process: the order is durable before it is answered (18-062r2, 7.11)."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth.access import Access, Action, Limits, Verdict, current_verdict
from auth.identity import ANONYMOUS, Identity, current_identity
from auth.policy import (
    LimitExceeded,
    audit,
    fulfilled_limits,
    km2_of,
    refuse_restriction,
)
from orchestration.errors import QuotaUsedUp, TooManyOpenOrders
from orchestration.files.usage import readable_size
from orchestration.job import QUOTAS, UNFINISHED, Job, Manifest, Order, OrderUnit, status_info
from orchestration.quota import UNBOUNDED, Quota, check_quotas, described
from orchestration.trace import OrderTraces, current_trace
from orchestration.units import UnitInvalid, unit_of
from orchestration.work import REFUSED
from processes.base import Processor, check_handed_over
from processes.errors import InvalidInput
from processes.messages import shown
from products.catalogue import Catalogue
from routes.guard import GuardedRoute, on_process, permit
from routes.http.body import media_type_of, parse_object, read_body, read_json
from routes.http.form import FORM
from routes.http.language import in_same_language
from routes.http.problem import INVALID_PARAMETER, Problem, bad_member, no_such_job
from routes.processes.delivery import check_outputs, deliver
from routes.processes.form import execution_of
from routes.processes.subscribers import SEND_MAIL, callbacks_of, with_messages
from routes.processes.visible import in_sight
from routes.query.parameters import Preferences, allow_parameters, read_preferences
from routes.resources import Resources, resources_of

_FIRST_LOOK, _LAST_LOOK, _SLOWER = 0.02, 0.25, 1.3
"""Seconds between two looks at a job that is waited for, and how they grow."""


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """The quotas of an order's caller, one of which it must keep to, its area, None if no day counts it, and bytes."""

    quotas: tuple[Quota, ...] = ()
    km2: float | None = None
    size: int = 0


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
    """Store the order, then answer as the mode says; a caller who goes away changes nothing of the order.

    A form of a page is sent on to the page of its job, unless its result is waited for.
    """
    allow_parameters(request)
    resources = resources_of(request)
    process = resources.processor(request.path_params["process_id"])
    of_page = media_type_of(request) == FORM
    body = await (read_body(request) if of_page else read_json(request))
    checked = await resources.in_heavy(partial(_checked, request, resources, process, body, of_page=of_page))
    job = await resources.in_light(_stored, resources, *checked)
    _trace_ready(request, job)
    if of_page and "async-execute" in process.metadata["jobControlOptions"]:
        address = in_same_language(request, f"{resources.url}/jobs/{job.id}?f=html")
        return Response(status_code=HTTPStatus.SEE_OTHER, headers={"Location": address})
    preferences = read_preferences(request)
    mode = choose_mode(process, preferences, resources.wait)
    job = await _look(resources, job, mode.wait)
    if job.status not in UNFINISHED and (mode.wait or mode.gives_up):
        headers = {**_applied(mode, preferences), **_monitor(job, resources.url)}
        return await resources.in_heavy(partial(deliver, request, job, headers=headers))
    if mode.gives_up:
        raise _too_long(job, resources)
    headers = {**_applied(mode, preferences, accepted=True), "Location": f"{resources.url}/jobs/{job.id}"}
    return JSONResponse(status_info(job, resources.url), HTTPStatus.CREATED, headers)


def _checked(
    request: Request, resources: Resources, process: Processor, body: bytes, *, of_page: bool
) -> tuple[Order, Manifest | None, QuotaUse]:
    """Return the order, what is ready of it, and what it counts as.

    Products and features of collections that the caller does not see are not there; what an order reads must be theirs
    as a whole. Raises Problem, LimitExceeded, BrokenSource, RestrictionUnsupported.
    """
    visible = {collection.id for collection in resources.visible_collections()}
    everything = visible == resources.collections.keys()
    seen = resources.shown if everything else resources.catalogue.seen(visible)
    execution = Execution(execution_of(request, body, process.metadata["inputs"]) if of_page else body)
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
        order, counted = _with_refusal(resources, process, order), _limits_of_asking(resources, process, order)
    else:
        counted = _within_limits(process, order, seen)
        order = resources.mailing.add_to(order) if SEND_MAIL in order.inputs else order
    if process.raster is not None:
        order = in_sight(resources, process, order)
    order = with_messages(order, resources.broker, resources.announced) if resources.broker else order
    return order, process.ready(order.inputs, resources.catalogue, resources.prebuilt), counted


def _stored(resources: Resources, order: Order, manifest: Manifest | None, counted: QuotaUse) -> Job:
    """Return the job of an order; this waits for the database. Raises TooManyOpenOrders, QuotaUsedUp."""
    try:
        return resources.admission.take(order, manifest, quotas=counted.quotas, km2=counted.km2, size=counted.size)
    except (TooManyOpenOrders, QuotaUsedUp) as error:
        _note_refusal(order, error)
        raise


def _trace() -> str | None:
    """Return the `traceparent` that an order of this request is stored with, None if its trace is not recorded."""
    context = current_trace.get()
    return context.text if context is not None and context.sampled else None


def _trace_ready(request: Request, job: Job) -> None:
    """Record the span of an order of this request that no worker will see, as it is finished already."""
    traces: OrderTraces | None = request.app.state.order_traces
    if traces is not None and job.finished is not None and job.order.trace == _trace() is not None:
        traces.finished(job, job.status)


def _within_limits(process: Processor, order: Order, catalogue: Catalogue) -> QuotaUse:
    """Return what the order counts as. Raises LimitExceeded."""
    try:
        return _counted(current_verdict.get().limits, process, order, catalogue)
    except LimitExceeded as error:
        _note_refusal(order, error)
        raise


def _counted(alternatives: Sequence[Limits], process: Processor, order: Order, catalogue: Catalogue) -> QuotaUse:
    place = process.place(order.inputs, catalogue)
    fulfilled = fulfilled_limits(alternatives, place)
    quotas = tuple(Quota(limits.open_orders, limits.km2_a_day, limits.bytes_a_day) for limits in fulfilled)
    if UNBOUNDED in quotas:
        return QuotaUse((), km2_of(place))
    size = process.size(order.inputs, catalogue) if any(each.bytes is not None for each in quotas) else 0
    return QuotaUse(_large_enough(quotas, size), km2_of(place), size)


def _large_enough(quotas: tuple[Quota, ...], size: int) -> tuple[Quota, ...]:
    """Return the quotas that a result of this size keeps to by itself. Raises LimitExceeded if there is none."""
    enough = tuple(quota for quota in quotas if quota.bytes is None or size <= quota.bytes)
    if quotas and not enough:
        most = readable_size(max(quota.bytes or 0 for quota in quotas))
        expected = f"the result is expected to have {readable_size(size)}"
        raise LimitExceeded(f"{expected}; you may order at most {most} a day (bytes-a-day)")
    return enough


def _limits_of_asking(resources: Resources, process: Processor, order: Order) -> QuotaUse:
    """Return as `_within_limits`, for no day; none if the estimated process has the same limits, which are reported."""
    ordering = resources.policy(current_identity.get(), Access(Action.EXECUTE, process.asks_of))
    if ordering.allowed and ordering.limits == current_verdict.get().limits:
        return QuotaUse()
    return QuotaUse(_within_limits(process, order, resources.catalogue).quotas)


def _note_refusal(order: Order, error: Exception) -> None:
    """Log that an order that the policy allows exceeds one of its limits."""
    refused = Verdict(allowed=False, reason=str(error), rule=current_verdict.get().rule)
    audit(current_identity.get(), Access(Action.EXECUTE, order.process), refused)


def _permit_reading(request: Request, collections: Iterable[str]) -> None:
    """Check that the caller may read all items of these collections. Raises the refusal, RestrictionUnsupported."""
    for collection_id in collections:
        refuse_restriction(permit(request, Access(Action.READ_ITEMS, collection_id)))


def _with_refusal(resources: Resources, process: Processor, order: Order) -> Order:
    """Return an order of an estimate with what is left of the quotas, and why the estimated order would be refused."""
    beyond, quotas = _beyond(resources, process, order)
    order = replace(order, inputs={**order.inputs, QUOTAS: quotas}) if quotas else order
    refusal = (
        order.inputs.get(REFUSED)
        or beyond
        or resources.mailing.refusal_of(order)
        or resources.admission.refusal(process.asks_of or order.process)
    )
    return replace(order, inputs={**order.inputs, REFUSED: refusal}) if refusal else order


def _beyond(resources: Resources, process: Processor, order: Order) -> tuple[str | None, list[dict[str, Any]]]:
    """Return why the policy or one of its limits forbids the estimated order, or None; and what is left of quotas."""
    identity = current_identity.get()
    if not resources.policy(identity, Access(Action.DISCOVER, process.asks_of)).allowed:
        return "there is no process that you could order this with", []
    verdict = resources.policy(identity, Access(Action.EXECUTE, process.asks_of))
    left: list[dict[str, Any]] = []
    try:
        counted = _counted(verdict.limits, process, order, resources.catalogue)
        if verdict.allowed and counted.quotas:
            used = resources.store.used(identity.owner)
            left = described(counted.quotas, used)
            check_quotas(counted.quotas, used, counted.km2, counted.size)
    except (LimitExceeded, TooManyOpenOrders, QuotaUsedUp) as error:
        return verdict.reason or str(error), left
    return verdict.reason or None, left


async def _look(resources: Resources, job: Job, seconds: float) -> Job:
    """Return the job once it is finished, else as it is after so many seconds; no thread is held in between."""
    pause, end = _FIRST_LOOK, anyio.current_time() + seconds
    while job.status in UNFINISHED and anyio.current_time() < end:
        await anyio.sleep(min(pause, end - anyio.current_time()))
        pause = min(pause * _SLOWER, _LAST_LOOK)
        found = await resources.in_light(resources.store.get, job.id)
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


_MEMBERS = ("inputs", "outputs", "response", "subscriber", "unit")
_RESPONSES = ("raw", "document")
_KEY = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True, slots=True)
class Execution:
    """The body of an execution as JSON. Raises the 400 Problem where it is none."""

    body: bytes
    document: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "document", parse_object(self.body))

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The inputs by name, not checked, those that are qualified (`{"value": …}`) by their value."""
        inputs = _member(self.document, "inputs")
        return {
            name: value["value"] if isinstance(value, dict) and "value" in value else value
            for name, value in inputs.items()
        }


def read_order(
    execution: Execution, processor: Processor, *, catalogue: Catalogue, identity: Identity, key: str | None
) -> Order:
    """Return the order that an execution asks for, checked down to the area. Raises the 400 Problem; BrokenSource."""
    document, body = execution.document, execution.body
    _check_members(document)
    outputs = _member(document, "outputs")
    if outputs:
        check_outputs(processor, outputs)
    notices = callbacks_of(document) if "subscriber" in document else ()
    process = str(processor.metadata["id"])
    return Order(
        process=process,
        inputs=_inputs(processor, _member(document, "inputs"), catalogue),
        owner=identity.owner,
        outputs=outputs or None,
        response=document.get("response", "raw"),
        email=identity.email,
        idempotency_key=_checked_key(key, identity),
        request_hash=hashlib.sha256(process.encode() + b"\n" + body).hexdigest(),
        notices=notices,
        unit=_unit(document),
        trace=_trace(),
    )


def _unit(document: Mapping[str, Any]) -> OrderUnit | None:
    try:
        return unit_of(document["unit"]) if "unit" in document else None
    except UnitInvalid as error:
        raise bad_member("unit", document["unit"], str(error)) from error


def _inputs(processor: Processor, inputs: Mapping[str, Any], catalogue: Catalogue) -> Mapping[str, Any]:
    try:
        checked = processor.check(inputs, catalogue)
        if processor.hands_over:
            check_handed_over(checked)
    except InvalidInput as error:
        raise Problem(HTTPStatus.BAD_REQUEST, error.message, type_=INVALID_PARAMETER, input=error.input) from error
    return checked


def _check_members(document: Mapping[str, Any]) -> None:
    unknown = next((name for name in document if name not in _MEMBERS), None)
    if unknown is not None:
        raise bad_member(shown(unknown), document[unknown], f"the members {', '.join(_MEMBERS)}")
    if document.get("response", "raw") not in _RESPONSES:
        raise bad_member("response", document["response"], " or ".join(_RESPONSES))


def _member(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name, {})
    if not isinstance(value, dict):
        raise bad_member(name, value, f"an object of {name} by their id")
    return value


def _checked_key(key: str | None, identity: Identity) -> str | None:
    """Return the key; refuse it for unknown callers, who share one owner, so a key could lead to another's job."""
    if key is not None and identity.method == ANONYMOUS.method:
        raise bad_member("Idempotency-Key", key, "none without a login")
    if key is not None and not _KEY.fullmatch(key):
        raise bad_member("Idempotency-Key", key, "1 to 255 visible ASCII characters")
    return key


routes = [
    GuardedRoute("/processes/{process_id}/execution", execute, needs=on_process(Action.EXECUTE), methods=["POST"])
]
