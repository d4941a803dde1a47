"""Connections to a real PostgreSQL: their limit, its message, and their recovery after a restart."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from threading import Thread
from urllib.parse import urlsplit

import pytest

from sql.connections import DatabaseAway
from sql.pool import PostgresPool
from tests.ports import free_port
from tests.postgres import Postgres


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    made = postgres.migrated()
    yield made
    postgres.give_back(made)


@pytest.fixture
def pool(url: str) -> Iterator[PostgresPool]:
    with closing(PostgresPool(url, size=2, wait=0.3)) as made:
        yield made


def count(pool: PostgresPool) -> int:
    with pool.reading() as connection:
        return int(connection.execute("select count(*) from pending_logins").fetchone()[0])


def add(pool: PostgresPool, text: str = "x", *, fail: bool = False) -> None:
    values = {"state": text.encode().ljust(32)[:32], "text": text}
    with pool.writing() as connection:
        connection.execute(
            """insert into pending_logins (state, browser, nonce, verifier, return_to, expires)
            values (:state, :state, :text, '100 %', 'a: b::c', 7)""",
            values,
        )
        if fail:
            raise ZeroDivisionError


def test_a_full_pool_waits_briefly_and_then_fails(pool: PostgresPool) -> None:
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(pool.reading())
        began = time.monotonic()
        with pytest.raises(DatabaseAway, match="all 2 connections"):
            count(pool)
        assert 0.2 < time.monotonic() - began < 15
    assert count(pool) == 0


def test_a_waiting_thread_gets_a_released_connection(pool: PostgresPool) -> None:
    with ExitStack() as held:
        held.enter_context(pool.reading())
        with pool.reading():
            waiting = Thread(target=add, args=(pool,))
            waiting.start()
            time.sleep(0.05)
        waiting.join()
    assert count(pool) == 1


def test_a_failed_transaction_leaves_nothing_and_its_connection_stays_usable(
    pool: PostgresPool, postgres: Postgres, url: str
) -> None:
    with pytest.raises(ZeroDivisionError):
        add(pool, fail=True)
    assert count(pool) == 0
    add(pool)
    with pytest.raises(DatabaseAway, match="23505"):
        add(pool)
    assert count(pool) == 1
    ours = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    assert postgres.run(url, ours) == [(1,)]


def test_values_are_never_executed_as_sql(pool: PostgresPool) -> None:
    add(pool, "'); drop table jobs; -- %s %(x)s :text \0")
    with pool.reading() as connection:
        row = connection.execute("select nonce, verifier, return_to, state from pending_logins").fetchone()
    assert tuple(row[:3]) == ("'); drop table jobs; -- %s %(x)s :text \ufffd", "100 %", "a: b::c")
    assert isinstance(row["state"], bytes)


def test_a_reading_transaction_cannot_write(pool: PostgresPool) -> None:
    with pytest.raises(DatabaseAway, match="25006"), pool.reading() as connection:
        connection.execute("delete from jobs")


def test_a_connection_that_the_server_closed_is_replaced_silently(
    pool: PostgresPool, postgres: Postgres, url: str
) -> None:
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(pool.reading())
    others = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database()"
    assert postgres.run(url, f"{others} and pid <> pg_backend_pid()") == [(2,)]
    add(pool)
    assert count(pool) == 1


def test_a_commit_without_an_answer_is_not_a_success(pool: PostgresPool, postgres: Postgres, url: str) -> None:
    others = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database()"

    def act() -> None:
        with pool.writing() as connection:
            connection.execute("delete from jobs")
            postgres.run(url, f"{others} and pid <> pg_backend_pid()")

    with pytest.raises(DatabaseAway, match="cannot be reached"):
        act()
    assert count(pool) == 0


def test_an_unavailable_server_is_reported_without_its_address(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    pool = PostgresPool(f"postgresql://somebody:pass-word@127.0.0.1:{port}/x")
    with caplog.at_level(logging.WARNING), pytest.raises(DatabaseAway, match=r"^PostgreSQL cannot be reached$"):
        count(pool)
    assert str(port) in caplog.text
    assert "pass-word" not in caplog.text + repr(pool)


def test_the_content_of_a_row_is_in_no_log(pool: PostgresPool, caplog: pytest.LogCaptureFixture) -> None:
    statement = """insert into pending_logins (state, browser, nonce, verifier, return_to, expires)
        values (:state, :short, 'x', :text, '/', 7)"""
    values = {"state": bytes(32), "short": b"", "text": "verifier-of-somebody"}
    with caplog.at_level(logging.DEBUG), pytest.raises(DatabaseAway), pool.writing() as connection:
        connection.execute(statement, values)
    assert "pending_logins_browser_check" in caplog.text
    assert "verifier-of-somebody" not in caplog.text


def test_a_wrong_password_is_in_no_message(url: str, caplog: pytest.LogCaptureFixture) -> None:
    parts = urlsplit(url)
    wrong = PostgresPool(url.replace(f":{parts.password}@", ":pass-word@"))
    with caplog.at_level(logging.WARNING), pytest.raises(DatabaseAway) as caught:
        count(wrong)
    assert "pass-word" not in caplog.text + str(caught.value)
    assert str(parts.username) not in str(caught.value)


def test_an_uncommitted_change_is_noticed_after_its_commit(pool: PostgresPool) -> None:
    """A counter that changes before the commit would cause a read that is too early, and no other."""
    watch = pool.watch()
    watch.changed()
    with pool.writing() as connection:
        connection.execute("create table made (x integer)")
        watch.changed()
        connection.execute("drop table made")
    assert watch.changed()
    assert not watch.changed()
