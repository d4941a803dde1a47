"""Airflow plugin that sends an event to the server when the run of an order ends.

It runs in Airflow's scheduler and API server. Events are best effort, as the server also polls runs. They are signed
as Standard Webhooks with LANDCAST_AIRFLOW_KEY and sent to LANDCAST_SERVER_URL; if one of them is empty, none are sent.
"""

import json
import logging
import os
import threading
import time
import urllib.error
import urllib.request
import uuid
from http.client import HTTPException
from queue import Full, Queue
from typing import TYPE_CHECKING, Any, override

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from orchestration.notifications.signature import key_of, sign
from orchestration.runners import is_run

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

TIMEOUT = 2.0
"""Seconds for each step of the server's reply."""
WAITING = 1000
"""Maximum number of queued events; more are dropped."""

_log = logging.getLogger(__name__)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    @override
    def redirect_request(self, *_: Any) -> None:
        """Follow no redirect with an event that is signed for the server."""


class EventSender:
    """Sends events in a thread; `send` returns at once and never raises."""

    def __init__(self, url: str, secret: str) -> None:
        self._url = f"{url.rstrip('/')}/airflow/events"
        self._key = key_of(secret)
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
        self._events: Queue[dict[str, str]] = Queue(WAITING)
        self._process = 0

    def send(self, event: dict[str, str]) -> None:
        """Queue the event, or drop it if the queue is full."""
        self._start()
        try:
            self._events.put_nowait(event)
        except Full:
            _log.warning("the event of run %s is dropped: the server is slow", event["run"])

    def _start(self) -> None:
        """Start the thread in this process, as threads do not survive a fork."""
        if self._process != os.getpid():
            self._process, self._events = os.getpid(), Queue(WAITING)
            threading.Thread(target=self._run, args=(self._events,), name="landcast events", daemon=True).start()

    def _run(self, events: "Queue[dict[str, str]]") -> None:
        while True:
            event = events.get()
            try:
                self._post(json.dumps(event).encode())
            except (OSError, HTTPException) as error:
                _log.warning("the event of run %s was not accepted: %s", event["run"], type(error).__name__)

    def _post(self, body: bytes) -> None:
        headers = {"content-type": "application/json", **sign(self._key, str(uuid.uuid4()), int(time.time()), body)}
        request = urllib.request.Request(self._url, body, headers)  # noqa: S310 - the operator's own address
        try:
            self._opener.open(request, timeout=TIMEOUT).close()
        except urllib.error.HTTPError as refused:
            refused.close()
            raise


class Listener:
    """Airflow's listener for the end of a run, called in the scheduler's loop."""

    def __init__(self, sender: EventSender) -> None:
        self._sender = sender

    @hookimpl
    def on_dag_run_success(self, dag_run: "DagRun", msg: str) -> None:  # noqa: ARG002 - Airflow calls by name
        """Send the event of a successful run."""
        self._ended(dag_run, "success")

    @hookimpl
    def on_dag_run_failed(self, dag_run: "DagRun", msg: str) -> None:  # noqa: ARG002 - likewise
        """Send the event of a failed or stopped run."""
        self._ended(dag_run, "failed")

    def _ended(self, dag_run: "DagRun", state: str) -> None:
        if is_run(dag_run.run_id):
            self._sender.send({"dag": dag_run.dag_id, "run": dag_run.run_id, "state": state})


def _listeners() -> list[Listener]:
    url, secret = os.environ.get("LANDCAST_SERVER_URL", ""), os.environ.get("LANDCAST_AIRFLOW_KEY", "")
    return [Listener(EventSender(url, secret))] if url and secret else []


class LandcastPlugin(AirflowPlugin):  # type: ignore[misc] # Airflow is not in the server's environment
    """The plugin that Airflow loads."""

    name = "landcast"
    listeners = _listeners()
