"""The orders by status and owner, in both databases."""

import pytest

from orchestration.job import Order, Status
from tests.databases import BOTH
from tests.orchestration.conftest import MakeStore


@pytest.mark.parametrize("database_of", BOTH, indirect=True)
def test_orders_are_counted_by_status_and_owner(make_store: MakeStore) -> None:
    store = make_store()
    assert store.tally(5).orders == {}
    jobs = [store.add(Order("echo", {}, owner))[0] for owner in ("ada", "ada", "bob", "bob", "bob", "cy")]
    for job in jobs[:2]:
        store.begin(job.id)
    store.fail(jobs[0].id, 1, "no such park")
    store.dismiss(jobs[3].id)
    store.dismiss(jobs[5].id)
    store.dismiss(jobs[5].id)  # deleted: counted nowhere
    found = store.tally(5)
    assert found.orders == {Status.ACCEPTED: 2, Status.RUNNING: 1, Status.FAILED: 1, Status.DISMISSED: 1}
    assert found.oldest[Status.ACCEPTED] == jobs[2].created
    assert [(each.owner, each.orders, each.unfinished, each.failed) for each in found.owners] == [
        ("bob", 3, 2, 0),
        ("ada", 2, 1, 1),
    ]
    assert [each.owner for each in store.tally(1).owners] == ["bob"]
