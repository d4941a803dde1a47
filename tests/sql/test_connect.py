import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest

from sql.connect import SCHEMA_VERSION, Pool, connect, migrate
from sql.connections import NewerSchema


def _pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"pragma {name}").fetchone()[0]


def test_a_connection_is_durable_and_waits_for_locks(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "a b.sqlite", busy_seconds=7)) as connection:
        assert _pragma(connection, "journal_mode") == "wal"
        assert _pragma(connection, "synchronous") == 2
        assert _pragma(connection, "foreign_keys") == 1
        assert _pragma(connection, "busy_timeout") == 7000


def test_the_numbered_files_lead_to_the_current_version(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "x.sqlite")) as connection:
        migrate(connection)
        assert _pragma(connection, "user_version") == SCHEMA_VERSION


def test_every_file_may_run_again(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "x.sqlite")) as connection:
        migrate(connection)
        before = connection.execute("select sql from sqlite_schema order by name").fetchall()
        connection.execute("pragma user_version = 0")
        migrate(connection)
        assert connection.execute("select sql from sqlite_schema order by name").fetchall() == before


_VERSION_1 = """create table jobs (number integer primary key, id text unique, owner text, process text,
    idempotency_key text, status text, created integer, started integer, updated integer, finished integer,
    deleted integer, files_until integer, files integer);
    insert into jobs (id) values ('first'); pragma user_version = 1;"""


def test_several_processes_may_migrate_a_database_of_the_first_version(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from sql.connect import *; migrate(connect(Path(sys.argv[1])))"
    command = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "x.sqlite")]
    with closing(connect(tmp_path / "x.sqlite")) as connection:
        connection.executescript(_VERSION_1)
        processes = [subprocess.Popen(command) for _ in range(4)]
        assert [process.wait() for process in processes] == [0, 0, 0, 0]
        assert _pragma(connection, "user_version") == SCHEMA_VERSION
        assert connection.execute("select fault from jobs where id = 'first'").fetchone()[0] == ""


_VERSION_2 = """create table jobs (number integer primary key, id text not null unique, owner text, process text,
    idempotency_key text, status text, created integer, started integer, updated integer, finished integer,
    deleted integer, files_until integer, files integer, fault text not null default '',
    attempt integer not null default 0, message text not null default '');
    insert into jobs (id, status) values ('first', 'running'); pragma user_version = 2;"""


def test_a_database_of_the_second_version_gets_its_outbox(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "x.sqlite")) as connection:
        connection.executescript(_VERSION_2)
        migrate(connection)
        assert _pragma(connection, "user_version") == SCHEMA_VERSION
        connection.execute("insert into outbox (job, kind, event, address) values ('first', 'mail', 'failed', 'x')")
        connection.execute("update jobs set status = 'failed', finished = 7, updated = 7 where id = 'first'")
        assert tuple(connection.execute("select state, due from outbox").fetchone()) == ("due", 7)


_VERSION_3 = _VERSION_2.replace("user_version = 2", "user_version = 3")


def test_a_database_of_the_third_version_keeps_its_subscribers(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "x.sqlite")) as connection:
        connection.executescript(_VERSION_3)
        migrate(connection)
        assert _pragma(connection, "user_version") == SCHEMA_VERSION
        assert connection.execute("select notices from jobs").fetchone()[0] == "[]"


_TWELFTH = "alter table jobs drop column trace;"
_ELEVENTH = f"""{_TWELFTH}drop trigger units_ordered; drop trigger units_changed; drop index jobs_unit;
    drop table units; alter table jobs drop column unit; alter table jobs drop column task;"""
_TENTH = f"{_ELEVENTH}drop index jobs_used; alter table jobs drop column km2; alter table jobs drop column bytes;"


def test_a_database_of_the_tenth_version_counts_nothing_of_former_orders(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "x.sqlite")) as connection:
        migrate(connection)
        connection.executescript(f"{_TENTH}{_FIRST}pragma user_version = 10;")
        migrate(connection)
        assert tuple(connection.execute("select km2, bytes from jobs").fetchone()) == (None, 0)


