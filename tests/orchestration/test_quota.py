"""Quotas: what counts by the day, and that concurrent orders never exceed one together."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from orchestration.backend import BackendUpdate
from orchestration.errors import QuotaUsedUp, TooManyOpenOrders
from orchestration.job import Order, Output, ResultFile, Status
from orchestration.quota import Quota, Used, check_quotas, described
from orchestration.store.jobs import StoredJobs
from tests.databases import BOTH, IN_A_PROCESS, DatabaseOf

MakeStore = Callable[..., StoredJobs]
NOON = 1_796_040_000_000_000
"""Noon of a day in microseconds, at which the orders of these tests are made: midnight never comes between them."""
both = pytest.mark.parametrize("database_of", BOTH, indirect=True)

EVENING = datetime(2026, 11, 30, 23, 59, 30, tzinfo=UTC)
USED = Used(open_orders=2, km2=70.0, bytes=3_000_000, at=EVENING)
FILE = (Output("result", file=ResultFile("a.zip", "x/a.zip", "application/zip", 1000, "0" * 64)),)


@pytest.fixture(autouse=True)
def _at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.store.jobs.now", lambda: NOON)


@pytest.mark.parametrize(
    ("quota", "km2", "size", "said"),
    [
        (Quota(open_orders=3), 0.0, 0, None),
        (Quota(open_orders=2), 0.0, 0, "you have 2 unfinished orders; at most 2 may be open at once (open-orders)"),
        (Quota(km2=100), 30.0, 9, None),
        (
            Quota(km2=100),
            30.1,
            0,
            (
                "the order covers 30.10 km2; you have ordered 70.00 km2 today and may order at most 100 km2 a day "
                "(km2-a-day)"
            ),
        ),
        (Quota(bytes=3_000_001), 5.0, 0, None),
        (Quota(bytes=3_000_001), 5.0, 1, None),
        (
            Quota(bytes=3_000_001),
            0.0,
            2,
            (
                "the result is expected to have 2 bytes; those of your orders of today have or are expected to have "
                "2.861 MiB; you may order at most 2.861 MiB a day (bytes-a-day)"
            ),
        ),
        (
            Quota(bytes=3_000_000),
            0.0,
            0,
            (
                "the result is expected to have 0 bytes; those of your orders of today have or are expected to have "
                "2.861 MiB; you may order at most 2.861 MiB a day (bytes-a-day)"
            ),
        ),
        (Quota(km2=1, bytes=1), None, 5, None),
    ],
)
def test_a_refusal_says_what_was_asked_used_and_allowed_and_until_when(
    quota: Quota, km2: float | None, size: int, said: str | None
) -> None:
    if said is None:
        check_quotas([quota], USED, km2, size)
        return
    with pytest.raises((TooManyOpenOrders, QuotaUsedUp)) as refused:
        check_quotas([quota], USED, km2, size)
    message, _, end = str(refused.value).partition("; the next day begins at ")
    assert message == said
    assert end == ("2026-12-01T00:00:00Z" if isinstance(refused.value, QuotaUsedUp) else "")
    if isinstance(refused.value, QuotaUsedUp):
        assert refused.value.retry_after == 30


def test_one_quota_of_several_suffices() -> None:
    check_quotas([], USED, 1e9)
    check_quotas([Quota(km2=1), Quota(open_orders=9)], USED, 5)
    with pytest.raises(TooManyOpenOrders):
        check_quotas([Quota(km2=1), Quota(open_orders=1)], USED, 5)


def test_what_is_left_has_the_names_of_the_policy() -> None:
    until = "2026-12-01T00:00:00Z"
    assert described([Quota(3, 100.5, 2_000_000), Quota(open_orders=1)], USED) == [
        {
            "open-orders": {"allowed": 3, "used": 2, "remaining": 1},
            "km2-a-day": {"allowed": 100.5, "used": 70.0, "remaining": 30.5},
            "bytes-a-day": {"allowed": 2_000_000, "used": 3_000_000, "remaining": 0},
            "until": until,
        },
        {"open-orders": {"allowed": 1, "used": 2, "remaining": 0}},
    ]


@both
def test_orders_of_today_count_unless_they_failed_or_were_dismissed(
    make_store: MakeStore, database_of: DatabaseOf
) -> None:
    store = make_store()

    def order(km2: float | None, owner: str = "ann") -> str:
        return store.add(Order("echo", {}, owner), km2=km2)[0].id

    done, deleted, failed, dismissed, yesterday = (order(km2) for km2 in (1.0, 2.0, 4.0, 8.0, 16.0))
    order(32.0, "bob")
    order(None)
    for job_id in (done, deleted, failed, yesterday):
        store.begin(job_id)
    for job_id in (done, deleted, yesterday):
        store.publish(job_id, 1, FILE)
    store.fail(failed, 1, "no")
    store.dismiss(deleted)
    store.dismiss(dismissed)
    day = timedelta(days=1) // timedelta(microseconds=1)
    database_of.run("update jobs set created = created - :day where id = :id", day=day, id=yesterday)
    used = store.used("ann")
    assert (used.open_orders, used.km2, used.bytes) == (1, 3.0, 2000)
    used = store.used("bob")
    assert (used.open_orders, used.km2, used.bytes) == (1, 32.0, 0)


@both
def test_results_that_are_ready_count_and_a_repeated_order_does_not(make_store: MakeStore) -> None:
    store = make_store()
    order = Order("echo", {}, "ann", idempotency_key="k", request_hash="h")
    quota = [Quota(open_orders=1, km2=10, bytes=1000)]
    store.add(Order("echo", {}, "ann"))
    store.add(order, FILE, quotas=quota, km2=6)
    store.add(order, FILE, quotas=quota, km2=6)
    used = store.used("ann")
    assert (used.open_orders, used.km2, used.bytes) == (1, 6.0, 1000)
    with pytest.raises(QuotaUsedUp, match="have 1000 bytes; you may"):
        store.add(Order("echo", {}, "ann"), FILE, quotas=[Quota(bytes=1000)], km2=0)
    with pytest.raises(QuotaUsedUp, match=r"covers 5\.00 km2; you have ordered 6\.00 km2"):
        store.add(Order("echo", {}, "ann"), quotas=[Quota(km2=10)], km2=5)
    assert store.add(Order("echo", {}, "ann"), quotas=[Quota(km2=10)], km2=4)[1]


@both
def test_the_expected_bytes_of_an_order_count_until_it_has_its_result(make_store: MakeStore) -> None:
    store = make_store()
    quota = [Quota(bytes=3000)]

    def order(size: int) -> str:
        return store.add(Order("echo", {}, "ann"), quotas=quota, km2=1, size=size)[0].id

    smaller, failed, elsewhere = order(1500), order(700), order(800)
    with pytest.raises(QuotaUsedUp, match=r"expected to have 1 bytes; those .* expected to have 2\.93 KiB"):
        order(1)
    assert store.add(Order("echo", {}, "bob"), quotas=quota, km2=1, size=1)[1]
    for job_id in (smaller, failed):
        store.begin(job_id)
    store.hand_back(failed, 1, counted=True)
    assert store.used("ann").bytes == 3000, "it waits to be run again"
    store.begin(failed)
    store.publish(smaller, 1, FILE)
    assert store.used("ann").bytes == 2500
    store.fail(failed, 2, "no")
    assert store.used("ann").bytes == 1800
    store.update(elsewhere, BackendUpdate(Status.SUCCESSFUL))
    assert store.used("ann").bytes == 1000
    store.dismiss(order(2000))
    assert store.used("ann").bytes == 1000


_ORDERING = (
    IN_A_PROCESS
    + """
