#!/usr/bin/env python3
"""Write the secrets of compose.yml, all new, into secrets/ beside it or another folder: `configure.py [FOLDER]`.

As root it gives the files to the users that read them: 10001 is that of our images, 999 of PostgreSQL and RabbitMQ, 472
of Grafana.
"""

import hashlib
import json
import os
import secrets
import subprocess
import sys
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_SETTINGS = _HERE.parent / "airflow"
_OWN = ("AIRFLOW_HOME", "PYTHONPATH", "LANDCAST_AIRFLOW_PYTHON", "LANDCAST_AIRFLOW_CONFIG", "LANDCAST_STATE_DIR")
"""What the image says itself."""
_SQL = """create role landcast login createrole password '{landcast}';
create database landcast owner landcast;
create role airflow login password '{airflow}';
alter role airflow set idle_in_transaction_session_timeout = '10s';
create database airflow owner airflow;
create role keycloak login password '{keycloak}';
create database keycloak owner keycloak;
\\connect landcast
create role landcast_worker;
grant landcast_worker to landcast with admin option;
create role landcast_tasks login password '{tasks}' in role landcast_worker;
create role landcast_monitor;
create role landcast_grafana login password '{monitor}' in role landcast_monitor;
"""


def write(folder: Path) -> None:
    """Write the files. Raises FileExistsError where there are any."""
    folder.mkdir(mode=0o711)
    (folder / "airflow").mkdir(mode=0o700)
    secret_texts = {name: secrets.token_urlsafe(24) for name in _SECRETS}
    certify(folder)
    for name, text in {**texts(secret_texts), **broker(secret_texts)}.items():
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(text)
    if os.geteuid() == 0:
        for path in (folder / "airflow", *(each for each in folder.rglob("*") if each.is_file())):
            owner = _OWNERS.get(path.name, 10001)
            os.chown(path, owner, owner)


_SECRETS = (
    "landcast",
    "airflow",
    "keycloak",
    "tasks",
    "monitor",
    "rabbit",
    "rabbit_airflow",
    "service",
    "operator",
    "admin",
    "client",
)
_OWNERS = {
    "grafana_database": 472,
    "grafana_password": 472,
    "postgres.key": 999,
    "postgres_password": 999,
    "init.sql": 999,
    "broker_definitions.json": 999,
}


def texts(secret_texts: dict[str, str]) -> dict[str, str]:
    """Return the files by name."""
    key = secrets.token_hex(32)
    people = {"landcast": secret_texts["service"], "operator": secret_texts["operator"]}
    return {
        "airflow.env": airflow(secret_texts, key),
        "airflow/passwords.json": json.dumps(people),
        "airflow_key": key,
        "airflow_password": secret_texts["service"],
        "broker_url": f"amqp://landcast:{secret_texts['rabbit']}@rabbitmq/%2F",
        "client_secret": secret_texts["client"],
        "database_url": f"postgresql://landcast:{secret_texts['landcast']}@postgres/landcast",
        "grafana_database": secret_texts["monitor"],
        "grafana_password": secrets.token_urlsafe(24),
        "init.sql": _SQL.format_map(secret_texts),
        "keycloak.env": "".join(
            f"{name}={value}\n"
            for name, value in {
                "KC_BOOTSTRAP_ADMIN_USERNAME": "admin",
                "KC_BOOTSTRAP_ADMIN_PASSWORD": secret_texts["admin"],
                "KC_DB_USERNAME": "keycloak",
                "KC_DB_PASSWORD": secret_texts["keycloak"],
            }.items()
        ),
        "postgres_password": secrets.token_urlsafe(24),
        "results_key": secrets.token_hex(32),
    }


def airflow(secret_texts: dict[str, str], key: str) -> str:
    """Return Airflow's settings: those of deploy/airflow, with Celery, and the places that compose.yml has."""
    database = f"airflow:{secret_texts['airflow']}@postgres/airflow"
    here = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{database}",
        "AIRFLOW__CELERY__BROKER_URL": f"amqp://airflow:{secret_texts['rabbit_airflow']}@rabbitmq/airflow",
        "AIRFLOW__API__HOST": "0.0.0.0",  # noqa: S104  inside of the container
        "AIRFLOW__API__BASE_URL": "http://airflow-api:8080",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://airflow-api:8080/execution/",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": "/etc/landcast/airflow/passwords.json",
        "LANDCAST_DATABASE_URL": f"postgresql://landcast_tasks:{secret_texts['tasks']}@postgres/landcast",
        "LANDCAST_SERVER_URL": "http://landcast:5000",
        "LANDCAST_AIRFLOW_KEY": key,
        "PGSSLMODE": "verify-ca",
        "PGSSLROOTCERT": "/run/secrets/postgres_certificate",
    }
    lines = [
        *(_SETTINGS / "airflow.env").read_text().splitlines(),
        *(_SETTINGS / "celery.env").read_text().splitlines(),
    ]
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    lines = {name: value for name, value in (given | here).items() if name not in _OWN and "_FOLDER" not in name}
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def broker(secret_texts: dict[str, str]) -> dict[str, str]:
    """Return RabbitMQ's users, who have a virtual host each."""
    places = {"landcast": ("/", secret_texts["rabbit"]), "airflow": ("airflow", secret_texts["rabbit_airflow"])}
    document = {
        "users": [
            {
                "name": name,
                "password_hash": _hashed(word),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": [],
            }
            for name, (_, word) in places.items()
        ],
        "vhosts": [{"name": place} for place, _ in places.values()],
        "permissions": [
            {"user": name, "vhost": place, "configure": ".*", "write": ".*", "read": ".*"}
            for name, (place, _) in places.items()
        ],
    }
    return {"broker_definitions.json": json.dumps(document, indent=1)}


def _hashed(word: str) -> str:
    """Return a password as RabbitMQ keeps it: base64 of a salt of four bytes and SHA-256 of salt and password."""
    salt = secrets.token_bytes(4)
    return b64encode(salt + hashlib.sha256(salt + word.encode()).digest()).decode()


def certify(folder: Path) -> None:
    """Make PostgreSQL's certificate, which signs itself."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:3072", "-nodes", "-days", "3650", "-subj", "/CN=postgres"]
    command += ["-addext", "subjectAltName=DNS:postgres", "-keyout", "postgres.key", "-out", "postgres.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603  the command is ours
    (folder / "postgres.key").chmod(0o600)


if __name__ == "__main__":
    try:
        write(Path(sys.argv[1]) if len(sys.argv) > 1 else _HERE / "secrets")
    except FileExistsError as error:
        sys.exit(f"{error.filename} exists already and is not overwritten")
