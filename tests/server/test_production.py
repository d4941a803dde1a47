"""Settings that are unfit for production, one row for each kind."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from server.production import find_unfit
from server.settings import CONCERNS, Settings

KEY = "qJ4z8Xw2Lk9Tn3Vb7Rc5Yp1Hs6Gd0FmA"
FIT: dict[str, dict[str, Any]] = {
    "server": {"url": "https://maps.example.org"},
    "auth": {"issuer": "https://sso.example.org/realms/land", "client_secret": KEY},
    "database": {"url": f"postgresql://landcast:{KEY}@db/landcast"},
    "results": {"cap": "50G", "key": KEY},
    "mail": {"url": f"smtp://me:{KEY}@mail.example.org:25"},
    "metrics": {"bind": "127.0.0.1:9464"},
}


def _unfit(tmp_path: Path, changed: dict[str, dict[str, Any]], *, hours: float | None = 1) -> list[str]:
    if hours is not None:
        backup = tmp_path / "2026-11-30.tar"
        backup.touch()
        os.utime(backup, (0, time.time() - hours * 3600))
    given = {concern: {**FIT.get(concern, {}), **changed.get(concern, {})} for concern in {*FIT, *changed}}
    given.setdefault("state", {})["dir"] = tmp_path
    kinds = {kind.__name__.removesuffix("Settings").lower(): kind for kind in CONCERNS}
    values: Any = {name: kind(**given.get(name, {})) for name, kind in kinds.items()}
    found = list(find_unfit(Settings(**values), tmp_path))
    return [each for each in found if "less than a tenth" not in each]  # of this machine's disk


def test_a_production_setup_has_no_problem(tmp_path: Path) -> None:
    assert _unfit(tmp_path, {}) == []


@pytest.mark.parametrize(
    ("concern", "changed", "named"),
    [
        ("server", {"url": "http://maps.example.org"}, "LANDCAST_SERVER_URL"),
        ("auth", {"issuer": None, "open": True}, "LANDCAST_AUTH_OPEN"),
        ("auth", {"issuer": "http://127.0.0.1:8180/realms/land"}, "LANDCAST_AUTH_ISSUER"),
        ("auth", {"password_grant": True}, "LANDCAST_AUTH_PASSWORD_GRANT"),
        ("auth", {"client_secret": "a" * 32}, "LANDCAST_AUTH_CLIENT_SECRET"),
        ("database", {"url": "postgresql://landcast:short@db/landcast"}, "LANDCAST_DATABASE_URL"),
        ("database", {"url": "postgresql://landcastlandcast:landcastlandcast@db/landcast"}, "LANDCAST_DATABASE_URL"),
        ("log", {"broker": "amqp://guest:guest@mq/"}, "LANDCAST_LOG_BROKER"),
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
    assert problem.startswith(f"{named}: ")
    assert "short@" not in problem
    assert "abcabc" not in problem


def test_a_missing_and_an_old_backup_are_named(tmp_path: Path) -> None:
    (problem,) = _unfit(tmp_path, {}, hours=None)
    assert "has no backup" in problem
    (problem,) = _unfit(tmp_path, {}, hours=49)
    assert "older than two days" in problem
