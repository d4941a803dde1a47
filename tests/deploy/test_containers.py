"""The images, the compose file and its proxies, as far as they can be tested without a container engine."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from base64 import b64decode
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml

from server.environment import variables
from sql.migrate import migrate
from tests.airflow import CACHE, CELERY, read_environment
from tests.postgres import start_cluster

TOOLS = Path(os.environ.get("TEST_TOOLS") or CACHE / "landcast" / "tools") / "bin"
COMPOSE = Path("deploy/compose")
CONTAINERFILE = Path("deploy/container/Containerfile")


def run(*command: object, cwd: Path | None = None) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the folder with secrets."""
    folder = tmp_path_factory.mktemp("compose") / "compose"
    shutil.copytree(COMPOSE, folder, ignore=shutil.ignore_patterns("secrets"))
    run(COMPOSE / "configure.py", folder / "secrets")
    return folder


@pytest.fixture(scope="module")
def composed(folder: Path) -> dict[str, Any]:
    """Return the compose file as Compose reads it."""
    text = run(TOOLS / "docker-compose", "--env-file", ".env.example", "config", "--format", "json", cwd=folder)
    return dict(json.loads(text))


def test_the_containerfile_has_no_findings() -> None:
    run(TOOLS / "hadolint", CONTAINERFILE)


def test_the_images_run_unprivileged_with_only_the_needed_files() -> None:
    lines = CONTAINERFILE.read_text().splitlines()
    users = [line for line in lines if line.startswith(("USER", "FROM"))]
    assert users[-4:] == [
        "FROM python AS system",
        "USER 10001:10001",
        "FROM system AS airflow",
        "FROM system AS landcast",
    ]
    kept = {line[1:] for line in Path(".containerignore").read_text().splitlines() if line.startswith("!")}
    packages = {path.parent.name for path in Path().glob("*/__init__.py")} - {"bench", "tests"}
    assert packages <= kept
    assert all(Path(each).exists() for each in kept)
    assert not {".git", "tests", ".venv", "deploy/compose"} & kept


def test_compose_accepts_the_file_and_publishes_only_the_proxy(composed: dict[str, Any]) -> None:
    services = composed["services"]
    assert {"proxy", "landcast", "postgres", "keycloak", "rabbitmq", "grafana", "prometheus", "loki"} <= services.keys()
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    assert [name for name, service in services.items() if service.get("privileged")] == []
    assert all(":" in service["image"] and "latest" not in service["image"] for service in services.values())
    for name in ("landcast", "logs", "migrate", "airflow-api", "airflow-worker"):
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]
    command = services["postgres"]["command"]
    assert {"max_connections=200", "ssl=on"} <= set(command)


def test_compose_sets_existing_settings_without_secrets(composed: dict[str, Any]) -> None:
    given = composed["services"]["landcast"]["environment"]
    names = {name.removesuffix("_FILE") for name in given if name.startswith("LANDCAST_")}
    assert names <= variables().keys()
    for name, value in given.items():
        if name.endswith("_FILE"):
            assert value.removeprefix("/run/secrets/") in {
                each["source"] for each in composed["services"]["landcast"]["secrets"]
            }
    assert composed["services"]["airflow-worker"]["command"][-1] == read_environment(CELERY)["LANDCAST_AIRFLOW_QUEUES"]


