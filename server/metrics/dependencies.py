"""The current state of dependencies: disk, worker, Airflow, certificates."""

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

from cryptography.x509 import load_der_x509_certificate

from orchestration.errors import OrchestrationError
from orchestration.files.usage import known_usage
from orchestration.heartbeat import heartbeat_age
from orchestration.runners.airflow import AirflowAccess
from server.production import BACKUPS, newest_backup

_log = logging.getLogger(__name__)

INTERVAL = 5.0
"""Seconds between two checks of a dependency."""
FRESH = 14.0
"""Seconds after which a result is no longer shown."""
_HTTPS = 443
_HANDSHAKE_SECONDS = 3.0
FAILURES = (OSError, ValueError, OrchestrationError)
"""Errors of a check that mean that the dependency is down."""


class Look[Found]:
    """Checks a dependency periodically in its own thread, so that a slow one does not delay others."""

    def __init__(self, name: str, look: Callable[[], Found], *, interval: float = INTERVAL) -> None:
        self.name = name
        self._look = look
        self._interval = interval
        self._found: Found | None = None
        self._at = 0.0
        self.seconds = 0.0
        """Duration of the last check."""

    def now(self) -> Found | None:
        """Return the last result, None if the check failed or is too old."""
        return self._found if time.monotonic() - self._at < FRESH else None

    def look(self) -> None:
        """Check once."""
        began = time.monotonic()
        try:
            self._found, self._at = self._look(), time.monotonic()
        except FAILURES as error:
            if self._found is not None:
                _log.warning("no metrics of the %s: %s", self.name, type(error).__name__)
            self._found = None
        self.seconds = time.monotonic() - began

    def keep(self, stop: Event) -> None:
        """Check until `stop` is set."""
        while not stop.is_set():
            self.look()
            stop.wait(self._interval)


@contextmanager
def looking(looks: "list[Look[object]]") -> Iterator[None]:
    """Check all of them in the background until the context ends."""
    stop = Event()
    for each in looks:
        Thread(target=each.keep, args=(stop,), name=f"metrics of {each.name}", daemon=True).start()
    try:
        yield
    finally:
        stop.set()


@dataclass(frozen=True, slots=True)
class Machine:
    """The disk of the state folder and the results in bytes, and the age of the worker's heartbeat in seconds."""

    disk: int
    free: int
    results: int | None
    heartbeat: float | None
    backup: float | None = None
    """Time of the newest backup of the service's timer."""


def machine(state: Path, backups: Path = BACKUPS) -> Machine:
    """Return the state of this machine. Raises OSError."""
    disk = os.statvfs(state)
    return Machine(
        disk.f_blocks * disk.f_frsize,
        disk.f_bavail * disk.f_frsize,
        known_usage(state / "results"),
        heartbeat_age(state),
        newest_backup(backups),
    )


@dataclass(frozen=True, slots=True)
class AirflowDags:
    """Whether Airflow's scheduler works, and the number of our DAGs that are active, paused and missing."""

    schedules: bool
    dags: Mapping[str, int] = field(default_factory=dict)


def airflow_looker(access: AirflowAccess, wanted: Callable[[], frozenset[str]]) -> Callable[[], AirflowDags]:
    """Return a function that queries Airflow; it raises WorkflowUnavailable or WorkflowRefused."""
    from orchestration.runners.airflow.client import Airflow  # noqa: PLC0415  large, and for Airflow only

    client = Airflow(access)

    def ask() -> AirflowDags:
        names = wanted()
        schedules, found = client.is_scheduling(), client.dags(names)
        paused = sum(dag.is_paused for dag in found.values())
        counts = {"active": len(found) - paused, "paused": paused, "missing": len(names) - len(found)}
        return AirflowDags(schedules, counts)

    return ask


def issuer_looker(url: str, timeout: float) -> Callable[[], bool]:
    """Return a function that asks the issuer for its discovery document; it raises OSError without a valid one."""
    from auth.issuer import Issuer, IssuerUnreachable  # noqa: PLC0415  only for an issuer

    issuer = Issuer(url, algorithms=(), timeout=timeout)

    def ask() -> bool:
        try:
            asyncio.run(issuer.metadata())
        except IssuerUnreachable as error:
            raise ConnectionError(str(error)) from error
        return True

    return ask


def certificate_end(url: str) -> float:
    """Return the time at which the certificate of an https address expires or has expired. Raises OSError.

    The certificate is not verified, so that an invalid one has a time too; no request is sent.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((host, parts.port or _HTTPS), _HANDSHAKE_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        encoded = secure.getpeercert(binary_form=True)
    if not encoded:
        raise ValueError("the server shows no certificate")
    return load_der_x509_certificate(encoded).not_valid_after_utc.timestamp()
