"""Backups of orders in a real PostgreSQL, made by a user who can only read, and restored."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from threading import Event, Thread
from urllib.parse import urlsplit, urlunsplit

import pytest
from click.testing import CliRunner, Result

from orchestration.files.results import ResultFiles, results_key
from orchestration.job import JobQuery, Notice, Order, Output, ResultFile, Status
from orchestration.leader import worker_lock
from orchestration.store.jobs import StoredJobs
from server.cli import main
from sql.migrate import migrate
from sql.move import TABLES
from sql.pool import PostgresPool
from tests.postgres import Postgres, program
from tests.server.served import eventually
from tests.server.test_migrate import filled

CONFIG = Path("pygeoapi-config.yml").absolute()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a state folder with keys."""
    folder = tmp_path / "state"
    folder.mkdir()
    results_key(folder)
    (folder / "callbacks.key").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    return folder


@pytest.fixture
def url(postgres: Postgres, state: Path) -> str:
    """Return a database with orders in all states, one with a file, and keys and sessions."""
    made = postgres.empty()
    migrate(made)
    with closing(PostgresPool(made)) as pool:
        filled(pool)
        store = StoredJobs(pool)
        job = store.begin(store.add(Order("echo", {}, "iss|ann"))[0].id)
        assert job is not None
        path = ResultFiles(state / "results").folder(job.id, 1, 1) / "ä result.zip"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"a result" * 1000)
        relative = str(path.relative_to(state / "results"))
        file = ResultFile(path.name, relative, "application/zip", 8000, sha256(path.read_bytes()).hexdigest())
        assert store.publish(job.id, 1, (Output("result", None, file.media_type, file),))
    postgres.run(made, "insert into logout_tokens values (sha256('x'), 5)")
    return made


@pytest.fixture
def reader(postgres: Postgres, url: str) -> Iterator[str]:
    """Return the database's URL for a user of the role for backups."""
    name = f"backup_{os.getpid()}_{time.monotonic_ns()}"
    postgres.run(postgres.url, f"create role {name} login password 'backup-password' in role landcast_backup")
    parts = urlsplit(url)
    yield urlunsplit(parts._replace(netloc=f"{name}:backup-password@{parts.hostname}:{parts.port}"))
    postgres.run(postgres.url, f"drop role {name}")


def run(state: Path, url: str | None, *arguments: object) -> Result:
    clean: dict[str, str | None] = {name: None for name in os.environ if name.startswith("LANDCAST_")}
    environment = {**clean, "LANDCAST_STATE_DIR": str(state), "LANDCAST_DATABASE_URL": url, "LANDCAST_AUTH_OPEN": "yes"}
    done = CliRunner().invoke(main, [*map(str, arguments), "--config", str(CONFIG)], env=environment)
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert "password" not in done.output
    return done


def rows(postgres: Postgres, url: str) -> dict[str, list[tuple[object, ...]]]:
    everything = "begin; set local landcast.owner = '*'; select t::text from {} t order by 1"
    return {table: postgres.run(url, everything.format(table)) for table in TABLES}


def backup(state: Path, url: str, target: Path) -> Path:
    taken = run(state, url, "backup", target)
    assert taken.exit_code == 0, taken.output
    return target


def test_a_backup_by_a_reader_restores_completely_into_a_new_database(
    postgres: Postgres, state: Path, url: str, reader: str, tmp_path: Path
) -> None:
    before = rows(postgres, url)
    assert all(before.values())
    (file,) = (state / "results").rglob("*.zip")
    keys = {path.name: path.read_bytes() for path in state.glob("*.key")}
    archive = backup(state, reader, tmp_path / "backup.tar")
    assert archive.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar", "state"]
    rmtree(state)
    new = postgres.empty()
    restored = run(state, new, "restore", archive)
    assert restored.exit_code == 0, restored.output
    assert rows(postgres, new) == before
    assert file.read_bytes() == b"a result" * 1000
    assert {path.name: path.read_bytes() for path in state.glob("*.key")} == keys
    assert not (state / "orders.sqlite").exists()
    assert not list(state.glob("before-*")) + list(state.glob(".restoring"))
    with closing(PostgresPool(new)) as pool:
        store = StoredJobs(pool)
        newest = store.add(Order("echo", {}, "iss|ann", notices=(Notice("mail", Status.FAILED, "a@example.org"),)))[0]
        assert store.find(JobQuery(limit=1)).jobs[0].id == newest.id, "numbers go on after the last"
        assert store.begin(newest.id)
        assert store.fail(newest.id, 1, "no")
    due = "set landcast.owner = '*'; select state from outbox where event = 'failed' order by number desc limit 1"
    assert postgres.run(new, due) == [("due",)], "triggers work"


