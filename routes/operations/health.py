"""Whether the server lives and whether it can do its work."""

from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth.access import Access, Action
from auth.identity import current_identity
from orchestration.errors import StoreUnavailable
from orchestration.full import RESERVE, free_bytes
from orchestration.heartbeat import heartbeat_age
from routes.guard import NOTHING, GuardedRoute
from routes.query.parameters import allow_parameters
from routes.resources import is_listed, processes_of, resources_of

_COLLECTION = "collection:"
_LATE = 15
"""Seconds without a sign of the worker after which it is not well."""
_SOON = 15
"""Seconds after which what orders need may be there again."""


async def get_live(request: Request) -> Response:
    """Answer 200 as long as this process answers at all."""
    allow_parameters(request, one_form=True)
    return _answer({"status": "ok"}, HTTPStatus.OK)


def get_ready(request: Request) -> Response:
    """Answer with each dependency by name, always 200: while orders wait, collections are still served."""
    allow_parameters(request, one_form=True)
    checks, others = _both(request)
    document = {
        "status": "ok" if _is_well(checks | others) else "degraded",
        "orders": "ok" if _is_well(checks) else "down",
        "open": request.app.state.settings.auth.open,
        "checks": _permitted_details(checks | others, request),
    }
    return _answer(document, HTTPStatus.OK)


def get_orders(request: Request) -> Response:
    """Answer with what orders need by name: 200, or 503 while an order would be refused or would wait."""
    allow_parameters(request, one_form=True)
    checks = _checks_of_orders(request)
    down = not _is_well(checks)
    document = {"status": "down" if down else "ok", "checks": _permitted_details(checks, request)}
    answer = _answer(document, HTTPStatus.SERVICE_UNAVAILABLE if down else HTTPStatus.OK)
    if down:
        answer.headers["Retry-After"] = str(_SOON)
    return answer


def all_checks(request: Request) -> dict[str, dict[str, Any]]:
    """Return each dependency by name, with the details that administrators see."""
    checks, others = _both(request)
    return checks | others


def _both(request: Request) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return the checks of what all orders need, and those of the collections and single processes."""
    visible = resources_of(request).visible_collections()
    collections = {f"{_COLLECTION}{each.id}": _collection(each.failure()) for each in visible}
    return _checks_of_orders(request), _services(request) | _secrets(request) | collections


def _checks_of_orders(request: Request) -> dict[str, dict[str, Any]]:
    return {
        "orders": _orders(request),
        "worker": _worker(request),
        "results": _results(request),
        **_airflow(request),
    }


def _is_well(checks: dict[str, dict[str, Any]]) -> bool:
    return all(check["status"] == "ok" for check in checks.values())


def _permitted_details(checks: dict[str, dict[str, Any]], request: Request) -> dict[str, dict[str, Any]]:
    """Leave out the details, which name files and more, and what is hidden, for callers who do not administer."""
    resources = resources_of(request)
    if resources.policy(current_identity.get(), Access(Action.ADMINISTER)).allowed:
        return checks
    secret = {f"{_COLLECTION}{each.id}" for each in resources.visible_collections() if not is_listed(each.configured)}
    return {name: {"status": check["status"]} for name, check in checks.items() if name not in secret}


def _orders(request: Request) -> dict[str, Any]:
    try:
        resources_of(request).store.check_readable()
    except StoreUnavailable as error:
        return {"status": "unavailable", "detail": str(error)}
    try:
        resources_of(request).store.check_writable()
    except StoreUnavailable as error:
        return {"status": "read-only", "detail": str(error)}
    return {"status": "ok"}


def _results(request: Request) -> dict[str, Any]:
    """Tell how much there is in bytes, how much there may be, and what the disk has left."""
    admission = resources_of(request).admission
    free = free_bytes(admission.results)
    figures = {"used": admission.used(), "cap": admission.cap, "free": free}
    if free < RESERVE:
        return {"status": "full", "detail": "the disk is full: orders wait or get 503", **figures}
    if admission.is_at_cap():
        return {"status": "full", "detail": "the results have reached their cap: orders wait or get 503", **figures}
    return {"status": "ok", **figures}


def _worker(request: Request) -> dict[str, Any]:
    age = heartbeat_age(request.app.state.settings.state.dir)
    if age is None:
        return {"status": "unavailable", "detail": "no worker has been seen"}
    if age > _LATE:
        return {"status": "unavailable", "detail": f"the worker has not been seen for {age:.0f} seconds"}
    return {"status": "ok"}


def _airflow(request: Request) -> dict[str, dict[str, Any]]:
    """Tell how Airflow is, where there is one: without it orders wait, and everything else is served."""
    airflow_health = resources_of(request).airflow_health
    if airflow_health is None:
        return {}
    trouble = airflow_health.trouble()
    return {"airflow": {"status": "unavailable", "detail": trouble} if trouble else {"status": "ok"}}


def _services(request: Request) -> dict[str, dict[str, Any]]:
    """Tell which connections the available services lack, and which DAGs are paused: orders of others are done."""
    airflow_health = resources_of(request).airflow_health
    if airflow_health is None:
        return {}
    available = processes_of(resources_of(request).api)
    lacking = sorted({name for dag, names in airflow_health.lacking.items() if dag in available for name in names})
    found: dict[str, dict[str, Any]] = {}
    if lacking:
        detail = f"Airflow has no connection {', '.join(lacking)}: docs/production-services.md"
        found["services"] = {"status": "unavailable", "detail": detail}
    registry = resources_of(request).processes.registry
    if paused := sorted(airflow_health.paused & {dag for name in available for dag in registry.dags_of(name)}):
        detail = f"paused in Airflow: {', '.join(paused)}; `landcast airflow unpause` lets them run"
        found["dags"] = {"status": "paused", "detail": detail}
    return found


def _secrets(request: Request) -> dict[str, dict[str, Any]]:
    """Return whether lent credentials of the database can be renewed; until they expire, everything is served."""
    live = request.app.state.settings.live
    if live is None or live.renewer is None:
        return {}
    trouble = live.trouble()
    return {"secrets": {"status": "unavailable", "detail": trouble} if trouble else {"status": "ok"}}


def _collection(failure: str | None) -> dict[str, Any]:
    return {"status": "ok"} if failure is None else {"status": "unavailable", "detail": failure}


def _answer(document: dict[str, Any], status: HTTPStatus) -> Response:
    return JSONResponse(document, status, {"Cache-Control": "no-store"})


routes = [
    GuardedRoute("/health/live", get_live, needs=NOTHING),
    GuardedRoute("/health/ready", get_ready, needs=NOTHING, threads="light"),
    GuardedRoute("/health/orders", get_orders, needs=NOTHING, threads="light"),
]
