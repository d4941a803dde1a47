#!/usr/bin/env python3
"""Write the configuration of Airflow and of the server for each other, with new secrets: `configure.py FOLDER`.

It writes airflow.env (deploy/airflow/airflow.env with this checkout's paths and the secrets), passwords.json (Airflow's
users), server.env (for the server's environment) and airflow.sql (database and roles). It reads LANDCAST_DATABASE_URL,
LANDCAST_STATE_DIR, LANDCAST_SERVER_BIND and AIRFLOW_PORT from the environment. With AIRFLOW_BROKER, the address of
RabbitMQ, Valkey or Redis, tasks are run by Celery: deploy/airflow/celery.env is added.
"""

import json
import os
import secrets
import sys
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "deploy" / "airflow" / "airflow.env"
CELERY = ROOT / "deploy" / "airflow" / "celery.env"
_SQL = """\\set ON_ERROR_STOP on
create role airflow login password '{airflow}';
-- A killed scheduler's children hold its connection open, and with it the runs that it had locked.
alter role airflow set idle_in_transaction_session_timeout = '10s';
create database airflow owner airflow;
create role landcast_tasks login password '{tasks}' in role landcast_worker;
"""


def configure(folder: Path, environment: Mapping[str, str]) -> None:
    """Write the files. Raises FileExistsError if one exists."""
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    passwords = {name: secrets.token_urlsafe(24) for name in ("landcast", "operator", "airflow", "tasks")}
    people = {name: passwords[name] for name in ("landcast", "operator")}
    airflow = airflow_settings(folder, environment, passwords)
    template = TEMPLATE.read_text()
    if broker := environment.get("AIRFLOW_BROKER"):
        template += "\n" + CELERY.read_text()
        backend = airflow["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("postgresql+psycopg2", "db+postgresql")
        airflow |= {"AIRFLOW__CELERY__BROKER_URL": broker, "AIRFLOW__CELERY__RESULT_BACKEND": backend}
    _write(folder / "airflow.env", _filled(template, airflow))
    _write(folder / "server.env", _lines(server_settings(airflow, passwords)))
    _write(folder / "airflow.sql", _SQL.format_map(passwords))
    _write(folder / "passwords.json", json.dumps(people))


def airflow_settings(folder: Path, environment: Mapping[str, str], passwords: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that differ from deploy/airflow/airflow.env."""
    database = urlsplit(environment["LANDCAST_DATABASE_URL"])
    place = (database.hostname or "127.0.0.1") + (f":{database.port}" if database.port else "")
    url = f"http://127.0.0.1:{environment.get('AIRFLOW_PORT', '8080')}"
    return {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://airflow:{passwords['airflow']}@{place}/airflow",
        "AIRFLOW__API__PORT": url.rsplit(":", 1)[1],
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "orchestration" / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "deploy" / "airflow" / "plugins"),
        "PYTHONPATH": str(ROOT),
        "LANDCAST_AIRFLOW_PYTHON": str(ROOT / ".venv" / "bin" / "python"),
        "LANDCAST_AIRFLOW_CONFIG": str(ROOT / "pygeoapi-config.yml"),
        "LANDCAST_STATE_DIR": str(Path(environment.get("LANDCAST_STATE_DIR", ROOT / "var")).absolute()),
        "LANDCAST_DATABASE_URL": f"postgresql://landcast_tasks:{passwords['tasks']}@{place}{database.path}",
        "LANDCAST_SERVER_URL": f"http://{environment.get('LANDCAST_SERVER_BIND', '127.0.0.1:5000')}",
        "LANDCAST_AIRFLOW_KEY": secrets.token_hex(32),
    }


def server_settings(airflow: Mapping[str, str], passwords: Mapping[str, str]) -> dict[str, str]:
    """Return the server's settings for Airflow."""
    return {
        "LANDCAST_AIRFLOW_URL": airflow["AIRFLOW__API__BASE_URL"],
        "LANDCAST_AIRFLOW_USERNAME": "landcast",
        "LANDCAST_AIRFLOW_PASSWORD": passwords["landcast"],
        "LANDCAST_AIRFLOW_KEY": airflow["LANDCAST_AIRFLOW_KEY"],
    }


def _filled(template: str, values: Mapping[str, str]) -> str:
    """Return the template with these values; comments, order and other values are kept."""
    left, lines = dict(values), []
    for line in template.splitlines():
        name = line.split("=", 1)[0]
        lines.append(f"{name}={quote(left.pop(name))}" if name in left else line)
    if left:
        raise KeyError(*left)
    return "\n".join(lines) + "\n"


def _lines(values: Mapping[str, str]) -> str:
    return "".join(f"{name}={quote(value)}\n" for name, value in values.items())


def _write(path: Path, text: str) -> None:
    """Write a new file that only its owner can read, because it contains secrets."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)


if __name__ == "__main__":
    match sys.argv[1:], os.environ.get("LANDCAST_DATABASE_URL"):
        case [folder], str():
            try:
                configure(Path(folder).absolute(), os.environ)
            except FileExistsError as error:
                sys.exit(f"{error.filename} exists already and is not overwritten")
        case _:
            sys.exit("usage: LANDCAST_DATABASE_URL=postgresql://… deploy/airflow/configure.py FOLDER")