def test_no_table_is_left_out_of_a_backup(postgres: Postgres, url: str) -> None:
    tables = postgres.run(url, "select tablename::text from pg_tables where schemaname = current_schema()")
    assert {name for (name,) in tables} == {*TABLES, "schema_version"}


def test_a_backup_restores_without_postgresql_too(postgres: Postgres, state: Path, url: str, tmp_path: Path) -> None:
    archive = backup(state, url, tmp_path / "backup.tar")
    rmtree(state)
    restored = run(state, None, "restore", archive)
    assert restored.exit_code == 0, restored.output
    with closing(StoredJobs(state / "orders.sqlite")) as store, closing(PostgresPool(url)) as pool:
        there = StoredJobs(pool)
        for job in there.find(JobQuery(limit=99)).jobs:
            assert store.get(job.id) == there.get(job.id)
    again = run(state, None, "backup", tmp_path / "again.tar")
    assert again.exit_code == 0, again.output
    rmtree(state)
    new = postgres.empty()
    assert run(state, new, "restore", tmp_path / "again.tar").exit_code == 0
    assert rows(postgres, new) == rows(postgres, url)


def test_existing_state_stays_unless_replacement_is_requested(
    postgres: Postgres, state: Path, url: str, tmp_path: Path
) -> None:
    archive = backup(state, url, tmp_path / "backup.tar")
    saved = rows(postgres, url)
    with closing(PostgresPool(url)) as pool:
        later = StoredJobs(pool).add(Order("echo", {}, "iss|later"))[0]
    now = rows(postgres, url)
    empty = tmp_path / "empty"
    refused = run(empty, url, "restore", archive)
    assert refused.exit_code == 1
    assert "the table jobs in PostgreSQL already has rows; --force moves them to a file aside" in refused.stderr
    assert rows(postgres, url) == now
    assert run(empty, url, "restore", archive, "--force").exit_code == 0
    assert rows(postgres, url) == saved
    (aside,) = empty.glob("before-restore-*/orders-of-postgresql.sqlite")
    assert aside.stat().st_mode & 0o777 == 0o600
    with closing(StoredJobs(aside)) as store:
        assert store.get(later.id) is not None


def test_a_restore_needs_the_owner_and_no_worker(
    postgres: Postgres, state: Path, url: str, reader: str, tmp_path: Path
) -> None:
    archive = backup(state, url, tmp_path / "backup.tar")
    before = rows(postgres, url)
    refused = run(tmp_path / "other", reader, "restore", archive, "--force")
    assert refused.exit_code == 1
    assert "LANDCAST_DATABASE_URL: a restore needs to connect as the owner of the tables" in refused.stderr
    with closing(worker_lock(url)) as lock:
        assert lock.take()
        busy = run(tmp_path / "other", url, "restore", archive, "--force")
        assert run(state, url, "backup", tmp_path / "meanwhile.tar").exit_code == 0
    assert busy.exit_code == 1
    assert "a worker uses the PostgreSQL of LANDCAST_DATABASE_URL: stop all workers first" in busy.stderr
    assert rows(postgres, url) == before
    assert not (tmp_path / "other" / "results").exists()


