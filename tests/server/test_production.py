"""Settings that are unfit for production, one row for each kind."""

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestration.notifications.broker import Broker
from server.production import find_unfit
from server.settings import CONCERNS, Settings

KEY = "qJ4z8Xw2Lk9Tn3Vb7Rc5Yp1Hs6Gd0FmA"
FIT: dict[str, dict[str, Any]] = {
    "server": {"url": "https://maps.example.org", "proxies": "127.0.0.1"},
    "auth": {"issuer": "https://sso.example.org/realms/land", "client_secret": KEY},
    "database": {"url": f"postgresql://landcast:{KEY}@db/landcast?sslmode=verify-full"},
    "results": {"cap": "10M", "key": KEY},
    "mail": {"url": f"smtp://me:{KEY}@mail.example.org:25?starttls=yes"},
    "metrics": {"bind": "127.0.0.1:9464"},
}


def _unfit(
    tmp_path: Path,
    changed: dict[str, dict[str, Any]],
    *,
    hours: float | None = 1,
    broker: Broker | None = None,
    full: bool = False,
) -> list[str]:
    if hours is not None:
        backup = tmp_path / "2026-11-30.tar"
        backup.touch()
        os.utime(backup, (0, time.time() - hours * 3600))
    given = {concern: {**FIT.get(concern, {}), **changed.get(concern, {})} for concern in {*FIT, *changed}}
    given.setdefault("state", {})["dir"] = tmp_path
    kinds = {kind.__name__.removesuffix("Settings").lower(): kind for kind in CONCERNS}
    values: Any = {name: kind(**given.get(name, {})) for name, kind in kinds.items()}
    found = list(find_unfit(Settings(**values), broker, tmp_path))
    return [each for each in found if full or "less than a tenth" not in each]  # of this machine's disk


def test_a_production_setup_has_no_problem(tmp_path: Path) -> None:
    assert _unfit(tmp_path, {}) == []


@pytest.mark.parametrize(
    ("concern", "changed", "named"),
    [
        ("server", {"url": "http://maps.example.org"}, "LANDCAST_SERVER_URL"),
        ("server", {"proxies": ()}, "LANDCAST_SERVER_PROXIES"),
        ("auth", {"issuer": None, "open": True}, "LANDCAST_AUTH_OPEN"),
        ("auth", {"issuer": "http://127.0.0.1:8180/realms/land"}, "LANDCAST_AUTH_ISSUER"),
        ("auth", {"password_grant": True}, "LANDCAST_AUTH_PASSWORD_GRANT"),
        ("auth", {"client_secret": "a" * 32}, "LANDCAST_AUTH_CLIENT_SECRET"),
        ("database", {"url": "postgresql://landcast:short@db/landcast?sslmode=require"}, "LANDCAST_DATABASE_URL"),
        ("database", {"url": "postgresql://landcastlandcast:landcastlandcast@/landcast"}, "LANDCAST_DATABASE_URL"),
        ("database", {"url": f"postgresql://landcast:{KEY}@db/landcast"}, "LANDCAST_DATABASE_URL"),
        ("database", {"url": f"postgresql://landcast:{KEY}@db/landcast?sslmode=prefer"}, "LANDCAST_DATABASE_URL"),
        ("log", {"database": f"postgresql://logs:{KEY}@10.1.2.3/logs"}, "LANDCAST_LOG_DATABASE"),
        ("log", {"broker": "amqps://guest:guest@mq/"}, "LANDCAST_LOG_BROKER"),
        ("log", {"broker": f"amqp://logs:{KEY}@mq/"}, "LANDCAST_LOG_BROKER"),
        ("mail", {"url": f"smtp://me:{KEY}@mail.example.org:25"}, "LANDCAST_MAIL_URL"),
        ("airflow", {"url": "http://airflow:8080"}, "LANDCAST_AIRFLOW_URL"),
        ("airflow", {"operator_password": "airflow-2026", "operator": "airflow-2026"}, "LANDCAST_AIRFLOW_OPERATOR"),
        ("airflow", {"connections": f"a=https://u:{KEY}@x\nb=https://u:u@y:1"}, "LANDCAST_AIRFLOW_CONNECTIONS: b"),
        ("vault", {"token": "root"}, "LANDCAST_VAULT_TOKEN"),
        ("results", {"cap": "900T"}, "LANDCAST_RESULTS_CAP"),
        ("results", {"key": "abc" * 12}, "LANDCAST_RESULTS_KEY"),
        ("results", {"cap": None}, "LANDCAST_RESULTS_CAP"),
        ("mail", {"url": None}, "LANDCAST_MAIL_URL"),
        ("metrics", {"bind": None}, "LANDCAST_METRICS_BIND"),
        ("airflow", {"password": "admin", "username": "admin"}, "LANDCAST_AIRFLOW_PASSWORD"),
        ("jobs", {"fetch_private": True}, "LANDCAST_JOBS_FETCH_PRIVATE"),
    ],
)
def test_each_unfit_setting_is_named_without_its_value(
    tmp_path: Path, concern: str, changed: dict[str, Any], named: str
) -> None:
    (problem,) = _unfit(tmp_path, {concern: changed})
    assert problem.startswith(named)
    assert KEY not in problem
    assert "short@" not in problem
    assert "abcabc" not in problem


def test_a_missing_and_an_old_backup_are_named(tmp_path: Path) -> None:
    (problem,) = _unfit(tmp_path, {}, hours=None)
    assert "has no backup" in problem
    (problem,) = _unfit(tmp_path, {}, hours=49)
    assert "older than two days" in problem


@pytest.mark.parametrize(
    "changed",
    [
        {"database": {"url": f"postgresql://landcast:{KEY}@127.0.0.1:5432/landcast"}},
        {"database": {"url": f"postgresql://landcast:{KEY}@localhost/landcast"}},
        {"mail": {"url": "smtp://127.0.0.1:25"}},
        {"mail": {"url": f"smtps://me:{KEY}@mail.example.org"}},
        {"log": {"broker": f"amqp://logs:{KEY}@[::1]:5672/"}},
        {"airflow": {"url": "https://airflow.example.org"}},
    ],
)
def test_what_stays_on_this_machine_needs_no_tls(tmp_path: Path, changed: dict[str, dict[str, Any]]) -> None:
    assert _unfit(tmp_path, changed) == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"https://me:{KEY}@broker.example.org", []),
        (f"mqtts://me:{KEY}@broker.example.org", []),
        (
            f"mqtt://me:{KEY}@broker.example.org",
            ["pubsub.broker.url: has no TLS, and is the address of another machine"],
        ),
        (f"http://me:{KEY}@127.0.0.1:9000", []),
        (
            "amqps://guest:guest@broker.example.org",
            ["pubsub.broker.url: its password is a default or shorter than 12 characters"],
        ),
    ],
)
def test_the_broker_of_the_configuration_is_examined_too(tmp_path: Path, url: str, said: list[str]) -> None:
    assert _unfit(tmp_path, {}, broker=Broker("MQTT", url)) == said


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = SimpleNamespace(f_blocks=1000, f_bavail=99, f_frsize=1 << 20)
    monkeypatch.setattr("server.production.os.statvfs", lambda _: full)
    assert _unfit(tmp_path, {}, full=True) == ["LANDCAST_STATE_DIR: less than a tenth of its disk is free"]
