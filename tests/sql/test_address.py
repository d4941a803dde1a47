"""An address in shared memory, and its users: the pool, the lock, the listener."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Thread, Timer
from urllib.parse import urlsplit

import psycopg2
import pytest

from sql.address import Address, SharedAddress, boot_time, current, name_of, named
from sql.connections import DatabaseAway
from sql.lock import PostgresLock
from sql.notify import PostgresListener
from sql.pool import PostgresPool
from tests.postgres import Postgres

_PASSWORD = "of-a-lent-user"  # noqa: S105  made up
NAMES = (f"lent_{os.getpid()}_a", f"lent_{os.getpid()}_b")


@pytest.fixture
def urls(postgres: Postgres) -> Iterator[tuple[str, str]]:
    """Return the addresses of two users of one database, as Vault lends them."""
    url = postgres.migrated()
    for name in NAMES:
        postgres.run(url, f"create role {name} login password '{_PASSWORD}' in role landcast_server role landcast")
    place = urlsplit(url).netloc.rpartition("@")[2] + urlsplit(url).path
    first, second = (f"postgresql://{name}:{_PASSWORD}@{place}" for name in NAMES)
    yield first, second
    for name in NAMES:
        postgres.run(url, f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{name}'")  # noqa: S608
        postgres.run(url, f"drop role if exists {name}")
    postgres.give_back(url)


def wait_until(holds: Callable[[], object], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def user(pool: PostgresPool) -> str:
    with pool.reading() as connection:
        return str(connection.execute("select current_user").fetchone()[0])


def test_an_address_that_one_process_writes_is_read_by_others(tmp_path: Path) -> None:
    shared = SharedAddress.make(Address("postgresql://a:first@h/d"))
    code = "import sys; from sql.address import *; url = named(sys.argv[1]); print(current(url))"
    for text in ("postgresql://a:first@h/d", "postgresql://b:ä%20second@h/d"):
        shared.write(Address(text, 7.5, "trouble"))
        done = subprocess.run([sys.executable, "-c", code, shared.name], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == text
        assert shared.read() == Address(text, 7.5, "trouble")
    assert "second" not in repr(shared) + repr(shared.read()) + shared.name
    assert name_of(shared) == shared.name
    assert name_of("postgresql://h/d") == "postgresql://h/d"
    assert current(named("postgresql://h/d")) == "postgresql://h/d"
    with pytest.raises(OSError, match="No such file"):
        named(f"/proc/{os.getpid()}/fd/9999")
    assert list(tmp_path.iterdir()) == []


def test_readers_never_see_a_partial_address() -> None:
    texts = [f"postgresql://{letter * length}@h/d" for letter, length in (("a", 10), ("b", 20_000), ("c", 3))]
    shared = SharedAddress.make(Address(texts[0]))
    over = Event()

    def write() -> None:
        number = 0
        while not over.is_set():
            shared.write(Address(texts[number % len(texts)]))
            number += 1

    writer = Thread(target=write)
    writer.start()
    try:
        reader = SharedAddress.open(shared.name)
        assert {reader() for _ in range(3000)} <= set(texts)
    finally:
        over.set()
        writer.join()
    with pytest.raises(ValueError, match="too long"):
        shared.write(Address("x" * 70_000))
    assert shared() in texts


def test_an_address_that_is_being_replaced_is_read_again() -> None:
    shared = SharedAddress.make(Address("postgresql://h/first"))
    begin = bytes(shared._memory).index(b"postgresql")
    shared._memory[begin : begin + 10] = b"half of it"
    later = Timer(0.2, shared.write, [Address("postgresql://h/second")])
    later.start()
    assert SharedAddress.open(shared.name)() == "postgresql://h/second"
    later.join()


def test_a_writer_that_was_killed_leaves_the_last_address() -> None:
    shared = SharedAddress.make(Address("postgresql://h/first"))
    assert shared() == "postgresql://h/first"
    shared._memory[65_536:131_072] = bytes(65_536)  # what the next version is written to, now half of it
    shared._memory[131_072 - 1] = 7
    assert SharedAddress.open(shared.name)() == "postgresql://h/first"
    assert shared() == "postgresql://h/first"
    shared.write(Address("postgresql://h/second"))
    assert shared() == "postgresql://h/second"


def test_new_transactions_use_the_new_user_and_old_ones_complete(urls: tuple[str, str], postgres: Postgres) -> None:
    shared = SharedAddress.make(Address(urls[0]))
    with closing(PostgresPool(shared, size=3)) as pool:
        with pool.reading(), pool.reading():
            pass
        with pool.writing() as working:
            assert working.execute("select current_user").fetchone()[0] == NAMES[0]
            shared.write(Address(urls[1]))
            assert user(pool) == NAMES[1]
            assert working.execute("select count(*) from jobs").fetchone()[0] == 0
        connected = f"select count(*) from pg_stat_activity where usename = '{NAMES[0]}'"  # noqa: S608  ours
        wait_until(lambda: postgres.run(urls[1], connected) == [(0,)])
        assert "password" not in repr(pool)


def test_a_connection_during_the_rotation_waits_for_the_new_password(urls: tuple[str, str]) -> None:
    old = urls[0].replace(_PASSWORD, "the-old-one")
    shared = SharedAddress.make(Address(old, boot_time() + 0.5))
    with closing(PostgresPool(shared)) as pool:
        rotation = Timer(0.7, shared.write, [Address(urls[0], boot_time() + 900)])
        rotation.start()
        assert user(pool) == NAMES[0]
        rotation.join()


@pytest.mark.parametrize("expires", [None, 900.0])
def test_a_login_refused_for_another_reason_fails_at_once(
    urls: tuple[str, str], expires: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = urls[0].replace(_PASSWORD, "wrong")
    shared = SharedAddress.make(Address(wrong, expires and boot_time() + expires))
    with monkeypatch.context() as changed:
        changed.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
        assert shared.after(wrong) is None
    with closing(PostgresPool(shared)) as pool, pytest.raises(DatabaseAway) as caught:
        user(pool)
    assert "wrong" not in str(caught.value)


def test_a_new_address_is_awaited_for_at_most_two_seconds(urls: tuple[str, str]) -> None:
    shared = SharedAddress.make(Address(urls[0].replace(_PASSWORD, "expired"), boot_time() - 1))
    began = time.monotonic()
    with closing(PostgresPool(shared)) as pool:
        with pytest.raises(DatabaseAway):
            user(pool)
        assert 1.9 < time.monotonic() - began < 30
        with pytest.raises(DatabaseAway, match="cannot be reached"):
            user(pool)


def test_the_lock_passes_to_the_new_user_without_a_gap(urls: tuple[str, str], postgres: Postgres) -> None:
    shared = SharedAddress.make(Address(urls[0]))
    ours, over, stolen = PostgresLock(shared, "test"), Event(), []
    assert ours.take()

    def steal() -> None:
        with closing(psycopg2.connect(urls[0])) as connection, connection.cursor() as cursor:
            while not over.is_set():
                cursor.execute("select pg_try_advisory_lock(hashtextextended('test', 2))")
                if cursor.fetchall() == [(True,)]:
                    stolen.append(True)
                    return

    thieves = [Thread(target=steal) for _ in range(2)]
    for thief in thieves:
        thief.start()
    try:
        for number in range(10):
            shared.write(Address(urls[1 - number % 2]))
            assert ours.is_held()
            assert stolen == []
            held = postgres.run(
                urls[0],
                """select usename from pg_locks join pg_stat_activity using (pid)
                where locktype = 'advisory' and granted and database = (select oid from pg_database
                    where datname = current_database())""",
            )
            assert held == [(NAMES[1 - number % 2],)]
    finally:
        over.set()
        for thief in thieves:
            thief.join()
        ours.close()
    assert stolen == []


def test_the_old_connection_keeps_the_lock_until_the_new_user_can_log_in(urls: tuple[str, str]) -> None:
    shared = SharedAddress.make(Address(urls[0]))
    with closing(PostgresLock(shared, "test")) as ours, closing(PostgresLock(urls[0], "test")) as other:
        assert ours.take()
        shared.write(Address(urls[1].replace(_PASSWORD, "wrong")))
        assert ours.is_held()
        assert not other.take()
        shared.write(Address(urls[1]))
        assert ours.is_held()
        assert not other.take()


def test_a_listener_reconnects_as_the_new_user_and_reports_the_gap(urls: tuple[str, str], postgres: Postgres) -> None:
    shared = SharedAddress.make(Address(urls[0]))
    with closing(PostgresListener(shared, "test_channel")) as ear:
        assert ear.hear(0.1) is None
        assert ear.hear(0.01) == []
        shared.write(Address(urls[1]))
        assert ear.hear(0.1) is None
        postgres.run(urls[0], "select pg_notify('test_channel', 'heard')")
        assert ear.hear(10) == ["heard"]
        with closing(psycopg2.connect(urls[1])) as connection, connection.cursor() as cursor:
            cursor.execute("select usename from pg_stat_activity where query = 'listen \"test_channel\"'")
            assert cursor.fetchall() == [(NAMES[1],)]
