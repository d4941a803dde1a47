"""`landcast check --production`: settings that work, but are unfit for production."""

import os
import time
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from orchestration.notifications.broker import Broker
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
_ENCRYPTED = frozenset({"require", "verify-ca", "verify-full"})
"""The values of PostgreSQL's `sslmode` with which nothing is sent in the clear."""
_IN_THE_CLEAR = frozenset({"amqp", "http", "mqtt", "smtp"})
_DEFAULTS = frozenset({"admin", "changeme", "guest", "landcast", "password", "postgres", "rabbitmq", "root", "secret"})


def find_unfit(settings: Settings, broker: Broker | None = None, backups: Path = BACKUPS) -> Iterator[str]:
    """Yield each problem for production, with the setting to change; `broker` is that of the configuration."""
    addresses = dict(_addresses(settings, broker))
    yield from _of_access(settings)
    yield from _of_transport(addresses)
    yield from _of_passwords(settings, addresses)
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
    elif not settings.server.proxies:
        yield "LANDCAST_SERVER_PROXIES: missing: rates and audit log take the proxy for the caller of every request"
    if settings.auth.issuer is not None and urlsplit(settings.auth.issuer).scheme != "https":
        yield f"LANDCAST_AUTH_ISSUER: {settings.auth.issuer} has no TLS"
    if settings.jobs.fetch_private:
        yield "LANDCAST_JOBS_FETCH_PRIVATE: callers may make the server ask addresses of its own network"


def _addresses(settings: Settings, broker: Broker | None) -> Iterator[tuple[str, str]]:
    """Yield the addresses that the server connects to, with their passwords, by what names them."""
    secrets = {
        "LANDCAST_DATABASE_URL": settings.database.url,
        "LANDCAST_LOG_DATABASE": settings.log.database,
        "LANDCAST_LOG_BROKER": settings.log.broker,
        "LANDCAST_MAIL_URL": settings.mail.url,
    }
    yield from ((name, url.get_secret_value()) for name, url in secrets.items() if url is not None)
    if settings.airflow.url is not None:
        yield "LANDCAST_AIRFLOW_URL", settings.airflow.url
    if settings.airflow.connections is not None:
        for line in settings.airflow.connections.get_secret_value().split():
            name, _, url = line.partition("=")
            yield f"LANDCAST_AIRFLOW_CONNECTIONS: {name}", url
    if broker is not None:
        yield "pubsub.broker.url", broker.url


def _of_transport(addresses: Mapping[str, str]) -> Iterator[str]:
    """Yield the connections to other machines that are not encrypted."""
    for name, url in addresses.items():
        parts = urlsplit(url)
        if _is_here(parts.hostname):
            continue
        asked = parse_qs(parts.query)
        if parts.scheme.startswith("postgres"):
            if asked.get("sslmode", [""])[-1] not in _ENCRYPTED:
                yield f"{name}: has no TLS: PostgreSQL is on another machine; add ?sslmode=verify-full"
        elif parts.scheme in _IN_THE_CLEAR and "starttls" not in asked:
            yield f"{name}: has no TLS, and is the address of another machine"


def _is_here(host: str | None) -> bool:
    """Return whether a host is this machine: a loopback address, or none, as of a socket."""
    try:
        return host in (None, "localhost") or ip_address(host).is_loopback
    except ValueError:
        return False


def _of_passwords(settings: Settings, addresses: Mapping[str, str]) -> Iterator[str]:
    for name, url in addresses.items():
        parts = urlsplit(url)
        if parts.password is not None and _is_weak(unquote(parts.password), parts.username or ""):
            yield f"{name}: its password is a default or shorter than {_SHORTEST} characters"
    passwords = {
        "LANDCAST_AIRFLOW_PASSWORD": (settings.airflow.password, settings.airflow.username),
        "LANDCAST_AIRFLOW_OPERATOR_PASSWORD": (settings.airflow.operator_password, settings.airflow.operator),
        "LANDCAST_VAULT_PASSWORD": (settings.vault.password, settings.vault.username),
        "LANDCAST_VAULT_TOKEN": (settings.vault.token, None),
    }
    for name, (password, user) in passwords.items():
        if password is not None and _is_weak(password.get_secret_value(), user or ""):
            yield f"{name}: is a default or shorter than {_SHORTEST} characters"


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
    elif settings.results.cap > disk.f_blocks * disk.f_frsize:
        yield "LANDCAST_RESULTS_CAP: is more than the disk of LANDCAST_STATE_DIR has"
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
