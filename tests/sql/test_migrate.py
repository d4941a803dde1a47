"""The schema in a real PostgreSQL: migrated once by the first process, never downgraded."""

import subprocess
import sys
from contextlib import closing
from importlib.resources import files

import pytest

from sql.connections import DatabaseAway, NewerSchema
from sql.migrate import SCHEMA_VERSION, migrate, version_of
from sql.pool import PostgresPool
from sql.postgres import PostgresConnection
from tests.postgres import Postgres

_SHAPE = """select 'column', table_name, column_name, data_type, is_nullable, column_default
        from information_schema.columns where table_schema = 'public'
    union all select 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', ''
        from pg_constraint where connamespace = 'public'::regnamespace
    union all select 'index', tablename, indexname, indexdef, '', '' from pg_indexes where schemaname = 'public'
    union all select 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), '', ''
        from pg_trigger where not tgisinternal
    union all select 'policy', tablename, policyname, qual, coalesce(with_check, ''), cmd from pg_policies
    union all select 'right', table_name, grantee, privilege_type, '', '' from information_schema.table_privileges
        where table_schema = 'public'
    order by 1, 2, 3, 4"""


def version(url: str) -> int:
    with closing(PostgresConnection(url)) as connection:
        return version_of(connection)


def test_the_numbered_files_lead_to_the_current_version(postgres: Postgres) -> None:
    url = postgres.empty()
    assert version(url) == 0
    assert migrate(url) == 0
    assert version(url) == SCHEMA_VERSION
    assert migrate(url) == SCHEMA_VERSION


def test_several_programs_may_migrate_at_once(postgres: Postgres) -> None:
    url = postgres.empty()
    command = [sys.executable, "-c", "import sys; from sql.migrate import migrate; print(migrate(sys.argv[1]))", url]
    programs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    found = sorted(program.communicate()[0].strip() for program in programs)
    assert found == ["0", *[str(SCHEMA_VERSION)] * 3], "one made it, the others found it made"


def test_every_file_may_run_again(postgres: Postgres) -> None:
    url = postgres.empty()
    migrate(url)
    before = postgres.run(url, _SHAPE)
    assert len(before) > 100
    postgres.run(url, "update schema_version set version = 0")
    migrate(url)
    assert postgres.run(url, _SHAPE) == before


def test_a_database_of_the_first_version_is_migrated_with_its_rows(postgres: Postgres) -> None:
    url = postgres.empty()
    migrate(url)
    postgres.run(url, _FIRST)
    assert migrate(url) == 1
    assert version(url) == SCHEMA_VERSION
    assert postgres.run(url, "set landcast.owner = 'ann'; select id, backend from jobs") == [("first", 0)]
    assert postgres.run(url, "set landcast.owner = 'ann'; select address from outbox") == [("a@example.org",)]
    assert postgres.run(url, "set landcast.owner = 'bob'; select address from outbox") == []
    assert postgres.run(url, "select 1 from pg_trigger where tgname = 'outbox_finished'") == []


_FIRST = """set landcast.owner = '*';
    alter table jobs drop column backend cascade;
    drop policy outbox_of_owner on outbox;
    alter table outbox no force row level security;
    alter table outbox disable row level security;
    create trigger outbox_finished after insert on jobs
        for each row when (new.finished is not null) execute function tell_of_job();
    insert into jobs (id, owner, process, inputs, response, created, updated)
        values ('first', 'ann', 'echo', '{}', 'raw', 1, 1);
    insert into outbox (job, kind, event, address) values ('first', 'mail', 'failed', 'a@example.org');
    update schema_version set version = 1"""


@pytest.mark.parametrize("version", [2, 3])
def test_a_database_of_an_older_version_lists_jobs_by_time_and_counts_them(postgres: Postgres, version: int) -> None:
    url = postgres.empty()
    migrate(url)
    before = postgres.run(url, _INDEXES)
    postgres.run(url, _OLDER[version])
    assert migrate(url) == version
    assert postgres.run(url, _INDEXES) == before


