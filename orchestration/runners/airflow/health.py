"""Whether Airflow works; it is asked at most every few seconds, however often the server asks here."""

import time
from collections.abc import Callable, Mapping
from threading import Lock

import httpx2

from orchestration.runners.airflow import AirflowAccess
from orchestration.services import LACKING, LACKS

_FRESH = 5.0
"""Seconds for which an answer is given again."""
_PATIENCE = 3.0
_PATH = "/api/v2/monitor/health"
"""What Airflow answers everybody."""
_LOGIN = "/auth/token"
_DAGS = "/api/v2/dags"
_LET_IN = 60.0
"""Seconds for which a login that worked is not tried again."""


class AirflowHealth:
    """Airflow, as the server sees it; the worker's own look says more, in the log and on waiting orders.

    `lacking` is by DAG which connections to services it lacked when the login was tried last.
    """

    def __init__(self, access: AirflowAccess, clock: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._clock = clock
        self._lock = Lock()
        self._found = "Airflow was not asked yet"
        self.lacking: Mapping[str, frozenset[str]] = {}
        self._until = self._let_in_until = 0.0

    def trouble(self) -> str:
        """Return what is wrong with it, empty where nothing is; while one asks, others are told what was found last."""
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
                return "Airflow's scheduler gives no sign of life"
            return self._shut()
        except httpx2.HTTPError as error:
            return f"Airflow does not answer: {type(error).__name__}"
        except (ValueError, KeyError, TypeError):
            return "Airflow's answer cannot be read"

    def _shut(self) -> str:
        """Return why Airflow does not let the service user in, empty where it does. Raises httpx2.HTTPError."""
        if self._clock() < self._let_in_until:
            return ""
        who = {"username": self._access.username, "password": self._access.password}
        answer = httpx2.post(f"{self._access.url}{_LOGIN}", json=who, timeout=_PATIENCE, trust_env=False)
        if not answer.is_success:
            return f"Airflow does not let this server in: it answers the login with {answer.status_code}"
        self.lacking = self._lacking(answer.json()["access_token"])
        self._let_in_until = self._clock() + _LET_IN
        return ""

    def _lacking(self, token: str) -> dict[str, frozenset[str]]:
        """Return by DAG which connections to services it lacks. Raises what `_ask` expects."""
        headers, asked = {"Authorization": f"Bearer {token}"}, {"tags": LACKING, "limit": "100"}
        address = f"{self._access.url}{_DAGS}"
        answer = httpx2.get(address, params=asked, headers=headers, timeout=_PATIENCE, trust_env=False)
        found = {
            dag["dag_id"]: {tag["name"] for tag in dag["tags"]} for dag in answer.raise_for_status().json()["dags"]
        }
        return {
            dag: frozenset(tag.removeprefix(LACKS) for tag in tags if tag.startswith(LACKS) and tag != LACKING)
            for dag, tags in found.items()
        }
