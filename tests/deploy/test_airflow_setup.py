"""The documented setup of Airflow, executed literally in a new folder; its units; its settings."""

import json
import os
import re
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import httpx2
import psutil
import psycopg2
import pytest

from tests.airflow import HOME, read_environment
from tests.ports import free_port
from tests.postgres import Cluster, start_cluster
from tests.reaper import kill_session
from tests.test_readme import fresh_copy

pytestmark = [pytest.mark.xdist_group("airflow"), pytest.mark.long]
DOCUMENT = Path("docs/airflow-setup.md").read_text()


def lines() -> str:
    found = re.search(r"## Airflow from zero in ten lines\n.*?```sh\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found
    return found[1]


def database(cluster: Cluster) -> str:
    """Make the database that the document expects; return the address of a superuser."""
    admin = cluster.url.replace("//landcast:", "//postgres:")
    with closing(psycopg2.connect(admin)) as connection:
        connection.autocommit = True
        connection.cursor().execute("create database landcast owner landcast")
    return admin


def test_the_setup_has_ten_lines() -> None:
    assert len(lines().splitlines()) == 10


@pytest.mark.full
def test_the_ten_lines_lead_to_an_order_on_airflow(tmp_path: Path) -> None:
    folder = fresh_copy(tmp_path / "a fresh machine")
    api, bind = free_port(), f"127.0.0.1:{free_port()}"
    clean = {name: value for name, value in os.environ.items() if not re.match(r"LANDCAST_|AIRFLOW|VIRTUAL_ENV", name)}
    environment = {**clean, "AIRFLOW_VENV": str(HOME), "AIRFLOW_PORT": str(api), "LANDCAST_SERVER_BIND": bind}
    with start_cluster() as cluster:
        ours = cluster.url.replace("/postgres", "/landcast")
        script = (
            lines()
            .replace("postgresql://postgres@127.0.0.1/postgres", database(cluster))
            .replace("postgresql://landcast:PASSWORD@127.0.0.1/landcast", ours)
            .replace("127.0.0.1:5000", bind)
        )
        with (tmp_path / "out").open("w") as out:
            process = subprocess.Popen(
                ["bash", "-euc", script], cwd=folder, env=environment, stdout=out, start_new_session=True
            )
        try:
            assert process.wait(400) == 0
            assert (tmp_path / "out").read_text().endswith('"done"')
            assert runs(f"http://127.0.0.1:{api}", folder / "var/airflow/passwords.json") == ["success"]
            assert settings_of(cluster, "airflow") == ["idle_in_transaction_session_timeout=10s"]
            assert_all_ends(running(folder))
        finally:
            for each in running(folder):
                kill_session(os.getsid(each.pid))
            kill_session(process.pid)


def running(folder: Path) -> list[psutil.Process]:
    """Return the process of `run.sh`, then its descendants."""
    scripts = [each for each in psutil.process_iter() if _is_script(each, folder)]
    return [each for script in scripts for each in (script, *script.children(recursive=True))]


def _is_script(process: psutil.Process, folder: Path) -> bool:
    with suppress(psutil.Error):
        return process.cwd() == str(folder / "var/airflow") and "deploy/airflow/run.sh" in process.cmdline()
    return False


def assert_all_ends(processes: list[psutil.Process]) -> None:
    """Interrupt `run.sh` while a worker of Airflow ignores signals; its scheduler would wait for it forever."""
    workers = [each for each in processes if each.name().startswith("airflow worker")]
    assert workers
    workers[0].suspend()
    processes[0].terminate()
    _, left = psutil.wait_procs(processes, timeout=60)
    assert not left


def runs(url: str, passwords: Path) -> list[str]:
    """Return the states of the runs of echo."""
    login = {"username": "operator", "password": json.loads(passwords.read_text())["operator"]}
    with httpx2.Client(base_url=url, timeout=60, trust_env=False) as http:
        token = http.post("/auth/token", json=login).json()["access_token"]
        found = http.get("/api/v2/dags/echo/dagRuns", headers={"authorization": f"Bearer {token}"}).json()
    return [each["state"] for each in found["dag_runs"]]


def settings_of(cluster: Cluster, role: str) -> list[str]:
    with closing(psycopg2.connect(cluster.url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select unnest(setconfig) from pg_db_role_setting join pg_roles r on r.oid = setrole where rolname = %s",
            [role],
        )
        return [str(row[0]) for row in cursor.fetchall()]


def test_no_file_is_readable_by_others(tmp_path: Path) -> None:
    environment = {**os.environ, "LANDCAST_DATABASE_URL": "postgresql://landcast:secret@db.example.org:5433/maps"}
    command = ["deploy/airflow/configure.py", str(tmp_path / "airflow")]
    subprocess.run(command, env=environment, check=True)
    made = {path.name: path for path in (tmp_path / "airflow").iterdir()}
    assert {name: path.stat().st_mode & 0o777 for name, path in made.items()} == dict.fromkeys(
        ("airflow.env", "server.env", "airflow.sql", "passwords.json"), 0o600
    )
    text = made["airflow.env"].read_text()
    assert "secret@" not in text
    assert "@db.example.org:5433/airflow\n" in text
    assert "@db.example.org:5433/maps\n" in text
    assert "LocalExecutor" in text
    assert "CELERY" not in text
    again = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert again.returncode == 1
    assert "is not overwritten" in again.stderr
    assert made["airflow.env"].read_text() == text


def test_with_a_broker_celery_runs_the_tasks(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "LANDCAST_DATABASE_URL": "postgresql://landcast:secret@db.example.org:5433/maps",
        "AIRFLOW_BROKER": "amqp://airflow:pass@broker.example.org/airflow",
    }
    subprocess.run(["deploy/airflow/configure.py", tmp_path / "airflow"], env=environment, check=True)
    given = read_environment(tmp_path / "airflow" / "airflow.env")
    database = given["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].partition("://")[2]
    assert given["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert given["AIRFLOW__CELERY__BROKER_URL"] == environment["AIRFLOW_BROKER"]
    assert given["AIRFLOW__CELERY__RESULT_BACKEND"] == f"db+postgresql://{database}"
    bounds = ("CORE__PARALLELISM", "CORE__MAX_ACTIVE_TASKS_PER_DAG", "CORE__MAX_ACTIVE_RUNS_PER_DAG")
    assert [given[f"AIRFLOW__{name}"] for name in (*bounds, "CELERY__WORKER_CONCURRENCY")] == ["32", "16", "16", "16"]
    assert given["AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION"] == "True"
