"""`landcast migrate` and the other commands with PostgreSQL."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from auth.identity import Identity
from auth.keys.key import WantedKey
from auth.keys.store import ApiKeys
from auth.logins import PendingLogins
from auth.sessions import Sessions
from orchestration.job import Job, JobQuery, Notice, Order, Output, Status
from orchestration.store.jobs import StoredJobs
from orchestration.store.outbox import Outbox
from orchestration.units import StoredUnits, Unit
from server.check import find_problems
from server.cli import main
from server.state import in_use
from sql.connections import Database
from sql.migrate import SCHEMA_VERSION
from sql.pool import PostgresPool
from tests.ports import free_port
from tests.postgres import Postgres

ANN = Identity(
    "https://sso.example.org|ann", "a@example.org", "ann", "Ann", roles=frozenset({"user"}), method="session"
)
NOTICES = (
    Notice("callback", Status.SUCCESSFUL, "https://example.org/done"),
    Notice("mail", Status.FAILED, "ann@example.org"),
)


@pytest.fixture
def url(postgres: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    made = postgres.empty()
    monkeypatch.setenv("LANDCAST_DATABASE_URL", made)
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(tmp_path))
    return made


@pytest.fixture
def pool(url: str) -> Iterator[PostgresPool]:
    with closing(PostgresPool(url)) as made:
        yield made


def landcast(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def filled(database: Database) -> tuple[list[Job], str, str, tuple[str, str]]:
    """Store orders in all states, a key, a session and a login; return their ids."""
    store = StoredJobs(database)
    StoredUnits(database).put("echo", "", [Unit("10kmE1N1", "cell", 1.0, 2.0)])
    for number in range(5):
        store.add(Order("echo", {"n": number, "ä": "\0", "long": "x" * 3000}, ANN.owner, notices=NOTICES))
    running, done, failed, dismissed = [job.id for job in store.unfinished()[:4]]
    for job in (running, done, failed):
        store.begin(job)
    store.publish(done, 1, (Output("stringOutput", "é"),))
    store.fail(failed, 1, "no", fault="WorkFailed")
    store.dismiss(dismissed)
    entry = Outbox(database).take("callback")
    assert entry is not None
    _, text = ApiKeys(database).create(ANN, WantedKey("k", "order"))
    secret, _ = Sessions(database).create(ANN, sid="s", id_token="hint")  # noqa: S106  no password
    login = PendingLogins(database).begin("/")
    found = [stored for each in store.find(JobQuery(limit=99)).jobs if (stored := store.get(each.id))]
    return found, text, secret, (login.state, login.browser)


def test_every_row_of_sqlite_is_migrated_and_usable(pool: PostgresPool, tmp_path: Path) -> None:
    path = tmp_path / "orders.sqlite"
    jobs, text, secret, login = filled(path)
    notifications = {job.id: Outbox(path).notifications(job.id) for job in jobs}
    histories = {job.id: StoredJobs(path).history(job.id) for job in jobs}
    assert any(histories.values())
    moved = landcast("migrate", "--from", f"sqlite:{path}")
    assert moved.exit_code == 0, moved.stderr
    assert moved.stdout.splitlines() == [
        f"schema: version {SCHEMA_VERSION}, new",
        *("jobs: 5", f"outbox: {sum(map(len, notifications.values()))}"),
        f"history: {sum(len(histories[job.id]) for job in jobs)}",
        *("units: 1", "api_keys: 1", "sessions: 1"),
        "pending_logins: 1",
        "logout_tokens: 0",
    ]
    store = StoredJobs(pool)
    assert [store.get(job.id) for job in jobs] == jobs
    assert [job.id for job in store.find(JobQuery()).jobs] == [job.id for job in jobs], "in their order"
    assert {job.id: store.history(job.id) for job in jobs} == histories
    assert {job.id: Outbox(pool).notifications(job.id) for job in jobs} == notifications, "nothing is told again"
    assert ApiKeys(pool).identify(text).owner == ANN.owner
    session = Sessions(pool).get(secret)
    assert session is not None
    assert session.identity == ANN
    assert PendingLogins(pool).take(*login) is not None
    new, _ = store.add(Order("echo", {}, ANN.owner, notices=NOTICES))
    assert store.find(JobQuery(limit=1)).jobs[0].id == new.id, "numbers go on after the last"
    running = next(job for job in jobs if job.status is Status.RUNNING)
    assert store.fail(running.id, 1, "no")
    assert [entry.state for entry in Outbox(pool).notifications(running.id)] == ["due"], "triggers work again"


def test_a_database_with_rows_is_not_filled(pool: PostgresPool, tmp_path: Path) -> None:
    filled(tmp_path / "orders.sqlite")
    assert landcast("migrate").exit_code == 0
    Sessions(pool).create(ANN, sid=None, id_token=None)
    refused = landcast("migrate", "--from", f"sqlite:{tmp_path}/orders.sqlite")
    assert refused.exit_code == 1
    assert "the table sessions already has rows" in refused.stderr
    assert StoredJobs(pool).find(JobQuery()).matched == 0


def test_an_incomplete_migration_changes_nothing(pool: PostgresPool, tmp_path: Path) -> None:
    filled(tmp_path / "orders.sqlite")
    assert landcast("migrate").exit_code == 0
    with pool.writing() as connection:
        connection.execute("alter table sessions add constraint refused check (subject <> 'ann')")
    refused = landcast("migrate", "--from", f"sqlite:{tmp_path}/orders.sqlite")
    assert (refused.exit_code, "23514" in refused.stderr) == (1, True)
    assert StoredJobs(pool).find(JobQuery()).matched == 0
    assert ApiKeys(pool).list() == ()


def test_a_database_in_use_is_not_migrated(pool: PostgresPool, tmp_path: Path) -> None:
    """Orders acknowledged after the move would be lost."""
    filled(tmp_path / "orders.sqlite")
    with in_use(tmp_path):
        refused = landcast("migrate", "--from", f"sqlite:{tmp_path}/orders.sqlite")
    assert (refused.exit_code, "stop the server" in refused.stderr) == (1, True)
    assert StoredJobs(pool).find(JobQuery()).matched == 0


@pytest.mark.parametrize("source", ["orders.sqlite", "sqlite:", "postgresql://x/y", "sqlite:/nowhere/orders.sqlite"])
def test_an_invalid_source_is_refused(url: str, source: str) -> None:  # noqa: ARG001  the settings
    assert landcast("migrate", "--from", source).exit_code == 2


def test_migrate_requires_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANDCAST_DATABASE_URL", raising=False)
    refused = landcast("migrate")
    assert (refused.exit_code, "LANDCAST_DATABASE_URL: missing" in refused.stderr) == (1, True)


def test_migrate_may_run_before_every_start_and_refuses_a_newer_schema(postgres: Postgres, url: str) -> None:
    known = f"schema: version {SCHEMA_VERSION}"
    assert [landcast("migrate").stdout for _ in range(2)] == [f"{known}, new\n", f"{known}\n"]
    postgres.run(url, "update schema_version set version = 99")
    refused = landcast("migrate")
    assert (refused.exit_code, "99" in refused.stderr) == (1, True)


def test_orders_and_keys_are_listed_and_created_in_postgresql(url: str, pool: PostgresPool, tmp_path: Path) -> None:  # noqa: ARG001  the settings
    landcast("migrate")
    job, _ = StoredJobs(pool).add(Order("echo", {}, ANN.owner))
    assert [each["id"] for each in json.loads(landcast("orders", "list", "--json").stdout)] == [job.id]
    assert landcast("orders", "cancel", job.id).exit_code == 0
    text = landcast("keys", "create", "--owner", "iss|bob", "--name", "x").stdout.strip()
    assert ApiKeys(pool).identify(text).owner == "iss|bob"
    assert not (tmp_path / "orders.sqlite").exists()


def test_check_names_the_problems_of_the_database(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def said() -> list[str]:
        problems = find_problems(Path("pygeoapi-config.yml"))
        return [problem for problem in problems if problem.startswith("LANDCAST_DATABASE_URL")]

    assert said() == [f"LANDCAST_DATABASE_URL: the schema has version 0, not {SCHEMA_VERSION}: run landcast migrate"]
    landcast("migrate")
    assert said() == []
    monkeypatch.setenv("LANDCAST_DATABASE_URL", f"postgresql://x:secret@127.0.0.1:{free_port()}/x")
    assert said() == ["LANDCAST_DATABASE_URL: PostgreSQL cannot be reached"]
    assert url