def test_a_database_of_the_eleventh_version_has_orders_without_units(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "x.sqlite")) as connection:
        migrate(connection)
        connection.executescript(f"{_ELEVENTH}{_FIRST}pragma user_version = 11;")
        migrate(connection)
        assert tuple(connection.execute("select unit, task from jobs").fetchone()) == (None, None)
        assert connection.execute("select count(*) from units").fetchone()[0] == 0


def test_a_database_of_the_fourth_version_gets_its_keys_and_sessions(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "x.sqlite")) as connection:
        migrate(connection)
        connection.executescript("drop table api_keys; drop table sessions; drop table pending_logins;")
        connection.executescript(f"{_TENTH}alter table jobs drop column backend; pragma user_version = 4")
        migrate(connection)
        names = {row[0] for row in connection.execute("select name from sqlite_schema where type = 'table'")}
        assert names >= {"api_keys", "sessions", "pending_logins", "jobs"}


def test_a_database_of_the_fifth_version_has_no_back_ends(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "x.sqlite")) as connection:
        migrate(connection)
        connection.executescript(
            f"{_TENTH}alter table jobs drop column backend; pragma user_version = 5;{_FIFTH}{_FIRST}"
        )
        migrate(connection)
        assert connection.execute("select backend from jobs").fetchone()[0] == 0
        triggers = {row[0] for row in connection.execute("select name from sqlite_schema where type = 'trigger'")}
        assert triggers == {"history_changed", "outbox_changed", "outbox_deleted", "units_changed", "units_ordered"}


_FIRST = """insert into jobs (id, owner, process, inputs, response, created, updated)
    values ('first', 'me', 'echo', '{}', 'raw', 1, 1);"""
_FIFTH = "create trigger outbox_finished after insert on jobs begin delete from outbox; end;"


def test_a_database_of_the_sixth_version_lists_jobs_by_time(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "x.sqlite")) as connection:
        migrate(connection)
        connection.executescript(
            _TENTH
            + """drop index jobs_owner_listed; drop index jobs_listed; drop index jobs_status_listed;
            create index jobs_owner on jobs (owner, number) where deleted is null; pragma user_version = 6;"""
        )
        migrate(connection)
        names = {row[0] for row in connection.execute("select name from sqlite_schema where type = 'index'")}
        assert names >= {"jobs_owner_listed", "jobs_listed", "jobs_status_listed"}
        assert "jobs_owner" not in names


def test_a_database_of_the_seventh_version_counts_its_jobs_by_an_index(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "x.sqlite")) as connection:
        migrate(connection)
        connection.executescript(f"{_TENTH}drop index jobs_counted; pragma user_version = 7;")
        migrate(connection)
        names = {row[0] for row in connection.execute("select name from sqlite_schema where type = 'index'")}
        assert "jobs_counted" in names


def test_a_newer_schema_is_refused_and_not_changed(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "x.sqlite")) as connection:
        connection.execute(f"pragma user_version = {SCHEMA_VERSION + 1}")
        with pytest.raises(NewerSchema, match=str(SCHEMA_VERSION + 1)):
            migrate(connection)
        assert connection.execute("select count(*) from sqlite_schema").fetchone()[0] == 0


def test_several_processes_may_migrate_at_once(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from sql.connect import *; migrate(connect(Path(sys.argv[1])))"
    command = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "x.sqlite")]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]


def test_a_transaction_that_raises_leaves_nothing(tmp_path: Path) -> None:
    pool = Pool(tmp_path / "x.sqlite")
    with pool.writing() as connection:
        connection.execute("create table t (x integer)")
    with pytest.raises(sqlite3.OperationalError), pool.writing() as connection:
        connection.executemany("insert into t values (abs(:x))", [{"x": 1}, {"x": -(2**63)}])
    with pool.reading() as connection:
        assert connection.execute("select count(*) from t").fetchone()[0] == 0
    pool.close()