@pytest.mark.full
def test_secrets_are_random_private_and_never_overwritten(folder: Path, tmp_path: Path) -> None:
    secrets = folder / "secrets"
    run(COMPOSE / "configure.py", tmp_path / "other")
    for path in (each for each in secrets.rglob("*") if each.is_file() and each.name != "postgres.pem"):
        assert path.stat().st_mode & 0o077 == 0, path
        assert path.read_text() != (tmp_path / "other" / path.relative_to(secrets)).read_text(), path
    again = subprocess.run([COMPOSE / "configure.py", secrets], capture_output=True, text=True, check=False)
    assert (again.returncode, "is not overwritten" in again.stderr) == (1, True)
    given = read_environment(secrets / "airflow.env")
    assert "PASSWORD" not in "".join(given.values())
    assert given["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert not {"AIRFLOW_HOME", "PYTHONPATH", "AIRFLOW__CORE__DAGS_FOLDER"} & given.keys()


def test_grafana_gets_its_sources_and_dashboards(composed: dict[str, Any]) -> None:
    grafana = composed["services"]["grafana"]
    mounted = {each["target"]: Path(each["source"]).name for each in grafana["volumes"] if each["type"] == "bind"}
    assert mounted == {"/etc/grafana/provisioning": "provisioning", "/etc/grafana/dashboards": "dashboards"}
    sources = Path("deploy/grafana/provisioning/datasources/landcast.yml").read_text()
    wanted = set(re.findall(r"\$\{(\w+)\}", sources))
    assert len(wanted) == 4
    assert wanted <= grafana["environment"].keys()
    named = {each["source"] for each in grafana["secrets"]}
    assert {path.rpartition("/")[2] for path in re.findall(r"/run/secrets/\w+", sources)} <= named
    provider = yaml.safe_load(Path("deploy/grafana/provisioning/dashboards/landcast.yml").read_text())["providers"][0]
    assert provider["options"]["path"] in mounted


def test_rabbitmq_s_users_have_the_passwords_that_the_addresses_name(folder: Path) -> None:
    users = {
        each["name"]: each for each in json.loads((folder / "secrets/broker_definitions.json").read_text())["users"]
    }
    airflow = read_environment(folder / "secrets" / "airflow.env")["AIRFLOW__CELERY__BROKER_URL"]
    for name, address in (("landcast", (folder / "secrets/broker_url").read_text()), ("airflow", airflow)):
        word = address.partition(f"{name}:")[2].partition("@")[0]
        hashed = b64decode(users[name]["password_hash"])
        assert hashlib.sha256(hashed[:4] + word.encode()).digest() == hashed[4:]


@pytest.mark.full
def test_the_roles_of_postgresql_have_the_needed_rights(folder: Path) -> None:
    """Created as at the container's first start, then used by `landcast migrate` and a task of Airflow."""
    secrets = folder / "secrets"
    with start_cluster() as cluster:
        admin = cluster.url.replace("//landcast:", "//postgres:")
        place = admin.rpartition("@")[2].partition("/")[0]
        with closing(psycopg2.connect(admin)) as connection:
            connection.autocommit = True
            connection.cursor().execute("drop role landcast")  # the cluster of the tests has one
        run("psql", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={secrets / 'init.sql'}", admin)
        migrate((secrets / "database_url").read_text().replace("@postgres/", f"@{place}/"))
        tasks = read_environment(secrets / "airflow.env")["LANDCAST_DATABASE_URL"].replace("@postgres/", f"@{place}/")
        with closing(psycopg2.connect(tasks)) as connection, connection.cursor() as cursor:
            cursor.execute("select has_function_privilege(p.oid, 'execute') from pg_proc p where proname = 'report'")
            assert cursor.fetchone() == (True,)
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute("select owner from jobs")
        password = (secrets / "grafana_database").read_text()
        with closing(psycopg2.connect(f"postgresql://landcast_grafana:{password}@{place}/landcast")) as connection:
            connection.cursor().execute("select owner, unit from jobs")


def test_prometheus_reads_its_file_and_traefik_s_has_a_route_for_each_host() -> None:
    run("promtool", "check", "config", "--syntax-only", COMPOSE / "prometheus.yml")
    routes = yaml.safe_load((COMPOSE / "traefik-routes.yml").read_text())["http"]
    assert {each["service"] for each in routes["routers"].values()} == routes["services"].keys()
    assert all(each["tls"] == {"certResolver": "acme"} for each in routes["routers"].values())
