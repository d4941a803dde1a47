"""Background tasks of the server: recording uses, removing expired rows."""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.testclient import TestClient

from auth.database import AccessUnavailable
from auth.identity import Identity
from auth.keys.key import WantedKey
from auth.keys.store import ApiKeys
from auth.sessions import Sessions
from server.maintenance import maintenance
from sql.connect import connect
from tests.auth.issuers import FakeIssuer
from tests.conftest import MakeApp

ADA = Identity("https://sso.example.org|1", subject="1", roles=frozenset({"user"}), method="session")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.sqlite"


@pytest.fixture
def keys(path: Path) -> Iterator[ApiKeys]:
    with closing(ApiKeys(path)) as made:
        yield made


class Counted:
    """Counts the calls with their threads; the first `failures` calls fail."""

    def __init__(self, failures: int = 0) -> None:
        self.threads: list[int] = []
        self._failures = failures

    def sweep(self) -> int:
        self.threads.append(threading.get_ident())
        if len(self.threads) <= self._failures:
            raise AccessUnavailable("locked")
        return 0


def tend(keys: ApiKeys, swept: Any, until: Any) -> None:
    async def run() -> None:
        async with asyncio.timeout(10), maintenance(keys, swept, uses_seconds=0.02, sweeps_seconds=0.02):
            while not until():  # noqa: ASYNC110 - as an operator would look
                await asyncio.sleep(0.01)

    asyncio.run(run())


def test_uses_are_written_in_the_background(keys: ApiKeys) -> None:
    _, text = keys.create(ADA, WantedKey("map"))
    keys._uses_written = -math.inf
    keys.identify(text)
    assert keys.list()[0].last_used is None
    tend(keys, (), lambda: keys.list()[0].last_used is not None)


def test_pending_uses_are_written_at_the_end(keys: ApiKeys) -> None:
    _, text = keys.create(ADA, WantedKey("map"))
    keys.identify(text)
    tend(keys, (), lambda: True)
    assert keys.list()[0].last_used is not None


def test_ended_sessions_are_removed_repeatedly_in_a_thread(keys: ApiKeys) -> None:
    swept = Counted()
    tend(keys, (swept,), lambda: len(swept.threads) > 2)
    assert threading.get_ident() not in swept.threads


def test_an_unavailable_database_is_tried_again(keys: ApiKeys, caplog: pytest.LogCaptureFixture) -> None:
    swept = Counted(failures=1)
    with caplog.at_level(logging.WARNING):
        tend(keys, (swept,), lambda: len(swept.threads) > 1)
    assert "failed and is repeated later: locked" in caplog.text


def test_the_server_maintains_keys_and_sessions(make_app: MakeApp, tmp_path: Path, issuer: FakeIssuer) -> None:
    policy = tmp_path / "policy.yml"
    policy.write_text(yaml.safe_dump({"grants": {"g": {"who": "public", "may": "discover", "collections": "*"}}}))
    path = tmp_path / "state" / "orders.sqlite"
    with closing(ApiKeys(path)) as keys, closing(Sessions(path)) as sessions:
        _, text = keys.create(ADA, WantedKey("map"))
        sessions.create(ADA, sid=None, id_token=None)
        with closing(connect(path)) as connection, connection:
            connection.execute("update sessions set created = 1, seen = 1, expires = 2")
        app = make_app(auth={"open": False, "issuer": issuer.url, "policy": policy})
        with TestClient(app) as client:
            assert client.get("/collections", headers={"X-Api-Key": text}).status_code == 200
            assert keys.list()[0].last_used is None
            _eventually_empty(path)
        assert keys.list()[0].last_used is not None


def _eventually_empty(path: Path) -> None:
    until = time.monotonic() + 60
    with closing(connect(path)) as connection:
        while connection.execute("select count(*) from sessions").fetchone()[0]:
            assert time.monotonic() < until
            time.sleep(0.02)
