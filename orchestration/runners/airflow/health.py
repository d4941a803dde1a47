"""Check whether Airflow works, at most every few seconds."""

import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

import httpx2

from orchestration.runners.airflow import AirflowAccess
from orchestration.services import LACKING, LACKS

_FRESH = 5.0
"""Seconds for which a result is cached."""
_PATIENCE = 3.0
_PATH = "/api/v2/monitor/health"
"""Airflow answers it without a login."""
_LOGIN = "/auth/token"
_DAGS = "/api/v2/dags"
_PAGE = 100
_LET_IN = 60.0
"""Seconds after a successful login until it is tried again."""


class AirflowHealth:
    """The health of Airflow for the server; the worker's checks, in the log and on waiting orders, have more details.

    `lacking` has by DAG the missing connections to services, and `paused` the paused DAGs, as of the last login.
    """

    def __init__(self, access: AirflowAccess, clock: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._clock = clock
        self._lock = Lock()
        self._found = "Airflow was not asked yet"
        self.lacking: Mapping[str, frozenset[str]] = {}
        self.paused: frozenset[str] = frozenset()
        self._until = self._let_in_until = 0.0

    def trouble(self) -> str:
        """Return the problem, or an empty text; while one thread checks, others get the last result."""
        if self._clock() >= self._until and self._lock.acquire(blocking=False):
            try:
                self._found = self._ask()
                self._until = self._clock() + _FRESH
            finally:
                self._lock.release()
        return self._found

    def _ask(self) -> str:
        try:
            answer = httpx2.get(f"{self._access.url}{_PATH}", timeout=_PATIENCE, trust_env=False)
            if answer.raise_for_status().json()["scheduler"]["status"] != "healthy":
                return "Airflow's scheduler sends no heartbeat"
            return self._shut()
        except httpx2.HTTPError as error:
            return f"Airflow does not answer: {type(error).__name__}"
        except (ValueError, KeyError, TypeError):
            return "Airflow's answer cannot be read"

    def _shut(self) -> str:
        """Return why Airflow refuses the login, or an empty text if it accepts it. Raises httpx2.HTTPError."""
        if self._clock() < self._let_in_until:
            return ""
        who = {"username": self._access.username, "password": self._access.password}
        answer = httpx2.post(f"{self._access.url}{_LOGIN}", json=who, timeout=_PATIENCE, trust_env=False)
        if not answer.is_success:
            return f"Airflow does not let this server in: it answers the login with {answer.status_code}"
        self._look(answer.json()["access_token"])
        self._let_in_until = self._clock() + _LET_IN
        return ""

    def _look(self, token: str) -> None:
        """Look up which DAGs are paused and which connections they lack. Raises what `_ask` catches."""
        found: list[Mapping[str, Any]] = []
        total = 1
        while len(found) < total and (page := self._page(token, len(found)))["dags"]:
            found += page["dags"]
            total = page["total_entries"]
        tags = {dag["dag_id"]: [tag["name"] for tag in dag["tags"]] for dag in found}
        self.lacking = {
            dag: frozenset(name.removeprefix(LACKS) for name in names if name.startswith(LACKS) and name != LACKING)
            for dag, names in tags.items()
            if LACKING in names
        }
        self.paused = frozenset(dag["dag_id"] for dag in found if dag["is_paused"])

    def _page(self, token: str, offset: int) -> Mapping[str, Any]:
        asked = {"exclude_stale": "true", "order_by": "dag_id", "limit": str(_PAGE), "offset": str(offset)}
        address, headers = f"{self._access.url}{_DAGS}", {"Authorization": f"Bearer {token}"}
        answer = httpx2.get(address, params=asked, headers=headers, timeout=_PATIENCE, trust_env=False)
        page: Mapping[str, Any] = answer.raise_for_status().json()
        return page
