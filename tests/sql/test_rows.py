"""Row-level security and the rights of the roles in PostgreSQL, tested without our code."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest

from auth.identity import Identity
from auth.keys.key import WantedKey
from auth.keys.store import ApiKeys
from auth.sessions import Sessions
from orchestration.job import JobQuery, Notice, Order, Status
from orchestration.quota import Quota
from orchestration.store import listing
from orchestration.store.jobs import StoredJobs
from sql.pool import PostgresPool
from sql.postgres import PostgresConnection
from tests.postgres import Postgres

TABLES = ("jobs", "outbox", "history", "api_keys", "sessions")
Login = Callable[[str], str]
_INSERT = """insert into jobs (id, owner, process, inputs, response, created, updated)
    values ('x', 'bob', 'echo', '{}', 'raw', 1, 1)"""


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    made = postgres.migrated()
    with closing(PostgresPool(made)) as pool:
        for owner in ("ann", "bob", "dan"):
            notice = Notice("mail", Status.FAILED, f"{owner}@example.org")
            job, _ = StoredJobs(pool).add(Order("echo", {}, owner, notices=(notice,)))
            StoredJobs(pool).begin(job.id)
            identity = Identity(owner, method="session")
            ApiKeys(pool).create(identity, WantedKey("a key"))
            Sessions(pool).create(identity, sid=None, id_token=None)
    yield made
    postgres.give_back(made)


@pytest.fixture
def login(postgres: Postgres, url: str) -> Iterator[Login]:
    """Return a function that makes a user with a role of ours and returns the URL that they connect by."""
    made = []

    def make(role: str) -> str:
        name = f"test_of_{role}"
        postgres.run(postgres.url, f"drop role if exists {name}")
        postgres.run(postgres.url, f"create role {name} login password 'x' in role {role}")
        made.append(name)
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=f"{name}:x@{parts.hostname}:{parts.port}"))

    yield make
    for name in made:
        postgres.run(postgres.url, f"drop role {name}")


def seen(postgres: Postgres, url: str, owner: str | None) -> dict[str, int]:
    setting = "" if owner is None else f"set landcast.owner = '{owner}'; "
    return {table: int(str(postgres.run(url, f"{setting}select count(*) from {table}")[0][0])) for table in TABLES}  # noqa: S608  words of the tests


@pytest.mark.parametrize(
    ("owner", "count"), [(None, 0), ("", 0), ("ann", 1), ("bob", 1), ("an", 0), ("ann' or true --", 0), ("*", 3)]
)
def test_a_connection_sees_the_rows_of_its_owner(postgres: Postgres, url: str, owner: str | None, count: int) -> None:
    """It binds the owner of the tables too."""
    quoted = owner and owner.replace("'", "''")
    assert seen(postgres, url, quoted) == dict.fromkeys(TABLES, count)


@pytest.mark.parametrize("owner", ["ann", "*"])
def test_a_transaction_for_an_owner_sees_theirs_and_the_next_sees_all(url: str, owner: str) -> None:
    """An owner named like the wildcard does not see all."""
    with closing(PostgresPool(url, size=1)) as pool:
        for _ in range(2):
            with pool.reading(owner) as connection:
                counts = [connection.execute(f"select count(*) from {table}").fetchone()[0] for table in TABLES]  # noqa: S608  likewise
            assert counts == [int(owner == "ann")] * len(TABLES)
            with pool.reading() as connection:
                assert connection.execute("select count(*) from jobs").fetchone()[0] == 3


def test_a_connection_cannot_change_or_insert_rows_of_another_owner(postgres: Postgres, url: str) -> None:
    as_ann = "set landcast.owner = 'ann'; "
    for table in TABLES:
        postgres.run(url, f"{as_ann}delete from {table}")  # noqa: S608  likewise
    assert seen(postgres, url, "*") == dict.fromkeys(TABLES, 2)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="row-level security"):
        postgres.run(url, as_ann + _INSERT)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="row-level security"):
        postgres.run(url, "set landcast.owner = 'bob'; update jobs set owner = 'ann'")


def test_an_owner_cannot_subscribe_to_the_order_of_another(postgres: Postgres, url: str) -> None:
    """Attack: insert an entry for another's order to get its results by mail."""
    [(theirs,)] = postgres.run(url, "set landcast.owner = 'bob'; select id from jobs")
    insert = f"insert into outbox (job, kind, event, address) values ('{theirs}', 'mail', 'failed', 'ann@example.org')"  # noqa: S608  likewise
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="row-level security"):
        postgres.run(url, "set landcast.owner = 'ann'; " + insert)
    postgres.run(url, f"set landcast.owner = 'ann'; update outbox set address = 'x' where job = '{theirs}'")  # noqa: S608  likewise
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="row-level security"):
        postgres.run(url, f"set landcast.owner = 'ann'; update outbox set job = '{theirs}'")  # noqa: S608  likewise
    found = postgres.run(url, "set landcast.owner = '*'; select address from outbox order by number")
    assert found == [("ann@example.org",), ("bob@example.org",), ("dan@example.org",)]


