"""Tells the server at once that the run of an order ended; runs in Airflow's scheduler and in its API server.

Best effort: a run whose news is lost is found by the server's own looking. Signed as Standard Webhooks
(LANDCAST_AIRFLOW_KEY); told to LANDCAST_SERVER_URL. Where one of the two is empty, nothing is told.
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
"""Seconds that the server has for each step of taking the news."""
WAITING = 1000
"""News that wait for a server which is slow; more are dropped."""

_log = logging.getLogger(__name__)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    @override
    def redirect_request(self, *_: Any) -> None:
        """Follow nobody elsewhere with what is signed for the server."""


class Teller:
    """Tells news in a thread of its own: `tell` returns at once whatever the server does, and never raises."""

    def __init__(self, url: str, secret: str) -> None:
        self._url = f"{url.rstrip('/')}/airflow/events"
        self._key = key_of(secret)
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
        self._news: Queue[dict[str, str]] = Queue(WAITING)
        self._process = 0

    def tell(self, news: dict[str, str]) -> None:
        """Have it told, or dropped where too much waits."""
        self._start()
        try:
            self._news.put_nowait(news)
        except Full:
            _log.warning("the news of run %s is dropped: the server is slow", news["run"])

    def _start(self) -> None:
        """Start the thread in the process that tells: none comes along through a fork."""
        if self._process != os.getpid():
            self._process, self._news = os.getpid(), Queue(WAITING)
            threading.Thread(target=self._run, args=(self._news,), name="landcast news", daemon=True).start()

    def _run(self, told: "Queue[dict[str, str]]") -> None:
        while True:
            news = told.get()
            try:
                self._post(json.dumps(news).encode())
            except (OSError, HTTPException) as error:
                _log.warning("the news of run %s was not taken: %s", news["run"], type(error).__name__)

    def _post(self, body: bytes) -> None:
        headers = {"content-type": "application/json", **sign(self._key, str(uuid.uuid4()), int(time.time()), body)}
        request = urllib.request.Request(self._url, body, headers)  # noqa: S310 - the operator's own address
        try:
            self._opener.open(request, timeout=TIMEOUT).close()
        except urllib.error.HTTPError as refused:
            refused.close()
            raise


class Listener:
    """What Airflow calls when a run ends, in the loop of its scheduler."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller

    @hookimpl
    def on_dag_run_success(self, dag_run: "DagRun", msg: str) -> None:  # noqa: ARG002 - Airflow calls by name
        """Tell, where all is done."""
        self._ended(dag_run, "success")

    @hookimpl
    def on_dag_run_failed(self, dag_run: "DagRun", msg: str) -> None:  # noqa: ARG002 - likewise
        """Tell, where a task failed for good, and where somebody ended the run."""
        self._ended(dag_run, "failed")

    def _ended(self, dag_run: "DagRun", state: str) -> None:
        if is_run(dag_run.run_id):
            self._teller.tell({"dag": dag_run.dag_id, "run": dag_run.run_id, "state": state})


def _listeners() -> list[Listener]:
    url, secret = os.environ.get("LANDCAST_SERVER_URL", ""), os.environ.get("LANDCAST_AIRFLOW_KEY", "")
    return [Listener(Teller(url, secret))] if url and secret else []


class LandcastPlugin(AirflowPlugin):  # type: ignore[misc] # Airflow is not in the server's environment
    """What Airflow finds in the folder of plugins."""

    name = "landcast"
    listeners = _listeners()
