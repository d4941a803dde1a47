"""Payloads between processes, through a real PostgreSQL."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from orchestration.runners import is_run
from orchestration.runners.airflow.events import hearing, tell
from sql.connections import DatabaseAway
from sql.notify import PostgresListener
from sql.pool import PostgresPool
from tests.postgres import Postgres

RUN = "6f2b4c1e-0000-4000-8000-000000000000.1"


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    made = postgres.migrated()
    yield made
    postgres.give_back(made)


def lose_all(postgres: Postgres, url: str) -> None:
    others = "where datname = current_database() and pid <> pg_backend_pid()"
    ended = "select pg_terminate_backend(pid) from pg_stat_activity"
    postgres.run(url, f"{ended} {others}")


def heard(ear: PostgresListener, count: int) -> list[str]:
    """Return this number of payloads, received together or one after the other."""
    reports: list[str] = []
    while len(reports) < count:
        said = ear.hear(2)
        assert said, f"only {reports} was said"
        reports += said
    return reports


def test_a_listener_receives_every_notification(url: str) -> None:
    with closing(PostgresPool(url)) as pool, closing(PostgresListener(url, "landcast_airflow")) as ear:
        assert ear.hear(0.01) is None, "something may have been told before"
        assert ear.hear(0.01) == []
        tell(pool, RUN)
        tell(pool, "it's.1")
        assert heard(ear, 2) == [RUN, "it's.1"]
        assert ear.hear(0.01) == []


def test_a_listener_reconnects_and_reports_the_gap(postgres: Postgres, url: str) -> None:
    with closing(PostgresListener(url, "landcast_airflow")) as ear:
        ear.hear(0.01)
        lose_all(postgres, url)
        with pytest.raises(DatabaseAway):
            all(ear.hear(1) == [] for _ in range(5))
        assert ear.hear(0.01) is None


def test_the_worker_checks_all_runs_after_a_lost_connection(
    postgres: Postgres, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.runners.airflow.events._PATIENCE", 0.05)
    heard: list[str] = []
    with closing(PostgresPool(url)) as pool, hearing(url, heard.append):
        wait(lambda: heard == [""])
        tell(pool, RUN)
        wait(lambda: heard == ["", RUN])
        lose_all(postgres, url)
        wait(lambda: heard == ["", RUN, ""])
        pool.close()
        tell(pool, RUN)
        wait(lambda: heard[3:] == [RUN])


def wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_only_run_ids_in_our_form_are_accepted() -> None:
    assert is_run(RUN)
    others = ["", "manual__2026-11-25T00:00:00+00:00", RUN[:-2], f"{RUN}x", f"{RUN}\n", RUN.upper(), RUN[:-1] + "0"]
    assert not any(map(is_run, [*others, f"x{RUN}"]))
