"""A real Airflow with deploy/airflow's settings, DAGs and plugin: one for all tests, with a PostgreSQL of its own."""

import json
import os
import secrets
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx2
import psycopg2
import pytest

from sql.migrate import migrate
from tests.ports import free_port
from tests.postgres import Cluster, start_cluster
from tests.reaper import kill_session, kill_sessions

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
HOME = Path(os.environ.get("TEST_AIRFLOW_HOME") or CACHE / "landcast" / "airflow-3.3.2")
SETTINGS = ROOT / "deploy" / "airflow" / "airflow.env"
CELERY = SETTINGS.with_name("celery.env")
COMPONENTS = {"api-server": [], "scheduler": ["--skip-serve-logs"], "dag-processor": []}
_BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"
_SLOW = 240
"""Seconds that a start may take on a machine that does much else."""


class Airflow:
    """A running Airflow; `url`, `username` and `password` are the server's settings, `operator` has all rights.

    `state` is the server's state folder, `database_url` its database, `server_bind` the address that Airflow's plugin
    sends events to, signed with `key`; `environment` is that of Airflow's processes. With a `broker` Celery runs
    the tasks; `more` are settings that differ.
    """

    def __init__(self, folder: Path, cluster: Cluster, broker: str = "", **more: str) -> None:
        self.folder = folder
        self.cluster = cluster
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.username, self.password = "landcast", secrets.token_urlsafe()
        self.operator_password = secrets.token_urlsafe()
        self.key = secrets.token_hex()
        self.state = folder / "state"
        self.server_bind = f"127.0.0.1:{free_port()}"
        self.mail_port = free_port()
        self.database_url = cluster.url.replace("/postgres", "/landcast")
        self.worker_url = self.database_url.replace("//landcast:", "//landcast_tasks:")
        self.config = folder / "config.yml"
        self.environment = self._environment() | (self._celery(broker) if broker else {}) | more
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def _environment(self) -> dict[str, str]:
        """Return the settings of deploy/airflow, with the paths of this machine."""
        here = {
            "AIRFLOW_HOME": str(self.folder),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self._database("airflow").replace("://", "+psycopg2://"),
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(),
            "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.folder / "passwords.json"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "orchestration" / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "deploy" / "airflow" / "plugins"),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(
                [
                    {"name": "dags-folder", "classpath": _BUNDLE, "kwargs": {}},
                    {"name": "examples", "classpath": _BUNDLE, "kwargs": {"path": str(EXAMPLES / "dags")}},
                    {"name": "tests", "classpath": _BUNDLE, "kwargs": {"path": str(ROOT / "tests" / "dags")}},
                ]
            ),
            "AIRFLOW_CONN_SMTP_DEFAULT": f"smtp://127.0.0.1:{self.mail_port}/?disable_ssl=true&disable_tls=true"
            "&from_email=airflow%40example.org&timeout=5",
            "PYTHONPATH": f"{ROOT}:{EXAMPLES}",
            "COUNT_WORDS_FILES": str(self.folder / "files"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LANDCAST_AIRFLOW_PYTHON": sys.executable,
            "LANDCAST_AIRFLOW_CONFIG": str(self.config),
            "LANDCAST_STATE_DIR": str(self.state),
            "LANDCAST_DATABASE_URL": self.worker_url,
            "LANDCAST_JOBS_FETCH_PRIVATE": "yes",
            "LANDCAST_SERVER_URL": f"http://{self.server_bind}",
            "LANDCAST_AIRFLOW_KEY": self.key,
            "LANDCAST_AIRFLOW_MAIL_TO": "operators@example.org",
            "LANDCAST_AIRFLOW_RETRY_DELAY": "0.5",
        }
        return {**_inherited(), **read_environment(SETTINGS), **here, "PATH": f"{HOME}/bin:{os.environ['PATH']}"}

    def _celery(self, broker: str) -> dict[str, str]:
        """Return the settings that deploy/airflow/celery.env adds."""
        backend = "db+" + self._database("airflow")
        places = {"AIRFLOW__CELERY__BROKER_URL": broker, "AIRFLOW__CELERY__RESULT_BACKEND": backend}
        return read_environment(CELERY) | places

    def _configuration(self) -> str:
        """Return the configuration with additional processes for these tests."""
        text = (ROOT / "pygeoapi-config.yml").read_text()
        for folder in ("sample", "products"):
            text = text.replace(f"data: {folder}/", f"data: {ROOT}/{folder}/")
        files = f"{{dag: count-words, files: {self.folder / 'files'}}}"
        return (
            text
            + f"""
  hello:
    type: process
    airflow: {{}}
    processor: {{name: HelloWorld}}
  count-words:
    type: process
    airflow: {files}
    processor: {{name: count_words.CountWords}}
"""
        )

    def _database(self, name: str) -> str:
        return self.cluster.url.replace("//landcast:", f"//{name}:").replace("/postgres", f"/{name}")

    def server_environment(self) -> dict[str, str]:
        """Return the settings of a server that hands orders to this Airflow and receives its events."""
        return {
            "LANDCAST_SERVER_BIND": self.server_bind,
            "LANDCAST_SERVER_URL": f"http://{self.server_bind}",
            "LANDCAST_STATE_DIR": str(self.state),
            "LANDCAST_DATABASE_URL": self.database_url,
            "LANDCAST_JOBS_FETCH_PRIVATE": "yes",
            "LANDCAST_AIRFLOW_URL": self.url,
            "LANDCAST_AIRFLOW_USERNAME": self.username,
            "LANDCAST_AIRFLOW_PASSWORD": self.password,
            "LANDCAST_AIRFLOW_KEY": self.key,
        }

    def prepare(self) -> None:
        """Make the databases, the roles and the file of passwords."""
        self.state.mkdir()
        self.config.write_text(self._configuration())
        (self.folder / "passwords.json").write_text(
            json.dumps({self.username: self.password, "operator": self.operator_password})
        )
        admin = self.cluster.url.replace("//landcast:", "//postgres:")
        password = admin.split(":")[2].split("@")[0]
        with closing(psycopg2.connect(admin)) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            for statement in (
                f"create role airflow login password '{password}'",
                "alter role airflow set idle_in_transaction_session_timeout = '10s'",
                "create database airflow owner airflow",
                "create database landcast owner landcast",
            ):
                cursor.execute(statement)
            migrate(self.database_url)
            cursor.execute(f"create role landcast_tasks login password '{password}' in role landcast_worker")
        self.airflow("db", "migrate", PGOPTIONS="-c idle_in_transaction_session_timeout=0")

    def airflow(self, *arguments: str, **more: str) -> str:
        """Run Airflow's command line with `more` settings; return what it printed."""
        environment = self.environment | more
        done = subprocess.run(
            [HOME / "bin" / "airflow", *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, component: str, *command: str) -> None:
        """Start a process: `api-server`, `scheduler`, `dag-processor`, or another command under a name of the caller's.

        `wait` waits until it runs.
        """
        with self.log(component).open("ab") as log:
            self._running[component] = subprocess.Popen(
                [HOME / "bin" / "airflow", *(command or (component, *COMPONENTS[component]))],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        (self.folder / f"{component}.pid").write_text(str(self._running[component].pid))

    def kill(self, component: str) -> None:
        """Kill a process and its children at once, as systemd ends a control group with SIGKILL."""
        process = self._running[component]
        kill_session(process.pid)
        process.wait(60)

    def pid(self, component: str) -> int:
        """Return the id of a process that has all processes of the component as children."""
        return self._running[component].pid

    def lives(self, component: str) -> bool:
        """Return whether a process has neither ended nor been killed."""
        return self._running[component].poll() is None

    def close(self) -> None:
        """End everything."""
        kill_sessions(self.folder)
        for process in self._running.values():
            process.wait(60)

    def log(self, component: str) -> Path:
        """Return the file that a process writes its log to."""
        return self.folder / f"{component}.log"

    def wait(self) -> None:
        """Wait until every process is well and every DAG file has been read."""
        until = time.monotonic() + _SLOW
        while (missing := self._missing()) and time.monotonic() < until:
            for component, process in self._running.items():
                assert process.poll() is None, self.log(component).read_text()[-5000:]
            time.sleep(0.1)
        assert not missing, f"{missing}; the logs are in {self.folder}"

    def _missing(self) -> str:
        try:
            # Airflow makes the API of its tasks when the first asks for it, and answers nobody for those seconds.
            httpx2.get(f"{self.url}/execution/health", timeout=60, trust_env=False)
            health = httpx2.get(f"{self.url}/api/v2/monitor/health", timeout=10, trust_env=False).json()
            unwell = [name for name in ("metadatabase", "scheduler", "dag_processor") if not _healthy(health, name)]
            return f"not well: {unwell}" if unwell else self._unread()
        except httpx2.TransportError as error:
            return f"no API: {error}"

    def _unread(self) -> str:
        errors = self.ask("GET", "/importErrors")["import_errors"]
        if errors:  # a file that was read too slowly on a busy machine is read again
            return f"not imported: {[(each['filename'], each['stack_trace']) for each in errors]}"
        read = {Path(each["fileloc"]).name for each in self.ask("GET", "/dags?limit=100")["dags"]}
        ours, tests = ROOT / "orchestration" / "dags", ROOT / "tests" / "dags"
        files = {path.name for path in (*ours.glob("*.py"), *tests.glob("[!_]*.py"))}
        unread = sorted(files - read - set((ours / ".airflowignore").read_text().split()))
        return f"not read: {unread}" if unread else ""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request to Airflow's API (below /api/v2) as its operator; return the JSON. Fails unless it succeeds.

        A change during one by the scheduler may be 500, because PostgreSQL ends one of two deadlocked transactions.
        """
        address, headers = f"{self.url}/api/v2{path}", {"authorization": f"Bearer {self._token}"}
        for _ in range(5):
            answer = httpx2.request(method, address, json=body, headers=headers, timeout=60, trust_env=False)
            if answer.status_code != httpx2.codes.INTERNAL_SERVER_ERROR:
                break
        assert answer.is_success, f"{answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    @cached_property
    def _token(self) -> str:
        login = {"username": "operator", "password": self.operator_password}
        answer = httpx2.post(f"{self.url}/auth/token", json=login, timeout=30, trust_env=False)
        return str(answer.raise_for_status().json()["access_token"])

    def begin(self, dag: str, run: str, conf: Mapping[str, Any] | None = None) -> None:
        """Start a run."""
        self.ask("POST", f"/dags/{dag}/dagRuns", {"logical_date": None, "dag_run_id": run, "conf": conf or {}})

    def ended(self, dag: str, run: str, *, within: float = 60) -> str:
        """Wait for the end of a run; return its state."""
        until = time.monotonic() + within
        while (state := self.ask("GET", f"/dags/{dag}/dagRuns/{run}")["state"]) not in ("success", "failed"):
            assert time.monotonic() < until, f"{run} is {state}; the logs are in {self.folder}"
            time.sleep(0.1)
        return str(state)

    def connect(self, connection: str, url: str) -> None:
        """Set a connection of Airflow by HTTP, such as to a stand-in for an external service."""
        scheme, _, place = url.partition("://")
        host, _, port = place.partition(":")
        body = {"connection_id": connection, "conn_type": "http", "schema": scheme, "host": host, "port": int(port)}
        self.disconnect(connection)
        self.ask("POST", "/connections", body)

    def disconnect(self, connection: str) -> None:
        """Delete a connection of Airflow, if it exists."""
        if connection in self._connections():
            self.ask("DELETE", f"/connections/{connection}")

    def _connections(self) -> set[str]:
        return {each["connection_id"] for each in self.ask("GET", "/connections")["connections"]}


def _healthy(health: dict[str, Any], name: str) -> bool:
    return bool(health[name]["status"] == "healthy")


def _inherited() -> dict[str, str]:
    """Return the environment without settings of Airflow and of Landcast."""
    ours = ("AIRFLOW", "LANDCAST_", "VIRTUAL_ENV", "PYTHON")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def read_environment(path: Path) -> dict[str, str]:
    """Read a file of settings as systemd and a shell do."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@contextmanager
def start_airflow(folder: Path, broker: str = "", **more: str) -> Iterator[Airflow]:
    """Start Airflow below a folder; it and its processes end with the tests, even if these are killed."""
    if not (HOME / "bin" / "airflow").exists():
        pytest.fail(f"{HOME} holds no Airflow: deploy/test-services.sh installs it, or set TEST_AIRFLOW_HOME")
    with start_cluster() as cluster:
        running = Airflow(folder, cluster, broker, **more)
        with _reaped(running):
            running.prepare()
            for component in COMPONENTS:
                running.start(component)
            running.wait()
            yield running


@contextmanager
def _reaped(running: Airflow) -> Iterator[None]:
    """Start a process that kills Airflow when this process has ended in any way."""
    program: list[str | Path] = [sys.executable, ROOT / "tests" / "reaper.py", running.folder]
    reaper = subprocess.Popen(program, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        running.close()
        reaper.communicate(timeout=30)