@pytest.mark.parametrize("step", ["_move", "repair", "move", "make_durable"])
def test_an_interrupted_restore_is_completed_by_the_same_command(
    postgres: Postgres, state: Path, url: str, tmp_path: Path, *, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    archive = backup(state, url, tmp_path / "backup.tar")
    saved = rows(postgres, url)
    with closing(PostgresPool(url)) as pool:
        StoredJobs(pool).add(Order("echo", {}, "iss|later"))

    def fails(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(f"server.backup.restore.{step}", fails)
        interrupted = run(state, url, "restore", archive, "--force")
    assert interrupted.exit_code == 1
    assert "No space left on device" in interrupted.stderr
    if (state / ".restoring" / "journal.json").exists():
        assert "run the same `landcast restore` again" in run(state, url, "serve").stderr
    again = run(state, url, "restore", archive, "--force")
    assert again.exit_code == 0, again.output
    assert rows(postgres, url) == saved
    assert len(list((state / "results").rglob("*.zip"))) == 1
    assert list(state.glob("before-restore-*/orders-of-postgresql.sqlite"))


def test_a_backup_is_a_consistent_snapshot_while_orders_change(
    postgres: Postgres, state: Path, url: str, tmp_path: Path
) -> None:
    ended = Event()

    def order() -> None:
        with closing(PostgresPool(url)) as pool:
            store = StoredJobs(pool)
            while not ended.is_set():
                notice = Notice("mail", Status.SUCCESSFUL, "a@example.org")
                job = store.add(Order("echo", {}, "iss|busy", notices=(notice,)))[0]
                store.begin(job.id)
                store.publish(job.id, 1, (Output("o", "x"),))

    thread = Thread(target=order)
    thread.start()
    try:
        archives = [backup(state, url, tmp_path / f"{number}.tar") for number in range(3)]
    finally:
        ended.set()
        thread.join()
    for archive in archives:
        new, folder = postgres.empty(), archive.with_suffix("")
        assert run(folder, new, "restore", archive).exit_code == 0
        numbers = "set landcast.owner = '*'; select count(*), max(number) - min(number) + 1 from jobs"
        assert len({*postgres.run(new, numbers)[0]}) == 1, "no order is left out between two others"
        odd = "set landcast.owner = '*'; select 1 from jobs, outbox where jobs.id = job and owner = 'iss|busy' and "
        assert postgres.run(new, f"{odd} (state = 'due') <> (status = 'successful')") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("update schema_version set version = 99", "the schema has version 99, this program knows"),
        ("update schema_version set version = 1", "run landcast migrate"),
        ("drop table sessions", "PostgreSQL failed (SQLSTATE 42P01)"),
        ("revoke select on api_keys from landcast_backup", "PostgreSQL: the role lacks a privilege"),
    ],
)
def test_a_backup_that_cannot_be_complete_is_refused_and_leaves_nothing(
    postgres: Postgres, state: Path, url: str, reader: str, *, tmp_path: Path, change: str, said: str
) -> None:
    postgres.run(url, change)
    refused = run(state, reader, "backup", tmp_path / "backup.tar")
    assert refused.exit_code == 1
    assert said in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_an_unavailable_database_is_reported(state: Path, tmp_path: Path) -> None:
    away = "postgresql://me:the-password@127.0.0.1:1/landcast"
    refused = run(state, away, "backup", tmp_path / "backup.tar")
    assert (refused.exit_code, "PostgreSQL cannot be reached" in refused.stderr) == (1, True)


def test_a_terminated_backup_leaves_nothing(state: Path, url: str, tmp_path: Path) -> None:
    (file,) = (state / "results").rglob("*.zip")
    os.truncate(file, 3_000_000_000)  # sparse: it takes a while to read
    command = [sys.executable, "-m", "server.cli", "backup", str(tmp_path / "b.tar"), "--config", str(CONFIG)]
    environment = {**os.environ, "LANDCAST_STATE_DIR": str(state), "LANDCAST_DATABASE_URL": url}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    eventually(lambda: any(path.stat().st_size for path in tmp_path.glob(".b.tar*") if path.is_file()), 60)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, b"Traceback" in said) == (128 + signal.SIGTERM, False)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_the_documented_dump_sees_all_rows(
    postgres: Postgres, url: str, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c landcast.owner=*")
    dump = tmp_path / "landcast.dump"
    dumping = ["--enable-row-security", "--format=custom", f"--file={dump}"]
    subprocess.run([program("pg_dump"), *dumping, reader], check=True)
    new = postgres.empty()
    subprocess.run([program("pg_restore"), "--no-owner", f"--dbname={new}", dump], check=True)
    assert rows(postgres, new) == rows(postgres, url)
