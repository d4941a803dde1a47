"""`landcast check --production`: settings that work, but are unfit for production."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from server.settings import Settings

if TYPE_CHECKING:
    from pydantic import SecretStr

BACKUPS = Path("/var/lib/landcast-backup")
"""The folder of backups of deploy/landcast-backup.service."""
_BACKUP_SECONDS = 2 * 86_400
_FREE_SHARE = 0.1
_SHORTEST = 12
_LEAST_SIGNS = 10
"""Minimum number of different characters of a random secret."""
_DEFAULTS = frozenset({"admin", "changeme", "guest", "landcast", "password", "postgres", "rabbitmq", "root", "secret"})


def find_unfit(settings: Settings, backups: Path = BACKUPS) -> Iterator[str]:
    """Yield each problem for production, with the setting to change."""
    yield from _of_access(settings)
    yield from _of_passwords(settings)
    yield from _of_keys(settings)
    if settings.mail.url is None:
        yield "LANDCAST_MAIL_URL: missing: an order that wants a mail is refused"
    if settings.metrics.bind is None:
        yield "LANDCAST_METRICS_BIND: missing: nobody is alerted"
    yield from _of_disk(settings, backups)


def _of_access(settings: Settings) -> Iterator[str]:
    if settings.auth.open:
        yield "LANDCAST_AUTH_OPEN: everybody may do everything; set LANDCAST_AUTH_ISSUER and LANDCAST_AUTH_POLICY"
    if settings.auth.password_grant:
        yield "LANDCAST_AUTH_PASSWORD_GRANT: a program with a person's password can do everything; use API keys"
    if urlsplit(settings.server.public_url).scheme != "https":
        yield f"LANDCAST_SERVER_URL: {settings.server.public_url} has no TLS; set the https address of the proxy"
    if settings.auth.issuer is not None and urlsplit(settings.auth.issuer).scheme != "https":
        yield f"LANDCAST_AUTH_ISSUER: {settings.auth.issuer} has no TLS"
    if settings.jobs.fetch_private:
        yield "LANDCAST_JOBS_FETCH_PRIVATE: callers may make the server ask addresses of its own network"


def _of_passwords(settings: Settings) -> Iterator[str]:
    addresses = {
        "LANDCAST_DATABASE_URL": settings.database.url,
        "LANDCAST_LOG_DATABASE": settings.log.database,
        "LANDCAST_LOG_BROKER": settings.log.broker,
        "LANDCAST_MAIL_URL": settings.mail.url,
    }
    for name, url in addresses.items():
        parts = urlsplit(url.get_secret_value()) if url else None
        if parts is not None and parts.password is not None and _is_weak(unquote(parts.password), parts.username or ""):
            yield f"{name}: its password is a default or shorter than {_SHORTEST} characters"
    airflow = settings.airflow.password
    if airflow is not None and _is_weak(airflow.get_secret_value(), settings.airflow.username or ""):
        yield f"LANDCAST_AIRFLOW_PASSWORD: is a default or shorter than {_SHORTEST} characters"


def _is_weak(password: str, user: str) -> bool:
    return len(password) < _SHORTEST or password.lower() in _DEFAULTS or password == unquote(user)


def _of_keys(settings: Settings) -> Iterator[str]:
    keys: dict[str, SecretStr | None] = {
        "LANDCAST_RESULTS_KEY": settings.results.key,
        "LANDCAST_CALLBACKS_KEY": settings.callbacks.key,
        "LANDCAST_AIRFLOW_KEY": settings.airflow.key,
        "LANDCAST_AUTH_CLIENT_SECRET": settings.auth.client_secret,
        "LANDCAST_AUTH_OWNERS_SECRET": settings.auth.owners_secret,
    }
    for name, key in keys.items():
        if key is not None and len(set(key.get_secret_value())) < _LEAST_SIGNS:
            yield f"{name}: is not random: it has fewer than {_LEAST_SIGNS} different characters"


def _of_disk(settings: Settings, backups: Path) -> Iterator[str]:
    disk = os.statvfs(
        next(path for path in (settings.state.dir.absolute(), *settings.state.dir.absolute().parents) if path.exists())
    )
    if disk.f_bavail < disk.f_blocks * _FREE_SHARE:
        yield "LANDCAST_STATE_DIR: less than a tenth of its disk is free"
    if settings.results.cap is None:
        yield "LANDCAST_RESULTS_CAP: missing: results may fill the disk"
    newest = newest_backup(backups)
    if newest is None:
        yield f"{backups}: has no backup; enable landcast-backup.timer"
    elif time.time() - newest > _BACKUP_SECONDS:
        yield f"{backups}: the newest backup is older than two days; see journalctl -u landcast-backup"


def newest_backup(backups: Path = BACKUPS) -> float | None:
    """Return the time of the newest backup in the folder, None if there is none or it cannot be read."""
    try:
        return max((path.stat().st_mtime for path in backups.glob("*.tar")), default=None)
    except OSError:
        return None