from orchestration.errors import QuotaUsedUp
from orchestration.job import Order
from orchestration.quota import Quota
import orchestration.store.jobs
from orchestration.store.jobs import StoredJobs
orchestration.store.jobs.now = lambda: int(sys.argv[2])
store = StoredJobs(database, busy_seconds=60)
print("ready", flush=True)
sys.stdin.readline()
taken = 0
for _ in range(20):
    try:
        taken += store.add(Order("echo", {}, "ann"), quotas=[Quota(km2=100)], km2=10)[1]
    except QuotaUsedUp:
        pass
print(taken)
"""
)


@both
def test_two_processes_never_exceed_a_quota_together(make_store: MakeStore, database_of: DatabaseOf) -> None:
    store = make_store()
    command = [sys.executable, "-c", _ORDERING, database_of.text, str(NOON)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    assert [each.stdout.readline() for each in processes] == ["ready\n"] * 2
    for each in processes:
        each.stdin.write("\n")
        each.stdin.flush()
    taken = [int(each.communicate(timeout=60)[0]) for each in processes]
    assert sum(taken) == 10
    assert store.used("ann").km2 == 100


@pytest.mark.parametrize("quota", [Quota(km2=30), Quota(bytes=3000)], ids=["km2", "bytes"])
@both
def test_concurrent_orders_never_exceed_a_quota_together(make_store: MakeStore, quota: Quota) -> None:
    store = make_store()

    def order(_: int) -> bool:
        try:
            return store.add(Order("echo", {}, "ann"), quotas=[quota], km2=10, size=1000)[1]
        except QuotaUsedUp:
            return False

    with ThreadPoolExecutor(5) as threads:
        assert sum(threads.map(order, range(20))) == 3