def test_a_change_by_an_owner_makes_their_notifications_due(postgres: Postgres, url: str) -> None:
    """The triggers see only the rows of the owner who changes the order."""
    postgres.run(url, "set landcast.owner = 'ann'; update jobs set status = 'failed', finished = 7, updated = 7")
    found = postgres.run(url, "set landcast.owner = '*'; select state, due from outbox order by number")
    assert found == [("due", 7), ("waiting", None), ("waiting", None)]
    postgres.run(url, "set landcast.owner = 'ann'; update jobs set deleted = 8")
    postgres.run(url, "set landcast.owner = 'bob'; delete from jobs")
    assert seen(postgres, url, "*")["outbox"] == 1


def test_a_statement_that_forgets_the_owner_finds_no_rows_of_others(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row-level security hides the rows of others also if a statement lacks its clause of the owner."""
    monkeypatch.setitem(listing._CLAUSES, "owner", ":owner = :owner")
    with closing(PostgresPool(url)) as pool:
        assert [job.order.owner for job in StoredJobs(pool).find(JobQuery(owner="ann")).jobs] == ["ann"]


def test_a_worker_can_only_report(postgres: Postgres, url: str, login: Login) -> None:
    with closing(PostgresPool(url)) as pool:
        store = StoredJobs(pool)
        job = store.add(Order("echo", {}, "ann"))[0]
        store.begin(job.id)
        worker = login("landcast_worker")
        assert postgres.run(worker, f"select report('{job.id}', 1, 40, 'reading')")
        postgres.run(worker, f"select report('{job.id}', 2, 90, 'a stale one')")
        postgres.run(worker, f"select report('{job.id}', 1, 400, 'too much')")
        now = store.get(job.id)
        assert now is not None
        assert (now.status, now.progress, now.message) == (Status.RUNNING, 100, "too much")
        assert now.updated > job.updated
    owner = "begin; select report('', 1, 1, ''); set local landcast.owner = '*'; "
    for table in (*TABLES, "units", "pending_logins", "logout_tokens", "schema_version"):
        for statement in (f"select 1 from {table}", f"delete from {table}", f"insert into {table} default values"):  # noqa: S608  likewise
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                postgres.run(worker, owner + statement)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        postgres.run(worker, "create table mine (x integer)")


def test_a_temporary_table_of_a_worker_does_not_replace_ours(postgres: Postgres, login: Login) -> None:
    """Attack: a trigger on a temporary table of the same name runs with the rights of the tables' owner."""
    attack = """
        create temp table jobs (id text, attempt integer, status text, progress integer, message text, updated bigint);
        insert into jobs values ('x', 1, 'running', 0, 'before', 0);
        create function pg_temp.steal() returns trigger language plpgsql as $$
            begin new.message := (select max(hash::text) from public.api_keys); return new; end $$;
        create trigger steal before update on jobs for each row execute function pg_temp.steal();
        select report('x', 1, 50, 'after');
        select message from pg_temp.jobs"""
    assert postgres.run(login("landcast_worker"), attack) == [("before",)]


def test_a_login_without_a_role_cannot_report(postgres: Postgres, login: Login) -> None:
    stranger = login("landcast_worker")
    postgres.run(postgres.url, f"revoke landcast_worker from {urlsplit(stranger).username}")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        postgres.run(stranger, "select report('x', 1, 1, '')")


def test_the_server_s_role_is_enough_for_everything_that_a_server_does(login: Login) -> None:
    notice = Notice("mail", Status.FAILED, "a@example.org")
    server = login("landcast_server")
    with closing(PostgresPool(server)) as pool:
        store, keys, sessions = StoredJobs(pool), ApiKeys(pool), Sessions(pool)
        order = Order("echo", {}, "ann", idempotency_key="k", request_hash="h", notices=(notice,))
        job, _ = store.add(order, quotas=[Quota(open_orders=5)])
        assert store.add(order) == (job, False)
        assert store.begin(job.id)
        store.report(job.id, 1, 3, "working")
        assert store.fail(job.id, 1, "no")
        assert store.dismiss(job.id)
        store.files_removed(job.id)
        assert store.find(JobQuery()).matched == 3
        _, text = keys.create(Identity("ann", method="session"), WantedKey("another"))
        assert keys.identify(text).owner == "ann"
        secret, _ = sessions.create(Identity("ann", method="session"), sid=None, id_token=None)
        assert sessions.delete(secret)
    with closing(PostgresConnection(server)) as connection, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        connection.execute("alter table jobs disable row level security")


def test_a_monitor_reads_the_course_of_all_orders_and_no_contents(postgres: Postgres, login: Login) -> None:
    monitor = login("landcast_monitor")
    assert postgres.run(monitor, "select owner, status from jobs order by number") == [
        ("ann", "running"), ("bob", "running"), ("dan", "running"),
    ]  # fmt: skip
    assert postgres.run(monitor, "select count(*) from units") == [(0,)]
    refused = ("select notices from jobs", "select manifest from jobs", "select 1 from outbox", "delete from units",
        "select 1 from sessions", "select 1 from api_keys", "update jobs set message = ''")  # fmt: skip
    for statement in refused:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            postgres.run(monitor, statement)


def test_only_the_hash_of_a_key_is_stored(postgres: Postgres, url: str) -> None:
    with closing(PostgresPool(url)) as pool:
        _, text = ApiKeys(pool).create(Identity("cy", method="session"), WantedKey("k"))
    rows = postgres.run(url, "set landcast.owner = 'cy'; select api_keys::text, encode(hash, 'hex') from api_keys")
    assert text[16:48] not in str(rows)
    assert rows[0][1] == hashlib.sha256(text.encode()).hexdigest()
