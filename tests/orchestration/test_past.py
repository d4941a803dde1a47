"""Past orders: only the newest successful ones of a kind are read, and nothing is written."""

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from orchestration.errors import StoreUnavailable
from orchestration.job import Job, Manifest, Order, Output, ResultFile
from orchestration.store.jobs import StoredJobs
from orchestration.store.past import PastOrder, count_unfinished, past_orders
from tests.databases import BOTH, DatabaseOf

MakeStore = Callable[..., StoredJobs]
both = pytest.mark.parametrize("database_of", BOTH, indirect=True)

AREA = {"bbox": [1, 2, 3, 4]}


def _file(size: int) -> Manifest:
    file = ResultFile("Raster.zip", "job/1/1/Raster.zip", "application/zip", size, "ab" * 32)
    return (Output("result", None, "application/zip", file),)


def _order(store: StoredJobs, process: str = "extract-product", kind: str = "Raster", **inputs: Any) -> Job:
    return store.add(Order(process, {"product": kind, "aoi": AREA, **inputs}, "somebody"))[0]


def _done(store: StoredJobs, size: int, process: str = "extract-product", **inputs: Any) -> Job:
    job = store.begin(_order(store, process, **inputs).id)
    assert job is not None
    assert store.publish(job.id, 1, _file(size))
    return job


def _past(database_of: DatabaseOf, **changed: Any) -> tuple[PastOrder, ...]:
    chosen = {"process": "extract-product", "kind": "Raster", "series": "clcplus"} | changed
    return past_orders(database_of(), **chosen)


@both
def test_the_newest_successful_orders_of_a_kind_and_series_are_found(
    make_store: MakeStore, database_of: DatabaseOf
) -> None:
    store = make_store()
    older = _done(store, 10)
    newer = _done(store, 20, series="clcplus", year=2023)
    for inputs in ({"kind": "Vector"}, {"series": "snow"}, {"process": "national-product"}, {"kind": "x" * 200_000}):
        _done(store, 30, **inputs)
    _order(store)
    failed = store.begin(_order(store).id)
    assert failed is not None
    store.fail(failed.id, 1, "no")
    deleted = _done(store, 40)
    store.dismiss(deleted.id)
    found = _past(database_of)
    assert [(order.id, order.size) for order in found] == [(newer.id, 20), (older.id, 10)]
    assert found[1].inputs == {"product": "Raster", "aoi": AREA}
    assert all(0 < order.seconds < 60 for order in found)
    assert [order.id for order in _past(database_of, most=1)] == [newer.id]
    assert [order.size for order in _past(database_of, kind="Vector")] == [30]
    assert [order.size for order in _past(database_of, series="snow")] == [30, 10], "what names no series had the first"


@both
def test_an_order_without_requested_outputs_has_no_size(make_store: MakeStore, database_of: DatabaseOf) -> None:
    store = make_store()
    job = store.begin(_order(store).id)
    assert job is not None
    store.publish(job.id, 1, ())
    assert _past(database_of) == ()


@both
def test_only_the_last_five_thousand_orders_are_read(make_store: MakeStore, database_of: DatabaseOf) -> None:
    _done(make_store(), 10)
    assert len(_past(database_of)) == 1
    database_of.run("update jobs set number = number - 5000")
    _order(make_store(), "echo")
    assert _past(database_of) == ()


@both
def test_waiting_orders_are_unfinished_without_quick_processes(make_store: MakeStore, database_of: DatabaseOf) -> None:
    store = make_store()
    _done(store, 10)
    assert count_unfinished(database_of(), beside={"echo"}) == 0
    _order(store)
    store.begin(_order(store).id)
    _order(store, "echo")
    assert count_unfinished(database_of(), beside={"echo"}) == 2
    assert count_unfinished(database_of(), beside=()) == 3


def test_the_database_is_only_read_even_while_another_writes(
    make_store: MakeStore, state_dir: Path, database_of: DatabaseOf
) -> None:
    store = make_store()
    _done(store, 10)
    path = state_dir / "orders.sqlite"
    store.changed()
    before = hashlib.sha256(path.read_bytes() + path.with_name("orders.sqlite-wal").read_bytes()).digest()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        assert len(_past(database_of)) == 1
        assert count_unfinished(path, beside=()) == 0
        other.execute("rollback")
    assert hashlib.sha256(path.read_bytes() + path.with_name("orders.sqlite-wal").read_bytes()).digest() == before
    assert not store.changed()


@pytest.mark.parametrize("content", [None, b"no database" * 100])
def test_an_unavailable_or_broken_database_is_reported_and_not_created(
    state_dir: Path, database_of: DatabaseOf, content: bytes | None
) -> None:
    path = state_dir / "orders.sqlite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreUnavailable):
        _past(database_of)
    with pytest.raises(StoreUnavailable):
        count_unfinished(path, beside=())
    assert path.exists() == (content is not None)
