"""One worker at a time on a database that several machines share: real workers, a real PostgreSQL."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestration.heartbeat import heartbeat_age
from orchestration.job import Job, Order, Status
from orchestration.leader import Leadership
from orchestration.store.jobs import StoredJobs
from sql.connections import DatabaseAway
from sql.lock import PostgresLock
from tests.databases import DatabaseOf
from tests.ports import free_port
from tests.postgres import Postgres

if TYPE_CHECKING:
    import subprocess

postgresql = pytest.mark.parametrize("database_of", ["postgresql"], indirect=True)
MakeStore = Callable[..., StoredJobs]
Start = Callable[..., "subprocess.Popen[bytes]"]
Finished = Callable[..., Job]
Until = Callable[..., None]
Restart = Callable[[], None]


@pytest.fixture
def lose_all(postgres: Postgres, database_of: DatabaseOf) -> Restart:
    """Return a function that ends all connections to the database, like a restart of the server."""
    others = "select pg_terminate_backend(pid) from pg_stat_activity"
    where = "where datname = current_database() and pid <> pg_backend_pid()"

    def lose() -> None:
        postgres.run(database_of.text, f"{others} {where}")

    return lose


@pytest.fixture
def make_lock(database_of: DatabaseOf) -> Iterator[Callable[[], PostgresLock]]:
    locks = []

    def make() -> PostgresLock:
        locks.append(PostgresLock(database_of.text, "test"))
        return locks[-1]

    yield make
    for lock in locks:
        lock.close()


@postgresql
def test_one_worker_has_the_lock_until_it_releases_it(make_lock: Callable[[], PostgresLock]) -> None:
    one, other = make_lock(), make_lock()
    assert one.take()
    assert not other.take()
    assert one.is_held()
    one.close()
    assert other.take()
    assert not one.is_held()


@postgresql
def test_others_see_how_long_ago_the_holder_was_heard_of(make_lock: Callable[[], PostgresLock], until: Until) -> None:
    one, other = make_lock(), make_lock()
    assert other.holder_age() is None
    assert one.take()
    until(lambda: (other.holder_age() or 0) > 0.5)
    before = other.holder_age()
    assert one.is_held()
    after = other.holder_age()
    assert after is not None
    assert before is not None
    assert after < before
    one.close()
    until(lambda: other.holder_age() is None)


@postgresql
def test_a_lock_lost_by_a_restart_is_taken_again_unless_another_has_it(
    make_lock: Callable[[], PostgresLock], lose_all: Restart
) -> None:
    one, other = make_lock(), make_lock()
    assert one.take()
    lose_all()
    assert one.is_held()
    assert not other.take()
    lose_all()
    assert other.take()
    assert not one.is_held()


@postgresql
def test_a_lease_ends_only_when_another_worker_has_it(
    make_lock: Callable[[], PostgresLock], lose_all: Restart, until: Until
) -> None:
    one, other = make_lock(), make_lock()
    assert one.take()
    leadership = Leadership(one)
    lose_all()
    time.sleep(1.1)
    assert not leadership.is_over()
    lose_all()
    assert other.take()
    until(leadership.is_over)


def test_a_lease_continues_while_the_database_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.leader._LOOK", 0)
    lock = PostgresLock(f"postgresql://x@127.0.0.1:{free_port()}/x", "test")
    with pytest.raises(DatabaseAway):
        lock.is_held()
    assert not Leadership(lock).is_over()


def _order(store: StoredJobs, steps: int) -> Job:
    return store.add(Order("files", {"steps": steps}, "local"))[0]


@postgresql
def test_of_two_machines_one_works_and_the_other_takes_over(  # noqa: PLR0917  the fixtures of the scene
    make_store: MakeStore,
    database_of: DatabaseOf,
    start_worker: Start,
    finished: Finished,
    until: Until,
    tmp_path: Path,
) -> None:
    """Each has its own state folder; they share only the database."""
    with closing(make_store()) as store:
        first = start_worker(database=database_of.text)
        assert finished(_order(store, 5)).status is Status.SUCCESSFUL
        other = tmp_path / "other machine"
        start_worker(database=database_of.text, state_dir=str(other))
        until(lambda: heartbeat_age(other) is not None)
        first.send_signal(signal.SIGSTOP)
        until(lambda: (heartbeat_age(other) or 0) > 3)
        first.send_signal(signal.SIGCONT)
        until(lambda: (heartbeat_age(other) or 9) < 3)
        assert finished(_order(store, 5)).status is Status.SUCCESSFUL
        assert not (other / "results").exists()
        long = _order(store, 80)
        until(lambda: (now := store.get(long.id)) and now.progress > 5)
        first.send_signal(signal.SIGKILL)
        done = finished(long)
        assert (done.status, done.attempt, done.failures) == (Status.SUCCESSFUL, 2, 0)
        assert list((other / "results" / long.id).rglob("*.bin"))


@postgresql
def test_a_restart_of_the_database_costs_no_attempt(
    make_store: MakeStore,
    database_of: DatabaseOf,
    start_worker: Start,
    finished: Finished,
    lose_all: Restart,
) -> None:
    with closing(make_store()) as store:
        start_worker(database=database_of.text)
        jobs = [_order(store, 80) for _ in range(2)]
        for _ in range(3):
            time.sleep(0.5)
            lose_all()
        for job in jobs:
            done = finished(job)
            assert (done.status, done.attempt) == (Status.SUCCESSFUL, 1)
