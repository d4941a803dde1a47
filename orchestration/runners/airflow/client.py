"""The part of Airflow's REST API that a runner needs; every failure is WorkflowRefused or WorkflowUnavailable."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any

import jwt
from airflow_client.client.api.connection_api import ConnectionApi
from airflow_client.client.api.dag_api import DAGApi
from airflow_client.client.api.dag_run_api import DagRunApi
from airflow_client.client.api.monitor_api import MonitorApi
from airflow_client.client.api.task_api import TaskApi
from airflow_client.client.api.task_instance_api import TaskInstanceApi
from airflow_client.client.api.x_com_api import XComApi
from airflow_client.client.api_client import ApiClient
from airflow_client.client.configuration import Configuration
from airflow_client.client.exceptions import ApiException, OpenApiException
from airflow_client.client.models.connection_body import ConnectionBody
from airflow_client.client.models.dag_patch_body import DAGPatchBody
from airflow_client.client.models.dag_run_mutable_states import DagRunMutableStates
from airflow_client.client.models.dag_run_patch_body import DAGRunPatchBody
from airflow_client.client.models.dag_runs_batch_body import DAGRunsBatchBody
from airflow_client.client.models.trigger_dag_run_post_body import TriggerDAGRunPostBody
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError

from orchestration.errors import WorkflowRefused, WorkflowUnavailable
from orchestration.runners.airflow import AirflowAccess
from orchestration.services import LACKING, LACKS

_ACTIVE = ("queued", "running")
_OVER = frozenset({"success", "failed"})
_TASK_OVER = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
_PAGE = 100
"""Entries of a page; Airflow returns no more by default (`maximum_page_limit`)."""
_BAD_REQUEST = 400
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _CONFLICT, _TOO_MANY, _OWN_FAULT = 401, 403, 404, 409, 429, 500
_BAD_TOKEN = "Invalid JWT token"  # noqa: S105  Airflow's text in a 403 that should be a 401
_NONSENSE = (OpenApiException, ValueError, TypeError, AttributeError, KeyError)


@dataclass(frozen=True, slots=True)
class RunSeen:
    """The state of a run in Airflow: queued, running, success or failed."""

    state: str

    @property
    def is_over(self) -> bool:
        """Whether Airflow has finished it."""
        return self.state in _OVER


@dataclass(frozen=True, slots=True)
class TaskSeen:
    """A task of a run, or one of its mapped instances, numbered from 0."""

    name: str
    number: int
    state: str
    tries: int
    began: datetime | None = None
    ended: datetime | None = None

    @property
    def is_over(self) -> bool:
        """Whether Airflow will not run it again by itself."""
        return self.state in _TASK_OVER


@dataclass(frozen=True, slots=True)
class DagSeen:
    """A DAG: whether it is paused, and which connections to services it lacks according to its tags."""

    is_paused: bool
    lacks: tuple[str, ...] = ()


class Airflow:
    """A client of Airflow's API, for several threads; every call ends within twice the timeout.

    Calls raise WorkflowUnavailable if their outcome is unknown, and WorkflowRefused if Airflow refuses them.
    """

    def __init__(self, access: AirflowAccess) -> None:
        self._access = access
        self._api = ApiClient(Configuration(host=access.url, retries=0))
        self._token = Token(self._log_in)
        self._runs, self._tasks = DagRunApi(self._api), TaskInstanceApi(self._api)
        self._dags, self._monitor = DAGApi(self._api), MonitorApi(self._api)
        self._known_tasks, self._values = TaskApi(self._api), XComApi(self._api)
        self._connections = ConnectionApi(self._api)

    def submit(self, *, dag: str, run: str, conf: Mapping[str, Any]) -> bool:
        """Start a run; return whether it is new. An existing run is not changed."""
        body = TriggerDAGRunPostBody(logical_date=None, dag_run_id=run, conf=dict(conf))
        try:
            self._call(lambda more: self._runs.trigger_dag_run(dag_id=dag, trigger_dag_run_post_body=body, **more))
        except WorkflowRefused as error:
            if error.status != _CONFLICT:
                raise
            return False
        return True

    def run(self, *, dag: str, run: str) -> RunSeen | None:
        """Return the state of a run, or None if Airflow has no run of that name."""
        try:
            found = self._call(lambda more: self._runs.get_dag_run(dag_id=dag, dag_run_id=run, **more))
        except WorkflowRefused as error:
            if error.status != _NOT_FOUND:
                raise
            return None
        return RunSeen(_word(found.state))

    def active(self, dags: Iterable[str]) -> dict[str, RunSeen]:
        """Return the unfinished runs of these DAGs by name."""
        body = {"dag_ids": sorted(dags), "states": list(_ACTIVE), "page_limit": _PAGE, "order_by": "id"}

        def page(offset: int) -> Any:
            asked = DAGRunsBatchBody.model_validate(body | {"page_offset": offset})
            return self._call(lambda m: self._runs.get_list_dag_runs_batch(dag_id="~", dag_runs_batch_body=asked, **m))

        return {each.dag_run_id: RunSeen(_word(each.state)) for each in _pages(page, "dag_runs")}

    def tasks(self, *, dag: str, run: str) -> tuple[TaskSeen, ...]:
        """Return the tasks of a run."""

        def page(offset: int) -> Any:
            given: dict[str, Any] = {"dag_id": dag, "dag_run_id": run, "limit": _PAGE, "offset": offset}
            return self._call(lambda more: self._tasks.get_task_instances(**given, **more))

        found = _pages(page, "task_instances")
        return tuple(
            TaskSeen(each.task_id, each.map_index, _word(each.state), each.try_number, each.start_date, each.end_date)
            for each in found
        )

    def leaves(self, dag: str) -> list[str]:
        """Return the tasks of a DAG without downstream tasks."""
        found = self._call(lambda more: self._known_tasks.get_tasks(dag_id=dag, **more))
        return [str(each.task_id) for each in found.tasks if not each.downstream_task_ids]

    def value(self, *, dag: str, run: str, task: str) -> Any:
        """Return the value of a task of a run, or None if it returned nothing."""
        names: dict[str, Any] = {"dag_id": dag, "dag_run_id": run, "task_id": task, "xcom_key": "return_value"}

        def ask(more: Any) -> Any:
            answer = self._values.get_xcom_entry_without_preload_content(**names, stringify=False, **more)
            body = bytes(answer.read()).decode(errors="replace")
            if answer.status >= _BAD_REQUEST:
                raise _failure(answer.status, body, "a value")
            return json.loads(body)["value"]

        try:
            return self._call(ask)
        except WorkflowRefused as error:
            if error.status != _NOT_FOUND:
                raise
            return None

    def fail(self, *, dag: str, run: str) -> None:
        """End an unfinished run; a successful one would be marked as failed too."""
        body, mask = DAGRunPatchBody(state=DagRunMutableStates.FAILED), ["state"]
        self._call(
            lambda more: self._runs.patch_dag_run(
                dag_id=dag, dag_run_id=run, dag_run_patch_body=body, update_mask=mask, **more
            )
        )

    def dags(self, wanted: Iterable[str]) -> dict[str, DagSeen]:
        """Return those of the wanted DAGs that Airflow has."""
        names = frozenset(wanted)

        def page(offset: int) -> Any:
            given: dict[str, Any] = {"limit": _PAGE, "offset": offset, "exclude_stale": True, "order_by": ["dag_id"]}
            return self._call(lambda more: self._dags.get_dags(**given, **more))

        return {each.dag_id: _dag(each) for each in _pages(page, "dags") if each.dag_id in names}

    def pause(self, dag: str, *, paused: bool) -> None:
        """Pause or unpause a DAG."""
        body = DAGPatchBody(is_paused=paused)
        self._call(lambda more: self._dags.patch_dag(dag, body, update_mask=["is_paused"], **more))

    def connect(self, name: str, members: Mapping[str, Any]) -> bool:
        """Create or replace a connection; return whether it is new. The user needs the right to change connections."""
        body = ConnectionBody.model_validate({"connection_id": name, **members})
        try:
            self._call(lambda more: self._connections.post_connection(body, **more))
        except WorkflowRefused as error:
            if error.status != _CONFLICT:
                raise
            self._call(lambda more: self._connections.patch_connection(name, body, **more))
            return False
        return True

    def is_scheduling(self) -> bool:
        """Return whether Airflow's scheduler has sent a recent heartbeat."""
        health = self._call(lambda more: self._monitor.get_health(**more))
        return bool(health.scheduler.status == "healthy")

    def close(self) -> None:
        """Close the connections."""
        self._api.rest_client.pool_manager.clear()

    def _call(self, act: Callable[[Any], Any]) -> Any:
        """Call with a token; a refused token is renewed once."""
        token = self._token()
        try:
            return self._try(act, token)
        except WorkflowRefused as error:
            if not error.is_about_the_token:
                raise
            self._token.refuse(token)
        return self._try(act, self._token())

    def _try(self, act: Callable[[Any], Any], token: str) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        return _named(lambda: act({"_headers": headers, "_request_timeout": self._access.timeout}))

    def _log_in(self) -> str:
        """Request a token; return the body of the answer."""
        who = {"username": self._access.username, "password": self._access.password}
        answer = _named(
            lambda: self._api.call_api(
                "POST",
                f"{self._access.url}/auth/token",
                {"Content-Type": "application/json", "Accept": "application/json"},
                body=who,
                _request_timeout=self._access.timeout,
            )
        )
        body = bytes(_named(answer.read)).decode(errors="replace")
        if not 200 <= answer.status < 300:  # noqa: PLR2004  what HTTP calls success
            raise _failure(answer.status, body, "the login")
        return body


