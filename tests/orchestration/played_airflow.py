"""A stand-in for Airflow as a real HTTP server, for rare states: hangs, invalid answers, expired tokens."""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override
from urllib.parse import parse_qs, parse_qsl, urlsplit

import jwt

from orchestration.runners.airflow import AirflowAccess

Answer = tuple[int, Any]
_RUN = re.compile(r"/api/v2/dags/([^/]+)/dagRuns/([^/?]+)")
_SECRET = "played" * 8
_TIME = "2026-11-25T00:00:00Z"


@dataclass
class PlayedAirflow:
    """Runs by DAG and name, and its configurable faults; `asked` has the requests."""

    url: str = ""
    runs: dict[tuple[str, str], str] = field(default_factory=dict)
    dags: dict[str, bool] = field(default_factory=lambda: {"echo": False, "apply-model": False})
    tags: dict[str, list[str]] = field(default_factory=dict)
    """Tags of DAGs by name."""
    connections: dict[str, Any] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    scheduler: str = "healthy"
    life: float = 3600
    """Seconds for which a token is good."""
    mood: list[Answer | float] = field(default_factory=list)
    """What the next requests are answered with instead, or seconds for which they hang first."""
    asked: list[str] = field(default_factory=list)
    confs: list[Any] = field(default_factory=list)
    logins: int = 0
    is_over: bool = False

    def access(self, timeout: float = 2.0) -> AirflowAccess:
        return AirflowAccess(self.url, "landcast", "pass", timeout)

    def answer(self, method: str, path: str, body: Any, token: str) -> Answer:
        self.asked.append(f"{method} {path.partition('?')[0]}")
        if path == "/auth/token":
            self.logins += 1
            if body != {"username": "landcast", "password": "pass"}:
                return 401, {"detail": "Invalid credentials"}
            return 201, {"access_token": self.token()}
        if self.mood:
            mood = self.mood.pop(0)
            if isinstance(mood, tuple):
                return mood
            time.sleep(mood)
        if path.endswith("/monitor/health"):
            return self._do(method, path, body)
        return self._refusal(token) or self._do(method, path, body)

    def token(self) -> str:
        now = int(time.time())
        return jwt.encode({"iat": now, "exp": now + self.life, "n": self.logins}, _SECRET, "HS256")

    def _refusal(self, token: str) -> Answer | None:
        try:
            jwt.decode(token, _SECRET, ["HS256"], options={"verify_iat": False})
        except jwt.ExpiredSignatureError:
            return 401, {"detail": "Token Expired"}
        except jwt.InvalidTokenError:
            return 403, {"detail": "Invalid JWT token"}
        return None

    def _do(self, method: str, path: str, body: Any) -> Answer:
        if path.endswith("/monitor/health"):
            parts = {"metadatabase": {"status": "healthy"}, "triggerer": {"status": None}}
            return 200, parts | {"scheduler": {"status": self.scheduler}}
        if path.startswith("/api/v2/connections") or path.endswith("?update_mask=is_paused"):
            return self._set_up(method, path, body)
        if path.startswith("/api/v2/dags?"):
            return 200, self._page_of_dags(path)
        if path.endswith("/dags/~/dagRuns/list"):
            active = [_run(*name, state) for name, state in self.runs.items() if state in ("queued", "running")]
            return 200, _page("dag_runs", active)
        if "/taskInstances" in path:
            return 200, _page("task_instances", self.tasks)
        return self._of_runs(method, path, body)

    def _of_runs(self, method: str, path: str, body: Any) -> Answer:
        if method == "POST":
            return self._submit(path.split("/")[4], body)
        found = _RUN.match(path)
        assert found
        return self._of_run(method, (found[1], found[2]), body)

    def _set_up(self, method: str, path: str, body: Any) -> Answer:
        if path.endswith("?update_mask=is_paused"):
            name = path.removeprefix("/api/v2/dags/").partition("?")[0]
            self.dags[name] = body["is_paused"]
            return 200, self._dag(name)
        if method == "POST" and body["connection_id"] in self.connections:
            return 409, {"detail": {"reason": "Unique constraint violation"}}
        self.connections[body["connection_id"]] = body
        return 200 if method == "PATCH" else 201, {"connection_id": body["connection_id"], "conn_type": "http"}

    def _dag(self, name: str) -> dict[str, Any]:
        tags = [{"name": tag, "dag_id": name, "dag_display_name": name} for tag in self.tags.get(name, ())]
        return _dag(name, is_paused=self.dags[name]) | {"tags": tags}

    def _page_of_dags(self, path: str) -> dict[str, Any]:
        dags = [self._dag(name) for name in self.dags if self._is_asked(name, path)]
        asked = dict(parse_qsl(urlsplit(path).query))
        begin = int(asked.get("offset", 0))
        return _page("dags", dags) | {"dags": dags[begin : begin + int(asked.get("limit", 50))]}

    def _is_asked(self, name: str, path: str) -> bool:
        asked = parse_qs(urlsplit(path).query).get("tags", [])
        return not asked or bool(set(asked) & set(self.tags.get(name, ())))

    def _submit(self, dag: str, body: Any) -> Answer:
        name = (dag, body["dag_run_id"])
        if dag not in self.dags:
            return 404, {"detail": f"Dag with dag_id: '{dag}' not found"}
        if name in self.runs:
            return 409, {"detail": {"reason": "Unique constraint violation"}}
        self.runs[name] = "queued"
        self.confs.append(body["conf"])
        return 200, _run(*name, "queued")

    def _of_run(self, method: str, name: tuple[str, str], body: Any) -> Answer:
        if name not in self.runs:
            return 404, {"detail": f"The DagRun with dag_id: `{name[0]}` and run_id: `{name[1]}` was not found"}
        if method == "PATCH":
            self.runs[name] = body["state"]
        return 200, _run(*name, self.runs[name])


