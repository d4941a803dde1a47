"""`landcast serve` with users that a real OpenBao lends and revokes: no request is lost, also without Vault."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from sql.address import SharedAddress
from tests.openbao import OpenBao, start_openbao
from tests.postgres import Postgres
from tests.server.served import Served, end, eventually, gone

pytestmark = pytest.mark.long
RULES = """
path "secret/data/landcast/*" { capabilities = ["read"] }
path "database/creds/*" { capabilities = ["read"] }
path "database/static-creds/*" { capabilities = ["read"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"""
KEY = "a-key-that-signs-links-0123456789abcdef"
THROW_OUT = """select pg_terminate_backend(pid) from pg_stat_activity
    where pid <> pg_backend_pid() and datname = current_database() and backend_type = 'client backend'"""
HIDDEN = "a-hidden-password-of-mails-0123456789"


@pytest.fixture(scope="module")
def openbao() -> Iterator[OpenBao]:
    with start_openbao() as running:
        running.put("landcast/results", key=KEY)
        running.put("landcast/mail", url=f"smtp://landcast:{HIDDEN}@127.0.0.1:9")
        yield running


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    made = postgres.migrated()
    yield made
    postgres.run(made, THROW_OUT)
    postgres.give_back(made)


def environment(openbao: OpenBao, url: str, name: str, *, ttl: str, max_ttl: str, **login: str) -> dict[str, str]:
    parts = urlsplit(url)
    return {
        **openbao.approle(name, RULES, **login),
        "LANDCAST_DATABASE_URL": f"postgresql://{parts.hostname}:{parts.port}{parts.path}",
        "LANDCAST_VAULT_DATABASE": openbao.database(name, url, ttl=ttl, max_ttl=max_ttl),
        "LANDCAST_RESULTS_KEY": "vault:landcast/results#key",
        "LANDCAST_MAIL_URL": "vault:landcast/mail#url",
        "LANDCAST_VAULT_TIMEOUT": "1",
        "LANDCAST_SERVER_WORKERS": "1",
    }


@contextmanager
def served(folder: Path, settings: dict[str, str]) -> Iterator[Served]:
    running = Served(folder / "state", folder / "log", **settings)
    try:
        running.ready()
        yield running
    finally:
        end(running)


def order(running: Served, **inputs: Any) -> str:
    body = {"inputs": {"stringInput": "a", **inputs}}
    return str(running.post("/processes/echo/execution", body, Prefer="respond-async")["jobID"])


def status(running: Served, job: str) -> str:
    return str(running.get(f"/jobs/{job}")["status"])


def health(running: Served) -> Any:
    return running.get("/health/ready")["checks"]


def lent_password(running: Served) -> str:
    """Return the password of the current user, from memory that only processes of this user can open."""
    folder = Path(f"/proc/{running.process.pid}/fd")
    shared = next(path for path in folder.iterdir() if str(path.readlink()).startswith("/memfd:landcast"))
    return str(urlsplit(SharedAddress.open(str(shared))()).password)


def users(postgres: Postgres, url: str) -> set[str]:
    """Return the connected users, without the administrator of the tests."""
    asked = "select distinct usename from pg_stat_activity where datname = current_database() and usename like 'v-%'"
    return {str(row[0]) for row in postgres.run(url, asked)}


@pytest.mark.full
def test_a_change_of_database_users_loses_no_request_and_no_order(
    openbao: OpenBao, url: str, postgres: Postgres, tmp_path: Path
) -> None:
    """A user expires after 8 s at the latest, a login after 12 s; connections of an expired user are closed."""
    settings = environment(openbao, url, "changing", ttl="6s", max_ttl="8s")
    settings |= openbao.approle("changing", RULES, ttl="8s", max_ttl="12s")
    with served(tmp_path, settings) as running:
        seen: set[str] = set()
        working = order(running, pause=15)
        eventually(lambda: status(running, working) == "running")
        over = Event()

        def ask() -> int:
            count = 0
            while not over.is_set():
                order(running)
                running.get("/jobs?limit=3")
                count += 1
                time.sleep(0.1)
            return count

        with ThreadPoolExecutor(2) as threads:
            asking = [threads.submit(ask) for _ in range(2)]
            try:
                until = time.monotonic() + 120
                while status(running, working) == "running" or len(seen) < 4:
                    assert time.monotonic() < until, seen
                    seen |= users(postgres, url)
                    time.sleep(0.2)
            finally:
                over.set()
            assert all(each.result() > 5 for each in asking)
        assert status(running, working) == "successful"
        asked = f"set landcast.owner = '*'; select attempt, failures from jobs where id = '{working}'"  # noqa: S608  ours
        attempts = postgres.run(url, asked)
        assert attempts == [(1, 0)], "the worker has led all the time"
        assert health(running)["secrets"] == {"status": "ok"}
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


def is_replaced_after(revoke: Callable[[], None], running: Served, connected: Callable[[], set[str]]) -> None:
    """Revoke the credentials, and wait for another user with whom orders are executed."""
    before = connected()
    revoke()
    eventually(lambda: connected() and not connected() & before)
    done = order(running)
    eventually(lambda: status(running, done) == "successful")


@pytest.mark.full
def test_the_server_continues_while_vault_is_unavailable(
    openbao: OpenBao, url: str, postgres: Postgres, tmp_path: Path
) -> None:
    settings = environment(openbao, url, "faults", ttl="10m", max_ttl="20m")
    with served(tmp_path, settings) as running:
        lent = openbao.leases("faults")
        assert len(lent) == 1
        before = users(postgres, url)

        def goes_on(said: str) -> None:
            eventually(lambda: health(running)["secrets"]["status"] == "unavailable")
            eventually(lambda: said in health(running)["secrets"]["detail"])
            whole = running.get("/health/ready")
            assert (whole["status"], whole["orders"]) == ("degraded", "ok")
            done = order(running)
            eventually(lambda: status(running, done) == "successful")
            assert users(postgres, url) == before

        def well() -> None:
            eventually(lambda: health(running)["secrets"] == {"status": "ok"})

        openbao.seal()
        goes_on("sealed or in maintenance (503)")
        openbao.unseal()
        well()
        openbao.freeze()
        goes_on("does not answer in time")
        openbao.thaw()
        well()
        openbao.kill()
        goes_on("cannot be reached")
        openbao.back()
        well()
        assert users(postgres, url) == before
        assert openbao.leases("faults") == lent

        for revoke in (openbao.revoke_leases, openbao.log_out_all):
            is_replaced_after(partial(revoke, "faults"), running, partial(users, postgres, url))
        well()

        # Its own process ends, and the next renews what there is.
        renewer = next(each for each in psutil.Process(running.process.pid).children() if not each.children())
        renewer.kill()
        eventually(lambda: "secrets ended with" in (tmp_path / "log").read_text())
        well()
        done = order(running)
        eventually(lambda: status(running, done) == "successful")

        # Vault is gone at the stop, which must not hold it up.
        openbao.freeze()
        try:
            tree = running.tree()
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(60) == 0
            eventually(lambda: gone(tree))
        finally:
            openbao.thaw()
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log
    for said in ("Vault is sealed or in maintenance (503)", "Vault does not answer in time", "Vault cannot be reached"):
        lines = [line for line in log.splitlines() if said in line and "WARNING" in line]
        assert len(lines) <= 2, "it is said once, not every second"


@pytest.mark.full
def test_users_that_expired_while_vault_was_unavailable_are_replaced(
    openbao: OpenBao, url: str, tmp_path: Path
) -> None:
    settings = environment(openbao, url, "ended", ttl="6s", max_ttl="8s")
    with served(tmp_path, settings) as running:
        openbao.ask("PUT", "sys/policies/acl/ended", {"policy": 'path "secret/*" { capabilities = ["read"] }'})
        eventually(lambda: "Vault forbids it (403)" in health(running)["secrets"].get("detail", ""))
        eventually(lambda: "have expired" in health(running)["secrets"].get("detail", ""))
        eventually(lambda: health(running)["orders"]["status"] == "unavailable")
        with pytest.raises(urllib.error.HTTPError) as refused:
            order(running)
        with refused.value as answer:
            assert (answer.code, answer.headers["Retry-After"]) == (503, "5")
            assert b"v-" not in answer.read()
        assert running.answers("/collections/parks/items?limit=1") or running.answers("/collections")
        openbao.ask("PUT", "sys/policies/acl/ended", {"policy": RULES})
        eventually(lambda: health(running)["orders"]["status"] == "ok")
        done = order(running)
        eventually(lambda: status(running, done) == "successful")
        assert health(running)["secrets"] == {"status": "ok"}


@pytest.mark.full
def test_a_start_waits_for_vault(openbao: OpenBao, url: str, tmp_path: Path) -> None:
    settings = environment(openbao, url, "waiting", ttl="10m", max_ttl="20m")
    openbao.seal()
    try:
        refused = Served(tmp_path / "none", tmp_path / "refused", **settings, LANDCAST_VAULT_WAIT="1")
        assert refused.process.wait(120) == 1
        said = (tmp_path / "refused").read_text()
        assert said.count("LANDCAST_VAULT_URL: Vault is sealed or in maintenance (503)\n") == 1
        assert "Traceback" not in said
        waiting = Served(tmp_path / "state", tmp_path / "log", **settings, LANDCAST_VAULT_WAIT="120")
        try:
            eventually(lambda: "asking again" in (tmp_path / "log").read_text(), 120)
            openbao.unseal()
            waiting.ready()
            assert len(openbao.leases("waiting")) == 1
            logins = openbao.tokens()
            waiting.process.send_signal(signal.SIGTERM)
            assert waiting.process.wait(60) == 0
            eventually(lambda: openbao.leases("waiting") == [])
            assert openbao.tokens() == logins - 1, "it has logged out"
        finally:
            end(waiting)
    finally:
        with suppress(urllib.error.HTTPError):
            openbao.unseal()


@pytest.mark.full
def test_a_separate_worker_renews_and_revokes_its_leases(
    openbao: OpenBao, url: str, postgres: Postgres, tmp_path: Path
) -> None:
    settings = environment(openbao, url, "worker", ttl="6s", max_ttl="8s")
    settings |= {"LANDCAST_STATE_DIR": str(tmp_path / "state"), "LANDCAST_AUTH_OPEN": "yes"}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LANDCAST_")}
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen([sys.executable, "-m", "server.cli", "work"], env=clean | settings, stderr=log)
    try:
        seen: set[str] = set()

        def has_changed_twice() -> bool:
            seen.update(users(postgres, url))
            return len(seen) > 2

        eventually(has_changed_twice, 120)
        tree = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
        logins = openbao.tokens()
        worker.terminate()
        assert worker.wait(60) == 0
        eventually(lambda: gone(tree))
        eventually(lambda: openbao.tokens() < logins)
    finally:
        worker.kill()
        worker.wait()
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.full
def test_a_rotated_password_is_followed_at_once(openbao: OpenBao, url: str, postgres: Postgres, tmp_path: Path) -> None:
    settings = environment(openbao, url, "rotating", ttl="10m", max_ttl="20m")
    name = f"landcast_rotating_{os.getpid()}"
    postgres.run(url, f"create role {name} login in role landcast_server role landcast")
    role = {"db_name": "rotating", "username": name, "rotation_period": "5s"}
    openbao.ask("POST", "database/static-roles/rotated", role)
    settings["LANDCAST_VAULT_DATABASE"] = "database/static-creds/rotated"
    thrown_out = f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{name}'"  # noqa: S608  ours
    with served(tmp_path, settings) as running:
        for _ in range(4):
            postgres.run(url, thrown_out)
            for _ in range(5):
                running.get("/jobs?limit=1")
                time.sleep(0.4)
    openbao.ask("DELETE", "database/static-roles/rotated")
    postgres.run(url, f"drop role {name}")


def test_no_log_or_file_contains_a_secret(openbao: OpenBao, url: str, postgres: Postgres, tmp_path: Path) -> None:
    """Not in a log, a page, an error, a file of the state folder, an argument or the environment of a process."""
    settings = environment(openbao, url, "hidden", ttl="4s", max_ttl="6s")
    (tmp_path / "secret-id").write_text(settings.pop("LANDCAST_VAULT_SECRET_ID"))
    settings |= {
        "LANDCAST_VAULT_SECRET_ID_FILE": str(tmp_path / "secret-id"),
        "LANDCAST_LOG_LEVEL": "DEBUG",
    }
    secrets = {KEY, HIDDEN, (tmp_path / "secret-id").read_text()}
    form = re.compile(r"\bs\.[A-Za-z0-9]{24}\b|\bhv[sb]\.|://v-[^:@]*:[^@…]|client_token")
    assert form.search(openbao.root), "it has the form of a token"
    with served(tmp_path, settings) as running:
        job = order(running, pause=3)
        eventually(lambda: status(running, job) == "running")
        pages = [
            running.get(path)
            for path in (
                "/",
                "/health/ready",
                "/health/orders",
                "/openapi",
                "/processes",
                f"/jobs/{job}",
                "/collections",
            )
        ]
        processes = [
            each
            for process in running.tree()
            for each in (" ".join(process.cmdline()), " ".join(f"{a}={b}" for a, b in process.environ().items()))
        ]
        secrets.add(lent_password(running))
        eventually(lambda: status(running, job) == "successful")
        secrets.add(lent_password(running))
        openbao.seal()
        try:
            eventually(lambda: health(running)["secrets"]["status"] == "unavailable")
            pages.append(running.get("/health/ready"))
            eventually(lambda: "have expired" in health(running)["secrets"]["detail"])
            eventually(lambda: postgres.run(url, THROW_OUT) and health(running)["orders"]["status"] == "unavailable")
            pages.append(running.get("/health/ready"))
            for path in ("/jobs", f"/jobs/{job}"):
                with pytest.raises(urllib.error.HTTPError) as refused:
                    running.get(path)
                with refused.value as answer:
                    pages.append({"error": answer.read().decode()})
        finally:
            openbao.unseal()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == 0
    files = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    everywhere = {
        "log": (tmp_path / "log").read_text(),
        "pages": json.dumps(pages),
        "processes": "\n".join(processes),
        **{str(path): path.read_bytes().decode(errors="replace") for path in files},
    }
    assert "revoke-self" in everywhere["log"], "what is asked of Vault is logged, what it answers is not"
    for place, text in everywhere.items():
        assert not [secret for secret in secrets if secret in text], place
        assert not form.search(text), place