def _named(act: Callable[[], Any]) -> Any:
    """Call it, and map errors to our two classes; no message contains a header or body of a request."""
    try:
        return act()
    except ApiException as error:
        if error.status:
            raise _failure(error.status, str(error.body or ""), "a request") from error
        raise WorkflowUnavailable(f"Airflow does not answer as it should: {error.reason}") from error
    except (HTTPError, OSError) as error:
        raise WorkflowUnavailable(f"Airflow does not answer: {_cause(error)}", reached=not _unsent(error)) from error
    except _NONSENSE as error:
        raise WorkflowUnavailable(f"Airflow's answer cannot be read: {type(error).__name__}", answered=True) from error


def _failure(status: int, body: str, what: str) -> WorkflowRefused | WorkflowUnavailable:
    """Return the error for a status; a 404 without Airflow's `detail` does not show that a run is missing."""
    detail = _detail(body)
    if status >= _OWN_FAULT or status == _TOO_MANY or (status == _NOT_FOUND and detail is None):
        return WorkflowUnavailable(f"Airflow answers {what} with {status}", answered=True)
    token = status == _UNAUTHORIZED or (status == _FORBIDDEN and _BAD_TOKEN in body)
    return WorkflowRefused(f"Airflow refuses {what}: {status} {detail or ''}".strip(), status, about_the_token=token)