def task(name: str, state: str | None, tries: int = 1, number: int = -1) -> dict[str, Any]:
    """Return a task instance like Airflow."""
    texts = ("task_display_name", "dag_display_name", "dag_run_id", "dag_id", "hostname", "pool", "executor_config")
    return dict.fromkeys(texts, "x") | {
        "task_id": name,
        "id": "0199f0c1-0000-7000-8000-000000000000",
        "state": state,
        "try_number": tries,
        "max_tries": tries,
        "map_index": number,
        "pool_slots": 1,
        "run_after": _TIME,
    }


def _run(dag: str, name: str, state: str) -> dict[str, Any]:
    return {
        "dag_run_id": name,
        "dag_id": dag,
        "dag_display_name": dag,
        "state": state,
        "run_after": _TIME,
        "run_type": "manual",
        "dag_versions": [],
        "conf": {},
    }


def _dag(name: str, *, is_paused: bool) -> dict[str, Any]:
    return {
        "dag_id": name,
        "dag_display_name": name,
        "is_paused": is_paused,
        "is_stale": False,
        "has_import_errors": False,
        "is_backfillable": False,
        "has_task_concurrency_limits": False,
        "fileloc": "x",
        "file_token": "x",
        "owners": [],
        "tags": [],
        "max_active_tasks": 16,
        "max_consecutive_failed_dag_runs": 0,
        "timetable_partitioned": False,
        "timetable_periodic": False,
    }


def _page(name: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: entries, "total_entries": len(entries)}


@contextmanager
def playing_airflow() -> Iterator[PlayedAirflow]:
    """Serve one until the context ends."""
    played = PlayedAirflow()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            if played.is_over:
                self.close_connection = True
                return
            length = int(self.headers.get("content-length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            token = self.headers.get("authorization", "").removeprefix("Bearer ")
            status, document = played.answer(self.command, self.path, body, token)
            content = document if isinstance(document, bytes) else json.dumps(document).encode()
            kind = "text/html" if isinstance(document, bytes) else "application/json"
            try:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except ConnectionError:
                self.close_connection = True

        do_GET = do_POST = do_PATCH = answer  # noqa: N815  the library's names

        @override
        def log_message(self, *_: object) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        played.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield played
        finally:
            played.is_over = True
            server.shutdown()
            thread.join()