def test_every_schema_file_states_its_contract() -> None:
    scripts = [entry for entry in files("sql").joinpath("sqlite").iterdir() if entry.name.endswith(".sql")]
    assert {script.name for script in scripts} >= {"000_jobs.sql", "900_version.sql"}
    assert all(script.read_text().startswith("-- ") for script in scripts)


def test_a_database_that_cannot_be_opened_is_an_error_of_sqlite(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").write_bytes(os.urandom(4096))
    with pytest.raises(sqlite3.DatabaseError):
        connect(tmp_path / "x.sqlite")


_OUTBOX_8 = """drop trigger outbox_changed; drop trigger outbox_deleted; drop table outbox;
    create table outbox (number integer primary key autoincrement,
        job text not null references jobs (id) on delete cascade deferrable initially deferred,
        kind text not null check (kind in ('callback', 'mail')),
        event text not null check (event in ('running', 'successful', 'failed')), address text not null,
        state text not null default 'waiting', tries integer not null default 0, due integer);
    create index outbox_due on outbox (kind, due) where state = 'due'; create index outbox_job on outbox (job);
    insert into jobs (id, owner, process, inputs, response, created, updated) values ('j', 'o', 'p', '{}', 'raw', 1, 1);
    insert into outbox (number, job, kind, event, address) values (41, 'j', 'mail', 'successful', 'a@b.example');
    pragma user_version = 8;"""


def test_a_database_of_the_eighth_version_keeps_its_notifications_and_takes_messages(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "x.sqlite")) as connection:
        migrate(connection)
        whole = {row["name"] for row in connection.execute("select name from sqlite_schema")}
        connection.executescript(_TENTH + _OUTBOX_8)
        migrate(connection)
        connection.execute("insert into outbox (job, kind, event, address) values ('j', 'message', 'dismissed', 'c')")
        rows = connection.execute("select number, kind, address from outbox order by number").fetchall()
        assert [tuple(row) for row in rows] == [(41, "mail", "a@b.example"), (42, "message", "c")]
        assert {row["name"] for row in connection.execute("select name from sqlite_schema")} == whole
        connection.execute("update jobs set status = 'dismissed', finished = 2, updated = 2")
        due = connection.execute("select number, due from outbox").fetchall()
        assert [tuple(row) for row in due] == [(42, 2)]


_OUTBOX_12 = """drop trigger outbox_changed; drop trigger outbox_deleted; drop table outbox;
    create table outbox (number integer primary key autoincrement,
        job text not null references jobs (id) on delete cascade deferrable initially deferred,
        kind text not null check (kind in ('callback', 'mail', 'message')), event text not null, address text not null,
        state text not null default 'waiting', tries integer not null default 0, due integer);
    create index outbox_due on outbox (kind, due) where state = 'due'; create index outbox_job on outbox (job);
    insert into outbox (number, job, kind, event, address) values (41, 'first', 'mail', 'successful', 'a@b.example');
    pragma user_version = 12;"""


def test_a_database_of_the_twelfth_version_keeps_its_notifications_and_has_no_traces(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "x.sqlite")) as connection:
        migrate(connection)
        whole = {row["name"] for row in connection.execute("select name from sqlite_schema")}
        connection.executescript(_TWELFTH + _FIRST + _OUTBOX_12)
        migrate(connection)
        assert {row["name"] for row in connection.execute("select name from sqlite_schema")} == whole
        assert connection.execute("select trace from jobs").fetchone()[0] is None
        kept = connection.execute("select number, job, address, at, collection from outbox").fetchone()
        assert tuple(kept) == (41, "first", "a@b.example", None, None)
        for job, collection in (("first", "parks"), (None, None)):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(_ENTRY, {"job": job, "collection": collection})
        connection.execute(_ENTRY, {"job": None, "collection": "parks"})


_ENTRY = """insert into outbox (job, collection, kind, event, address)
    values (:job, :collection, 'message', 'successful', 'c')"""