_INDEXES = "select indexdef from pg_indexes where tablename = 'jobs' order by indexname"
_OLDER = {
    2: """drop index jobs_owner_listed, jobs_listed, jobs_status_listed, jobs_process_listed;
    create index jobs_owner on jobs (owner, number) where deleted is null;
    create index jobs_visible on jobs (number) include (owner) where deleted is null;
    update schema_version set version = 2""",
    3: "drop index jobs_counted; update schema_version set version = 3",
}


_FOURTH = """alter table outbox drop constraint outbox_kind_check, drop constraint outbox_event_check;
    alter table outbox add constraint outbox_kind_check check (kind in ('callback', 'mail')),
        add constraint outbox_event_check check (event in ('running', 'successful', 'failed'));
    update schema_version set version = 4"""
_MESSAGE = """set landcast.owner = '*';
    insert into jobs (id, owner, process, inputs, response, created, updated)
        values ('first', 'ann', 'echo', '{}', 'raw', 1, 1);
    insert into outbox (job, kind, event, address) values ('first', 'message', 'dismissed', 'a channel')"""


def test_a_database_of_the_fourth_version_takes_messages(postgres: Postgres) -> None:
    url = postgres.empty()
    migrate(url)
    postgres.run(url, _FOURTH)
    assert migrate(url) == 4
    postgres.run(url, _MESSAGE)


_EIGHTH = """set landcast.owner = '*';
    alter table outbox drop constraint outbox_of_one, drop column at, drop column collection,
        alter column job set not null;
    alter table jobs drop column trace;
    insert into jobs (id, owner, process, inputs, response, created, updated)
        values ('first', 'ann', 'echo', '{}', 'raw', 1, 1);
    insert into outbox (job, kind, event, address) values ('first', 'mail', 'failed', 'a@example.org');
    update schema_version set version = 8"""


def test_a_database_of_the_eighth_version_takes_messages_about_collections(postgres: Postgres) -> None:
    url = postgres.empty()
    migrate(url)
    before = postgres.run(url, _SHAPE)
    postgres.run(url, _EIGHTH)
    assert migrate(url) == 8
    assert postgres.run(url, _SHAPE) == before
    rows = postgres.run(url, "set landcast.owner = '*'; select job, at, collection from outbox")
    assert rows == [("first", None, None)]
    entry = "insert into outbox (collection, kind, event, address) values ('parks', 'message', 'successful', 'c')"
    postgres.run(url, f"set landcast.owner = '*'; {entry}")
    seen = "select collection from outbox where collection is not null"
    assert postgres.run(url, f"set landcast.owner = 'ann'; {seen}") == [], "it is nobody's"
    assert postgres.run(url, f"set landcast.owner = '*'; {seen}") == [("parks",)]


def test_a_newer_schema_is_refused_and_not_changed(postgres: Postgres) -> None:
    url = postgres.empty()
    migrate(url)
    postgres.run(url, "update schema_version set version = 99; drop table pending_logins")
    with pytest.raises(NewerSchema, match="99"):
        migrate(url)
    with pytest.raises(NewerSchema, match="99"):
        PostgresPool(url).prepare()
    assert postgres.run(url, "select to_regclass('pending_logins')") == [(None,)]


def test_a_server_does_not_create_the_schema_and_names_the_command(postgres: Postgres) -> None:
    url = postgres.empty()
    with closing(PostgresPool(url)) as pool:
        with pytest.raises(DatabaseAway, match="landcast migrate"):
            pool.prepare()
        migrate(url)
        pool.prepare()


def test_a_failed_migration_leaves_nothing(postgres: Postgres) -> None:
    url = postgres.empty()
    postgres.run(url, "create table sessions (hash text)")
    with pytest.raises(DatabaseAway):
        migrate(url)
    assert postgres.run(url, "select to_regclass('jobs')") == [(None,)]


def test_every_schema_file_states_its_contract() -> None:
    found = files("sql").joinpath("postgresql").iterdir()
    scripts = sorted((each for each in found if each.name.endswith(".sql")), key=lambda each: each.name)
    assert [scripts[0].name, scripts[-1].name] == ["000_jobs.sql", "900_grants.sql"]
    assert all(script.read_text().startswith("-- ") for script in scripts)