def _detail(body: str) -> str | None:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    found = document.get("detail") if isinstance(document, dict) else None
    return None if found is None else str(found)[:300]


def _cause(error: BaseException) -> str:
    """Return the class of a connection error; its text would repeat the address."""
    inner = getattr(error, "reason", None)
    return type(inner if isinstance(inner, BaseException) else error).__name__


def _unsent(error: BaseException) -> bool:
    inner = error.reason if isinstance(error, MaxRetryError) else error
    return isinstance(inner, NewConnectionError | ConnectTimeoutError)


def _pages(page: Callable[[int], Any], members: str) -> Iterator[Any]:
    """Yield the entries of all pages."""
    offset = 0
    while True:
        answer = page(offset)
        entries = getattr(answer, members)
        yield from entries
        offset += len(entries)
        if not entries or offset >= (answer.total_entries or 0):
            return


def _dag(dag: Any) -> DagSeen:
    names = [str(tag.name) for tag in dag.tags or ()]
    lacks = tuple(name.removeprefix(LACKS) for name in names if name.startswith(LACKS) and name != LACKING)
    return DagSeen(bool(dag.is_paused), lacks)


def _word(state: Any) -> str:
    return str(getattr(state, "value", state) or "none")


_LEAST, _MOST = 0.1, 60.0
"""A token is renewed when a tenth of its life is left, at most a minute before it expires."""
_UNKNOWN_LIFE = 600.0
"""Seconds for which a token without an expiry is used."""


class Token:
    """The current token, for several threads; `fetch` returns the body of `/auth/token`.

    Its life is measured from when it was received, so the clocks of both machines may differ.
    """

    def __init__(self, fetch: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = Lock()
        self._text = ""
        self._renew_at = 0.0

    def __call__(self) -> str:
        """Return a valid token. Raises what `fetch` raises, and ValueError if its answer has no token."""
        with self._lock:
            if not self._text or self._clock() >= self._renew_at:
                self._text = _read(self._fetch())
                self._renew_at = self._clock() + _use_for(self._text)
            return self._text

    def refuse(self, text: str) -> None:
        """Discard this token after it was refused; the next call fetches another."""
        with self._lock:
            if self._text == text:
                self._text = ""


def _read(body: str) -> str:
    answer = json.loads(body)
    text = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(text, str) or not text:
        raise ValueError("no token in the answer")
    return text


def _use_for(text: str) -> float:
    try:
        claims = jwt.decode(text, options={"verify_signature": False})
        life = float(claims["exp"]) - float(claims["iat"])
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
        return _UNKNOWN_LIFE
    return life - min(_MOST, max(1.0, life * _LEAST))
