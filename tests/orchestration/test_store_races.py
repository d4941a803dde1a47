"""Many concurrent threads on either database: transactions never contradict each other."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest

from auth.identity import Identity
from auth.keys.key import KeyRefused, WantedKey
from auth.keys.store import MOST_KEYS, ApiKeys
from orchestration.errors import TooManyOpenOrders
from orchestration.job import Job, Notice, Order, Output, Status
from orchestration.quota import Quota
from orchestration.store.jobs import StoredJobs
from orchestration.store.outbox import Outbox
from tests.databases import BOTH, DatabaseOf

pytestmark = pytest.mark.parametrize("database_of", BOTH, indirect=True)
MakeStore = Callable[..., StoredJobs]

_THREADS = 5
_VALUE = (Output("stringOutput", "x"),)


def _together(*acts: Callable[[], object], times: int = 1) -> list[object]:
    """Call the functions in concurrent threads; return their results."""
    with ThreadPoolExecutor(_THREADS) as threads:
        return [each.result() for each in [threads.submit(act) for _ in range(times) for act in acts]]


def test_concurrent_orders_keep_the_limit_of_open_orders(make_store: MakeStore) -> None:
    store = make_store()

    def order() -> bool:
        try:
            return store.add(Order("echo", {}, "ann"), quotas=[Quota(open_orders=3)])[1]
        except TooManyOpenOrders:
            return False

    assert sum(map(bool, _together(order, times=25))) == 3
    assert len(store.unfinished()) == 3


def test_concurrent_requests_keep_the_limit_of_keys(database_of: DatabaseOf) -> None:
    with closing(ApiKeys(database_of())) as keys:

        def make() -> bool:
            try:
                return bool(keys.create(Identity("ann", method="session"), WantedKey("k")))
            except KeyRefused:
                return False

        assert sum(map(bool, _together(make, times=MOST_KEYS + 15))) == MOST_KEYS


def test_concurrent_workers_start_an_attempt_once(make_store: MakeStore) -> None:
    store = make_store()
    for _ in range(10):
        job, _ = store.add(Order("echo", {}, "ann"))
        begun = _together(partial(store.begin, job.id), times=_THREADS)
        assert [each.attempt for each in begun if isinstance(each, Job)] == [1]


def test_the_first_of_a_result_and_a_dismissal_counts(make_store: MakeStore) -> None:
    """A second dismissal deletes: so a result before it is deleted, and a result after it is dropped."""
    store = make_store()
    for _ in range(20):
        job, _ = store.add(Order("echo", {}, "ann"))
        store.begin(job.id)
        published, dismissed = _together(partial(store.publish, job.id, 1, _VALUE), partial(store.dismiss, job.id))
        assert isinstance(dismissed, Job)
        after = store.get(job.id)
        assert (after is None) == published
        if after is not None:
            assert (after.status, after.manifest) == (Status.DISMISSED, ())


def test_concurrent_couriers_claim_an_entry_once(make_store: MakeStore, database_of: DatabaseOf) -> None:
    store = make_store()
    notice = Notice("callback", Status.RUNNING, "https://example.org/")
    ids = {store.add(Order("echo", {}, "ann", notices=(notice,)))[0].id for _ in range(30)}
    for job_id in ids:
        store.begin(job_id)
    with closing(Outbox(database_of())) as outbox:
        taken: list[str] = []

        def take_all() -> None:
            """Take entries until none is left; of two concurrent calls for one entry, one gets none and repeats."""
            misses = 0
            while misses < 20:
                entry = outbox.take("callback")
                misses = misses + 1 if entry is None else 0
                taken.extend([str(entry.job_id)] if entry else [])

        _together(take_all, times=4)
    assert sorted(taken) == sorted(ids)
